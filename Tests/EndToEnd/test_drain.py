"""A server that stops lets its clients go in turn, tells them when to come back, and loses nothing (docs/operating.md "Stop")."""

import asyncio
import json
import threading
import time

import pytest
import websockets

from harness.api import is_clear_error
from harness.rawsocket import Closed, RawSocket
from harness.waiting import PATIENCE, eventually
from test_doors import Stream, connect

CLIENTS = 300


def test_who_comes_while_clients_are_let_go_is_sent_away_too(offices):
    """An upgrade that is accepted by a server that has begun to stop is closed at once, and ends it with 0."""
    office = offices(PLANTAO_DRAIN_SECONDS=3)
    token, ends = office.admin.token, threading.Event()
    kept = [RawSocket(office.server.host, office.server.port) for _ in range(3)]
    for socket in kept:
        socket.send(json.dumps(connect(token)))

    def come():
        while not ends.is_set():
            try:
                socket = RawSocket(office.server.host, office.server.port)
                socket.send(json.dumps(connect(token)))
                socket.abort()
            except (OSError, AssertionError, Closed):
                time.sleep(0.005)

    crowd = [threading.Thread(target=come, daemon=True) for _ in range(6)]
    [thread.start() for thread in crowd]
    try:
        time.sleep(0.3)
        office.server.stop()
    finally:
        ends.set()
        [thread.join(20) for thread in crowd]


class Watcher:
    """Follows the notices on a WebSocket, and knows what it has been shown."""

    def __init__(self, url, token):
        self.url, self.token = url, token
        self.known, self.pushed, self.position = set(), [], None
        self.ended_at = self.code = self.data = self.result = None
        self.acknowledged = []

    async def follow(self):
        self.ws = await websockets.connect(self.url, proxy=None, compression=None, open_timeout=60 * PATIENCE, ping_interval=None)
        subscribe = {"channel": "notices"}
        if self.position:
            subscribe |= {"recover": True, "epoch": self.position[0], "offset": self.position[1]}
        await self.ws.send(json.dumps(connect(self.token)) + "\n" + json.dumps({"id": 2, "subscribe": subscribe}))
        self.is_live = asyncio.Event()
        self.reading = asyncio.create_task(self._read())
        await asyncio.wait_for(self.is_live.wait(), 60 * PATIENCE)

    async def _read(self):
        try:
            async for frame in self.ws:
                for line in frame.splitlines():
                    self._take(json.loads(line))
        except websockets.ConnectionClosed:
            pass
        self.ended_at, self.code = time.monotonic(), self.ws.close_code

    def _take(self, message):
        if message.get("id") == 1:
            self.data = message["connect"].get("data")
        elif message.get("id") == 2:
            result = self.result = message["subscribe"]
            self.position = (result["epoch"], result.get("offset", 0))
            # A snapshot replaces what was known.
            if not result.get("recovered"):
                self.known = {notice["id"] for notice in result["data"]["notices"]}
            for publication in result.get("publications", []):
                self._publication(publication)
            self.is_live.set()
        elif "rpc" in message:
            self.acknowledged.append(message["rpc"]["data"]["id"])
        elif "pub" in message.get("push", {}):
            self._publication(message["push"]["pub"])

    def _publication(self, publication):
        notice = publication["data"]["notice"]["id"]
        assert notice not in self.known, "shown twice"
        assert publication["offset"] == self.position[1] + 1, "a gap"
        self.known.add(notice)
        self.position = (self.position[0], publication["offset"])


def test_closes_are_spread_and_who_comes_back_has_everything_once(offices):
    office = offices(PLANTAO_DRAIN_SECONDS=2, PLANTAO_RECONNECT_SECONDS=7)
    url = f"ws://{office.server.host}:{office.server.port}/connection/websocket"
    token = office.admin.token

    async def scene():
        watchers = [Watcher(url, token) for _ in range(CLIENTS)]
        for start in range(0, CLIENTS, 50):
            await asyncio.gather(*(watcher.follow() for watcher in watchers[start : start + 50]))
        assert watchers[0].data == {"reconnect_within": 7}
        stopping = asyncio.Event()

        async def post(watcher, number):
            """Posts notices for as long as its connection lives, also while the others are let go."""
            try:
                for n in range(10_000):
                    await watcher.ws.send(json.dumps({"id": 10 + n, "rpc": {"method": "notice.post", "data": {"text": f"{number}.{n}"}}}))
                    await asyncio.sleep(0.02 if stopping.is_set() else 0.3)
            except websockets.ConnectionClosed:
                pass

        posting = [asyncio.create_task(post(watcher, n)) for n, watcher in enumerate(watchers[:: CLIENTS // 6])]
        await asyncio.sleep(0.5)
        stopping.set()
        office.server.terminate()
        await asyncio.gather(*posting, *(watcher.reading for watcher in watchers))
        return watchers

    async def again(watchers):
        for start in range(0, CLIENTS, 50):
            await asyncio.gather(*(watcher.follow() for watcher in watchers[start : start + 50]))
        posted = await asyncio.to_thread(office.admin.post, "/api/v1/notices", {"text": "de volta"}, 201)
        deadline = time.monotonic() + 60 * PATIENCE
        while not all(posted["id"] in watcher.known for watcher in watchers) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        for watcher in watchers:
            await watcher.ws.close()
        return posted["id"]

    watchers = asyncio.run(asyncio.wait_for(scene(), 90 * PATIENCE))
    assert office.server.wait(20) == 0
    assert {watcher.code for watcher in watchers} == {3001}
    ends = sorted(watcher.ended_at for watcher in watchers)
    # Spread, and not in two or three lumps: the middle half of them takes its time.
    assert ends[-1] - ends[0] > 0.7, ends[-1] - ends[0]
    assert ends[CLIENTS * 3 // 4] - ends[CLIENTS // 4] > 0.3
    acknowledged = {id for watcher in watchers for id in watcher.acknowledged}
    assert acknowledged

    office.server.start()
    last = asyncio.run(asyncio.wait_for(again(watchers), 90 * PATIENCE))
    stored, before = set(), None
    while True:
        page = office.admin.get("/api/v1/notices", limit=200, **({"before": before} if before else {}))
        stored |= {notice["id"] for notice in page["items"]}
        if not page["has_more"]:
            break
        before = page["items"][-1]["id"]
    assert acknowledged <= stored and last in stored, "what was acknowledged is there"
    for watcher in watchers:
        # The snapshot after a restart may be shorter than the history; whatever it has is of it, and the latest is not missing.
        assert watcher.known <= stored and last in watcher.known
    assert len({frozenset(watcher.known) for watcher in watchers}) == 1, "all of them see the same"


def test_a_server_with_a_few_clients_or_none_stops_at_once(offices):
    office = offices(PLANTAO_DRAIN_SECONDS=60)
    desks = [office.desk(office.admin, "notices") for _ in range(5)]
    began = time.monotonic()
    office.server.stop()
    assert time.monotonic() - began < 10 * PATIENCE
    assert all(eventually("closed", lambda desk=desk: desk.closed).code == 3001 for desk in desks)


def test_a_second_signal_ends_the_server_at_once_and_nothing_acknowledged_is_lost(office):
    # A client that will not answer the close frame holds the first stop up.
    silent = RawSocket(office.server.host, office.server.port)
    silent.send(json.dumps(connect(office.admin.token)))
    assert silent.receive()
    notice = office.admin.post("/api/v1/notices", {"text": "antes"}, expect=201)
    office.server.terminate()
    time.sleep(0.5)
    assert office.server.is_running
    office.server.terminate()
    assert office.server.wait(2) == 128 + 15
    silent.abort()
    office.server.start()
    assert office.admin.get("/api/v1/notices")["items"] == [notice]


def test_a_poll_that_waits_is_told_to_come_back(offices):
    office = offices(PLANTAO_RECONNECT_SECONDS=9)
    position = office.admin.get("/api/v1/realtime/notices", wait=0)
    answers = []
    query = {"epoch": position["epoch"], "offset": position["offset"], "wait": 50}
    path = "/api/v1/realtime/notices?" + "&".join(f"{name}={value}" for name, value in query.items())
    waiting = threading.Thread(target=lambda: answers.append(office.admin.call("GET", path, timeout=60)))
    waiting.start()
    eventually("it waits", lambda: office.anybody.get("/info")["realtime"]["connections"] == 1)
    office.server.stop()
    waiting.join(10 * PATIENCE)
    body = is_clear_error(answers[0], 503)
    assert body["code"] == "stopping" and 1 <= int(answers[0].headers["retry-after"]) <= 9


@pytest.mark.parametrize("way", ["sse", "uni_sse", "http_stream"])
def test_a_stream_ends_whole_and_an_event_source_knows_when_to_come_back(offices, way):
    office = offices(PLANTAO_RECONNECT_SECONDS=9)
    command = json.dumps(connect(office.admin.token))
    if way == "sse":
        live = Stream(office.server, "GET", f"/connection/sse?cf_connect={json.dumps(connect(office.admin.token)).replace(' ', '%20')}")
    elif way == "uni_sse":
        live = Stream(office.server, "GET", f"/connection/uni_sse?token={office.admin.token}&channels=notices")
        eventually("the connect push", lambda: live.replies)
    else:
        live = Stream(office.server, "POST", "/connection/http_stream", command.encode())
    if way != "uni_sse":
        assert live.reply(1)["connect"]["data"] == {"reconnect_within": 9}
    office.server.stop()
    eventually("the stream ends", lambda: live.is_over)
    last = live.replies[-1]
    assert last.get("push", last)["disconnect"] == {"code": 3001, "reason": "shutdown"}
    told = [line for line in live.lines if line.startswith("retry: ")]
    assert not told if way == "http_stream" else 0 <= int(told[-1].removeprefix("retry: ")) <= 9000
    assert live.is_whole, "the body's last chunk has come"
