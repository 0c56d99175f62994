"""The live protocol: an official SDK as it is, and clients whose connections are cut at random (protocol/README.md "Channels")."""

import os
import random
import threading
import time

import pytest
from centrifuge import StreamPosition, SubscriptionUnsubscribedError
from centrifuge.exceptions import ReplyError as SDKReplyError

from fakes.whatsapp import text
from harness.desk import ReplyError
from harness.load import Load
from harness.office import new_number
from harness.waiting import PATIENCE, eventually

CUTS = int(os.environ.get("CUTS", "1000"))


@pytest.fixture(scope="module")
def maria(shared_office):
    return shared_office.hire("Maria", capacity=100)


@pytest.fixture
def screen(shared_office, maria):
    with shared_office.official(maria) as client:
        yield client.connect()


@pytest.fixture
def talk(shared_office, maria):
    """A conversation that Maria has: its id and the customer's number."""
    number = new_number()
    conversation = shared_office.attended_by(maria, number)
    yield conversation["id"], number
    maria.api.resolve(conversation["id"])


# MARK: centrifuge-python, unmodified


def test_the_sdk_gets_a_snapshot_and_then_every_change_as_it_happens(shared_office, maria, screen, talk):
    id, number = talk
    channels = [screen.follow(c) for c in ("conversations", f"conversation:{id}", "queue", "consultores")]
    assert all(c.subscribed[0].recoverable and c.subscribed[0].stream_position.epoch for c in channels)
    inbox, conversation = channels[:2]
    assert inbox.picture.items[id]["state"] == "active" and conversation.picture.conversation["id"] == id
    maria.api.say(id, "ao vivo")
    maria.api.note(id, "só para nós")
    shared_office.says(number, "recebi")
    eventually("all on the screen", lambda: {"ao vivo", "só para nós", "recebi"} <= set(conversation.picture.texts))
    shared_office.settled(id)
    for channel in channels:
        eventually(f"{channel.name} equal to REST", lambda: not channel.picture.differences(maria.api))
        assert not channel.faults and not channel.errors, (channel.faults, channel.errors)
        assert channel.offsets == list(range(channel.offsets[0], channel.offsets[0] + len(channel.offsets))) if channel.offsets else True


def test_a_change_is_on_the_screen_when_its_reply_has_come_or_shortly_after(shared_office, maria, screen, talk):
    conversation = screen.follow(f"conversation:{talk[0]}")
    delays = []
    for n in range(20):
        began = time.monotonic()
        screen.run(screen.client.rpc("conversation.notes", {"conversation_id": talk[0], "text": f"nota {n}"}))
        eventually("the note", lambda: f"nota {n}" in conversation.picture.texts, every=0.002)
        delays.append(time.monotonic() - began)
    print("seconds from command to screen:", sorted(round(d, 4) for d in delays))
    assert sorted(delays)[10] < 0.5 * PATIENCE


def test_the_sdk_asks_who_is_there(shared_office, maria, screen):
    joao = shared_office.hire("João", online=False)
    channel = screen.follow("queue")
    with shared_office.official(joao) as other, shared_office.official(maria) as second:
        other.connect().follow("queue"), second.connect().follow("queue")
        expected = sorted([maria.user["id"], maria.user["id"], joao.user["id"]])
        everybody = lambda: sorted(i.user for i in screen.run(channel.subscription.presence()).clients.values()) == expected  # noqa: E731
        eventually("all three present", everybody)
        present = screen.run(channel.subscription.presence()).clients
        assert screen.client.client_id in present and present[screen.client.client_id].client == screen.client.client_id
        stats = screen.run(channel.subscription.presence_stats())
        assert (stats.num_clients, stats.num_users) == (3, 2)
    eventually("the others gone", lambda: screen.run(channel.subscription.presence_stats()).num_clients == 1)


def test_the_sdk_reads_the_history_of_a_channel(maria, screen, talk):
    channel = screen.follow(f"conversation:{talk[0]}")
    start = channel.subscribed[0].stream_position
    for n in range(5):
        maria.api.note(talk[0], f"história {n}")
    eventually("all shown", lambda: "história 4" in channel.picture.texts)
    top = screen.run(channel.subscription.history(limit=0))
    assert top.publications == [] and (top.epoch, top.offset) == (start.epoch, channel.offsets[-1])
    whole = screen.run(channel.subscription.history(limit=-1, since=start))
    assert [(p.offset, p.data) for p in whole.publications] == [(p.offset, p.data) for p in channel.publications if p.offset]
    some = screen.run(channel.subscription.history(limit=2, since=StreamPosition(start.offset + 1, start.epoch)))
    assert [p.offset for p in some.publications] == [start.offset + 2, start.offset + 3]
    last = screen.run(channel.subscription.history(limit=1, reverse=True))
    assert [p.offset for p in last.publications] == [channel.offsets[-1]]


def test_rpc_echo_answers_its_own_data(screen):
    for data in ({"a": [1, 2.5, None, True, {"ç": "😀 \" \\ /"}]}, [], 0, "texto", {"long": "x" * 30_000}):
        assert screen.run(screen.client.rpc("echo", data)).data == data


def test_the_sdk_unsubscribes_and_subscribes_again(maria, screen, talk):
    channel = screen.follow(f"conversation:{talk[0]}")
    screen.run(channel.subscription.unsubscribe())
    maria.api.note(talk[0], "enquanto isso")
    assert screen.run(screen.client.rpc("echo", 1)).data == 1
    assert "enquanto isso" not in channel.picture.texts
    screen.run(channel.subscription.subscribe())
    eventually("there again", lambda: "enquanto isso" in channel.picture.texts)
    maria.api.note(talk[0], "e depois")
    eventually("live again", lambda: "e depois" in channel.picture.texts)
    assert not channel.faults and len(set(channel.offsets)) == len(channel.offsets)


def test_a_bad_token_is_refused_for_good(shared_office, maria):
    for token in ("abc", maria.token[:-4] + "AAAA", maria.api.session["refresh_token"]):
        with shared_office.official(maria) as client:
            client.client.set_token(token)
            client.run(client.client.connect())
            refused = eventually("the refusal", lambda: client.disconnects)[0]
            assert refused.code in (101, 3500), "one of the codes after which an SDK does not come back"
            assert not client.connects


def test_an_unknown_channel_is_an_error_and_the_socket_stays_open(screen):
    for name in ("nope", "conversations:x", "conversation:", "conversation:nope", "$private", "ç" * 50):
        with pytest.raises(SubscriptionUnsubscribedError):
            screen.follow(name)
        assert 100 <= screen.channels[name].unsubscribed[-1].code < 200
    assert screen.run(screen.client.rpc("echo", "open")).data == "open"
    assert len(screen.connects) == 1


def test_clients_do_not_publish(screen, talk):
    for name in ("conversations", f"conversation:{talk[0]}", "queue", "consultores"):
        channel = screen.follow(name)
        with pytest.raises(SDKReplyError) as refused:
            screen.run(channel.subscription.publish({"type": "conversation.changed", "conversation": {"id": talk[0]}}))
        assert refused.value.code == 103
        assert channel.publications == []


def test_after_a_cut_the_sdk_gets_exactly_what_it_missed(shared_office, maria, screen, talk):
    id, number = talk
    channel, inbox = screen.follow(f"conversation:{id}"), screen.follow("conversations")
    maria.api.note(id, "antes do corte")
    eventually("shown", lambda: "antes do corte" in channel.picture.texts)
    for n in range(3):
        screen.cable.break_()
        for k in range(20):
            maria.api.note(id, f"perdida {n}.{k}")
        shared_office.says(number, f"também perdida {n}")
        screen.cable.mend()
        eventually("back", lambda: len(channel.subscribed) == n + 2 and f"também perdida {n}" in channel.picture.texts)
        assert channel.subscribed[-1].was_recovering and channel.subscribed[-1].recovered
    for each in (channel, inbox):
        assert each.offsets == list(range(each.offsets[0], each.offsets[0] + len(each.offsets))), "in order, none twice, none missing"
        assert not each.faults, each.faults
        eventually("equal to REST", lambda: not each.picture.differences(maria.api))
    assert [t for t in channel.picture.texts if t.startswith("perdida")] == [f"perdida {n}.{k}" for n in range(3) for k in range(20)]


def test_the_sdk_loses_nothing_in_a_hundred_random_cuts(shared_office, maria, screen, talk, seed):
    """Cut at any moment, also while it is coming back, with changes before, during and after."""
    id, number = talk
    channel, inbox = screen.follow(f"conversation:{id}"), screen.follow("conversations")
    written = []
    for n in range(100):
        for _ in range(seed.randrange(4)):
            written.append(f"nota {len(written)}")
            maria.api.note(id, written[-1])
        time.sleep(seed.choice((0, 0, 0.005, 0.02, 0.1)))
        screen.cable.cut()
    maria.api.note(id, "a última")
    eventually("back with the last one", lambda: "a última" in channel.picture.texts)
    for each in (channel, inbox):
        eventually("equal to REST", lambda each=each: not each.picture.differences(maria.api))
        assert not each.faults, each.faults
        assert each.offsets == list(range(each.offsets[0], each.offsets[0] + len(each.offsets))), "in order, none twice, none missing"
        assert all(s.recovered for s in each.subscribed[1:]), "everything was still remembered"
    assert [t for t in channel.picture.texts if t.startswith("nota")][-len(written) :] == written
    print(f"{len(channel.subscribed) - 1} times back, {len(written)} notes")


# MARK: The bare protocol


def test_the_connect_reply_says_how_often_the_server_pings(shared_office, maria):
    desk = shared_office.desk(maria)
    assert desk.connect_result["client"] and 0 < desk.connect_result["ping"] <= 60 and desk.connect_result["pong"] is True
    desk.leave()


def test_every_door_of_an_rpc_answers_like_rest(shared_office, maria, talk):
    desk = shared_office.desk(maria)
    id = talk[0]
    labelled = desk.rpc("conversation.labels", {"conversation_id": id, "labels": ["rpc"]})
    assert labelled == maria.api.conversation(id)
    note = desk.rpc("conversation.notes", {"conversation_id": id, "text": "por rpc"})
    assert note == maria.api.messages(id, limit=1)["items"][0]
    joao = shared_office.hire("João", online=False)
    with pytest.raises(ReplyError) as refused:
        shared_office.desk(joao).rpc("conversation.claim", {"conversation_id": id})
    assert refused.value.code == 409 and refused.value.message
    desk.leave()


def test_two_subscriptions_to_one_channel_are_one_too_many(shared_office, maria):
    with shared_office.desk(maria, "queue") as desk:
        with pytest.raises(ReplyError) as refused:
            desk.command("subscribe", {"channel": "queue"})
        assert refused.value.code == 105
        desk.unfollow("queue")
        desk.follow("queue")


def test_a_connection_is_refreshed_with_a_newer_token(shared_office, maria):
    with shared_office.desk(maria, "queue") as desk:
        assert desk.command("refresh", {"token": maria.token})["client"] == desk.connect_result["client"]
        assert desk.rpc("echo", 1) == 1


def test_a_position_that_is_too_old_or_foreign_gets_a_snapshot_and_the_verdict(shared_office, maria, talk):
    id = talk[0]
    channel = f"conversation:{id}"
    with shared_office.desk(maria, channel) as desk:
        start = desk.following[channel].epoch, desk.following[channel].offset
        for n in range(10):
            maria.api.note(id, f"nota {n}")
        desk.wait("all shown", lambda: "nota 9" in desk.picture(channel).texts)
        top = desk.following[channel].offset
        with shared_office.desk(maria) as late:

            def recover(epoch, offset):
                result = late.command("subscribe", {"channel": channel, "recover": True, "epoch": epoch, "offset": offset})
                late.command("unsubscribe", {"channel": channel})
                return result

            given = recover(start[0], top - 3)
            assert given["was_recovering"] and given["recovered"] and given["offset"] == top
            assert [p["offset"] for p in given["publications"]] == [top - 2, top - 1, top], "what is remembered is given"
            nothing = recover(start[0], top)
            assert nothing["recovered"] and not nothing.get("publications")
            for since in (("another-epoch", top), (start[0], top + 1000), ("", 0)):
                refused = recover(*since)
                assert not refused.get("recovered") and not refused.get("publications") and refused["was_recovering"]
                assert "nota 9" in [m["text"] for m in refused["data"]["messages"]]
            for n in range(520):
                maria.api.command(id, "labels", {"labels": [f"etiqueta {n}"]})
            late_by_far = recover(*start)
            assert not late_by_far.get("recovered") and not late_by_far.get("publications"), "the last 512 publications are remembered"
            assert late_by_far["data"]["conversation"]["labels"] == ["etiqueta 519"]
        desk.agrees_with(maria.api)


def test_after_a_restart_of_the_server_a_client_gets_a_snapshot(office):
    maria = office.hire()
    id = office.attended_by(maria)["id"]
    with office.official(maria) as client:
        client.connect()
        channel, inbox = client.follow(f"conversation:{id}"), client.follow("conversations")
        maria.api.note(id, "antes")
        eventually("shown", lambda: "antes" in channel.picture.texts)
        office.server.kill()
        office.server.start()
        maria.api.note(id, "depois")
        eventually("back", lambda: len(channel.subscribed) >= 2 and len(inbox.subscribed) >= 2 and "depois" in channel.picture.texts, timeout=20)
        assert channel.subscribed[1].was_recovering and not channel.subscribed[1].recovered
        for each in (channel, inbox):
            eventually("equal to REST", lambda: not each.picture.differences(maria.api))


def test_an_orderly_shutdown_tells_clients_to_come_back(office):
    maria = office.hire()
    desk = office.desk(maria, "conversations")
    office.server.stop()
    desk.wait("closed", lambda: desk.closed)
    assert desk.closed.code is not None and (3000 <= desk.closed.code < 3500 or desk.closed.code == 1001), desk.closed


def test_a_client_that_stops_reading_holds_nobody_up_and_is_not_silently_behind(shared_office, maria, talk):
    id, channel = talk[0], f"conversation:{talk[0]}"
    stuck = shared_office.desk(maria, keeps_on=True, remembers=False)
    stuck.follow(channel)
    with shared_office.desk(maria, channel, remembers=False) as other:
        with stuck.paused():
            # More than the system's own buffers take.
            for n in range(600):
                maria.api.note(id, f"{n} " + "😀" * 4000)
            other.wait("all shown to the other", lambda: any(t.startswith("599 ") for t in other.picture(channel).texts))
        assert not other.faults
    # Whether it was given all of it late, a snapshot, or was closed and came back: it ends up with the truth.
    eventually("the same picture as everybody", lambda: stuck.agrees_with(maria.api), timeout=60, every=0.3)
    print("subscribe replies:", stuck.following[channel].replies)
    stuck.leave()


@pytest.mark.timeout(420)
def test_after_a_thousand_random_cuts_every_client_has_what_the_server_has(office, seed):
    """CUTS sets their number. Meanwhile customers write and agents work; one client that is never cut is the witness of what was published."""
    agents = [office.hire(name, capacity=50) for name in ("Maria", "João", "Rita")]
    witness = office.desk(agents[0], "conversations", "queue", "consultores")
    numbers = [new_number() for _ in range(4)]
    office.deliver(*(text(n, "oi") for n in numbers))
    fixed = [f"conversation:{office.conversation(n)['id']}" for n in numbers]
    for channel in fixed:
        witness.follow(channel)
    load = Load(office, agents, seed.random(), customers=16, observer=witness, opens=0)
    load.numbers += numbers

    clients = [office.desk(agents[n % 3], "conversations", "queue", "consultores", *seed.sample(fixed, 2)) for n in range(8)]
    left, lock = [CUTS], threading.Lock()

    def live(desk, chance):
        while True:
            with lock:
                if left[0] == 0:
                    return
                left[0] -= 1
            time.sleep(chance.uniform(0, 0.05))
            if chance.random() < 0.1:
                # Also in the middle of coming back: cut before the replies are there.
                desk.cut()
                half = threading.Thread(target=lambda: _try(desk.connect))
                half.start()
                time.sleep(chance.uniform(0, 0.01))
                if desk.socket is not None:
                    desk.socket.abort()
                half.join(15)
            desk.cut()
            time.sleep(chance.choice((0, 0, chance.uniform(0, 0.1))))
            desk.connect()
            desk.wait("all subscriptions back", lambda: desk.closed or all(f.is_live for f in desk.following.values()))

    threads = [threading.Thread(target=live, args=(desk, random.Random(seed.random()))) for desk in clients]
    load.start()
    began = time.monotonic()
    [t.start() for t in threads], [t.join(240 * PATIENCE) for t in threads]
    assert not [t for t in threads if t.is_alive()], "the cuts took too long"
    load.stop()

    replies = [r for desk in clients for f in desk.following.values() for r in f.replies if r[0]]
    missed = sum(r[2] for r in replies)
    print(f"{CUTS} cuts in {time.monotonic() - began:.1f} s; {load.ledger.acknowledged} commands; {len(replies)} recoveries asked for, "
          f"{sum(r[1] for r in replies)} given, with {missed} missed publications")
    assert load.ledger.acknowledged > 50 and missed > 0, "nothing was going on"
    assert sum(r[1] for r in replies) > 0.9 * len(replies), "what is remembered is given, not a snapshot every time"
    for desk in [witness, *clients]:
        assert not desk.faults, desk.faults[:5]
        eventually("equal to REST", lambda: desk.agrees_with(office.admin), timeout=20)

    published = {(c, e, o): d for c, e, o, d in witness.everything_shown()[0]}
    for desk in clients:
        for channel, epoch, offset, data in desk.everything_shown()[0]:
            known = published.get((channel, epoch, offset))
            assert known is None or known == data, f"two publications at {channel} {offset}: {known} and {data}"
    wrong = load.ledger.check(office.admin)
    assert not wrong, wrong[:5]


def _try(action):
    try:
        action()
    except Exception:
        pass


def test_five_hundred_missed_events_are_made_good_by_coming_back(shared_office, maria, talk):
    """The bar of research/conversations.md §10: resumed within 200 ms, which is printed."""
    id, _ = talk
    channel = f"conversation:{id}"
    with shared_office.desk(maria, channel, remembers=True) as screen:
        following = screen.following[channel]
        since = (following.epoch, following.offset)
    # A note is two events: the message, and the conversation that has it last.
    for n in range(250):
        maria.api.note(id, f"n{n}")
    with shared_office.desk(maria) as again:
        began = time.monotonic()
        result = again.command("subscribe", {"channel": channel, "recover": True, "epoch": since[0], "offset": since[1]})
        took = time.monotonic() - began
    assert result["recovered"] and [p["offset"] for p in result["publications"]] == list(range(since[1] + 1, since[1] + 1 + len(result["publications"])))
    assert len(result["publications"]) >= 500
    print(f"BAR resume: {len(result['publications'])} missed events in {took * 1000:.0f} ms")


def test_a_client_that_never_pongs_is_closed_with_3012_and_one_that_does_stays(offices):
    office = offices(PLANTAO_PING_SECONDS=1, PLANTAO_PONG_TIMEOUT_SECONDS=1)
    maria = office.hire()
    polite, mute = office.desk(maria, "queue"), office.desk(maria, "queue", pongs=False)
    assert (mute.connect_result["ping"], mute.connect_result["pong"]) == (1, True)
    began = time.monotonic()
    mute.wait("the server to lose its patience", lambda: mute.closed, timeout=10)
    print(f"BAR half-open: noticed {time.monotonic() - began:.1f} s after with a ping of 1 s and a patience of 1 s; by default at most 20 + 8 s")
    assert mute.closed.code == 3012
    assert polite.closed is None and polite.rpc("echo", 1) == 1
    eventually("gone", lambda: polite.command("presence_stats", {"channel": "queue"})["num_clients"] == 1)
