"""Any request of a connection may ask for the WebSocket (RFC 9110 section 7.8), and who does not finish what they began is let go."""

import base64
import json
import os
import select
import socket
import struct
import time

import pytest

from harness.rawsocket import TEXT, _masked
from harness.waiting import PATIENCE


@pytest.fixture(scope="module")
def office(shared_office):
    return shared_office


class Line:
    """One TCP connection, over which a test says what it wants."""

    def __init__(self, server):
        self.server = server
        self.sock = socket.create_connection((server.host, server.port), timeout=15 * PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def request(self, method="GET", path="/health", headers=(), body=b""):
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.server.host}:{self.server.port}", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    def upgrade(self, path="/connection/websocket", *headers):
        key = base64.b64encode(os.urandom(16)).decode()
        return self.request(
            "GET", path, ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", *headers]
        )

    def send(self, *parts):
        self.sock.sendall(b"".join(parts))

    def _more(self):
        chunk = self.sock.recv(65536)
        if not chunk:
            raise EOFError(f"the server has closed after {self.data!r}")
        self.data += chunk

    def answer(self):
        """The next answer: its status, its headers and its body."""
        while b"\r\n\r\n" not in self.data:
            self._more()
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        status, *fields = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
        length = int(headers.get("content-length", 0))
        while len(self.data) < length:
            self._more()
        body, self.data = self.data[:length], self.data[length:]
        return int(status.split()[1]), headers, body

    def texts(self, count):
        """The next text messages."""
        found = []
        while len(found) < count:
            while len(self.data) < 2 or len(self.data) < 2 + (length := self._length()[0]) + self._length()[1]:
                self._more()
            length, extra = self._length()
            payload = self.data[2 + extra : 2 + extra + length]
            opcode, self.data = self.data[0] & 0x0F, self.data[2 + extra + length :]
            assert opcode == TEXT, (opcode, payload)
            found += [json.loads(line) for line in payload.decode().splitlines()]
        return found

    def _length(self):
        short = self.data[1] & 0x7F
        if short < 126:
            return short, 0
        return (struct.unpack(">H", self.data[2:4])[0], 2) if len(self.data) >= 4 else (1 << 40, 2)

    def is_closed(self, within):
        """Reads on until the server closes. How long that took."""
        began = time.monotonic()
        self.sock.settimeout(within * PATIENCE)
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionError:
            pass
        return time.monotonic() - began


def frame(value):
    payload, mask = json.dumps(value).encode(), os.urandom(4)
    header = bytes([0x80 | TEXT])
    header += bytes([0x80 | len(payload)]) if len(payload) < 126 else bytes([0x80 | 126]) + struct.pack(">H", len(payload))
    return header + mask + _masked(payload, mask)


@pytest.fixture
def line(office):
    with Line(office.server) as line:
        yield line


def connect(office):
    return frame({"id": 1, "connect": {"token": office.admin.token}})


def works(office, line):
    """A socket on which the session has begun answers, and hears what is published."""
    assert line.texts(1)[0]["connect"]["client"]
    line.send(frame({"id": 2, "rpc": {"method": "echo", "data": {"n": 1}}}), frame({"id": 3, "subscribe": {"channel": "notices"}}))
    replies = line.texts(2)
    assert replies[0]["rpc"]["data"] == {"n": 1} and replies[1]["subscribe"]["positioned"]
    notice = office.admin.post("/api/v1/notices", {"text": "pelo mesmo fio"}, expect=201)
    assert line.texts(1)[0]["push"]["pub"]["data"]["notice"] == notice


def test_the_upgrade_is_the_third_request_of_its_connection(office, line):
    for _ in range(2):
        line.send(line.request())
        assert line.answer()[0] == 200
    line.send(line.upgrade())
    status, headers, _ = line.answer()
    assert status == 101 and headers["upgrade"] == "websocket" and "content-length" not in headers and "transfer-encoding" not in headers
    line.send(connect(office))
    works(office, line)


def test_frames_that_come_with_the_request_are_read(office, line):
    line.send(line.upgrade(), connect(office))
    assert line.answer()[0] == 101
    works(office, line)


@pytest.mark.parametrize("what, code", [("close", 1000), ("binary", 1003), ("bad opcode", 1002), ("ping", None)])
def test_what_ends_a_socket_may_come_with_its_request(office, line, what, code):
    """The answer goes out while the handler of the upgrade is still there."""
    mask = os.urandom(4)
    opcode, payload = {"close": (8, struct.pack(">H", 1000)), "binary": (2, b"x"), "bad opcode": (3, b""), "ping": (9, b"oi")}[what]
    line.send(line.upgrade(), bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + _masked(payload, mask))
    assert line.answer()[0] == 101
    while len(line.data) < 4:
        line._more()
    if code is None:
        assert line.data[:4] == b"\x8a\x02oi"
        line.send(connect(office))
        line.data = line.data[4:]
        return works(office, line)
    assert line.data[0] == 0x88 and struct.unpack(">H", line.data[2:4])[0] == code
    # And the server goes on.
    assert office.anybody.call("GET", "/info").status == 200


def test_pipelined_requests_are_answered_before_the_upgrade_and_the_frames_behind_it_after(office, line):
    login = json.dumps({"email": "x@example.com", "password": "wrong"}).encode()
    line.send(
        line.request(), line.request("POST", "/api/v1/auth/login", ["Content-Type: application/json"], login), line.request(path="/info"),
        line.upgrade(), connect(office),
    )
    answers = [line.answer() for _ in range(4)]
    assert [status for status, _, _ in answers] == [200, 401, 200, 101]
    assert b'"status"' in answers[0][2] and b'"detail"' in answers[1][2] and b'"gate"' in answers[2][2]
    works(office, line)


def test_a_slow_answer_holds_the_upgrade_up_and_nothing_is_lost_of_what_follows(office, line):
    # A poll that waits for a second, and much behind the upgrade.
    first = office.admin.get("/api/v1/realtime/queue", wait=0)
    poll = f"/api/v1/realtime/queue?epoch={first['epoch']}&offset={first['offset']}&wait=1"
    line.send(line.request(path=poll, headers=[f"Authorization: Bearer {office.admin.token}"]), line.upgrade(), connect(office))
    calls = [frame({"id": n, "rpc": {"method": "echo", "data": "x" * 50}}) for n in range(10, 210)]
    line.send(*calls)
    assert line.answer()[0] == 200
    assert line.answer()[0] == 101
    assert line.texts(1)[0]["id"] == 1
    assert [reply["id"] for reply in line.texts(200)] == list(range(10, 210))


def test_bytes_one_at_a_time_make_the_same_of_it(office, line):
    for byte in line.request() + line.upgrade() + connect(office):
        line.send(bytes([byte]))
    assert [line.answer()[0] for _ in range(2)] == [200, 101]
    works(office, line)


@pytest.mark.parametrize(
    "path, headers, status", [("/nowhere", [], 404), ("/connection/websocket", ["Origin: https://evil.example"], 403)], ids=["nowhere", "origin"]
)
def test_a_refused_upgrade_on_a_used_connection_is_answered_and_ends_it(office, line, path, headers, status):
    line.send(line.request())
    assert line.answer()[0] == 200
    line.send(line.upgrade(path, *headers))
    answer = line.answer()
    assert answer[0] == status and answer[1]["connection"] == "close" and json.loads(answer[2])["detail"]
    assert line.is_closed(within=10) < 10 * PATIENCE


def test_another_protocol_is_not_taken_up_and_the_request_is_answered(office, line):
    """As the HTTP client of Java does: it asks for HTTP/2 with its first request. RFC 9110 section 7.8 lets a server ignore that."""
    line.send(line.request(headers=["Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"]))
    status, headers, _ = line.answer()
    assert status == 200 and headers["connection"] == "close"
    assert line.is_closed(within=10) < 10 * PATIENCE


def test_a_socket_from_a_used_connection_is_not_held_to_the_deadlines_of_http(offices):
    office = offices(PLANTAO_HTTP_IDLE_SECONDS=1, PLANTAO_HANDSHAKE_SECONDS=2, PLANTAO_PING_SECONDS=600)
    with Line(office.server) as line:
        line.send(line.request())
        assert line.answer()[0] == 200
        line.send(line.upgrade())
        assert line.answer()[0] == 101
        line.send(connect(office))
        assert line.texts(1)
        assert not select.select([line.sock], [], [], 4)[0], "nothing happens to it"
        line.send(frame({"id": 2, "rpc": {"method": "echo", "data": 1}}))
        assert line.texts(1)[0]["rpc"]["data"] == 1


# MARK: Deadlines


@pytest.fixture(scope="module")
def strict(tmp_path_factory, request):
    from conftest import _offices

    opened = _offices(lambda: tmp_path_factory.mktemp("office"), request)
    yield next(opened)(PLANTAO_HTTP_IDLE_SECONDS=2, PLANTAO_HANDSHAKE_SECONDS=2, PLANTAO_HTTP_REQUEST_SECONDS=2)
    next(opened, None)


@pytest.mark.parametrize(
    "said",
    [
        b"", b"GET /hea", b"GET /health HTTP/1.1\r\nHost: x\r\nX-A", b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{",
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"GET /connection/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 9\r\n\r\nab",
    ],
    ids=["nothing", "half a line", "half a head", "half a body", "half a chunk", "half an upgrade"],
)
def test_who_never_finishes_a_request_is_let_go(strict, said):
    for prelude in (b"", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"):
        with Line(strict.server) as line:
            line.send(prelude + said)
            assert 1 < line.is_closed(within=20) < 20 * PATIENCE


def test_a_body_that_trickles_is_not_waited_for_either(strict):
    with Line(strict.server) as line:
        line.send(b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n")
        began = time.monotonic()
        with pytest.raises((ConnectionError, AssertionError)):
            while time.monotonic() - began < 20 * PATIENCE:
                line.send(b" ")
                if select.select([line.sock], [], [], 0.3)[0]:
                    assert line.sock.recv(65536), "closed"
        assert time.monotonic() - began < 15 * PATIENCE


def _activities(strict):
    """The head of a stream of activities, whose body comes in chunks."""
    strict.admin.call("POST", "/clientes", json={"client_id": 1, "nome": "Um"}, expect=200)
    token = f"Authorization: Bearer {strict.admin.token}".encode()
    return b"POST /atividades HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n" + token + b"\r\n\r\n"


def _chunk(lines):
    return b"%x\r\n%s\r\n" % (len(lines), lines)


def test_a_stream_of_activities_goes_on_for_as_long_as_it_comes(strict):
    head = _activities(strict)
    with Line(strict.server) as line:
        line.send(head)
        lines = b'{"tenant_id":1,"tipo":"lead"}\n' * 100
        for _ in range(8):
            line.send(_chunk(lines))
            time.sleep(1)
        line.send(b"0\r\n\r\n")
        status, _, body = line.answer()
        assert status == 200 and json.loads(body)["aceitas"] == 800, "it took four times what a request may"


def test_a_stream_of_activities_that_trickles_is_not_waited_for(strict):
    head = _activities(strict)
    with Line(strict.server) as line:
        line.send(head)
        began = time.monotonic()
        with pytest.raises((ConnectionError, AssertionError)):
            while time.monotonic() - began < 20 * PATIENCE:
                line.send(_chunk(b" "))
                if select.select([line.sock], [], [], 0.3)[0]:
                    assert line.sock.recv(65536), "closed"
        assert time.monotonic() - began < 15 * PATIENCE


def test_large_lists_are_asked_for_before_they_are_sent(strict):
    token = f"Authorization: Bearer {strict.admin.token}".encode()
    for path, size, status in ((b"/clientes", 3 << 20, 100), (b"/clientes", 17 << 20, 413), (b"/atividades", 1 << 30, 100), (b"/api/appointments", 3 << 20, 413)):
        with Line(strict.server) as line:
            line.send(b"POST %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n%s\r\n\r\n" % (path, size, token))
            while b"\r\n\r\n" not in line.data:
                line._more()
            assert line.data.startswith(b"HTTP/1.1 %d " % status), (path, size, line.data[:60])


def test_a_connection_that_is_kept_alive_for_nothing_ends(strict):
    with Line(strict.server) as line:
        line.send(line.request())
        assert line.answer()[0] == 200
        assert 1 < line.is_closed(within=20) < 20 * PATIENCE


def test_a_socket_that_never_says_who_it_is_ends_with_3502(strict):
    with Line(strict.server) as line:
        line.send(line.upgrade())
        assert line.answer()[0] == 101
        while len(line.data) < 4:
            line._more()
        assert line.data[0] == 0x88 and struct.unpack(">H", line.data[2:4])[0] == 3502
        # And then does not answer the close frame either.
        assert line.is_closed(within=20) < 20 * PATIENCE
