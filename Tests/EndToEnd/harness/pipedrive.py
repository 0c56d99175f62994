#!/usr/bin/env python3
"""A stand-in for Pipedrive, for tests and for trying things by hand. Standard library only.

It has persons, deals and activities as API v2 has them (`/api/v2/persons`, `/deals`, `/activities`: POST, GET, PATCH, DELETE, lists by cursor, `persons/search`), users
as v1 has them (`/v1/users/me`), and calls a webhook (v2) with basic auth after each change, also after those made through the API, as the original does.

In a test::

    with FakePipedrive(token="t") as pipedrive:
        pipedrive.webhook = "http://plantao:secret@127.0.0.1:8080/api/webhooks/pipedrive"
        pipedrive.fail_next(429, retry_after=1)          # also 401, 403, 500; `drop=True` does it and loses the answer
        pipedrive.by_hand("person", 1, name="Ana Souza")  # somebody at a screen: change_source "app"
        pipedrive.merge(2, into=1)

By hand (what the server asks is printed; each line typed, `1 Ana Souza`, renames person 1; `/fail 500 3` makes the next three calls fail)::

    python3 pipedrive.py --port 9200 --webhook http://plantao:secret@127.0.0.1:8080/api/webhooks/pipedrive
    PIPEDRIVE_API_TOKEN=t PIPEDRIVE_API_URL=http://127.0.0.1:9200 PIPEDRIVE_WEBHOOK_PASSWORD=secret plantao serve

What is deliberately as awkward as the original: search finds only after `search_delay` seconds what was just made; a deleted thing is still there with `is_deleted`
in persons and 404 in deals; ids in webhooks' `meta` are text; a webhook that is not answered with 2xx comes again; a call above the burst limit is 429.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # Run by hand, this folder comes first, and its http.py is not Python's.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != here]

import argparse
import base64
import http.client
import itertools
import json
import queue
import re
import threading
import time
import urllib.parse
import uuid
from collections import deque
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# v2's fields that a caller may write; anything else is refused, as there.
FIELDS = {
    "persons": {"name", "owner_id", "org_id", "emails", "phones", "label_ids", "visible_to", "marketing_status", "custom_fields", "add_time"},
    "deals": {
        "title", "owner_id", "person_id", "org_id", "pipeline_id", "stage_id", "value", "currency", "status", "lost_reason", "expected_close_date", "label_ids",
        "probability", "visible_to", "custom_fields", "add_time",
    },
    "activities": {
        "subject", "type", "owner_id", "deal_id", "lead_id", "org_id", "due_date", "due_time", "duration", "busy", "done", "note", "location",
        "participants", "attendees", "priority", "public_description",
    },
}
REQUIRED = {"persons": "name", "deals": "title", "activities": None}
ENTITY = {"persons": "person", "deals": "deal", "activities": "activity"}
ME = 9001


def _now():
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class FakePipedrive:
    def __init__(self, token="pipedrive-token", users=(11, 12, 13), port=0, webhook=None, burst=None, search_delay=0.0):
        self.token, self.users, self.webhook = token, {ME, *users}, webhook
        # (calls, seconds), as the smallest plan's (20, 2).
        self.burst, self.search_delay = burst, search_delay
        self.things = {"persons": {}, "deals": {}, "activities": {}}
        # Every call: (method, path, body, status).
        self.calls, self.webhooks = [], []
        self.on_call = None
        self._made = {}
        self._recent, self._faults = deque(), deque()
        self._ids = itertools.count(1)
        self._lock = threading.RLock()
        self._news = queue.Queue()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self._stopping = threading.Event()
        self._threads = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self._threads = [threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True), threading.Thread(target=self._tell, daemon=True)]
        for thread in self._threads:
            thread.start()
        return self

    def stop(self):
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join(5)

    # MARK: What a test does

    def fail_next(self, status, times=1, retry_after=None, drop=False, error=None):
        """`drop`: it is done, and the answer is lost."""
        for _ in range(times):
            self._faults.append((status, retry_after, drop, error))

    def all(self, kind):
        with self._lock:
            return [dict(thing) for thing in self.things[kind].values() if not thing["is_deleted"]]

    def add(self, kind, **fields):
        """Made by somebody at a screen."""
        return self._create(kind, fields, "app", 11)

    def by_hand(self, entity, id, **fields):
        kind = next(k for k, e in ENTITY.items() if e == entity)
        return self._update(kind, id, fields, "app", 11)

    def delete(self, kind, id, merged_to=None, source="app", user=11):
        with self._lock:
            thing = self.things[kind][id]
            thing["is_deleted"] = True
            self._announce(kind, "delete", None, {**thing}, id, source, user, merged_to)

    def merge(self, id, into):
        """One delete that names the survivor, and one change (research/conversations.md §8)."""
        self.delete("persons", id, merged_to=into)
        self._update("persons", into, {}, "app", 11, always=True)

    # MARK: Things

    def _create(self, kind, fields, source, user):
        with self._lock:
            id = next(self._ids)
            thing = {"id": id, **fields, "is_deleted": False, "add_time": _now(), "update_time": _now()}
            thing.setdefault("owner_id", user)
            if kind == "deals":
                thing.setdefault("status", "open")
            self.things[kind][id] = thing
            self._made[id] = time.monotonic()
            self._announce(kind, "create", thing, None, id, source, user)
            return dict(thing)

    def _update(self, kind, id, fields, source, user, always=False):
        with self._lock:
            thing = self.things[kind][id]
            previous = {name: thing.get(name) for name, value in fields.items() if thing.get(name) != value}
            thing.update(fields)
            thing["update_time"] = _now()
            if previous or always:
                self._announce(kind, "change", thing, previous, id, source, user)
            return dict(thing)

    # MARK: Webhooks

    def _announce(self, kind, action, data, previous, id, source, user, merged_to=None):
        meta = {
            "action": action, "entity": ENTITY[kind], "entity_id": str(id), "id": str(uuid.uuid4()), "version": "2.0", "company_id": "1", "user_id": str(user),
            "webhook_id": "1", "webhook_owner_id": str(ME), "permitted_user_ids": [str(u) for u in sorted(self.users)], "attempt": 1,
            "host": "fake.pipedrive.com", "timestamp": _now(), "change_source": source, "is_bulk_edit": False, "correlation_id": str(uuid.uuid4()),
        } | ({"merged_to_id": merged_to} if merged_to else {})
        self._news.put({"meta": meta, "data": dict(data) if data else None, "previous": previous})

    def _tell(self):
        while not self._stopping.is_set():
            try:
                news = self._news.get(timeout=0.05)
            except queue.Empty:
                continue
            if not self.webhook:
                continue
            status = self.post(news)
            self.webhooks.append((news, status))
            if not 200 <= status < 300 and news["meta"]["attempt"] < 4:
                news["meta"]["attempt"] += 1
                threading.Timer(0.3 * news["meta"]["attempt"], self._news.put, (news,)).start()

    def post(self, body, credential=None):
        """One delivery. The status of the answer; 0 for none."""
        url = urllib.parse.urlsplit(self.webhook)
        user, password = credential or (url.username or "", url.password or "")
        headers = {
            "Content-Type": "application/json", "User-Agent": "Pipedrive Webhooks",
            "Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode(),
        }
        try:
            connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
            connection.request("POST", url.path, body if isinstance(body, bytes) else json.dumps(body).encode(), headers)
            status = connection.getresponse().status
            connection.close()
            return status
        except (OSError, http.client.HTTPException):
            return 0

    # MARK: The API

    def _answer(self, method, path, query, headers, body):
        """(status, body, headers)."""
        if headers.get("x-api-token") != self.token:
            return 401, _error("unauthorized access", "invalid token"), {}
        if self.burst:
            calls, seconds = self.burst
            now = time.monotonic()
            while self._recent and self._recent[0] < now - seconds:
                self._recent.popleft()
            limits = {"x-ratelimit-limit": str(calls), "x-ratelimit-remaining": str(max(0, calls - len(self._recent) - 1)), "x-ratelimit-reset": str(seconds)}
            if len(self._recent) >= calls:
                return 429, _error("request over limit"), limits | {"Retry-After": "1"}
            self._recent.append(now)
        if (method, path) == ("GET", "/v1/users/me"):
            return 200, _found({"id": ME, "name": "Integração", "email": "api@example.com", "active_flag": True}), {}
        if (method, path) == ("GET", "/api/v2/persons/search"):
            return 200, _found({"items": self._search(query)}), {}
        match = re.fullmatch(r"/api/v2/(persons|deals|activities)(?:/(\d+))?", path)
        if not match:
            return 404, _error("Not found"), {}
        kind, id = match[1], int(match[2]) if match[2] else None
        if id is None and method == "GET":
            return 200, self._list(kind, query), {}
        if id is None and method == "POST":
            if wrong := self._wrong(kind, body, new=True):
                return 400, _error(wrong, "Please check the field"), {}
            return 201, _found(self._create(kind, body, "api", ME)), {}
        thing = self.things[kind].get(id)
        if thing is None or (thing["is_deleted"] and kind != "persons"):
            return 404, _error(f"{ENTITY[kind].capitalize()} not found"), {}
        if method == "GET":
            return 200, _found(dict(thing)), {}
        if method == "PATCH":
            if wrong := self._wrong(kind, body, new=False):
                return 400, _error(wrong), {}
            return 200, _found(self._update(kind, id, body, "api", ME)), {}
        if method == "DELETE":
            self.delete(kind, id, source="api", user=ME)
            return 200, _found({"id": id}), {}
        return 405, _error("Method not allowed"), {}

    def _wrong(self, kind, body, new):
        if not isinstance(body, dict):
            return "Body is not a JSON object"
        if unknown := set(body) - FIELDS[kind]:
            return f"Validation failed: unknown field {sorted(unknown)[0]}"
        if new and REQUIRED[kind] and not body.get(REQUIRED[kind]):
            return f"Validation failed: {REQUIRED[kind]}: Required"
        if "owner_id" in body and body["owner_id"] not in self.users:
            return "Validation failed: owner_id: no such user"
        if kind == "deals" and body.get("person_id") is not None and body["person_id"] not in self.things["persons"]:
            return "Validation failed: person_id: no such person"
        if kind == "activities" and body.get("deal_id") is not None and body["deal_id"] not in self.things["deals"]:
            return "Validation failed: deal_id: no such deal"
        return None

    def _search(self, query):
        term, exact = query.get("term", ""), query.get("exact_match") == "true"
        digits = re.sub(r"\D", "", term)
        items = []
        for thing in self.things["persons"].values():
            if thing["is_deleted"] or time.monotonic() - self._made[thing["id"]] < self.search_delay:
                continue
            numbers = [re.sub(r"\D", "", phone["value"]) for phone in thing.get("phones") or []]
            if any(n == digits if exact else digits in n for n in numbers):
                items.append({"result_score": 1.0, "item": {"id": thing["id"], "type": "person", "name": thing["name"], "phones": [p["value"] for p in thing["phones"]],
                                                             "owner": {"id": thing["owner_id"]}}})
        return items[: int(query.get("limit", 100))]

    def _list(self, kind, query):
        things = [thing for thing in self.things[kind].values() if not thing["is_deleted"]]
        for name in ("person_id", "deal_id", "owner_id"):
            if name in query:
                things = [thing for thing in things if str(thing.get(name)) == query[name]]
        if "status" in query:
            things = [thing for thing in things if thing.get("status") in query["status"].split(",")]
        things.sort(key=lambda thing: thing["id"], reverse=query.get("sort_direction") == "desc")
        start, limit = int(query.get("cursor", 0)), min(int(query.get("limit", 100)), 500)
        more = str(start + limit) if len(things) > start + limit else None
        return {"success": True, "data": [dict(thing) for thing in things[start : start + limit]], "additional_data": {"next_cursor": more}}

    def _handler(self):
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def _serve(self):
                length = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(length) if length else b""
                try:
                    body = json.loads(raw) if raw else None
                except ValueError:
                    body = raw
                url = urllib.parse.urlsplit(self.path)
                query = dict(urllib.parse.parse_qsl(url.query))
                with fake._lock:
                    fault = fake._faults.popleft() if fake._faults else None
                    if fault and not fault[2]:
                        status, answer, more = fault[0], _error(fault[3] or f"made to fail with {fault[0]}"), {}
                        if fault[1] is not None:
                            more = {"Retry-After": str(fault[1])}
                        if fault[3]:
                            answer["code"] = fault[3]
                    else:
                        status, answer, more = fake._answer(self.command, url.path, query, self.headers, body)
                    fake.calls.append((self.command, self.path, body, status))
                if fake.on_call:
                    fake.on_call(self.command, self.path, body, status)
                if fault and fault[2]:
                    self.close_connection = True
                    self.connection.close()
                    return
                payload = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                for name, value in more.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(payload)

            do_GET = do_POST = do_PATCH = do_DELETE = _serve

        return Handler


def _found(data):
    return {"success": True, "data": data, "additional_data": None}


def _error(error, info=""):
    return {"success": False, "error": error, "error_info": info, "data": None, "additional_data": None}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--port", type=int, default=9200)
    parser.add_argument("--token", default="t")
    parser.add_argument("--users", default="11,12,13", help="ids of users that may own things")
    parser.add_argument("--webhook", help="http://user:password@host:port/api/webhooks/pipedrive")
    options = parser.parse_args()
    users = [int(user) for user in options.users.split(",")]
    with FakePipedrive(options.token, users, options.port, options.webhook, burst=(20, 2)) as fake:
        fake.on_call = lambda method, path, body, status: print(f"{status} {method} {path} {json.dumps(body, ensure_ascii=False) if body else ''}", flush=True)
        print(f"Pipedrive at {fake.url}, token {options.token}", flush=True)
        for line in sys.stdin:
            words = line.split()
            try:
                if words[:1] == ["/fail"]:
                    fake.fail_next(int(words[1]), int(words[2]) if len(words) > 2 else 1)
                elif words:
                    fake.by_hand("person", int(words[0]), name=" ".join(words[1:]))
            except (ValueError, IndexError, KeyError) as wrong:
                print(f"not understood: {wrong}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
