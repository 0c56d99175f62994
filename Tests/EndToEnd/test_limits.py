"""Connections and commands over the limits (docs/configuration.md), through every door to the streams."""

import json
import threading
import time
from urllib.parse import quote

import pytest
import websockets
from websockets.sync.client import connect as websocket

from harness.api import is_clear_error
from harness.rawsocket import HandshakeRefused, RawSocket
from harness.waiting import PATIENCE, eventually
from test_doors import Stream


class Socket:
    """A session on a WebSocket."""

    def __init__(self, office, token=None):
        url = f"ws://{office.server.host}:{office.server.port}/connection/websocket"
        self.ws = websocket(url, proxy=None, open_timeout=20 * PATIENCE).__enter__()
        self.lines = []
        self.ws.send(json.dumps({"id": 1, "connect": {"token": token or office.admin.token}}))

    def reply(self, id):
        while not (found := [m for m in self.lines if m.get("id") == id]):
            self.lines += [json.loads(line) for line in self.ws.recv(timeout=20 * PATIENCE).splitlines()]
        return found[0]

    def call(self, *ids):
        self.ws.send("\n".join(json.dumps({"id": id, "rpc": {"method": "echo", "data": id}}) for id in ids))
        return [self.reply(id) for id in ids]

    def code(self):
        """Why the server closes."""
        try:
            while True:
                self.ws.recv(timeout=20 * PATIENCE)
        except websockets.ConnectionClosed as closed:
            return closed.rcvd.code


@pytest.fixture
def opened():
    sockets = []
    yield sockets.append
    for each in sockets:
        each.ws.close() if isinstance(each, Socket) else each.close()


def metrics(office):
    text = office.anybody.call("GET", "/metrics").text
    return {line.split(" ")[0]: float(line.split(" ")[1]) for line in text.splitlines() if not line.startswith("#")}


def test_a_user_has_so_many_connections_whatever_the_door_and_the_next_is_told_3504(offices, opened):
    office = offices(PLANTAO_MAX_CONNECTIONS_PER_USER=3, PLANTAO_MAX_CONNECTIONS_PER_TENANT=4)
    maria = office.hire("Maria")
    command = json.dumps({"id": 1, "connect": {"token": office.admin.token}})
    first = RawSocket(office.server.host, office.server.port)
    first.send(command)
    assert json.loads(first.receive(20 * PATIENCE))["connect"]
    streams = [
        Stream(office.server, "GET", f"/connection/sse?cf_connect={quote(command)}"),
        Stream(office.server, "POST", "/connection/http_stream", command.encode()),
    ]
    for each in streams:
        opened(each)
        assert each.reply(1)["connect"]
    # Now each door is shut for this user.
    fourth = Socket(office)
    assert fourth.code() == 3504
    refused = Stream(office.server, "GET", f"/connection/sse?cf_connect={quote(command)}")
    eventually("the stream ends", lambda: refused.is_over)
    assert refused.replies[-1]["push"]["disconnect"]["code"] == 3504
    for path in ("/api/v1/realtime/queue?wait=0", f"/connection/uni_sse?token={office.admin.token}&channels=notices"):
        reply = office.admin.call("GET", path)
        assert is_clear_error(reply, 429)["code"] == "too_many_connections" and int(reply.headers["retry-after"]) > 0
    # For another user until the tenant's are taken.
    second = Socket(office, maria.token)
    opened(second)
    assert second.reply(1)["connect"]
    assert Socket(office, maria.token).code() == 3504
    seen = metrics(office)
    assert seen['plantao_realtime_refused_connections_total{scope="user"}'] == 4
    assert seen['plantao_realtime_refused_connections_total{scope="tenant"}'] == 1
    # One that ends makes room, also when it is not said goodbye to.
    first.abort()
    eventually("room", lambda: Socket(office).reply(1)["connect"] if metrics(office)["plantao_realtime_open_connections"] < 4 else None)


def test_a_server_that_is_full_says_so_before_the_handshake(offices, opened):
    office = offices(PLANTAO_MAX_CONNECTIONS=2)
    token = office.admin.token
    for _ in range(2):
        # They have not even said who they are.
        opened(RawSocket(office.server.host, office.server.port))
    with pytest.raises(HandshakeRefused) as refused:
        RawSocket(office.server.host, office.server.port)
    assert refused.value.status == 503
    for method, path, body in [("GET", f"/connection/sse?cf_connect={quote('{}')}", None), ("POST", "/connection/http_stream", b"{}"),
                               ("GET", "/api/v1/realtime/queue?wait=0", None),
                               ("GET", f"/connection/uni_sse?token={token}&channels=notices", None)]:
        reply = office.admin.call(method, path, body=body)
        assert is_clear_error(reply, 503)["code"] == "too_many_connections" and int(reply.headers["retry-after"]) > 0
    assert token and metrics(office)['plantao_realtime_refused_connections_total{scope="server"}'] == 5
    # Everything else goes on.
    assert office.admin.conversations()["items"] == []


def test_commands_over_a_connections_limit_are_refused_one_by_one_and_the_connection_goes_on(offices, opened):
    office = offices(PLANTAO_COMMANDS_PER_SECOND_PER_CONNECTION=5, PLANTAO_COMMAND_BURST_PER_CONNECTION=20)
    socket = Socket(office)
    opened(socket)
    socket.reply(1)
    replies = socket.call(*range(10, 110))
    passed = [reply["id"] for reply in replies if "rpc" in reply]
    refused = [reply["error"] for reply in replies if "error" in reply]
    assert passed == list(range(10, 10 + len(passed))) and 19 <= len(passed) <= 25
    assert {(error["code"], error["message"], error["temporary"]) for error in refused} == {(111, "too many requests", True)}
    # Another connection of the same user has its own, and this one's comes back.
    other = Socket(office)
    opened(other)
    assert other.reply(1) and "rpc" in other.call(2)[0]
    eventually("it may again", lambda: "rpc" in socket.call(int(time.monotonic() * 1000) % (1 << 30) + 1000)[0], every=0.3)
    assert metrics(office)['plantao_realtime_refused_commands_total{scope="connection"}'] >= len(refused)


def test_who_does_not_let_up_is_closed_with_3013(offices, opened):
    office = offices(PLANTAO_COMMANDS_PER_SECOND_PER_CONNECTION=1, PLANTAO_COMMAND_BURST_PER_CONNECTION=1)
    socket = Socket(office)
    opened(socket)
    socket.reply(1)
    began, n = time.monotonic(), 1

    def shout():
        nonlocal n
        try:
            while time.monotonic() - began < 60 * PATIENCE:
                n += 1
                socket.ws.send(json.dumps({"id": n, "rpc": {"method": "echo", "data": n}}))
                time.sleep(0.05)
        except websockets.ConnectionClosed:
            pass

    shouting = threading.Thread(target=shout)
    shouting.start()
    assert socket.code() == 3013
    assert time.monotonic() - began > 4.5
    shouting.join()


@pytest.mark.parametrize("scope", ["USER", "TENANT"])
def test_all_connections_of_a_user_and_of_a_tenant_draw_on_one_allowance(offices, opened, scope):
    office = offices(**{f"PLANTAO_COMMANDS_PER_SECOND_PER_{scope}": 1, f"PLANTAO_COMMAND_BURST_PER_{scope}": 30})
    maria = office.hire("Maria")
    sockets = [Socket(office), Socket(office), Socket(office, maria.token)]
    for socket in sockets:
        opened(socket)
        socket.reply(1)
    passed = [sum("rpc" in reply for reply in socket.call(*range(10, 30))) for socket in sockets]
    assert passed[0] == 20 and 8 <= passed[1] <= 14, passed
    assert passed[2] == 20 if scope == "USER" else passed[2] <= 4, passed
    polled = office.admin.call("GET", "/api/v1/realtime/queue?wait=0")
    assert is_clear_error(polled, 429)["code"] == "too_many_requests" and int(polled.headers["retry-after"]) >= 1
    assert metrics(office)[f'plantao_realtime_refused_commands_total{{scope="{scope.lower()}"}}'] >= 7
    # What went through a stream is weighed as well.
    live = Stream(office.server, "POST", "/connection/http_stream", json.dumps({"id": 1, "connect": {"token": office.admin.token}}).encode())
    opened(live)
    session = live.reply(1)["connect"]["session"]
    data = "\n".join(json.dumps({"id": n, "rpc": {"method": "echo"}}) for n in range(2, 42))
    assert office.anybody.call("POST", "/emulation", {"session": session, "data": data}).status == 204
    assert eventually("the last is refused", lambda: live.reply(41))["error"]["code"] == 111


def test_nothing_is_refused_to_who_keeps_within_the_defaults(office, opened):
    """Several thousand commands at once, from a few connections of one user."""
    sockets = [Socket(office) for _ in range(5)]
    for socket in sockets:
        opened(socket)
        socket.reply(1)
    for start in range(10, 2010, 100):
        for socket in sockets:
            assert all("rpc" in reply for reply in socket.call(*range(start, start + 100)))
    assert not [name for name, value in metrics(office).items() if "refused_co" in name and value]
