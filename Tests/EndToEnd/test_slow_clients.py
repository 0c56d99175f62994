"""What becomes of a client who does not read: what waits for it is bounded, by its class, and nobody else notices (docs/operating.md)."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.rawsocket import Closed, RawSocket

# What the kernel takes in for a client who does not read, at the most, and what the server keeps for it.
KERNEL, BOUND = 1 << 20, 1 << 20
TEXT = 3900


class Reluctant:
    """A raw client that reads when it is told to."""

    def __init__(self, office, *commands):
        self.socket = RawSocket(office.server.host, office.server.port)
        self.send({"id": 1, "connect": {"token": office.admin.token}}, *commands)
        self.heard = []
        self.closed = None

    def send(self, *commands):
        self.socket.send("\n".join(map(json.dumps, commands)))

    def read(self, until, timeout=30.0):
        """Reads until `until(everything heard)` gives something."""
        deadline = time.monotonic() + timeout
        while not (found := until(self.heard)):
            assert time.monotonic() < deadline, f"not heard; the last was {self.heard[-1:]}"
            try:
                text = self.socket.receive(timeout=1.0)
            except Closed as closed:
                self.closed = closed
                return until(self.heard)
            self.heard += [json.loads(line) for line in (text or "").splitlines()]
        return found

    def reply(self, id):
        return self.read(lambda heard: next((r for r in heard if r.get("id") == id), None))

    def pushes(self, channel):
        return [r["push"] for r in self.heard if "push" in r and r["push"].get("channel") == channel]

    def publications(self, channel):
        return [p["pub"] for p in self.pushes(channel) if "pub" in p]


@pytest.fixture
def reluctant(office):
    made = []

    def make(*commands):
        made.append(Reluctant(office, *commands))
        return made[-1]

    yield make
    for client in made:
        client.socket.abort()


def flood(office, bytes):
    """So many bytes of notices; returns how many notices that were."""
    count = bytes // TEXT + 1
    for number in range(count):
        office.admin.post("/api/v1/notices", {"text": f"{number} " + "x" * (TEXT - 10)}, expect=201)
    return count


def test_who_falls_behind_is_told_and_gets_all_of_it_when_it_comes_back(office, reluctant):
    slow = reluctant({"id": 2, "subscribe": {"channel": "notices"}})
    start = slow.reply(2)["subscribe"]
    before = office.server.resident_bytes()
    total = flood(office, KERNEL + BOUND + (1 << 20))
    assert office.server.resident_bytes() - before < 24 << 20
    cut = slow.read(lambda _: next((p for p in slow.pushes("notices") if "unsubscribe" in p), None))
    assert cut["unsubscribe"]["code"] == 2500
    got = [p["offset"] for p in slow.publications("notices")]
    assert got == list(range(1, len(got) + 1)), "in order, without a gap, as far as it goes"
    # The socket stays, and answers.
    slow.send({"id": 3, "rpc": {"method": "echo", "data": {"a": 1}}}, {"id": 4, "subscribe": {
        "channel": "notices", "recover": True, "epoch": start["epoch"], "offset": len(got)}})
    assert slow.reply(3)["rpc"]["data"] == {"a": 1}
    again = slow.reply(4)["subscribe"]
    assert again["offset"] == total
    if again.get("recovered"):
        assert [p["offset"] for p in again["publications"]] == list(range(len(got) + 1, total + 1))
    else:
        assert again["data"]["notices"]
    office.admin.post("/api/v1/notices", {"text": "ao vivo"}, expect=201)
    live = slow.read(lambda _: [p for p in slow.publications("notices") if p["data"]["notice"]["text"] == "ao vivo"])
    assert [p["offset"] for p in live] == [total + 1]


def test_whom_the_server_subscribed_is_sent_away_to_come_back(office, reluctant):
    slow = reluctant()
    subs = slow.reply(1)["connect"]["subs"]
    total = flood(office, KERNEL + BOUND + (1 << 20))
    slow.read(lambda _: slow.closed)
    assert slow.closed.code == 3010
    got = [p["offset"] for p in slow.publications("notices")]
    assert got == list(range(1, len(got) + 1))
    socket = RawSocket(office.server.host, office.server.port)
    socket.send(json.dumps({"id": 1, "connect": {"token": office.admin.token, "subs": {
        "notices": {"recover": True, "epoch": subs["notices"]["epoch"], "offset": len(got)}}}}))
    sub = json.loads(socket.receive(timeout=10).splitlines()[0])["connect"]["subs"]["notices"]
    socket.abort()
    assert sub["offset"] == total


def test_of_a_value_only_the_latest_waits_and_of_typing_nothing(office, reluctant):
    maria = office.hire("Maria")
    talk = office.attended_by(maria)["id"]
    channels = ["queue:counts", f"conversation:{talk}", "notices"]
    slow = reluctant(*({"id": 2 + n, "subscribe": {"channel": channel}} for n, channel in enumerate(channels)))
    for n in range(3):
        slow.reply(2 + n)
    # More than the kernel takes, less than the server keeps.
    flood(office, KERNEL // 2 + (400 << 10))
    for _ in range(5):
        office.in_line()
    for _ in range(20):
        maria.api.command(talk, "typing")
    maria.api.post(f"/api/v1/conversations/{talk}/messages", {"text": "depois"}, expect=201)
    office.admin.post("/api/v1/notices", {"text": "fim"}, expect=201)
    slow.read(lambda _: [p for p in slow.publications("notices") if p["data"]["notice"]["text"] == "fim"])
    counts = [p["data"]["counts"]["waiting"] for p in slow.publications("queue:counts")]
    assert counts == [5], "one value, the last"
    spoken = [p["data"]["type"] for p in slow.publications(f"conversation:{talk}")]
    assert not [t for t in spoken if "typing" in t], spoken
    assert spoken, "what was said is there"
    offsets = [p["offset"] for p in slow.publications("notices")]
    assert offsets == list(range(1, len(offsets) + 1)) and not [p for p in slow.pushes("notices") if "unsubscribe" in p]


def test_others_hear_everything_meanwhile(office, reluctant):
    slow = [reluctant({"id": 2, "subscribe": {"channel": "notices"}}) for _ in range(5)]
    for client in slow:
        client.reply(2)
    quick = reluctant({"id": 2, "subscribe": {"channel": "notices"}})
    quick.reply(2)
    with ThreadPoolExecutor(1) as pool:
        posted = pool.submit(flood, office, KERNEL + BOUND + (1 << 20))
        quick.read(lambda _: posted.done() and len(quick.publications("notices")) == posted.result(), timeout=120)
    assert [p["offset"] for p in quick.publications("notices")] == list(range(1, posted.result() + 1))
