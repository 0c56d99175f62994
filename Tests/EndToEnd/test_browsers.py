"""What browsers are told: which pages may call, and what may be done with an answer (contracts/isp-support.md "Headers de Segurança")."""

import http.client

import pytest

from harness.http import Http
from harness.process import run

APP = "https://app.example.com"


def ask(office, method, path, headers=None, body=None):
    return Http(office.server.host, office.server.port).request(method, path, headers or {}, body)


def preflight(office, origin, path="/api/v1/conversations/", method="POST"):
    headers = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization,content-type"}
    return ask(office, "OPTIONS", path, headers)


@pytest.fixture(scope="module")
def office(tmp_path_factory, request):
    from conftest import _offices

    opened = _offices(lambda: tmp_path_factory.mktemp("office"), request)
    yield next(opened)(ALLOWED_ORIGINS=f'["http://localhost:3000", "{APP}"]', PLANTAO_HSTS_SECONDS=600)
    next(opened, None)


@pytest.mark.parametrize("origin", ["http://localhost:3000", APP])
@pytest.mark.parametrize("path", ["/api/v1/conversations/", "/health", "/nowhere", "/consultor/1"])
def test_a_listed_origin_may_ask_anything_and_remember_it(office, origin, path):
    reply = preflight(office, origin, path)
    assert reply.status == 204 and not reply.body
    assert reply.headers["access-control-allow-origin"] == origin and reply.headers["access-control-allow-credentials"] == "true"
    there = {"/health": "GET, HEAD, OPTIONS", "/api/v1/conversations/": "GET, HEAD, OPTIONS", "/consultor/1": "DELETE, GET, HEAD, OPTIONS, PUT"}
    if path in there:
        assert reply.headers["access-control-allow-methods"] == there[path], "those that the address has"
    else:
        assert {"POST", "DELETE", "PUT"} <= {m.strip() for m in reply.headers["access-control-allow-methods"].split(",")}
    assert "authorization" in reply.headers["access-control-allow-headers"].lower() and int(reply.headers["access-control-max-age"]) > 0
    assert "Origin" in reply.headers["vary"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{APP}.evil.example", f"{APP}:8443", "http://app.example.com", "*", ""])
def test_any_other_origin_is_told_nothing(office, origin):
    for reply in (preflight(office, origin), ask(office, "GET", "/health", {"Origin": origin})):
        assert "access-control-allow-origin" not in reply.headers and "access-control-allow-credentials" not in reply.headers, reply
    assert preflight(office, origin).status == 403


def test_answers_and_errors_name_the_origin_and_what_a_page_may_read(office):
    for method, path, status in [("GET", "/health", 200), ("GET", "/api/v1/users/", 401), ("GET", "/nowhere", 404), ("POST", "/api/v1/auth/login", 422)]:
        reply = ask(office, method, path, {"Origin": APP}, b"{}" if method == "POST" else None)
        assert reply.status == status and reply.headers["access-control-allow-origin"] == APP
        assert "X-Process-Time" in reply.headers["access-control-expose-headers"] and "Retry-After" in reply.headers["access-control-expose-headers"]


def test_every_answer_has_its_security_headers(office):
    for path in ("/", "/health", "/metrics", "/api/v1/users/", "/nowhere", "/info"):
        headers = ask(office, "GET", path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer" and "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["strict-transport-security"].startswith("max-age=600") and "Origin" in headers["vary"]


def test_a_star_is_never_with_credentials(offices):
    office = offices(ALLOWED_ORIGINS="*")
    for reply in (preflight(office, "https://any.example"), ask(office, "GET", "/health", {"Origin": "https://any.example"})):
        assert reply.headers["access-control-allow-origin"] == "*" and "access-control-allow-credentials" not in reply.headers
    assert "strict-transport-security" not in ask(office, "GET", "/health").headers


@pytest.mark.parametrize("value", ["app.example.com", "https://app.example.com/", '["https://*.example.com"]', "https://user@app.example.com"])
def test_what_is_no_origin_stops_the_start(value):
    done = run("routes", ALLOWED_ORIGINS=value)
    assert done.returncode == 78 and "ALLOWED_ORIGINS" in done.stderr


def test_the_server_answers_to_its_own_names(offices):
    office = offices(ALLOWED_HOSTS='["api.salao.example", "*.rede.example"]')

    def status(host, path="/api/services/", **headers):
        connection = http.client.HTTPConnection(office.server.host, office.server.port, timeout=10)
        try:
            connection.request("GET", path, headers={"Host": host, **headers})
            return connection.getresponse().status
        finally:
            connection.close()

    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    for host in ("api.salao.example", "API.salao.example:8080", "a.rede.example", "a.b.rede.example."):
        assert status(host) == 401 and status(host, "/connection/websocket", **upgrade) == 101, host
    for host in ("rebound.example", "salao.example", "rede.example", "xrede.example", "127.0.0.1", "api.salao.example.evil.example"):
        assert status(host) == 400 and status(host, "/connection/websocket", **upgrade) == 400, host
        assert status(host, "/health") == 200
    for name, value in (("ALLOWED_HOSTS", '["http://a"]'), ("ALLOWED_HOSTS", "[1]"), ("ALGORITHM", "RS256"), ("ALGORITHM", "none")):
        done = run("routes", **{name: value})
        assert done.returncode == 78 and name in done.stderr
