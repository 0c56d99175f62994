"""`kill -9` at any moment: whatever was acknowledged or shown is there afterwards (DESIGN section 1, invariant 1)."""

import os
import re
import time

import pytest

from harness.load import Ledger, Load
from harness.office import new_number
from harness.process import Server

KILL_ROUNDS = int(os.environ.get("KILL_ROUNDS", "50"))


def one_round(office, agents, chance, end, load_for):
    """Load, an end, a start, and everything found again. Gives back the ledger."""
    observer = office.desk(agents[0], "conversations", "queue", "consultores")
    posts = len(office.whatsapp.sent)
    load = Load(office, agents, chance.random(), observer=observer).start()
    time.sleep(load_for)
    end()
    load.stop()
    observer.leave()
    office.forget(observer)
    assert not observer.faults, observer.faults[:3]
    ledger = load.ledger
    ledger.shown_to(observer)
    # What customers were shown counts too.
    sent = whole(office.whatsapp.sent[posts:])

    office.server.start()
    wrong = ledger.check(office.admin)
    for post in sent:
        conversations = [c for c in office.admin.conversations(q=post.recipient)["items"] if c["contact"]["number"] == post.recipient]
        if not any(m["text"] == post.text and m["direction"] == "out" for c in conversations for m in office.admin.all_messages(c["id"])):
            wrong.append(f"{post.recipient} was sent what is not there: {post.text!r}")
    assert not wrong, f"{len(wrong)} wrong: " + "\n".join(wrong[:5])
    return ledger


def whole(posts):
    """Those that came in full: a request can be cut by the kill too."""
    return [p for p in posts if p.body is not None]


def nothing_was_sent_twice(office):
    times = {}
    for sent in whole(office.whatsapp.sent):
        times.setdefault(sent.callback_data, []).append(sent.text)
    twice = {data: texts for data, texts in times.items() if len(texts) > 1}
    assert not twice, f"sent more than once: {twice}"


def tidy(office):
    """Ends what a round has left open, so that rounds stay alike."""
    for conversation in office.admin.all_conversations(state="open"):
        office.admin.resolve(conversation["id"])


@pytest.mark.timeout(60 + 10 * KILL_ROUNDS)
def test_after_kill_9_everything_acknowledged_or_shown_is_there(office, seed):
    agents = [office.hire(name, capacity=100) for name in ("Maria", "João")]
    all_rounds = Ledger()
    began = time.monotonic()
    for n in range(KILL_ROUNDS):
        load_for = seed.choice((seed.uniform(0.01, 0.1), seed.uniform(0.1, 0.6)))
        print(f"round {n}: killed after {load_for * 1000:.0f} ms of load", end="")
        ledger = one_round(office, agents, seed, office.server.kill, load_for)
        print(f", {ledger.acknowledged} acknowledged, {len(ledger.messages)} messages, {len(ledger.conversations)} conversations known")
        all_rounds.merge(ledger)
        tidy(office)
    print(f"{KILL_ROUNDS} rounds in {time.monotonic() - began:.0f} s")
    wrong = all_rounds.check(office.admin)
    assert not wrong, wrong[:5]
    assert len(all_rounds.inbound) > 5 * KILL_ROUNDS and len(all_rounds.holders) > KILL_ROUNDS, "nothing was going on"
    nothing_was_sent_twice(office)


def test_killed_twice_in_a_row_and_while_starting_it_comes_back(office, seed):
    agents = [office.hire("Maria", capacity=100)]
    ledger = one_round(office, agents, seed, office.server.kill, 0.4)
    for _ in range(8):
        office.server.kill()
        office.server.start(ready=False)
        time.sleep(seed.uniform(0, 0.15))
        office.server.kill()
        office.server.start()
    wrong = ledger.check(office.admin)
    assert not wrong, wrong[:5]
    nothing_was_sent_twice(office)


def test_sigterm_under_load_ends_with_0_within_15_seconds_and_loses_nothing(office, seed):
    agents = [office.hire(name, capacity=100) for name in ("Maria", "João")]
    for _ in range(3):
        took = []

        def end():
            began = time.monotonic()
            office.server.terminate()
            code = office.server.wait(15)
            took.append(time.monotonic() - began)
            assert code == 0, f"ended with {code}"

        ledger = one_round(office, agents, seed, end, 1.0)
        print(f"ended in {took[0]:.2f} s with {ledger.acknowledged} acknowledged")
        assert ledger.acknowledged > 10
        tidy(office)
    nothing_was_sent_twice(office)


def test_a_second_process_on_the_same_data_is_refused_with_a_clear_message(office, tmp_path):
    office.says(new_number(), "oi")
    before = office.admin.all_conversations()
    second = Server(tmp_path / "second", office.whatsapp.url, PLANTAO_DATA=office.server.data)
    try:
        second.start(ready=False)
        code = second.wait(15)
    finally:
        if second.is_running:
            second.kill()
    said = second.logs().decode("utf-8", "replace")
    assert code not in (0, None) and code > 0, f"refused, not crashed: {code}\n{said}"
    assert "PLANTAO_DATA" in said or str(office.server.data).replace("/", "\\/") in said or str(office.server.data) in said, said
    assert re.search(r"another|outro|in use|em uso", said), said
    assert not re.search(r"Fatal error|Thread \d+ crashed|Stack dump", said), said
    assert office.admin.all_conversations() == before
    office.server.kill()
    office.server.start()
    assert [c["id"] for c in office.admin.all_conversations()] == [c["id"] for c in before], "the lock of one that was killed holds nobody up"
