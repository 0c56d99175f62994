#!/usr/bin/env python3
"""A stand-in for the WhatsApp Cloud API, for tests and for trying things by hand. Standard library only.

It plays both of Meta's parts:

- the **API** that the server calls: ``POST /v23.0/{phone_number_id}/messages`` with a bearer token, answered with a wamid or with a Graph
  error, and media upload and download;
- the **webhooks** that call the server: signed, escaped as Meta escapes, at least once, batched, in whatever order a test wants, delivered
  again with growing gaps while the answer is not 200.

In a test::

    with FakeWhatsApp(webhook="http://127.0.0.1:8080/api/webhooks/whatsapp", app_secret="s") as whatsapp:
        whatsapp.deliver(text("5511987654321", "oi", name="Ana"))
        sent = whatsapp.wait_for(lambda sent: sent.text == "Olá, Ana!", timeout=5)
        whatsapp.fail_next(131056)
        whatsapp.drop_after_accept()

By hand (each line typed, ``5511987654321 oi, tudo bem?``, arrives as a message, ``/fail 131056 3`` makes the next three sends fail, ``/help`` tells the rest; what
the server sends is printed)::

    python3 whatsapp.py --port 9000 --webhook http://127.0.0.1:8080/api/webhooks/whatsapp --app-secret s

docs/fakes.md has the settings of a server beside it.

What is deliberately as awkward as the original: the answer's ``wa_id`` may lack the ninth digit the request had; ids and timestamps are
strings; statuses repeat, overtake one another and may come before the answer to the send; and there is no idempotency key, so a send whose
answer is lost has happened.
"""

from __future__ import annotations

import argparse
import email
import email.policy
import hashlib
import heapq
import http.client
import itertools
import json
import mimetypes
import os
import random
import re
import select
import socket
import sys
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Beside this file, whether it is imported as part of a package or run by hand.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from whatsapp_payloads import (  # noqa: E402, F401 - tests take the builders from here
    batch,
    button_reply,
    contacts,
    DEFAULT_NUMBER,
    DEFAULT_WABA,
    digest_of,
    echo,
    edit,
    Item,
    list_reply,
    location,
    media,
    message,
    meta_json,
    new_wamid,
    order,
    person,
    poison,
    reaction,
    revoke,
    sign,
    status,
    system,
    template_button,
    text,
    unsupported,
    wa_id_of,
)

DAY = 24 * 60 * 60


# --- What was sent to us, and what is to go wrong ------------------------------------------------------------------------------------


@dataclass
class Sent:
    """One POST to ``/messages``, as it came, and what became of it."""

    path: str
    headers: dict[str, str]
    body: Any
    time: float
    #: Given when the message was accepted, even if the answer that said so was lost.
    wamid: str | None = None
    #: The HTTP status of the answer; ``None`` when there was none.
    answered: int | None = None
    #: The Graph error code of a refusal.
    error: int | None = None

    @property
    def accepted(self) -> bool:
        return self.wamid is not None

    @property
    def number(self) -> str:
        """The phone_number_id it was sent from."""
        return self.path.rstrip("/").split("/")[-2]

    @property
    def recipient(self) -> str | None:
        return (self.body.get("to") or self.body.get("recipient")) if isinstance(self.body, dict) else None

    @property
    def text(self) -> str | None:
        found = self.body.get("text") if isinstance(self.body, dict) else None
        return found.get("body") if isinstance(found, dict) else None

    @property
    def kind(self) -> str | None:
        return self.body.get("type", "text") if isinstance(self.body, dict) else None

    @property
    def content(self) -> Any:
        """What stands under the name of its type."""
        return self.body.get(self.kind) if isinstance(self.body, dict) and self.kind else None

    @property
    def callback_data(self) -> str | None:
        return self.body.get("biz_opaque_callback_data") if isinstance(self.body, dict) else None


@dataclass
class Delivery:
    """One webhook body and what the server answered at each attempt: an HTTP status, or 0 for no answer at all."""

    body: bytes
    headers: dict[str, str]
    answers: list[int] = field(default_factory=list)
    abandoned: bool = False

    @property
    def accepted(self) -> bool:
        return bool(self.answers) and self.answers[-1] == 200


@dataclass
class Fault:
    """What happens to a send instead of an ordinary answer: used up after ``times``, and only for the recipient ``to`` when given."""

    times: int = 1
    to: str | None = None
    #: A Graph error; without ``http_status`` it comes later, by webhook.
    code: int | None = None
    #: The answer is a refusal; without ``code`` it has no body.
    http_status: int | None = None
    retry_after: int | None = None
    #: Seconds between accepting the message and answering.
    delay: float = 0.0
    #: Close the connection, before or after accepting the message.
    drop: str | None = None

    def applies_to(self, recipient: str | None) -> bool:
        return self.times > 0 and (self.to is None or self.to == recipient)


class Refused(Exception):
    """A send that is answered with an error. ``code=None``: no Graph error, and no body."""

    def __init__(self, code: int | None, http_status: int, details: str = "", retry_after: int | None = None):
        super().__init__(code)
        self.code, self.http_status, self.details, self.retry_after = code, http_status, details, retry_after


SENDABLE = {"text", "image", "video", "audio", "document", "sticker", "location", "contacts", "reaction", "interactive", "template"}

TITLES = {
    4: "Application request limit reached",
    100: "Invalid parameter",
    190: "Error validating access token: Session has expired",
    130429: "Rate limit hit",
    131000: "Something went wrong",
    131008: "Required parameter is missing",
    131009: "Parameter value is not valid",
    131016: "Service unavailable",
    131026: "Message undeliverable",
    131047: "Re-engagement message",
    131048: "Spam rate limit hit",
    131051: "Unsupported message type",
    131030: "Recipient phone number not in allowed list",
    131031: "Business Account locked",
    131042: "Business eligibility payment issue",
    131052: "Media download error",
    131053: "Media upload error",
    131056: "(Business Account, Consumer Account) pair rate limit hit",
    131057: "Business account is in maintenance mode",
    132000: "Number of parameters does not match the expected number of params",
    132001: "Template name does not exist in the translation",
    80007: "Rate limit issues",
}


def refuse_content(kind: str, content: Any, whatsapp: FakeWhatsApp) -> None:
    """The limits that the real API holds messages of each type to."""

    def need(condition: Any, details: str, code: int = 131009) -> None:
        if not condition:
            raise Refused(code, 400, details)

    def is_text(value: Any, most: int, least: int = 1) -> bool:
        return isinstance(value, str) and least <= len(value) <= most

    if kind == "text":
        return
    need(isinstance(content, dict) or kind == "contacts", f"Parameter '{kind}' is not an object", 100)
    if kind in ("image", "video", "audio", "document", "sticker"):
        need(content.get("id") in whatsapp.uploads or content.get("link"), "Media ID is not one of this account's", 131053)
        need("caption" not in content or kind in ("image", "video", "document"), f"{kind} takes no caption", 100)
        need(is_text(content.get("caption", ""), 1024, 0), "caption is longer than 1024 characters")
        mime = whatsapp.uploads.get(content.get("id"), (b"", "", ""))[1]
        families = {"image": "image/", "video": "video/", "audio": "audio/", "sticker": "image/webp"}
        need(mime.startswith(families.get(kind, "")), f"{mime} cannot be sent as {kind}", 131053)
    elif kind == "reaction":
        need(is_text(content.get("message_id"), 512), "message_id is required", 131008)
        need(isinstance(content.get("emoji"), str) and len(content["emoji"]) <= 32, "emoji is required", 131008)
    elif kind == "location":
        need(all(isinstance(content.get(name), (int, float)) for name in ("latitude", "longitude")), "latitude and longitude are required", 131008)
    elif kind == "template":
        name, language = content.get("name"), content.get("language")
        need(is_text(name, 512) and isinstance(language, dict) and language.get("code"), "name and language are required", 131008)
        if whatsapp.templates is not None:
            need(name in whatsapp.templates, f"template name ({name}) does not exist in {language['code']}", 132001)
            given = sum(len(part.get("parameters", [])) for part in content.get("components", []) if part.get("type") == "body")
            need(given == whatsapp.templates[name], f"number of localizable_params ({given}) does not match", 132000)
    elif kind == "interactive":
        action = content.get("action") or {}
        need(is_text((content.get("body") or {}).get("text"), 1024), "body must have 1 to 1024 characters")
        for part in ("header", "footer"):
            need(part not in content or is_text(content[part].get("text"), 60), f"{part} must have 1 to 60 characters")
        if content.get("type") == "button":
            replies = [button.get("reply", {}) for button in action.get("buttons", []) if button.get("type") == "reply"]
            need(1 <= len(replies) <= 3, "1 to 3 buttons")
            need(all(is_text(reply.get("title"), 20) and is_text(reply.get("id"), 256) for reply in replies), "button title or id")
            need(len({reply["id"] for reply in replies}) == len(replies), "button ids must differ")
        elif content.get("type") == "list":
            sections = action.get("sections", [])
            rows = [row for section in sections for row in section.get("rows", [])]
            need(is_text(action.get("button"), 20), "button must have 1 to 20 characters")
            need(1 <= len(rows) <= 10 and 1 <= len(sections) <= 10, "1 to 10 rows in all")
            need(len(sections) == 1 or all(is_text(section.get("title"), 24) for section in sections), "each section needs a title")
            need(all(is_text(row.get("title"), 24) and is_text(row.get("id"), 200) for row in rows), "row title or id")
            need(all(is_text(row.get("description", ""), 72, 0) for row in rows), "row description")
        else:
            need(False, "interactive type must be button or list")


def graph_error(code: int, details: str = "") -> dict[str, Any]:
    title = TITLES.get(code, "Error")
    data = {"messaging_product": "whatsapp", "details": details or title}
    return {"error": {"message": f"(#{code}) {title}", "type": "OAuthException", "code": code, "error_data": data, "fbtrace_id": "A" * 23}}


# --- The server ----------------------------------------------------------------------------------------------------------------------


class FakeWhatsApp:
    """Everything a test may look at is safe to look at from its own thread."""

    def __init__(
        self,
        webhook: str | None = None,
        app_secret: str = "segredo-de-teste",
        *,
        port: int = 0,
        token: str | None = None,
        numbers: dict[str, str] | None = None,
        seed: int = 1,
    ):
        """``token``: the only one accepted; any when left out. ``numbers``: phone_number_id -> WABA id."""
        self.webhook = webhook
        self.app_secret = app_secret
        self.port = port
        self.token = token
        self.numbers = numbers or {DEFAULT_NUMBER: DEFAULT_WABA}

        #: Every POST to ``/messages``, in the order in which they were decided, the refused ones too.
        self.sent: list[Sent] = []
        #: Read receipts and typing indicators: their bodies.
        self.receipts: list[Any] = []
        self.deliveries: list[Delivery] = []
        #: The most sends in flight at once, per recipient: 1 proves that nobody overtakes.
        self.max_in_flight: dict[str, int] = {}

        #: Statuses sent by themselves after each accepted message, and the seconds between them. ``()`` for none.
        self.auto_statuses: tuple[str, ...] = ("sent", "delivered", "read")
        self.status_gap = 0.05
        self.reorder_statuses = False
        self.duplicate_statuses = False
        #: Deliver the first status before answering the send, as happens.
        self.status_before_answer = False
        #: The ``wa_id`` to answer with for a number, where the rule of ``wa_id_of`` is not what a test wants.
        self.wa_ids: dict[str, str] = {}
        #: Seconds every answer takes.
        self.latency = 0.0
        #: Waits before each redelivery; after the last one a delivery is abandoned (Meta goes on for seven days).
        self.redelivery_gaps: tuple[float, ...] = (0.2, 0.5, 1, 2, 4, 8, 16, 32)
        self.webhook_timeout = 20.0

        self._random = random.Random(seed)
        self._changed = threading.Condition()
        self._faults: list[Fault] = []
        self._in_flight: dict[str, int] = {}
        self._token_expired = False
        self._pair_rate: tuple[int, float] | None = None
        self._pair_busy_until: dict[tuple[str, str], float] = {}
        self._window_enforced = False
        self._window_by_webhook = False
        self._last_inbound: dict[tuple[str, str], float] = {}
        self._clock_offset = 0.0
        #: Templates that exist, with how many variables their body has; ``None``: any name is one.
        self.templates: dict[str, int] | None = None
        #: Uploaded by the server: media id -> (content, type, file name).
        self.uploads: dict[str, tuple[bytes, str, str]] = {}
        #: How often files were fetched: media id -> times.
        self.fetched: dict[str, int] = {}
        #: Seconds an address of a file lives.
        self.media_url_life = 300.0
        self._media_faults: list[str] = []
        self._media: dict[str, tuple[bytes, str]] = {}
        self._media_urls: dict[str, tuple[str, float]] = {}
        self._scheduled: list[tuple[float, int, Delivery]] = []
        self._sequence = itertools.count()
        self._connections: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()

    # Life

    def start(self) -> FakeWhatsApp:
        """Listens on the loopback interface. Started again after ``stop``, it keeps its port."""
        fake = self

        class Handler(_Handler):
            whatsapp = fake

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 512
            allow_reuse_address = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that hangs up is no news."""

        self._stopping.clear()
        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        self._threads = [
            threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True),
            threading.Thread(target=self._deliver_scheduled, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """Open connections are cut and new ones refused. Deliveries still due wait for the next ``start``."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        with self._changed:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # It had ended by itself.
        for thread in self._threads:
            thread.join(timeout=5)

    def __enter__(self) -> FakeWhatsApp:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """What the server is to use in place of ``https://graph.facebook.com``."""
        return f"http://127.0.0.1:{self.port}"

    # Looking

    @property
    def accepted(self) -> list[Sent]:
        with self._changed:
            return [sent for sent in self.sent if sent.accepted]

    def wait_for(self, predicate: Callable[[Sent], bool], timeout: float | None = 5.0, count: int = 1) -> Any:
        """The first send, accepted or refused, that ``predicate`` holds for, those of the past included; with ``count``, a list of so many.
        AssertionError after ``timeout`` seconds."""

        def found() -> list[Sent]:
            return [sent for sent in self.sent if predicate(sent)]

        with self._changed:
            if not self._changed.wait_for(lambda: len(found()) >= count, timeout):
                seen = [(sent.recipient, sent.text, sent.error) for sent in self.sent]
                raise AssertionError(f"{len(found())} of {count} sends within {timeout} s; seen: {seen}")
            return found()[0] if count == 1 else found()[:count]

    def wait_until_delivered(self, timeout: float = 5.0) -> None:
        """Until every delivery so far was answered 200 or abandoned, and none is due."""
        with self._changed:
            settled = self._changed.wait_for(
                lambda: not self._scheduled and all(delivery.accepted or delivery.abandoned for delivery in self.deliveries), timeout
            )
            if not settled:
                raise AssertionError(f"deliveries not settled within {timeout} s: {[delivery.answers for delivery in self.deliveries]}")

    # Webhooks

    def handshake(self, verify_token: str, challenge: str = "1158201444", mode: str = "subscribe") -> tuple[int, str]:
        """Asks the server to confirm its webhook address, as Meta does when it is registered: the status and the body it answered."""
        query = urllib.parse.urlencode({"hub.mode": mode, "hub.verify_token": verify_token, "hub.challenge": challenge})
        connection, path = self._connect()
        try:
            connection.request("GET", f"{path}?{query}")
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def deliver(
        self, *items: Item, signature: str | None = "", raw: bytes | None = None, times: int = 1, redeliver: bool = True
    ) -> Delivery:
        """Posts the items as one batch and waits for the answer. Answered other than 200, it is delivered again later.

        ``signature``: another header, or ``None`` for no header. ``raw``: other bytes, signed as they are. ``times``: so many copies at
        the same moment, over as many connections.
        """
        delivery = self._prepare(items, signature, raw)
        if times == 1:
            self._attempt(delivery, redeliver)
        else:
            with ThreadPoolExecutor(times) as pool:
                list(pool.map(lambda _: self._attempt(delivery, redeliver), range(times)))
        return delivery

    def deliver_later(self, *items: Item, after: float) -> Delivery:
        """Posts the items in the background, ``after`` seconds from now."""
        delivery = self._prepare(items, "", None)
        self._schedule(delivery, after)
        return delivery

    def redeliver(self, delivery: Delivery) -> Delivery:
        """The same bytes once more, as Meta may do hours after they were answered 200."""
        self._attempt(delivery, redeliver=False)
        return delivery

    def _prepare(self, items: tuple[Item, ...], signature: str | None, raw: bytes | None) -> Delivery:
        body = raw if raw is not None else meta_json(batch(items, self.numbers))
        headers = {"Content-Type": "application/json", "User-Agent": "facebookexternalua", "Accept": "*/*"}
        if signature is not None:
            headers["X-Hub-Signature-256"] = signature or sign(self.app_secret, body)
        delivery = Delivery(body, headers)
        default = next(iter(self.numbers))
        with self._changed:
            self.deliveries.append(delivery)
            for item in items:
                if item.into == "messages" and isinstance(item.element, dict):
                    sender = item.element.get("from") or item.element.get("from_user_id") or ""
                    self._last_inbound[item.number or default, person(sender)] = self._now()
        return delivery

    def _connect(self) -> tuple[http.client.HTTPConnection, str]:
        if self.webhook is None:
            raise ValueError("this FakeWhatsApp was given no webhook address")
        url = urllib.parse.urlsplit(self.webhook)
        return http.client.HTTPConnection(url.hostname or "", url.port or 80, timeout=self.webhook_timeout), url.path

    def _attempt(self, delivery: Delivery, redeliver: bool = True) -> None:
        connection, path = self._connect()
        try:
            connection.request("POST", path, body=delivery.body, headers=delivery.headers)
            answer = connection.getresponse()
            answer.read()
            answered = answer.status
        except (OSError, http.client.HTTPException):
            answered = 0
        finally:
            connection.close()
        with self._changed:
            delivery.answers.append(answered)
            failures = sum(answer != 200 for answer in delivery.answers)
            if answered != 200:
                if redeliver and failures <= len(self.redelivery_gaps):
                    self._schedule(delivery, self.redelivery_gaps[failures - 1])
                else:
                    delivery.abandoned = True
            self._changed.notify_all()

    def _schedule(self, delivery: Delivery, after: float) -> None:
        with self._changed:
            heapq.heappush(self._scheduled, (time.monotonic() + after, next(self._sequence), delivery))
            self._changed.notify_all()

    def _deliver_scheduled(self) -> None:
        """One at a time, so that statuses come in order unless they are meant not to."""
        while not self._stopping.is_set():
            with self._changed:
                wait = self._scheduled[0][0] - time.monotonic() if self._scheduled else 1.0
                if wait > 0:
                    self._changed.wait(min(wait, 1.0))
                    continue
                delivery = heapq.heappop(self._scheduled)[2]
            self._attempt(delivery)

    # What goes wrong

    def fail_next(
        self,
        code: int | None = 131000,
        http_status: int | None = None,
        times: int = 1,
        *,
        to: str | None = None,
        by_webhook: bool = False,
        retry_after: int | None = None,
    ) -> None:
        """The next sends are refused with a Graph error; ``code=None`` is a bare ``http_status`` (500) without a body. ``by_webhook``: they
        are accepted, and reported as failed afterwards."""
        usual = {190: 401, 10: 403, 131016: 503, 131000: 500, None: 500}.get(code, 400)
        self._add(Fault(times, to, code, None if by_webhook else http_status or usual, retry_after))

    def slow_next(self, seconds: float, times: int = 1, *, to: str | None = None) -> None:
        """The next sends are accepted and answered only after ``seconds``."""
        self._add(Fault(times, to, delay=seconds))

    def drop_after_accept(self, times: int = 1, *, to: str | None = None) -> None:
        """The next sends are accepted, statuses and all, and the connection closes without an answer."""
        self._add(Fault(times, to, drop="after"))

    def drop_before_accept(self, times: int = 1, *, to: str | None = None) -> None:
        """The next sends are read and forgotten, and the connection closes without an answer."""
        self._add(Fault(times, to, drop="before"))

    def fail_media(self, *faults: str) -> None:
        """What happens to the next fetches of files, one each: ``expired`` (the address is no longer good), ``cut`` (the connection ends in the middle),
        ``altered`` (other bytes than were announced), ``error`` (HTTP 500), ``upload`` (the next upload gets HTTP 503)."""
        with self._changed:
            self._media_faults.extend(faults)

    def take_media_fault(self, *kinds: str) -> str | None:
        with self._changed:
            for fault in self._media_faults:
                if fault in kinds:
                    self._media_faults.remove(fault)
                    return fault
        return None

    def clear_faults(self) -> None:
        with self._changed:
            self._faults.clear()
            self._media_faults.clear()

    def expire_token(self) -> None:
        """Every send is refused with 190 until ``renew_token``."""
        self._token_expired = True

    def renew_token(self, token: str | None = None) -> None:
        self._token_expired = False
        self.token = token or self.token

    def limit_pair_rate(self, burst: int = 45, seconds_per_message: float = 6.0) -> None:
        """One message per recipient every so many seconds, after a burst that is borrowed from the time to come; else 131056."""
        self._pair_rate = (burst, seconds_per_message)

    def enforce_window(self, by_webhook: bool = False) -> None:
        """Free text only within 24 hours of the recipient's last message, else 131047, in the answer or by webhook."""
        self._window_enforced, self._window_by_webhook = True, by_webhook

    def advance_clock(self, seconds: float) -> None:
        """For the 24-hour window, the pair rate and the life of media addresses. Timestamps in webhooks keep the real time."""
        self._clock_offset += seconds

    def _add(self, fault: Fault) -> None:
        with self._changed:
            self._faults.append(fault)

    def _now(self) -> float:
        return time.time() + self._clock_offset

    def _wa_id(self, number: str) -> str:
        return self.wa_ids.get(number) or wa_id_of(number)

    # Sending

    def _take_fault(self, recipient: str | None) -> Fault:
        with self._changed:
            for fault in self._faults:
                if fault.applies_to(recipient):
                    fault.times -= 1
                    return fault
        return Fault()

    def check_token(self, authorization: str | None) -> None:
        given = (authorization or "").removeprefix("Bearer ")
        if not given or self._token_expired or self.token not in (None, given):
            raise Refused(190, 401)

    def _check(self, sent: Sent) -> None:
        """What the real API would refuse."""
        self.check_token(sent.headers.get("authorization"))
        if sent.number not in self.numbers:
            raise Refused(100, 400, f"Object with ID '{sent.number}' does not exist")
        body = sent.body
        if not isinstance(body, dict) or body.get("messaging_product") != "whatsapp":
            raise Refused(100, 400, "messaging_product must be 'whatsapp'")
        if not isinstance(sent.recipient, str) or not sent.recipient:
            raise Refused(131008, 400, "Parameter 'to' is required")
        kind = body.get("type", "text")
        if kind not in SENDABLE:
            raise Refused(131051, 400)
        if kind not in body:
            raise Refused(131008, 400, f"Parameter '{kind}' is required")
        if kind == "text" and not (isinstance(sent.text, str) and 0 < len(sent.text) <= 4096):
            raise Refused(100, 400, "Param text['body'] must be 1 to 4096 characters long")
        refuse_content(kind, body[kind], self)
        if len(sent.callback_data or "") > 512:
            raise Refused(131009, 400, "biz_opaque_callback_data is longer than 512 characters")

    def _check_limits(self, sent: Sent) -> int | None:
        """Refuses, or gives the code the message is to fail with later."""
        pair = (sent.number, person(sent.recipient or ""))
        with self._changed:
            now = self._now()
            if self._window_enforced and sent.body.get("type") != "template" and now - self._last_inbound.get(pair, 0) > DAY:
                if not self._window_by_webhook:
                    raise Refused(131047, 400, "More than 24 hours have passed since the customer last replied to this number")
                return 131047
            if self._pair_rate is not None:
                burst, seconds = self._pair_rate
                busy_until = max(self._pair_busy_until.get(pair, 0), now) + seconds
                if busy_until - now > burst * seconds:
                    raise Refused(131056, 400)
                self._pair_busy_until[pair] = busy_until
        return None

    def _seen(self, sent: Sent, *, wamid: str | None = None, error: int | None = None) -> None:
        """Shows a send together with what was decided of it: whoever looks never finds one that may still be accepted or refused."""
        with self._changed:
            sent.wamid, sent.error = wamid, error
            self.sent.append(sent)
            self._changed.notify_all()

    def _accept(self, sent: Sent, fails_with: int | None) -> None:
        self._seen(sent, wamid=new_wamid())
        if self.webhook is None:
            return
        wa_id = self._wa_id(sent.recipient or "")
        common: dict[str, Any] = {"recipient": wa_id, "callback_data": sent.callback_data, "number": sent.number}
        if fails_with is not None:
            title = TITLES.get(fails_with, "Error")
            error = {"code": fails_with, "title": title, "message": title, "error_data": {"details": title}}
            statuses = [status(sent.wamid, "failed", errors=[error], **common)]
        else:
            statuses = [status(sent.wamid, name, **common) for name in self.auto_statuses]
        if self.duplicate_statuses:
            statuses = [twice for one in statuses for twice in (one, one)]
        if self.reorder_statuses:
            self._random.shuffle(statuses)
        if self.status_before_answer and statuses:
            self.deliver(statuses.pop(0))
        for position, item in enumerate(statuses, start=1):
            self.deliver_later(item, after=position * self.status_gap)

    def handle_send(self, sent: Sent) -> tuple[Fault, int, Any, int | None]:
        """Decides about one send: the fault that applies, the HTTP status, the answer and ``Retry-After``."""
        fault = Fault()
        try:
            self._check(sent)
            fault = self._take_fault(sent.recipient)
            if fault.drop == "before":
                self._seen(sent)
                return fault, 0, None, None
            if fault.http_status is not None:
                raise Refused(fault.code, fault.http_status, retry_after=fault.retry_after)
            fails_later = self._check_limits(sent)
            self._accept(sent, fault.code or fails_later)
        except Refused as refused:
            self._seen(sent, error=refused.code)
            answer = None if refused.code is None else graph_error(refused.code, refused.details)
            return fault, refused.http_status, answer, refused.retry_after
        contact = {"input": sent.recipient, "wa_id": self._wa_id(sent.recipient or "")}
        if "to" not in sent.body:
            contact = {"input": sent.recipient, "user_id": sent.recipient}
        return fault, 200, {"messaging_product": "whatsapp", "contacts": [contact], "messages": [{"id": sent.wamid}]}, None

    def enter(self, recipient: str | None) -> None:
        with self._changed:
            now = self._in_flight[recipient or ""] = self._in_flight.get(recipient or "", 0) + 1
            self.max_in_flight[recipient or ""] = max(now, self.max_in_flight.get(recipient or "", 0))

    def opened(self, connection: socket.socket) -> None:
        with self._changed:
            self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._changed:
            self._connections.discard(connection)

    def leave(self, recipient: str | None) -> None:
        with self._changed:
            self._in_flight[recipient or ""] -= 1

    # Media

    def number_record(self, number: str) -> dict[str, Any] | None:
        """What ``GET /{phone_number_id}`` answers, for one of ours."""
        if number not in self.numbers:
            return None
        return {"id": number, "display_phone_number": f"+55 11 9{number[-8:-4]}-{number[-4:]}", "verified_name": "Empresa"}

    def add_media(self, content: bytes, mime_type: str) -> str:
        """Something a customer sent, to be fetched: its media id."""
        media_id = str(self._random.randrange(10**14, 10**15))
        with self._changed:
            self._media[media_id] = (content, mime_type)
        return media_id

    def media_address(self, media_id: str) -> dict[str, Any]:
        """What ``GET /{media_id}`` answers: an address that lives for five minutes."""
        with self._changed:
            if media_id not in self._media:
                raise Refused(100, 400, f"Object with ID '{media_id}' does not exist")
            content, mime_type = self._media[media_id]
            key = uuid.uuid4().hex
            self._media_urls[key] = (media_id, self._now() + self.media_url_life)
        digest = hashlib.sha256(content).hexdigest()
        found = {"url": f"{self.url}/whatsapp_business/attachments/{key}", "mime_type": mime_type, "sha256": digest}
        return found | {"file_size": len(content), "id": media_id, "messaging_product": "whatsapp"}

    def media_content(self, key: str) -> tuple[bytes, str] | None:
        with self._changed:
            media_id, until = self._media_urls.get(key, ("", 0.0))
            self.fetched[media_id] = self.fetched.get(media_id, 0) + 1
            return self._media.get(media_id) if self._now() < until else None

    def take_upload(self, content: bytes, content_type: str) -> dict[str, Any]:
        """``POST /{number}/media``: a form with ``messaging_product``, ``type`` and ``file``."""
        form = email.message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + content, policy=email.policy.HTTP)
        fields = {}
        for part in form.iter_parts() if form.is_multipart() else ():
            fields[part.get_param("name", header="content-disposition")] = part
        if "file" not in fields or "messaging_product" not in fields:
            raise Refused(100, 400, "The form must have messaging_product and file")
        if self.take_media_fault("upload"):
            raise Refused(131016, 503)
        part = fields["file"]
        # As it stands between the boundaries: the parser is for text and would alter line ends.
        boundary = b"--" + form.get_boundary().encode()
        raw = next(piece for piece in content.split(boundary) if b'name="file"' in piece[:2048])
        body = raw.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
        media_id = self.add_media(body, part.get_content_type())
        with self._changed:
            self.uploads[media_id] = (body, part.get_content_type(), part.get_filename() or "")
            self._changed.notify_all()
        return {"id": media_id}


class _Handler(BaseHTTPRequestHandler):
    """Carries requests to the fake and its decisions back. Decides nothing."""

    whatsapp: FakeWhatsApp
    protocol_version = "HTTP/1.1"
    # Small answers must not wait for an acknowledgement.
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.whatsapp.opened(self.connection)

    def finish(self) -> None:
        self.whatsapp.closed(self.connection)
        super().finish()

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urllib.parse.urlsplit(self.path).path
        if re.fullmatch(r"/v\d+\.\d+/[^/]+/messages/?", path):
            self._message(path, content)
        elif re.fullmatch(r"/v\d+\.\d+/[^/]+/media/?", path):
            self._guarded(lambda: self.whatsapp.take_upload(content, self.headers.get("Content-Type") or ""))
        else:
            self._answer(404, graph_error(100, "Unknown path components"))

    def do_GET(self) -> None:
        path = urllib.parse.urlsplit(self.path).path
        if found := re.fullmatch(r"/v\d+\.\d+/(\d+)/?", path):
            self._guarded(lambda: self.whatsapp.number_record(found[1]) or self.whatsapp.media_address(found[1]))
        elif found := re.fullmatch(r"/whatsapp_business/attachments/(\w+)", path):
            content = self.whatsapp.media_content(found[1])
            fault = self.whatsapp.take_media_fault("expired", "cut", "altered", "error")
            if fault == "error":
                self._answer(500, None)
                return
            if fault == "altered" and content is not None:
                content = (content[0][:-1] + bytes([content[0][-1] ^ 1]), content[1])
            if fault == "cut" and content is not None:
                self._cut_short(content[0])
                return
            content = None if fault == "expired" else content
            # The token is needed here too, and its absence shows as "not found".
            if content is None or not self.headers.get("Authorization"):
                self._answer(404, None)
            else:
                self._answer(200, content[0], mime_type=content[1])
        else:
            self._answer(404, graph_error(100, "Unknown path components"))

    def _guarded(self, answer: Callable[[], Any]) -> None:
        try:
            self.whatsapp.check_token(self.headers.get("Authorization"))
            self._answer(200, answer())
        except Refused as refused:
            self._answer(refused.http_status, graph_error(refused.code or 0, refused.details))

    def _message(self, path: str, content: bytes) -> None:
        try:
            body = json.loads(content)
        except ValueError:
            body = None
        if isinstance(body, dict) and body.get("status") == "read":
            self.whatsapp.receipts.append(body)
            self._guarded(lambda: {"success": True})
            return
        sent = Sent(path, {name.lower(): value for name, value in self.headers.items()}, body, time.time())
        recipient = sent.recipient
        self.whatsapp.enter(recipient)
        try:
            fault, http_status, answer, retry_after = self.whatsapp.handle_send(sent)
            is_answered = fault.drop is None and self._client_waits(self.whatsapp.latency + fault.delay)
        finally:
            # Before anything goes back: whoever reads the answer may send the next one before this thread runs again.
            self.whatsapp.leave(recipient)
        if is_answered:
            sent.answered = http_status
            self._answer(http_status, answer, retry_after=retry_after)
        else:
            self.close_connection = True
            try:
                self.connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # The client had hung up already.

    def _client_waits(self, seconds: float) -> bool:
        """Waits, unless the client hangs up first: a send it has given up is no longer in flight."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            readable, _, _ = select.select([self.connection], [], [], min(left, 0.1))
            if readable:
                if not self.connection.recv(1, socket.MSG_PEEK):
                    return False
                time.sleep(min(left, 0.02))
        return True

    def _answer(
        self, http_status: int, answer: Any, *, mime_type: str = "application/json; charset=UTF-8", retry_after: int | None = None
    ) -> None:
        body = b"" if answer is None else answer if isinstance(answer, bytes) else meta_json(answer)
        self.send_response(http_status)
        self.send_header("Content-Type", mime_type)
        self.send_header("Content-Length", str(len(body)))
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        self.wfile.write(body)

    def _cut_short(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: what matters is recorded."""


# --- By hand -------------------------------------------------------------------------------------------------------------------------

BY_HAND = """\
<number> <text>             a customer writes
/image|/audio|/video|/document|/sticker <number> <file>   a customer sends a file
/react <number> <wamid> [emoji]    a customer reacts, or takes it back
/button <number> <id> <title>      a customer taps a button
/echo <number> <text>       the business answers on its own handset
/fail <code> [times] [to]   the next sends are refused with a Graph error (190, 131000, 131016, 131026, 131047, 131056, ...)
/later <code> [times] [to]  the next sends are accepted, and reported as failed by webhook
/drop before|after [times]  the connection ends before or after the next sends are accepted, without an answer
/slow <seconds> [times]     the next sends are answered late
/media expired|cut|altered|error|upload   what happens to the next file
/expire, /renew             the access token is no longer good, is good again
/pair [burst] [seconds]     limit messages per recipient (131056)
/window                     enforce the 24-hour window (131047)
/clock <seconds>            let this much time pass for windows, limits and addresses
/down, /up                  nothing answers on the port, and again
/again                      the last delivery once more
/clear                      forget all faults to come
/help                       this
"""


def obey(whatsapp: FakeWhatsApp, line: str) -> str:
    """Carries out one typed line. What to print."""
    word, *rest = line.strip().split()
    numbers = [part for part in rest if part.isdigit()]
    if not word.startswith("/"):
        return f"<- answered {whatsapp.deliver(text(word, line.strip().partition(' ')[2])).answers[-1]}"
    command = word[1:]
    if command in ("image", "audio", "video", "document", "sticker"):
        with open(rest[1], "rb") as file:
            content = file.read()
        mime_type = mimetypes.guess_type(rest[1])[0] or "application/octet-stream"
        item = media(rest[0], command, whatsapp.add_media(content, mime_type), content={"mime_type": mime_type, "sha256": digest_of(content)})
        return f"<- answered {whatsapp.deliver(item).answers[-1]}"
    if command == "react":
        return f"<- answered {whatsapp.deliver(reaction(rest[0], rest[1], rest[2] if len(rest) > 2 else None)).answers[-1]}"
    if command == "button":
        return f"<- answered {whatsapp.deliver(button_reply(rest[0], rest[1], ' '.join(rest[2:]))).answers[-1]}"
    if command == "echo":
        return f"<- answered {whatsapp.deliver(echo(rest[0], ' '.join(rest[1:]))).answers[-1]}"
    if command in ("fail", "later"):
        times = int(rest[1]) if len(rest) > 1 else 1
        whatsapp.fail_next(int(rest[0]), times=times, to=rest[2] if len(rest) > 2 else None, by_webhook=command == "later")
    elif command == "drop":
        (whatsapp.drop_before_accept if rest[0] == "before" else whatsapp.drop_after_accept)(int(numbers[0]) if numbers else 1)
    elif command == "slow":
        whatsapp.slow_next(float(rest[0]), int(rest[1]) if len(rest) > 1 else 1)
    elif command == "media":
        whatsapp.fail_media(*rest)
    elif command == "expire":
        whatsapp.expire_token()
    elif command == "renew":
        whatsapp.renew_token()
    elif command == "pair":
        whatsapp.limit_pair_rate(int(rest[0]) if rest else 45, float(rest[1]) if len(rest) > 1 else 6.0)
    elif command == "window":
        whatsapp.enforce_window()
    elif command == "clock":
        whatsapp.advance_clock(float(rest[0]))
    elif command == "down":
        whatsapp.stop()
    elif command == "up":
        whatsapp.start()
    elif command == "again":
        return f"<- answered {whatsapp.redeliver(whatsapp.deliveries[-1]).answers[-1]}"
    elif command == "clear":
        whatsapp.clear_faults()
    else:
        return BY_HAND
    return "ok"


def main() -> None:
    parser = argparse.ArgumentParser(
        description="A stand-in for the WhatsApp Cloud API: takes what a server sends, and calls its webhook. Type into it:",
        epilog=BY_HAND,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--webhook", help="where deliveries go, e.g. http://127.0.0.1:8080/api/webhooks/whatsapp")
    parser.add_argument("--app-secret", default="segredo-de-teste", help="signs deliveries: the server's WHATSAPP_APP_SECRET")
    parser.add_argument("--token", help="the only access token accepted (any when left out)")
    parser.add_argument("--number", action="append", help=f"phone_number_id, {DEFAULT_NUMBER} when left out; may be given several times")
    parser.add_argument("--waba", default=DEFAULT_WABA, help="WhatsApp Business Account id")
    parser.add_argument("--template", action="append", help="name:variables of a template that exists; any name is one when left out")
    options = parser.parse_args()

    numbers = {number: options.waba for number in options.number or [DEFAULT_NUMBER]}
    whatsapp = FakeWhatsApp(options.webhook, options.app_secret, port=options.port, token=options.token, numbers=numbers)
    if options.template:
        whatsapp.templates = {name: int(count or 0) for name, _, count in (entry.partition(":") for entry in options.template)}
    whatsapp.start()
    print(f"listening on {whatsapp.url}; type /help", flush=True)

    def show() -> None:
        shown = 0
        while True:
            whatsapp.wait_for(lambda _: True, timeout=None, count=shown + 1)
            sent = whatsapp.sent[shown]
            shown += 1
            became = sent.wamid or f"refused with {sent.error}"
            print(f"-> {sent.recipient}: {sent.text or json.dumps(sent.body, ensure_ascii=False)} ({became})", flush=True)

    threading.Thread(target=show, daemon=True).start()
    try:
        for line in sys.stdin:
            if line.strip():
                try:
                    print(obey(whatsapp, line), flush=True)
                except (IndexError, ValueError, OSError) as error:
                    print(f"{type(error).__name__}: {error}; type /help", flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        whatsapp.stop()


if __name__ == "__main__":
    main()
