"""HTTP as RFC 9110 has it: compression, methods, HEAD, expectations, and whose name a request has."""

import base64
import gzip
import json
import socket
import time
from urllib.parse import quote

import pytest

from harness.api import is_clear_error
from harness.office import WEBHOOK
from harness.process import run

pytestmark = pytest.mark.timeout(120)

GZIP = {"Accept-Encoding": "gzip"}


@pytest.fixture
def full(office):
    """An office with lists that are longer than a kilobyte."""
    for n in range(12):
        office.admin.create_user(f"gente{n}@example.com", f"João da Conceição {n}", "agent", f"Senha#Forte{n}x2026")
    return office


# MARK: Compression


def all_headers(server, path, headers, method="GET"):
    """Every field, also those that come twice, and the bytes of the body."""
    with socket.create_connection((server.host, server.port), timeout=15) as sock:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {server.host}", "Connection: close"] + [f"{k}: {v}" for k, v in headers.items()]
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        received = b""
        while piece := sock.recv(65_536):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    status, *fields = head.decode("latin-1").split("\r\n")
    return int(status.split(" ")[1]), [(n.lower(), v) for n, v in (f.split(": ", 1) for f in fields)], body


def test_a_long_answer_is_packed_for_who_asks_and_is_the_same(full):
    server, bearer = full.server, {"Authorization": f"Bearer {full.admin.token}"}
    for path in ("/api/v1/users/?per_page=200", "/metrics"):
        status, fields, plain = all_headers(server, path, bearer)
        assert status == 200 and len(plain) >= 1024, path
        assert "content-encoding" not in dict(fields) and dict(fields)["vary"] == "Origin, Accept-Encoding", path
        status, fields, packed = all_headers(server, path, bearer | GZIP)
        headers = dict(fields)
        assert headers["content-encoding"] == "gzip" and int(headers["content-length"]) == len(packed) < len(plain), path
        assert [v for n, v in fields if n == "vary"] == ["Origin, Accept-Encoding"]
        assert headers["content-type"] == dict(all_headers(server, path, bearer)[1])["content-type"]
        unpacked = gzip.decompress(packed)
        if path != "/metrics":
            assert json.loads(unpacked) == json.loads(plain)
        else:
            assert unpacked.startswith(b"# HELP")


@pytest.mark.parametrize("asked, is_packed", [
    ("gzip", True), ("br, gzip;q=0.2", True), ("*", True), ("x-gzip", True), ("gzip;q=0", False), ("identity", False), ("br", False), ("*;q=0", False),
    ("identity;q=1, gzip;q=0.5", False), ("gzip;q=x", False), (",,;;=,", False),
])
def test_weights_are_minded(shared_office, asked, is_packed):
    reply = shared_office.anybody.call("GET", "/metrics", headers={"Accept-Encoding": asked})
    assert (reply.headers.get("content-encoding") == "gzip") == is_packed


def test_what_is_short_or_refused_shortly_stays_as_it_is(office):
    for path, status in (("/", 200), ("/api/v1/users/", 401), ("/nope", 404)):
        reply = office.anybody.call("GET", path, headers=GZIP, expect=status)
        assert "content-encoding" not in reply.headers and reply.json()


def test_errors_that_are_long_are_packed_in_their_contract_s_shape(office):
    body = {"views": [{"name": f"{n}", "query": {"state": "x" * 200}} for n in range(50)]}
    reply = office.admin.call("PUT", "/api/v1/users/me/views", json=body, headers=GZIP)
    text = gzip.decompress(reply.body) if reply.headers.get("content-encoding") == "gzip" else reply.body
    assert reply.status == 422 and json.loads(text)["detail"][0]["loc"][:2] == ["body", "views"]


def test_streams_are_never_packed(office):
    command = quote(json.dumps({"id": 1, "connect": {"token": office.admin.token}}))
    for path in (f"/connection/sse?cf_connect={command}", f"/connection/uni_sse?token={office.admin.token}&channels=notices"):
        with socket.create_connection((office.server.host, office.server.port), timeout=15) as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n".encode())
            received = b""
            while b"connect" not in received.partition(b"\r\n\r\n")[2]:
                received += sock.recv(65_536)
        assert b"content-encoding" not in received.lower() and b"text/event-stream" in received


def test_a_file_is_answered_as_it_is_and_by_ranges(office):
    maria = office.hire()
    id = office.attended_by(maria)["id"]
    content = ("linha de um contrato\n" * 500).encode()
    sent = maria.api.call("POST", f"/api/v1/conversations/{id}/media?filename=contrato.txt", body=content, headers={"Content-Type": "text/plain"}, expect=201).json()
    path = f"/api/v1/conversations/{id}/messages/{sent['id']}/media"
    whole = maria.api.call("GET", path, headers=GZIP, expect=200)
    assert whole.body == content and "content-encoding" not in whole.headers
    part = maria.api.call("GET", path, headers=GZIP | {"Range": "bytes=0-1999"}, expect=206)
    assert part.body == content[:2000]


def test_it_may_be_left_off_and_no_more_than_level_5_is_taken(offices):
    office = offices(PLANTAO_GZIP_LEVEL=0)
    assert "content-encoding" not in office.anybody.call("GET", "/metrics", headers=GZIP).headers
    done = run("routes", PLANTAO_GZIP_LEVEL=9)
    assert done.returncode == 78 and "PLANTAO_GZIP_LEVEL" in done.stderr


# MARK: Methods


def test_a_method_that_an_address_has_not_is_405_and_says_which_it_has(shared_office):
    admin = shared_office.admin
    id = "00000000-0000-7000-8000-000000000007"
    for method, path, allowed in [
        ("DELETE", "/api/v1/conversations/", "GET, HEAD, OPTIONS"), ("GET", f"/api/v1/conversations/{id}/claim", "OPTIONS, POST"),
        ("PATCH", "/consultores", "GET, HEAD, OPTIONS"), ("POST", "/health", "GET, HEAD, OPTIONS"), ("PUT", "/api/v1/users", "GET, HEAD, OPTIONS, POST"),
        ("POST", f"/api/v1/users/{id}/", "DELETE, GET, HEAD, OPTIONS, PUT"), ("DELETE", "/circuit-breakers/whatsapp/reset", "OPTIONS, POST"),
    ]:
        reply = admin.call(method, path)
        assert is_clear_error(reply, 405)["code"] == "method_not_allowed" and reply.headers["allow"] == allowed, reply
        about = admin.call("OPTIONS", path, expect=204)
        assert about.headers["allow"] == allowed and about.body == b""
    for method in ("GET", "POST", "DELETE", "OPTIONS", "HEAD"):
        reply = admin.call(method, "/api/v1/nope")
        assert reply.status == 404 and "allow" not in reply.headers


def test_head_answers_like_get_without_a_body(full):
    for path in ("/", "/health", "/info", "/metrics", "/api/v1/users/", "/circuit-breakers", "/api/v1/conversations/", "/consultores"):
        got = full.admin.call("GET", path, expect=200)
        for headers in ({}, GZIP):
            reply = full.admin.call("HEAD", path, headers=headers, expect=200)
            assert reply.body == b"" and reply.headers["content-type"] == got.headers["content-type"]
            assert int(reply.headers["content-length"]) > 0
        # Its length is that of what GET would give; what changes from one to the next is left out.
        if path in ("/", "/api/v1/users/", "/consultores"):
            assert full.admin.call("HEAD", path).headers["content-length"] == got.headers["content-length"]
            packed = full.admin.call("GET", path, headers=GZIP)
            assert full.admin.call("HEAD", path, headers=GZIP).headers["content-length"] == packed.headers["content-length"]
    assert full.anybody.call("HEAD", "/api/v1/users/").status == 401
    # The connection goes on: nothing was sent behind the head.
    assert full.admin.call("GET", "/").status == 200


def test_head_changes_nothing_and_waits_for_nothing(office):
    office.hire("Ana")
    before = office.admin.consultores()
    for path in ("/consultor/da-vez?idioma=pt", "/connection/sse?cf_connect={}", "/connection/uni_sse?channels=notices", "/api/v1/realtime/queue?wait=50"):
        began = time.monotonic()
        reply = office.admin.call("HEAD", path, expect=405)
        assert "HEAD" not in reply.headers["allow"] and "GET" in reply.headers["allow"] and time.monotonic() - began < 20
    assert office.admin.consultores() == before


def test_pages_are_told_the_methods_that_there_are_at_the_address(shared_office):
    def methods(path):
        asked = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "traceparent"}
        reply = shared_office.anybody.call("OPTIONS", path, headers=asked, expect=204)
        assert "traceparent" in reply.headers["access-control-allow-headers"]
        return reply.headers["access-control-allow-methods"]

    assert methods("/api/v1/conversations/") == "GET, HEAD, OPTIONS"
    assert methods("/api/v1/auth/login") == "OPTIONS, POST"
    everywhere = methods("/nope")
    assert "PATCH" not in everywhere and {"GET", "POST", "PUT", "DELETE"} <= set(everywhere.split(", "))
    reply = shared_office.anybody.call("GET", "/health", headers={"Origin": "http://localhost:3000"})
    assert "traceresponse" in reply.headers["access-control-expose-headers"]


# MARK: Expectations


class Raw:
    def __init__(self, office):
        self.sock = socket.create_connection((office.server.host, office.server.port), timeout=15)
        self.received = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def head(self):
        """The next head: its status and fields."""
        while b"\r\n\r\n" not in self.received:
            piece = self.sock.recv(65_536)
            assert piece, f"closed after {self.received!r}"
            self.received += piece
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        return int(status.split(" ")[1]), {n.lower(): v for n, v in (f.split(": ", 1) for f in fields)}

    def body(self, headers):
        while len(self.received) < int(headers["content-length"]):
            self.received += self.sock.recv(65_536)
        body, self.received = self.received[: int(headers["content-length"])], self.received[int(headers["content-length"]) :]
        return body

    @property
    def is_over(self):
        try:
            return self.sock.recv(1) == b""
        except ConnectionError:
            return True


def posting(office, length, more="", path="/api/v1/notices"):
    return (f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {office.admin.token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {length}\r\n{more}\r\n").encode()


def test_who_waits_for_leave_to_send_gets_it(office):
    body = json.dumps({"text": "com licença"}).encode()
    with Raw(office) as raw:
        for n in range(3):
            raw.send(posting(office, len(body), "Expect: 100-continue\r\n"))
            assert raw.head()[0] == 100
            raw.send(body)
            status, headers = raw.head()
            assert status == 201 and json.loads(raw.body(headers))["text"] == "com licença", n
        # Who does not wait is answered all the same, and the connection goes on.
        raw.send(posting(office, len(body), "Expect: 100-Continue\r\n") + body + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        statuses = []
        while len(statuses) < 2:
            status, headers = raw.head()
            if status != 100:
                raw.body(headers)
                statuses.append(status)
        assert statuses == [201, 200]


def test_leave_comes_after_the_answers_that_are_due(office):
    body = json.dumps({"text": "na fila"}).encode()
    with Raw(office) as raw:
        raw.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" + posting(office, len(body), "Expect: 100-continue\r\n"))
        status, headers = raw.head()
        assert status == 200 and json.loads(raw.body(headers))["status"]
        assert raw.head()[0] == 100
        raw.send(body)
        assert raw.head()[0] == 201


def test_who_would_send_too_much_is_told_before(office):
    for path, length in (("/api/v1/notices", (1 << 20) + 1), ("/api/v1/notices", 1 << 40), (WEBHOOK, (4 << 20) + 1)):
        with Raw(office) as raw:
            raw.send(posting(office, length, "Expect: 100-continue\r\n", path))
            status, headers = raw.head()
            assert status == 413 and headers["connection"] == "close", (path, length, status)
            assert json.loads(raw.body(headers))["code"] == "body_too_large"
            assert raw.is_over
    # A file may be larger.
    id = office.attended_by(office.hire())["id"]
    with Raw(office) as raw:
        raw.send(posting(office, 2 << 20, "Expect: 100-continue\r\n", f"/api/v1/conversations/{id}/media"))
        assert raw.head()[0] == 100


def test_another_expectation_is_refused(office):
    reply = office.anybody.call("GET", "/health", headers={"Expect": "a-miracle"})
    assert is_clear_error(reply, 417)["code"] == "expectation_failed"


# MARK: Names of requests


def test_a_request_keeps_the_name_that_it_came_with_if_that_is_a_plain_word(shared_office):
    call = lambda id: shared_office.anybody.call("GET", "/", headers={"X-Request-ID": id}).headers["x-request-id"]  # noqa: E731
    assert call("0af7651916cd43dd8448eb211c80319c") == "0af7651916cd43dd8448eb211c80319c"
    for id in ("curto", "x" * 65, "com espaço", '"aspas"', "<script>"):
        assert call(quote(id, safe='" <>')) != id
    assert len(shared_office.anybody.call("GET", "/").headers["x-request-id"]) == 8


# MARK: Who may see how the server is


def test_metrics_and_info_can_be_closed(offices):
    office = offices(METRICS_TOKEN="um-segredo-de-operador")
    for path in ("/metrics", "/info"):
        refused = office.anybody.call("GET", path)
        assert is_clear_error(refused, 401)["code"] == "metrics_token" and refused.headers["www-authenticate"]
        assert office.admin.call("GET", path).status == 401, "a login of a business is none of the operator's"
        basic = base64.b64encode(b"prometheus:um-segredo-de-operador").decode()
        for header in ("Bearer um-segredo-de-operador", f"Basic {basic}", "bearer um-segredo-de-operador"):
            assert office.anybody.call("GET", path, headers={"Authorization": header}).status == 200, header
        for header in ("Bearer um-segredo-de-operadoR", "Basic !!", "Basic " + base64.b64encode(b"semdoispontos").decode(), "Bearer", "Bearer "):
            assert office.anybody.call("GET", path, headers={"Authorization": header}).status == 401, header
    assert office.anybody.call("GET", "/health").status == 200
    done = run("routes", METRICS_TOKEN="curto")
    assert done.returncode == 78 and "METRICS_TOKEN" in done.stderr


def test_the_queue_of_messages_counts_messages(office):
    office.whatsapp.fail_next(131016, times=100_000)
    maria = office.hire()
    id = office.in_line()["id"]
    maria.api.claim(id)
    maria.api.say(id, "espera")
    page = {line.split(" ")[0]: float(line.split(" ")[1]) for line in office.anybody.call("GET", "/metrics").text.splitlines() if not line.startswith("#")}
    waiting = [m for m in office.admin.all_messages(id) if m["direction"] == "out" and m["status"] in ("queued", "sending")]
    assert page["message_queue_size"] == len(waiting) > 0
    assert page['whatsapp_rate_limits_total{scope="account"}'] == 0 and page['plantao_circuit_breaker_not_closed_since_seconds{name="whatsapp"}'] >= 0
