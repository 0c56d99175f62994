"""Plays protocol/examples/*.jsonl (see the README there) against a live server: what the client says is said, and what the server answers is compared, but for ids,
times, epochs and tokens, which are others each time and must be others consistently. With a recorder it writes down what the server answers instead."""

import http.client
import json
import re
import socket
import threading
import time
from urllib.parse import quote

import websockets.sync.client
from websockets.exceptions import ConnectionClosed

from .waiting import PATIENCE

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_IDS = re.compile(rf"wamid\.SIM[0-9A-Za-z-]+|{_UUID}|(?<=[?&]epoch=)\w+")
# In an example that is still to be recorded: the latest of its kind that the server has named.
_BLANK = re.compile(r"\{\{(conversation|message|notice|user|epoch|offset)\}\}")
_TIMES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
# Members whose value is another each time, and means something only when it is repeated; and those that say how long.
_SECRETS, _LABELLED, _DURATIONS = ("access_token", "refresh_token", "token", "session"), ("epoch",), ("ttl", "expires_in")


class Line:
    """A live session, through one of the doors."""

    def __init__(self, name, contract):
        self.name, self.contract = name, contract
        self.frames, self.closed = [], None
        self._changed = threading.Condition()

    def _took(self, text):
        with self._changed:
            for line in text.splitlines():
                frame = json.loads(line)
                if not frame:
                    # The server's ping; answered, as every client does.
                    self.contract.heard(frame)
                    self.contract.said({})
                    self._send({})
                    continue
                self.frames.append(frame)
            self._changed.notify_all()

    def _ended(self, code, reason):
        with self._changed:
            self.closed = {"code": code, "reason": reason}
            self._changed.notify_all()

    def wait(self, condition, timeout=10.0):
        with self._changed:
            return self._changed.wait_for(condition, timeout * PATIENCE)

    def say(self, command):
        self.contract.said(command, is_sane=True)
        self._send(command)


class Socket(Line):
    def __init__(self, name, contract, server):
        super().__init__(name, contract)
        url = f"ws://{server.host}:{server.port}/connection/websocket"
        contract.contract.answered.setdefault(("GET", "/connection/websocket"), set()).add(101)
        self._connection = websockets.sync.client.connect(url, compression=None, proxy=None, max_size=None)
        self.socket = self._connection.__enter__()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            while True:
                self._took(self.socket.recv())
        except ConnectionClosed as closed:
            received = closed.rcvd
            self._ended(received.code if received else None, received.reason if received else "")

    def _send(self, command):
        self.socket.send(json.dumps(command))

    def cut(self):
        try:
            self.socket.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    close = cut


class Stream(Line):
    """`sse`, `http_stream` or `uni_sse`: the first command opens it, the others go to /emulation."""

    def __init__(self, name, contract, server, door):
        super().__init__(name, contract)
        self.server, self.door = server, door
        self.response = None

    def _send(self, command):
        text = json.dumps(command)
        if self.response is None:
            self.connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=60)
            method = "GET" if self.door == "sse" else "POST"
            query = f"?cf_connect={quote(text)}" if self.door == "sse" else ""
            self.connection.request(method, f"/connection/{self.door}{query}", None if query else text)
            self._socket = self.connection.sock
            self.response = self.connection.getresponse()
            assert self.response.status == 200
            self.contract.contract.answered.setdefault((method, f"/connection/{self.door}"), set()).add(200)
            threading.Thread(target=self._read, daemon=True).start()
            return
        session = next(frame["connect"]["session"] for frame in self.everything if "connect" in frame)
        body = {"session": session, "node": "", "data": text}
        other = http.client.HTTPConnection(self.server.host, self.server.port, timeout=30)
        other.request("POST", "/emulation", json.dumps(body))
        assert other.getresponse().status == 204
        other.close()
        self.contract.contract.answered.setdefault(("POST", "/emulation"), set()).add(204)
        self.contract.contract.check("schemas/frames/emulation.json", body, "the body of /emulation")

    def _took(self, text):
        self.everything = getattr(self, "everything", []) + [f for f in map(json.loads, text.splitlines()) if f]
        super()._took(text)

    def _read(self):
        try:
            while line := self.response.readline():
                text = line.decode().strip()
                if self.door != "http_stream":
                    # Of an event its data; not its id, when to come back, and comments (WHATWG HTML §9.2.6).
                    text = text.removeprefix("data: ") if text.startswith("data: ") else ""
                if text:
                    self._took(text)
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            pass
        self._ended(None, "")

    def cut(self):
        # Wakes the thread that is reading.
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    close = cut


class Player:
    """`people`: the tokens of those whom examples name."""

    def __init__(self, server, api, people, contract, recorder=None):
        self.server, self.api, self.contract, self.recorder = server, api, contract, recorder
        # What the example says, and what it is here. And back, to see that it is one for one.
        self.known = {f"<{name}'s token>": token for name, token in people.items()}
        self.known["<in an hour>"] = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() + 3600))
        self.back = {token: label for label, token in self.known.items()}
        self.lines, self.answer, self.latest = {}, None, {}

    def play(self, entries):
        steps = []
        for entry in entries:
            if any(kind in entry for kind in ("open", ">", "call", "cut")):
                steps.append((entry, []))
            elif steps and any(kind in entry for kind in ("<", "answer", "closed")):
                steps[-1][1].append(entry)
            elif "note" in entry:
                steps.append((entry, []))
        try:
            for number, (action, expected) in enumerate(steps, 1):
                if self.recorder is not None:
                    self._record(action, expected)
                else:
                    self._do(action)
                    self._compare(action, expected, f"step {number}, {json.dumps(action, ensure_ascii=False)[:200]}")
        finally:
            for line in self.lines.values():
                line.close()

    # MARK: What the client does

    def _do(self, entry):
        if "note" in entry:
            return
        if "open" in entry:
            name = entry.get("on", "")
            if entry["open"] == "websocket":
                self.lines[name] = Socket(name, self.contract.session(), self.server)
            else:
                self.lines[name] = Stream(name, self.contract.session(is_one_way=entry["open"] == "uni_sse"), self.server, entry["open"])
        elif ">" in entry:
            self.lines[entry.get("on", "")].say(self._here(entry[">"]))
        elif "cut" in entry:
            self.lines.pop(entry["cut"]).cut()
        elif "call" in entry:
            (method, path), body = self._here(entry["call"]).split(" ", 1), self._here(entry.get("body"))
            who = entry.get("as")
            self.api.token = self.known.get(f"<{who}'s token>") or self.known.get(who, who)
            reply = self.api.call(method, path, json=body)
            self.contract.exchanged(method, path, body, reply)
            self.answer = {"status": reply.status} | ({"body": reply.json()} if reply.body else {})

    def _here(self, value, shows_labels=False):
        """What the example says, as it is here."""
        if isinstance(value, dict):
            return {name: self._here(member, shows_labels) for name, member in value.items()}
        if isinstance(value, list):
            return [self._here(item, shows_labels) for item in value]
        if not isinstance(value, str):
            return value
        if value.startswith("<"):
            return value if shows_labels else self.known[value]
        if value in self.known:
            return self.known[value]
        if found := _BLANK.fullmatch(value):
            return self.latest[found[1]]
        return _BLANK.sub(lambda found: str(self.latest[found[1]]), _IDS.sub(lambda found: self.known.get(found[0], found[0]), value))

    # MARK: What the server does

    def _answered(self, action, wanted, where):
        """An answer that is to be asked for until it is there is given its time."""
        deadline = time.monotonic() + (10 * PATIENCE if action.get("repeat") else 0)
        while True:
            try:
                return self._same(wanted, self.answer, f"{where}: the answer", "")
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.05)
            self._do(action)

    def _compare(self, action, expected, where):
        frames = {}
        for entry in expected:
            if "<" in entry:
                frames.setdefault(entry.get("on", ""), []).append(entry["<"])
            elif "answer" in entry:
                self._answered(action, entry["answer"], where)
        for name, wanted in frames.items():
            line = self.lines[name]
            came = line.wait(lambda: len(line.frames) >= len(wanted))
            got, line.frames = line.frames[: len(wanted)], line.frames[len(wanted) :]
            assert came, f"{where}: {len(wanted)} frames were expected, and these came: {json.dumps(got, ensure_ascii=False)[:3000]}"
            for frame in got:
                line.contract.heard(frame)
            # What comes from one stream is in order; between streams, and between them and replies, there is none.
            for source in {_source(frame) for frame in wanted}:
                ours = [frame for frame in got if _source(frame, self.back) == source]
                theirs = [frame for frame in wanted if _source(frame) == source]
                assert len(ours) == len(theirs), f"{where}: {len(theirs)} frames of {source} expected, {len(ours)} came: {json.dumps(got, ensure_ascii=False)[:3000]}"
                for theirs_one, ours_one in zip(theirs, ours):
                    self._same(theirs_one, ours_one, where, "")
        for entry in expected:
            if "closed" in entry:
                line = self.lines[entry.get("on", "")]
                assert line.wait(lambda: line.closed is not None), f"{where}: the session goes on"
                assert line.closed == entry["closed"], f"{where}: {line.closed}"

    def _same(self, theirs, ours, where, at, key=""):
        what = f"{where}, at {at or 'its top'}"
        if isinstance(theirs, dict) and isinstance(ours, dict):
            assert set(theirs) == set(ours) or any(_IDS.fullmatch(name) for name in theirs), f"{what}: {sorted(theirs)} expected, got {sorted(ours)}"
            if set(theirs) != set(ours):
                # A map by id.
                assert len(theirs) == len(ours), f"{what}: {theirs} expected, got {ours}"
                theirs = {self.known.get(name, name): value for name, value in theirs.items()}
                assert set(theirs) == set(ours), f"{what}: {sorted(theirs)} expected, got {sorted(ours)}"
            for name in theirs:
                self._same(theirs[name], ours[name], where, f"{at}/{name}", name)
        elif isinstance(theirs, list) and isinstance(ours, list):
            assert len(theirs) == len(ours), f"{what}: {len(theirs)} items expected, got {len(ours)}"
            for index, pair in enumerate(zip(theirs, ours)):
                self._same(*pair, where, f"{at}/{index}")
        elif isinstance(theirs, str) and isinstance(ours, str):
            if key in _SECRETS + _LABELLED:
                return self._learn(theirs, ours, what)
            mine, yours = _IDS.findall(theirs), _IDS.findall(ours)
            assert len(mine) == len(yours), f"{what}: {theirs!r} expected, got {ours!r}"
            for pair in zip(mine, yours):
                self._learn(*pair, what)
            assert _masked(theirs) == _masked(ours), f"{what}: {theirs!r} expected, got {ours!r}"
        elif key in _DURATIONS:
            assert isinstance(ours, int), f"{what}: {ours}"
        else:
            assert theirs == ours and type(theirs) is type(ours), f"{what}: {theirs!r} expected, got {ours!r}"

    def _learn(self, theirs, ours, what):
        assert self.known.setdefault(theirs, ours) == ours and self.back.setdefault(ours, theirs) == theirs, f"{what}: {theirs} was {self.known.get(theirs)}, and is {ours}"

    # MARK: Recording

    def _record(self, action, before):
        self.recorder.append(self._here(action, shows_labels=True))
        self.answer = None
        self._do(action)
        if "note" in action:
            return
        if action.get("repeat"):
            earlier, deadline = next((entry["answer"] for entry in before if "answer" in entry), None), time.monotonic() + 10 * PATIENCE
            while earlier and _extent(earlier) != _extent(self.answer) and time.monotonic() < deadline:
                time.sleep(0.05)
                self._do(action)
        # What follows belongs to this step alone once nothing has come for a while.
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < 0.8:
            now = sum(len(line.frames) for line in self.lines.values()) + sum(line.closed is not None for line in self.lines.values())
            if now != seen:
                seen, since = now, time.monotonic()
            time.sleep(0.02)
        came = [{"answer": self.answer}] if self.answer is not None else []
        for name, line in self.lines.items():
            on = {"on": name} if name else {}
            for frame in line.frames:
                line.contract.heard(frame)
                came.append({"<": frame} | on)
            line.frames = []
            if line.closed is not None and not getattr(line, "is_told", False):
                line.is_told = True
                came.append({"closed": line.closed} | on)
        unmatched = list(came)
        for earlier in before:
            # So that what the client said in an earlier recording is understood.
            if (entry := next((entry for entry in unmatched if _outline(entry) == _outline(earlier)), None)) is not None:
                unmatched.remove(entry)
                self._recognize(earlier, entry)
        self._note(came)
        self.recorder += self._hidden(came)

    def _recognize(self, theirs, ours):
        """Learns what stands in both, whatever else has changed."""
        if isinstance(theirs, dict) and isinstance(ours, dict):
            for name in theirs.keys() & ours.keys():
                self._recognize(theirs[name], ours[name])
        elif isinstance(theirs, list) and isinstance(ours, list):
            for pair in zip(theirs, ours):
                self._recognize(*pair)
        elif isinstance(theirs, str) and isinstance(ours, str):
            for pair in zip(_IDS.findall(theirs), _IDS.findall(ours)):
                self.known.setdefault(pair[0], pair[1]), self.back.setdefault(pair[1], pair[0])

    def _note(self, value, key=""):
        if isinstance(value, dict):
            for name in ("epoch", "offset"):
                if name in value:
                    self.latest[name] = value[name]
            if key in ("conversation", "message", "notice", "user") and "id" in value:
                self.latest[key] = value["id"]
            for name, member in value.items():
                self._note(member, name)
        elif isinstance(value, list):
            for item in value:
                self._note(item, key.rstrip("s"))

    def _hidden(self, value, key=""):
        if isinstance(value, dict):
            return {name: self._hidden(member, name) for name, member in value.items()}
        if isinstance(value, list):
            return [self._hidden(item) for item in value]
        if isinstance(value, str) and key in _SECRETS:
            if value not in self.back:
                self._learn(f"<{key.replace('_', ' ')} {len(self.known)}>", value, "recording")
            return self.back[value]
        return value


def _outline(entry):
    """What an entry is, apart from whom it is about."""
    frame = entry.get("<", {})
    data = frame.get("push", {}).get("pub", {}).get("data", {})
    return "answer" in entry, frame.get("id"), _masked(_source(frame)), data.get("type") if isinstance(data, dict) else None


def _extent(answer):
    return answer and (answer["status"], len(answer["body"].get("items", [])))


def _source(frame, back=None):
    channel = frame.get("push", frame).get("channel", "")
    return _IDS.sub(lambda found: (back or {}).get(found[0], found[0]), channel)


def _masked(text):
    return _TIMES.sub("<time>", _IDS.sub("<id>", text))
