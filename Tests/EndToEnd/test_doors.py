"""The live streams through every door there is (protocol/README.md "Channels"): the same sessions, streams and offsets."""

import asyncio
import base64
import json
import os
import socket
import threading
import time
from urllib.parse import quote

import pytest
import websockets
from centrifuge import Client, SubscriptionEventHandler

from harness.api import is_clear_error
from harness.office import new_number
from harness.process import free_port, run
from harness.waiting import PATIENCE, eventually


@pytest.fixture
def office(offices):
    return offices(PRESENCE_GRACE_SECONDS=2)


class Stream:
    """A response that goes on: its lines as they come, on a socket of its own."""

    def __init__(self, server, method, path, body=b"", headers=None):
        self.lines, self.head, self.is_over, self.is_whole = [], None, False, False
        self.socket = socket.create_connection((server.host, server.port), timeout=30 * PATIENCE)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {server.host}:{server.port}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        data = self.socket.makefile("rb")
        try:
            head = []
            while (line := data.readline()) not in (b"\r\n", b""):
                head.append(line.decode().strip())
            self.head = head
            rest = b""
            while (size := data.readline()) not in (b"", b"0\r\n"):
                rest += data.read(int(size, 16))
                data.readline()
                *done, rest = rest.split(b"\n")
                self.lines += [line.decode() for line in done if line]
            self.is_whole = size == b"0\r\n"
        except (OSError, ValueError):
            pass
        self.is_over = True

    @property
    def replies(self):
        # An event has an `id` beside its data, where it moves a position.
        return [json.loads(line.removeprefix("data: ")) for line in self.lines if not line.startswith(("id: ", "retry: "))]

    def reply(self, id):
        return eventually(f"the reply to {id}", lambda: next((r for r in self.replies if r.get("id") == id), None))

    def pushes(self, channel):
        return [r["push"]["pub"] for r in self.replies if r.get("push", {}).get("channel") == channel and "pub" in r["push"]]

    def close(self):
        self.socket.close()


def connect(token):
    return {"id": 1, "connect": {"token": token}}


@pytest.fixture(params=["sse", "http_stream"])
def stream(request, office):
    """A session of the owner's, through either of Centrifuge's two ways without a socket."""
    token, opened = office.admin.token, []

    def open(token=token):
        command = json.dumps(connect(token))
        if request.param == "sse":
            opened.append(Stream(office.server, "GET", f"/connection/sse?cf_connect={quote(command)}"))
        else:
            opened.append(Stream(office.server, "POST", "/connection/http_stream", command.encode()))
        return opened[-1]

    yield open
    for each in opened:
        each.close()


def emulate(office, session, *commands):
    reply = office.anybody.call("POST", "/emulation", {"session": session, "node": "", "data": "\n".join(map(json.dumps, commands))})
    assert reply.status in (204, 404), reply
    return reply


# MARK: sse, http_stream and /emulation


def test_a_session_without_a_socket_hears_and_says_what_one_with_a_socket_does(office, stream):
    live = stream()
    session = live.reply(1)["connect"]["session"]
    emulate(office, session, {"id": 2, "subscribe": {"channel": "notices"}}, {"id": 3, "rpc": {"method": "echo", "data": {"a": 1}}})
    assert live.reply(2)["subscribe"]["data"] == {"notices": []} and live.reply(3)["rpc"]["data"] == {"a": 1}
    for n in range(20):
        office.admin.post("/api/v1/notices", {"text": f"aviso {n}"}, expect=201)
    eventually("all of them", lambda: len(live.pushes("notices")) == 20)
    assert [p["data"]["notice"]["text"] for p in live.pushes("notices")] == [f"aviso {n}" for n in range(20)]
    assert [p["offset"] for p in live.pushes("notices")] == list(range(1, 21))

    # Cut, and back with the position: exactly what it missed.
    epoch = live.reply(2)["subscribe"]["epoch"]
    live.close()
    office.admin.post("/api/v1/notices", {"text": "enquanto fora"}, expect=201)
    again = stream()
    emulate(office, again.reply(1)["connect"]["session"], {"id": 2, "subscribe": {"channel": "notices", "recover": True, "epoch": epoch, "offset": 20}})
    result = again.reply(2)["subscribe"]
    assert result["recovered"] and [p["data"]["notice"]["text"] for p in result["publications"]] == ["enquanto fora"]


def test_the_head_of_a_stream_keeps_proxies_from_collecting_it(office, stream):
    live = stream()
    live.reply(1)
    head = {line.split(": ", 1)[0].lower(): line.split(": ", 1)[1] for line in live.head[1:]}
    assert live.head[0].startswith("HTTP/1.1 200")
    assert head["content-type"].startswith(("text/event-stream", "application/x-ndjson")) and "no-store" in head["cache-control"]


def test_a_bad_token_or_command_ends_the_stream_with_a_reason(office, stream):
    refused = stream(token="nonsense")
    eventually("the stream ends", lambda: refused.is_over)
    assert refused.replies[-1]["push"]["disconnect"]["code"] == 3500


def test_the_session_of_somebody_else_cannot_be_spoken_in(office, stream):
    live = stream()
    client = live.reply(1)["connect"]["client"]
    # What others see of a client, in presence, opens nothing.
    is_clear_error(emulate(office, client, {"id": 9, "subscribe": {"channel": "notices"}}), 404)
    is_clear_error(office.anybody.call("POST", "/emulation", {"session": "x"}), 422)


def test_a_login_that_ends_ends_its_streams(office, stream):
    maria = office.hire("Maria")
    live = stream(token=maria.api.token)
    live.reply(1)
    maria.api.logout()
    eventually("the stream ends", lambda: live.is_over)
    assert live.replies[-1]["push"]["disconnect"]["code"] == 3500


def test_the_server_stops_promptly_while_streams_are_open_and_tells_them_to_come_back(office, stream):
    live = stream()
    live.reply(1)
    began = time.monotonic()
    assert office.server.stop() in (0, None)
    assert time.monotonic() - began < 8 * PATIENCE
    eventually("the stream ends", lambda: live.is_over)
    assert live.replies[-1]["push"]["disconnect"]["code"] == 3001


# MARK: Long poll


def poll(office, channel, api=None, **query):
    return (api or office.admin).get(f"/api/v1/realtime/{quote(channel)}", **query)


def test_a_poll_gives_the_snapshot_and_then_what_is_new_since_a_position(office):
    first = poll(office, "notices", wait=0)
    assert first["data"] == {"notices": []} and first["epoch"]
    office.admin.post("/api/v1/notices", {"text": "um"}, expect=201)
    second = poll(office, "notices", epoch=first["epoch"], offset=first["offset"], wait=10)
    assert [p["data"]["notice"]["text"] for p in second["publications"]] == ["um"] and second["offset"] == first["offset"] + 1
    assert poll(office, "notices", epoch=first["epoch"], offset=second["offset"], wait=0)["publications"] == []
    # Of a stream that is not the one it was: the snapshot.
    assert poll(office, "notices", epoch="another", offset=7, wait=0)["data"]["notices"][0]["text"] == "um"


def test_a_poll_waits_for_something_to_happen_and_no_longer(office):
    first = poll(office, "conversations", wait=0)
    began, answers = time.monotonic(), []
    waiting = threading.Thread(target=lambda: answers.append(poll(office, "conversations", epoch=first["epoch"], offset=first["offset"], wait=50)))
    waiting.start()
    time.sleep(0.3)
    assert not answers
    ana = new_number()
    office.says(ana, "oi")
    waiting.join(20 * PATIENCE)
    assert answers and answers[0]["publications"][0]["data"]["conversation"]["contact"]["number"] == ana
    assert time.monotonic() - began < 40
    began = time.monotonic()
    position = poll(office, "conversations", wait=0)
    assert poll(office, "conversations", epoch=position["epoch"], offset=position["offset"], wait=1)["publications"] == []
    assert time.monotonic() - began >= 0.9


@pytest.mark.parametrize(
    "path, status",
    [("/api/v1/realtime/nothing", 404), ("/api/v1/realtime/conversation:nonsense", 404), ("/api/v1/realtime/notices?wait=x", 422),
     ("/api/v1/realtime/notices?wait=1000", 422), ("/api/v1/realtime/notices?epoch=a&offset=-1", 422)],
)
def test_a_poll_for_what_there_is_not_is_refused(office, path, status):
    is_clear_error(office.admin.call("GET", path), status)
    is_clear_error(office.anybody.call("GET", path), 401)


# MARK: Notices


def test_a_notice_is_shown_to_everybody_at_once_and_made_once(office):
    maria = office.hire("Maria")
    screen = office.desk(maria, "notices")
    answers = [office.admin.post("/api/v1/notices", {"text": "Sistema fora às 22h", "client_message_id": "k1"}, expect=201) for _ in range(3)]
    assert len({a["id"] for a in answers}) == 1
    eventually("on Maria's screen", lambda: [s for s in screen.shown if s[0] == "notices"])
    assert [s[3]["notice"] for s in screen.shown if s[0] == "notices"] == [answers[0]]
    # Somebody else's key is somebody else's; a viewer or an agent posts none.
    is_clear_error(maria.api.call("POST", "/api/v1/notices", {"text": "eu também"}), 403)
    is_clear_error(office.admin.call("POST", "/api/v1/notices", {"text": ""}), 422)
    is_clear_error(office.admin.call("POST", "/api/v1/notices", {"text": "x" * 4001}), 422)
    page = maria.api.get("/api/v1/notices", limit=1)
    assert page == {"items": [answers[0]], "has_more": False}
    # They outlive the process.
    office.server.kill()
    office.server.start()
    assert office.admin.get("/api/v1/notices")["items"] == [answers[0]]
    assert office.admin.post("/api/v1/notices", {"text": "outro texto", "client_message_id": "k1"}, expect=201) == answers[0]


# MARK: Presence


def test_an_agent_whose_last_connection_is_gone_goes_offline_after_the_grace_and_offers_go_on_at_once(office):
    maria, joao = office.hire("Maria"), office.hire("João", online=False)
    first, second = office.desk(maria, "conversations"), office.desk(maria, "conversations")
    ana = new_number()
    office.says(ana, "quero um atendente")
    assert office.conversation(ana, "offered")["offer"]["consultor_id"] == maria.id
    first.leave()
    time.sleep(3)
    assert online(office, maria), "there is another connection"
    second.leave()
    office.admin.put(f"/consultor/{joao.id}/connection", {"status_online": True})
    assert online(office, maria), "not before the grace is over"
    eventually("Maria is offline", lambda: not online(office, maria), timeout=20)
    eventually("João is asked", lambda: (office.conversation(ana)["offer"] or {}).get("consultor_id") == joao.id)


def test_who_is_back_within_the_grace_never_left(office):
    maria = office.hire("Maria")
    screen = office.desk(maria, "conversations")
    for _ in range(3):
        screen.cut()
        time.sleep(0.5)
        screen.connect()
    time.sleep(3)
    assert online(office, maria)


def online(office, who):
    return office.admin.get(f"/consultor/{who.id}")["status_online"]


def test_the_sdk_is_told_who_comes_to_a_channel_and_who_leaves_it(office):
    maria = office.hire("Maria")
    heard = []

    class Events(SubscriptionEventHandler):
        async def on_join(self, context):
            heard.append(("join", context.info.user))

        async def on_leave(self, context):
            heard.append(("leave", context.info.user))

    async def watch():
        client = Client(f"ws://{office.server.host}:{office.server.port}/connection/websocket", token=office.admin.token, proxy=None)
        await client.connect()
        subscription = client.new_subscription("notices", events=Events(), join_leave=True)
        await subscription.subscribe()
        await subscription.ready()
        screen = await asyncio.to_thread(office.desk, maria, "notices")
        while len(heard) < 1:
            await asyncio.sleep(0.02)
        present = await subscription.presence()
        await asyncio.to_thread(screen.leave)
        while len(heard) < 2:
            await asyncio.sleep(0.02)
        await client.disconnect()
        return {info.user for info in present.clients.values()}

    present = asyncio.run(asyncio.wait_for(watch(), 30 * PATIENCE))
    assert heard == [("join", maria.user["id"]), ("leave", maria.user["id"])]
    assert present == {maria.user["id"], office.admin.user["id"]}


# MARK: Compression and the echo


def test_frames_are_compressed_where_the_client_offers_it(office):
    async def followed(compression):
        async with websockets.connect(f"ws://{office.server.host}:{office.server.port}/connection/websocket", compression=compression, proxy=None) as ws:
            await ws.send(json.dumps(connect(office.admin.token)) + "\n" + json.dumps({"id": 2, "subscribe": {"channel": "notices"}}))
            texts = []
            while len(texts) < 3:
                for line in (await asyncio.wait_for(ws.recv(), 20)).splitlines():
                    message = json.loads(line)
                    if message.get("id") == 2:
                        await asyncio.to_thread(post)
                    if "push" in message:
                        texts.append(message["push"]["pub"]["data"]["notice"]["text"])
            return texts, [type(e).__name__ for e in ws.protocol.extensions]

    long = "muito longo " * 300

    def post():
        for n in range(3):
            office.admin.post("/api/v1/notices", {"text": f"{n} {long}"}, expect=201)

    expected = [f"{n} {long}".strip() for n in range(3)]
    texts, extensions = asyncio.run(followed("deflate"))
    assert [t.strip() for t in texts] == expected and extensions == ["PerMessageDeflate"]
    texts, extensions = asyncio.run(followed(None))
    assert [t.strip() for t in texts] == expected and extensions == []


def test_the_echo_is_closed_unless_it_is_opened_and_never_opens_in_production(office, offices, tmp_path):
    handshake = {
        "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }
    assert office.anybody.call("GET", "/connection/echo", headers=handshake).status == 404
    ended = run("serve", PLANTAO_DATA=tmp_path, PORT=free_port(), PLANTAO_ECHO=1, ENVIRONMENT="production", SECRET_KEY="k" * 40)
    assert ended.returncode == 78 and "PLANTAO_ECHO" in ended.stderr
    open_office = offices(PLANTAO_ECHO=1)

    async def echo(compression):
        url = f"ws://{open_office.server.host}:{open_office.server.port}/connection/echo"
        async with websockets.connect(url, compression=compression, max_size=None, proxy=None) as ws:
            for message in ["", "é" * 70_000, b"\x00\xff" * 4_000_000, "x" * (16 << 20)]:
                await ws.send(message)
                assert await asyncio.wait_for(ws.recv(), 60) == message
            await ws.send(["frag", "ment", "ed"])
            assert await ws.recv() == "fragmented"
            await (await ws.ping(b"p"))
            await ws.close(1000, "enough")
            return ws.close_code

    for compression in ("deflate", None):
        assert asyncio.run(echo(compression)) == 1000
