"""What the server subscribes a client to by itself, on connecting, and what becomes of it (protocol/README.md "Subscribed by connecting")."""

import contextlib
import json
import socket
import threading
from urllib.parse import quote

import pytest
from centrifuge import ClientEventHandler, StreamPosition, SubscriptionEventHandler

from harness.api import is_clear_error
from harness.rawsocket import RawSocket
from harness.waiting import PATIENCE, eventually, never


def notice(office, text):
    return office.admin.post("/api/v1/notices", {"text": text}, expect=201)


class Line:
    """The bare protocol on a socket: what is sent is what is written, and everything heard is kept in its order."""

    def __init__(self, office, token=None, subs=None, then=(), keep=True):
        self.socket = RawSocket(office.server.host, office.server.port)
        self.heard = []
        connect = {"token": token or office.admin.token} | ({"subs": subs} if subs else {})
        self.send({"id": 1, "connect": connect}, *then)
        self.closed = None
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, *commands):
        self.socket.send("\n".join(map(json.dumps, commands)))

    def _read(self):
        try:
            while True:
                for line in (self.socket.receive(timeout=60) or "").splitlines():
                    self.heard.append(json.loads(line))
        except Exception as error:
            self.closed = error

    def reply(self, id):
        return eventually(f"the reply to {id}", lambda: next((r for r in list(self.heard) if r.get("id") == id), None))

    @property
    def pushes(self):
        return [r["push"] for r in list(self.heard) if "push" in r]

    def notices(self):
        return [(p["pub"]["offset"], p["pub"]["data"]["notice"]["text"]) for p in self.pushes if p.get("channel") == "notices" and "pub" in p]

    def close(self):
        self.socket.abort()


@pytest.fixture
def lines(office):
    opened = []

    def open(*args, **options):
        opened.append(Line(office, *args, **options))
        return opened[-1]

    yield open
    for line in opened:
        line.close()


@pytest.mark.parametrize("role", ["admin", "agent", "viewer"])
def test_everybody_hears_notices_without_asking(office, lines, role):
    office.admin.post("/api/v1/users/", {"email": f"{role}@x.com", "name": role, "role": role, "password": "Uma-Senha-9!"}, expect=201)
    line = lines(office.anybody.login(f"{role}@x.com", "Uma-Senha-9!").token)
    sub = line.reply(1)["connect"]["subs"]["notices"]
    assert sub["data"] == {"notices": []} and sub["epoch"] and sub["recoverable"] and sub["positioned"] and not sub.get("recovered")
    made = notice(office, "para todos")
    eventually("the push", lambda: line.notices() == [(1, "para todos")])
    assert line.pushes[0]["pub"]["data"] == {"type": "notice.created", "notice": made}


def test_who_comes_back_gets_what_it_missed_in_the_connect_reply(office, lines):
    first = lines()
    epoch = first.reply(1)["connect"]["subs"]["notices"]["epoch"]
    notice(office, "um")
    eventually("heard", lambda: first.notices())
    first.close()
    notice(office, "dois"), notice(office, "três")
    again = lines(subs={"notices": {"recover": True, "epoch": epoch, "offset": 1}})
    sub = again.reply(1)["connect"]["subs"]["notices"]
    assert sub["recovered"] and sub["was_recovering"] and "data" not in sub and sub["offset"] == 3
    assert [(p["offset"], p["data"]["notice"]["text"]) for p in sub["publications"]] == [(2, "dois"), (3, "três")]
    notice(office, "quatro")
    eventually("and on", lambda: again.notices() == [(4, "quatro")])
    # From a position of another life of the stream: the snapshot, and the verdict.
    foreign = lines(subs={"notices": {"recover": True, "epoch": "foreign", "offset": 1}, "nonsense": {"recover": True, "epoch": "x", "offset": 1}})
    subs = foreign.reply(1)["connect"]["subs"]
    assert set(subs) == {"notices"} and not subs["notices"].get("recovered") and subs["notices"]["was_recovering"]
    assert [n["text"] for n in subs["notices"]["data"]["notices"]] == ["um", "dois", "três", "quatro"]


def test_a_client_takes_such_a_subscription_over_once_and_hears_everything_once(office, lines):
    line = lines()
    position = line.reply(1)["connect"]["subs"]["notices"]
    notice(office, "antes")
    eventually("pushed", lambda: line.notices() == [(1, "antes")])
    line.send({"id": 2, "subscribe": {"channel": "notices"}}, {"id": 3, "subscribe": {"channel": "notices"}})
    taken = line.reply(2)["subscribe"]
    assert [n["text"] for n in taken["data"]["notices"]] == ["antes"] and (taken["epoch"], taken["offset"]) == (position["epoch"], 1)
    assert line.reply(3)["error"]["code"] == 105
    notice(office, "depois")
    eventually("once", lambda: line.notices() == [(1, "antes"), (2, "depois")])
    never("twice", lambda: len(line.notices()) > 2, during=0.3)
    line.send({"id": 4, "unsubscribe": {"channel": "notices"}})
    line.reply(4)
    notice(office, "nunca")
    line.send({"id": 5, "subscribe": {"channel": "notices", "recover": True, "epoch": position["epoch"], "offset": 2}})
    assert [p["offset"] for p in line.reply(5)["subscribe"]["publications"]] == [3]
    assert len(line.notices()) == 2


def test_a_client_that_asks_in_the_same_breath_is_not_subscribed_by_the_server(office, lines):
    line = lines(then=[{"id": 2, "subscribe": {"channel": "notices"}}])
    assert "subs" not in line.reply(1)["connect"]
    assert line.reply(2)["subscribe"]["data"] == {"notices": []}
    notice(office, "uma vez")
    eventually("once", lambda: line.notices() == [(1, "uma vez")])


def test_takeovers_under_fire_lose_and_double_nothing(office, lines):
    """Notices come all the time while clients connect, take over, and go on: each notice is in the snapshot or recovered, or pushed, and that once."""
    is_over = threading.Event()
    posted = []

    def post():
        while not is_over.is_set():
            posted.append(notice(office, f"n{len(posted)}")["text"])

    thread = threading.Thread(target=post)
    thread.start()
    try:
        for n in range(25):
            line = lines()
            sub = line.reply(1)["connect"]["subs"]["notices"]
            eventually("some pushes", lambda: len(line.notices()) >= n % 3)
            known = (line.notices() or [(sub.get("offset", 0), "")])[-1][0]
            line.send({"id": 2, "subscribe": {"channel": "notices", "recover": True, "epoch": sub["epoch"], "offset": known}})
            line.reply(2)
            eventually("more pushes", lambda: len(line.notices()) >= 6)
            heard = list(line.heard)
            at = next(i for i, r in enumerate(heard) if r.get("id") == 2)
            before = [r["push"]["pub"]["offset"] for r in heard[:at] if "push" in r]
            after = [r["push"]["pub"]["offset"] for r in heard[at:] if "push" in r]
            assert before == list(range(sub.get("offset", 0) + 1, sub.get("offset", 0) + 1 + len(before)))
            taken = heard[at]["subscribe"]
            assert taken["recovered"]
            recovered = [p["offset"] for p in taken.get("publications", [])]
            assert recovered == list(range(known + 1, taken.get("offset", 0) + 1))
            assert after == list(range(taken.get("offset", 0) + 1, taken.get("offset", 0) + 1 + len(after)))
            line.close()
    finally:
        is_over.set()
        thread.join()


# MARK: centrifuge-python


class Events(ClientEventHandler):
    def __init__(self):
        self.subscribed, self.texts, self.offsets = [], [], []

    async def on_subscribed(self, ctx):
        self.subscribed.append(ctx)

    async def on_publication(self, ctx):
        self.texts.append(ctx.pub.data["notice"]["text"])
        self.offsets.append(ctx.pub.offset)


def test_the_sdk_hears_its_server_side_subscription_and_recovers_it_after_cuts(office):
    with office.official(office.admin) as screen:
        events = Events()
        screen.client._ev = events
        screen.connect()
        eventually("subscribed", lambda: events.subscribed)
        assert events.subscribed[0].channel == "notices" and events.subscribed[0].recoverable and events.subscribed[0].data == {"notices": []}
        expected = []
        for n in range(8):
            expected.append(f"antes {n}"), notice(office, f"antes {n}")
            eventually("heard", lambda: events.texts == expected)
            screen.cable.break_()
            for k in range(5):
                expected.append(f"fora {n}.{k}"), notice(office, f"fora {n}.{k}")
            screen.cable.mend()
            eventually("exactly what was missed", lambda: events.texts == expected)
            assert events.subscribed[-1].was_recovering and events.subscribed[-1].recovered
        assert events.offsets == list(range(1, len(expected) + 1))


def test_the_sdk_takes_the_channel_over_and_recovers_it_as_its_own(office):
    with office.official(office.admin) as screen:
        events = Events()
        screen.client._ev = events
        channel = screen.connect().follow("notices")
        for n in range(4):
            notice(office, f"antes {n}")
            eventually("heard", lambda: channel.offsets and channel.offsets[-1] == 4 * n + 1)
            screen.cable.break_()
            for k in range(3):
                notice(office, f"fora {n}.{k}")
            screen.cable.mend()
            eventually("recovered", lambda: len(channel.subscribed) == n + 2 and channel.offsets[-1] == 4 * n + 4)
            assert channel.subscribed[-1].recovered
        assert channel.offsets == list(range(1, 17)) and not channel.errors and not channel.faults


def test_the_sdk_loads_its_own_state_again_when_it_cannot_recover(office):
    """`get_state` of centrifuge-python: it asks for error 112 in place of a snapshot, and reads the state itself."""
    notice(office, "antes")
    known, loads = [], []
    epoch = Line(office)
    position = epoch.reply(1)["connect"]["subs"]["notices"]
    epoch.close()

    class Kept(SubscriptionEventHandler):
        async def on_publication(self, ctx):
            known.append(ctx.pub.data["notice"]["text"])

    async def get_state(channel):
        loads.append(channel)
        # What it says first is of another life of the stream.
        return StreamPosition(position.get("offset", 0), position["epoch"] if len(loads) > 1 else "foreign")

    with office.official(office.admin) as screen:
        screen.connect()

        async def follow():
            subscription = screen.client.new_subscription("notices", events=Kept(), get_state=get_state, min_resubscribe_delay=0.05)
            await subscription.subscribe()
            await subscription.ready()

        screen.run(follow())
        assert loads == ["notices", "notices"]
        notice(office, "depois")
        eventually("live", lambda: known == ["depois"])


def test_gaps_inside_the_ring_are_made_good_without_the_store(own_postgres, offices):
    """The database is away the whole time, so that whoever reads it does not get an answer."""
    database = own_postgres.create_database()
    office = offices(DATABASE_URL=database.url)
    crowd = [Line(office, then=[{"id": 2, "subscribe": {"channel": "conversations"}}]) for _ in range(30)]
    places = [(line.reply(1)["connect"]["subs"]["notices"], line.reply(2)["subscribe"]) for line in crowd]
    own_postgres.stop()
    for line in crowd:
        line.close()
    for n in range(200):
        notice(office, f"n{n}")
    for notices, conversations in places:
        where = {"recover": True, "epoch": conversations["epoch"], "offset": conversations.get("offset", 0)}
        back = Line(office, subs={"notices": {"recover": True, "epoch": notices["epoch"], "offset": notices.get("offset", 0)}}, then=[
            {"id": 2, "subscribe": {"channel": "conversations"} | where}])
        assert back.reply(2)["subscribe"]["recovered"]
        missed = back.reply(1)["connect"]["subs"]["notices"]
        assert missed["recovered"] and [p["offset"] for p in missed["publications"]] == list(range(1, 201))
        back.close()


def test_a_tenant_that_cannot_be_loaded_keeps_nobody_from_connecting(own_postgres, offices):
    database = own_postgres.create_database()
    office = offices(DATABASE_URL=database.url, DATABASE_BREAKER_SECONDS=1)
    token = office.admin.token
    office.server.stop()
    office.server.start()
    own_postgres.stop()
    line = Line(office, token)
    try:
        connected = line.reply(1)["connect"]
        assert "subs" not in connected, "the tenant sleeps in a database that is away"
        line.send({"id": 2, "rpc": {"method": "echo", "data": 1}})
        assert line.reply(2)["rpc"]["data"] == 1
        # Who only listens is sent away to come back: after an error in place of a stream a browser never would.
        listener = Listener(office, f"/connection/uni_sse?token={token}")
        eventually("the end", lambda: listener.is_over)
        assert listener.retry and [e for _, e in listener.events] == [{"disconnect": {"code": 3004, "reason": "internal server error"}}]
        own_postgres.start()
        push = eventually("subscribed as soon as it can be", lambda: next((p for p in line.pushes if "subscribe" in p), None), timeout=40)
        assert push["channel"] == "notices" and push["subscribe"]["data"] == {"notices": []}
        notice(office, "de volta")
        eventually("live", lambda: line.notices() == [(1, "de volta")])
    finally:
        line.close()


# MARK: Latest values


def test_of_a_value_only_the_latest_is_recovered_however_much_was_missed(office, lines):
    line = lines(then=[{"id": 2, "subscribe": {"channel": "queue:counts"}}])
    start = line.reply(2)["subscribe"]
    assert start["data"] == {"counts": {"waiting": 0, "waiting_since": None, "open": 0}}

    def counts():
        return [p["pub"] for p in line.pushes if p.get("channel") == "queue:counts"]

    first = office.in_line()
    eventually("told", lambda: counts() and counts()[-1]["data"]["counts"]["waiting"] == 1)
    assert counts()[-1]["data"] == {
        "type": "queue.counted", "counts": {"waiting": 1, "waiting_since": first["queued_at"], "open": 1},
    }
    for _ in range(6):
        office.in_line()
    last = eventually("all told", lambda: counts()[-1]["data"]["counts"]["waiting"] == 7 and counts()[-1])
    assert [p["offset"] for p in counts()] == sorted({p["offset"] for p in counts()})

    def recover(id, epoch, offset):
        again = lines(then=[{"id": id, "subscribe": {"channel": "queue:counts", "recover": True, "epoch": epoch, "offset": offset}}])
        result = again.reply(id)["subscribe"]
        again.close()
        return result

    for epoch, offset in [(start["epoch"], start.get("offset", 0)), (start["epoch"], last["offset"] - 1), ("foreign", 3)]:
        result = recover(3, epoch, offset)
        assert result["recovered"] and result["was_recovering"] and "data" not in result
        assert [(p["offset"], p["data"]) for p in result["publications"]] == [(last["offset"], last["data"])]
    result = recover(3, start["epoch"], last["offset"])
    assert result["recovered"] and not result.get("publications"), "who has it needs nothing"
    # A server that has just started knows the value and no publication of it: the snapshot.
    office.server.stop()
    office.server.start()
    result = recover(3, start["epoch"], last["offset"])
    assert not result.get("recovered") and result["data"]["counts"] == last["data"]["counts"]


# MARK: Limits of recovery


def test_who_missed_more_than_is_remembered_gets_the_snapshot_and_never_a_part(office, lines):
    line = lines()
    position = line.reply(1)["connect"]["subs"]["notices"]
    for n in range(513):
        line.send({"id": 10 + n, "rpc": {"method": "notice.post", "data": {"text": f"n{n}"}}})
        if n % 100 == 99:
            line.reply(10 + n)
    eventually("all of them", lambda: len(line.notices()) == 513)

    def recover(offset):
        sub = lines(subs={"notices": {"recover": True, "epoch": position["epoch"], "offset": offset}}).reply(1)["connect"]["subs"]["notices"]
        assert sub["offset"] == 513
        return sub

    most = recover(1)
    assert most["recovered"] and [p["offset"] for p in most["publications"]] == list(range(2, 514))
    too_much = recover(0)
    assert not too_much.get("recovered") and not too_much.get("publications")
    assert [n["text"] for n in too_much["data"]["notices"]] == [f"n{n}" for n in range(493, 513)]
    assert not recover(514).get("recovered"), "ahead of the stream: from another life of it"
    # Who would rather know than be given a snapshot.
    line.send({"id": 5, "subscribe": {"channel": "notices", "recover": True, "epoch": position["epoch"], "offset": 0, "flag": 2}})
    assert line.reply(5)["error"]["code"] == 112


# MARK: Those who only listen: uni_sse


class Listener:
    """An EventSource, as the HTML standard describes it: events with their ids, comments and `retry`, through one response."""

    def __init__(self, office, path, method="GET", body=b"", headers=None):
        self.socket = socket.create_connection((office.server.host, office.server.port), timeout=60 * PATIENCE)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {office.server.host}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        self.events, self.comments, self.retry, self.head, self.is_over = [], 0, None, None, False
        self.last_id = ""
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        data = self.socket.makefile("rb")
        try:
            head = []
            while (line := data.readline()) not in (b"\r\n", b""):
                head.append(line.decode().strip())
            self.head, rest = head, b""
            while (size := data.readline()) not in (b"", b"0\r\n"):
                rest += data.read(int(size, 16))
                data.readline()
                *blocks, rest = rest.split(b"\n\n")
                for block in blocks:
                    self._event(block.decode())
        except (OSError, ValueError):
            pass
        self.is_over = True

    def _event(self, block):
        data = None
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "":
                self.comments += 1
            elif name == "retry":
                self.retry = int(value)
            elif name == "id":
                self.last_id = value
            elif name == "data":
                data = json.loads(value)
        if data is not None:
            self.events.append((self.last_id, data))

    @property
    def connect(self):
        return eventually("the connect push", lambda: self.events and self.events[0][1]["connect"])

    def offsets(self, channel="notices"):
        return [d["pub"]["offset"] for _, d in list(self.events) if d.get("channel") == channel and "offset" in d.get("pub", {})]

    def close(self):
        # Also for the reader, which has the socket open in its own way.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join(10 * PATIENCE)
        self.socket.close()


@pytest.fixture
def listen(office):
    opened = []

    def open(query="", token=True, **options):
        query = ([f"token={office.admin.token}"] if token else []) + ([query] if query else [])
        opened.append(Listener(office, "/connection/uni_sse?" + "&".join(query), **options))
        return opened[-1]

    yield open
    for listener in opened:
        listener.close()


def test_a_listener_is_given_its_channels_and_then_bare_pushes(office, listen):
    listener = listen()
    connect = listener.connect
    assert connect["client"] and connect["expires"] and connect["ttl"] > 0 and "session" not in connect
    assert connect["subs"]["notices"]["data"] == {"notices": []} and connect["subs"]["notices"]["recoverable"]
    assert 1000 <= listener.retry <= 4000
    head = {line.split(": ", 1)[0].lower(): line.split(": ", 1)[1] for line in listener.head[1:]}
    assert head["content-type"].startswith("text/event-stream") and "no-store" in head["cache-control"]
    made = notice(office, "só ouvir")
    eventually("the push", lambda: len(listener.events) == 2)
    assert listener.events[1][1] == {"channel": "notices", "pub": {"data": {"type": "notice.created", "notice": made}, "offset": 1}}
    present = lines_presence(office)
    assert any(connect["client"] == client for client in present)


def lines_presence(office):
    line = Line(office)
    try:
        line.reply(1)
        line.send({"id": 2, "presence": {"channel": "notices"}})
        return line.reply(2)["presence"]["presence"]
    finally:
        line.close()


def test_the_token_and_the_channels_may_stand_wherever_centrifugo_has_them(office, listen):
    bearer = {"Authorization": f"Bearer {office.admin.token}"}
    connect = json.dumps({"token": office.admin.token, "subs": {"queue": {}, "consultores": {}}})
    ways = [
        listen("channels=queue,consultores"),
        listen("channels=consultores,queue", token=False, headers=bearer),
        listen("cf_connect=" + quote(connect), token=False),
        listen(token=False, method="POST", body=connect.encode()),
        listen(token=False, method="POST", body=json.dumps({"id": 1, "connect": json.loads(connect)}).encode()),
        listen("channels=queue,consultores", token=False, method="POST", headers=bearer),
    ]
    for way in ways:
        assert set(way.connect["subs"]) == {"queue", "consultores"}
    listener = listen("channels=queue,notices,queue:counts")
    assert set(listener.connect["subs"]) == {"queue", "notices", "queue:counts"}
    office.in_line(), notice(office, "aviso")
    eventually("of all channels", lambda: {d["channel"] for _, d in listener.events[1:]} == {"queue", "notices", "queue:counts"})


def test_a_listener_who_may_not_is_told_so_before_anything_begins(office):
    token = office.admin.token
    get = lambda query: office.anybody.call("GET", f"/connection/uni_sse?{query}")  # noqa: E731
    for query, status in [
        ("", 401), ("token=nonsense", 401), (f"token={token}&channels=nothing", 404), (f"token={token}&channels=conversation:nonsense", 404),
        (f"token={token}&channels=conversation:01a00000-0000-7000-8000-000000000001", 404), (f"token={token}&cf_connect=nonsense", 422),
        (f"token={token}&channels=" + ",".join(["queue"] * 129), 422),
    ]:
        is_clear_error(get(query), status)
    is_clear_error(office.anybody.call("POST", "/connection/uni_sse", {"token": 7}), 422)


def test_last_event_id_recovers_every_channel_exactly_after_cuts(office, listen, seed):
    """As a browser does it: the same address again, with the id of the last event that was heard whole."""
    maria = office.hire("Maria")
    talk = office.attended_by(maria)["id"]
    channels = ["notices", f"conversation:{talk}", "conversations"]
    heard = {channel: [] for channel in channels}
    last_id, start = None, None
    texts = 0
    for cut in range(15):
        by_query = cut % 2
        query = "channels=" + ",".join(channels) + (f"&lastEventId={last_id}" if by_query and last_id else "")
        listener = listen(query, headers={"Last-Event-ID": last_id} if last_id and not by_query else {})
        subs = listener.connect["subs"]
        if start is None:
            start = {channel: subs[channel].get("offset", 0) for channel in channels}
        for channel in channels:
            if last_id:
                assert subs[channel]["recovered"] and "data" not in subs[channel]
            heard[channel] += [p["offset"] for p in subs[channel].get("publications", [])]
        for _ in range(seed.randrange(5)):
            texts += 1
            seed.choice([lambda: notice(office, f"n{texts}"), lambda: maria.api.note(talk, f"n{texts}")])()
        if seed.random() < 0.5:
            notice(office, "ouvido")
            texts += 1
            eventually("heard", lambda: any(d.get("channel") == "notices" and d["pub"]["data"]["notice"]["text"] == "ouvido" for _, d in listener.events))
        events = list(listener.events)
        listener.close()
        for channel in channels:
            heard[channel] += [d["pub"]["offset"] for _, d in events if d.get("channel") == channel]
        last_id = events[-1][0]
        notice(office, "enquanto fora"), maria.api.note(talk, "enquanto fora")
    for channel in channels:
        assert heard[channel] == list(range(start[channel] + 1, start[channel] + 1 + len(heard[channel]))), "in order, none twice, none missing"
    assert len(heard["notices"]) >= 14 and len(heard[f"conversation:{talk}"]) >= 14
    # An id that means nothing here, or is of other channels: the snapshot, and the verdict.
    for foreign in ("nonsense", "a.1_b.2_c.3", last_id + "_x.1", "é"):
        subs = listen("channels=" + ",".join(channels) + "&lastEventId=" + quote(foreign)).connect["subs"]
        assert all("data" in sub and not sub.get("recovered") for sub in subs.values())


def test_a_listener_is_kept_alive_by_comments_and_sent_away_with_a_reason(offices):
    office = offices(PLANTAO_PING_SECONDS=1)
    maria = office.hire("Maria")
    listener = Listener(office, f"/connection/uni_sse?token={maria.token}")
    listener.connect
    eventually("two comments", lambda: listener.comments >= 2)
    maria.api.logout()
    eventually("it ends", lambda: listener.is_over)
    assert listener.events[-1][1] == {"disconnect": {"code": 3500, "reason": "invalid token"}}
    is_clear_error(office.anybody.call("GET", f"/connection/uni_sse?token={maria.token}"), 401)
    listener = Listener(office, f"/connection/uni_sse?token={office.admin.token}")
    listener.connect
    assert office.server.stop() in (0, None)
    eventually("it ends", lambda: listener.is_over)
    assert listener.events[-1][1] == {"disconnect": {"code": 3001, "reason": "shutdown"}}


def test_an_event_source_on_sse_recovers_what_the_server_subscribed_it_to(office):
    address = "/connection/sse?cf_connect=" + quote(json.dumps({"id": 1, "connect": {"token": office.admin.token}}))
    first = Listener(office, address)
    eventually("connected", lambda: first.events)
    notice(office, "um")
    eventually("heard", lambda: len(first.events) == 2)
    assert first.events[1][1]["push"]["pub"]["offset"] == 1 and first.last_id
    first.close()
    notice(office, "dois")
    again = Listener(office, address, headers={"Last-Event-ID": first.last_id})
    sub = eventually("connected", lambda: again.events)[0][1]["connect"]["subs"]["notices"]
    assert sub["recovered"] and [p["data"]["notice"]["text"] for p in sub["publications"]] == ["dois"]
    again.close()
