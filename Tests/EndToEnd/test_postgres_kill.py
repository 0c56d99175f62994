"""The server killed, Postgres killed, both, or Postgres away for long, all under load: Postgres ends up with every acknowledged change, once and in its latest
version, and agents work on meanwhile (DESIGN section 1, invariants 1 and 6)."""

import os
import random
import statistics
import threading
import time

import pytest

from fakes.whatsapp import text
from harness.audit import against_ledger, audit, drained, itself, storage
from harness.load import Ledger, Load
from harness.office import new_number
from harness.slowproxy import SlowProxy
from harness.waiting import PATIENCE, eventually
from test_kill import nothing_was_sent_twice, tidy, whole

PG_KILL_ROUNDS = int(os.environ.get("PG_KILL_ROUNDS", "10"))
AWAY = 60 if os.environ.get("PLANTAO_LONG") == "1" else 8

QUICK = {"DATABASE_BREAKER_FAILURES": 2, "DATABASE_BREAKER_SECONDS": 1}


# MARK: What is done to them. Up to `yield` the load goes on; what follows brings back what is gone.


def the_server(office, cluster, database, chance):
    office.server.kill()
    yield
    office.server.start()


def postgres(office, cluster, database, chance):
    cluster.kill()
    time.sleep(chance.uniform(0, 0.6))
    cluster.start()
    time.sleep(chance.uniform(0, 0.4))
    yield


def both(office, cluster, database, chance):
    ends = [office.server.kill, cluster.kill]
    chance.shuffle(ends)
    ends[0]()
    time.sleep(chance.uniform(0, 0.05))
    ends[1]()
    yield
    if chance.random() < 0.5:
        cluster.start()
        office.server.start()
    else:
        office.server.start(ready=False)
        time.sleep(chance.uniform(0, 0.5))
        cluster.start()
        office.server.wait_until_healthy()


def the_server_while_postgres_is_away(office, cluster, database, chance):
    cluster.kill()
    time.sleep(chance.uniform(0.1, 0.6))
    yield from both_gone(office, cluster, chance)


def both_gone(office, cluster, chance):
    office.server.kill()
    yield
    cluster.start()
    office.server.start(ready=False)
    # Also while it brings the database up to date.
    if chance.random() < 0.5:
        time.sleep(chance.uniform(0, 0.2))
        office.server.kill()
        office.server.start(ready=False)
    office.server.wait_until_healthy()


def the_connections(office, cluster, database, chance):
    for _ in range(chance.randint(1, 4)):
        database.disconnect_everybody()
        time.sleep(chance.uniform(0, 0.15))
    yield


STRIKES = (the_server, postgres, both, the_server_while_postgres_is_away, the_connections)


def one_round(office, cluster, database, agents, chance, strike, load_for):
    """Load, a strike, and everything found again, by REST and in Postgres. Gives back the ledger."""
    observer = office.desk(agents[0], "conversations", "queue", "consultores")
    posts = len(office.whatsapp.sent)
    load = Load(office, agents, chance.random(), observer=observer).start()
    time.sleep(load_for)
    steps = strike(office, cluster, database, chance)
    next(steps)
    load.stop()
    observer.leave()
    office.forget(observer)
    next(steps, None)
    assert not observer.faults, observer.faults[:3]
    ledger = load.ledger
    ledger.shown_to(observer)
    drained(office)
    said = set(database.sql("SELECT c.contact_number, m.text FROM messages m JOIN conversations c ON c.id = m.conversation_id WHERE m.direction = 'out'"))
    sent = {(post.recipient, post.text) for post in whole(office.whatsapp.sent[posts:])}
    wrong = [f"{number} was sent what is not in Postgres: {text!r}" for number, text in sent - said]
    wrong += ledger.check(office.admin)
    assert not wrong, f"{len(wrong)} wrong: " + "\n".join(wrong[:5])
    audit(office, database, ledger)
    return ledger


@pytest.mark.timeout(120 + 15 * PG_KILL_ROUNDS)
def test_whatever_is_killed_postgres_ends_up_with_every_acknowledged_change_once_and_in_its_latest_version(own_postgres, offices, seed):
    database = own_postgres.create_database()
    office = offices(DATABASE_URL=database.url, **QUICK)
    agents = [office.hire(name, capacity=100) for name in ("Maria", "João")]
    all_rounds, strikes = Ledger(), []
    began = time.monotonic()
    for n in range(PG_KILL_ROUNDS):
        # Each kind comes as often as the others, in an order of its own.
        strikes = strikes or seed.sample(STRIKES, len(STRIKES))
        strike, load_for = strikes.pop(), seed.choice((seed.uniform(0.01, 0.1), seed.uniform(0.1, 0.6)))
        print(f"round {n}: {strike.__name__} after {load_for * 1000:.0f} ms of load", end="")
        ledger = one_round(office, own_postgres, database, agents, seed, strike, load_for)
        print(f", {ledger.acknowledged} acknowledged, {len(ledger.messages)} messages, {len(ledger.conversations)} conversations known")
        all_rounds.merge(ledger)
        tidy(office)
    print(f"{PG_KILL_ROUNDS} rounds in {time.monotonic() - began:.0f} s")
    drained(office)
    wrong = against_ledger(database, all_rounds) + itself(database)
    assert not wrong, wrong[:5]
    assert len(all_rounds.inbound) > 5 * PG_KILL_ROUNDS and len(all_rounds.holders) > PG_KILL_ROUNDS, "nothing was going on"
    nothing_was_sent_twice(office)
    office.settled(*(c["id"] for c in office.admin.all_conversations(state="open")))
    eventually("no job left over", lambda: database.values("SELECT count(*) FROM jobs") == [0])


def test_a_server_killed_over_and_over_while_it_brings_the_database_up_to_date_loses_nothing(own_postgres, offices, seed):
    database = own_postgres.create_database()
    office = offices(DATABASE_URL=database.url, **QUICK)
    agents = [office.hire("Maria", capacity=100)]
    observer = office.desk(agents[0], "conversations", "queue", "consultores")
    load = Load(office, agents, seed.random(), observer=observer).start()
    time.sleep(0.5)
    own_postgres.kill()
    time.sleep(1.5)
    owed = storage(office)["write_behind"]["depth"]
    office.server.kill()
    load.stop()
    observer.leave()
    office.forget(observer)
    load.ledger.shown_to(observer)
    own_postgres.start()
    for _ in range(8):
        office.server.start(ready=False)
        time.sleep(seed.uniform(0, 0.12))
        office.server.kill()
    office.server.start()
    print(f"{owed} rows were owed")
    assert owed > 50
    drained(office)
    wrong = load.ledger.check(office.admin)
    assert not wrong, wrong[:5]
    audit(office, database, load.ledger)


# MARK: Postgres away for long


class Diligent:
    """An agent who works without a break, and every command of whom has to be acknowledged."""

    def __init__(self, office, agent, ids, numbers, chance):
        self.office, self.agent, self.ids, self.numbers, self.chance = office, agent, ids, numbers, chance
        self.ledger = Ledger()
        # (moment, seconds taken)
        self.times, self.refused = [], []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self):
        self._thread.start()
        return self

    def stop(self):
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _work(self):
        n = 0
        while not self._stop.wait(self.chance.uniform(0, 0.02)):
            n += 1
            id, said = self.chance.choice(self.ids), f"{self.agent.name} {n} {self.chance.getrandbits(40):x}"
            bodies = {"messages": {"text": said, "client_message_id": said}, "notes": {"text": said}, "labels": {"labels": [said]}, "read": None}
            verb, body = self.chance.choice(list(bodies.items()))
            began = time.monotonic()
            reply = self.agent.api.try_command(id, verb, body)
            self.times.append((began, time.monotonic() - began))
            if reply.status not in (200, 201):
                self.refused.append(reply)
            else:
                (self.ledger.message if verb in ("messages", "notes") else self.ledger.conversation)(reply.json())
            if n % 5 == 0:
                item = text(self.chance.choice(self.numbers), said)
                if self.office.whatsapp.deliver(item, redeliver=False).answers != [200]:
                    self.refused.append(item)
                self.ledger.inbound[item.element["id"]] = (item.element["from"], said)


def percentiles(seconds):
    cuts = statistics.quantiles(seconds, n=100)
    return f"p50 {cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms, {len(seconds)} commands"


@pytest.mark.timeout(180 + 3 * AWAY)
def test_agents_work_through_a_long_outage_of_postgres_and_afterwards_it_catches_up_by_itself(own_postgres, offices, seed):
    database = own_postgres.create_database()
    office = offices(DATABASE_URL=database.url, DATABASE_BREAKER_FAILURES=3, DATABASE_BREAKER_SECONDS=2)
    agents = [office.hire(name, capacity=100) for name in ("Maria", "João")]
    numbers = {agent.id: [new_number() for _ in range(3)] for agent in agents}
    ids = {agent.id: [office.attended_by(agent, number)["id"] for number in numbers[agent.id]] for agent in agents}
    screen = office.desk(agents[0], "conversations", "queue", "consultores", *(f"conversation:{id}" for mine in ids.values() for id in mine))
    load = Load(office, agents, seed.random(), observer=screen, opens=10).start()
    diligent = [Diligent(office, agent, ids[agent.id], numbers[agent.id], random.Random(seed.random())).start() for agent in agents]
    # Whoever writes is known by then.
    time.sleep(1.5)

    own_postgres.kill()
    gone = time.monotonic()
    depths = []
    while time.monotonic() - gone < AWAY:
        depths.append(storage(office)["write_behind"]["depth"])
        time.sleep(0.1)
    # Whoever comes to work now can: a login, a socket, every live channel, a conversation opened.
    joao = office.anybody.login(agents[1].user["email"], agents[1].password)
    newcomer = office.desk(joao, "conversations", "queue", "consultores", f"conversation:{ids[agents[1].id][0]}")
    assert newcomer.conversations
    newcomer.leave()
    assert depths[-1] > depths[0] >= 0 and storage(office)["write_behind"]["breaker"] in ("open", "half_open")

    own_postgres.start()
    back = time.monotonic()
    eventually("the breaker closed", lambda: storage(office)["write_behind"]["breaker"] == "closed", timeout=20)
    # It catches up although the load goes on.
    eventually("caught up", lambda: storage(office)["write_behind"]["lag_seconds"] < 1, timeout=20 + AWAY / 2)
    caught_up = time.monotonic()
    time.sleep(0.5)
    for one in (*diligent, load):
        one.stop()
    refused = [reply for one in diligent for reply in one.refused]
    assert not refused, (len(refused), refused[:3])
    times = [t for one in diligent for t in one.times]
    print(f"with Postgres: {percentiles([s for at, s in times if at < gone or at > caught_up])}")
    print(f"without, for {AWAY} s: {percentiles([s for at, s in times if gone < at < back])}")
    print(f"{max(depths)} rows were owed, and caught up with {caught_up - back:.1f} s later")
    ledger = load.ledger
    for one in diligent:
        ledger.merge(one.ledger)

    # Every one of them was pushed, in its order: the screen has no gaps, and shows all.
    acknowledged = {id for one in diligent for id in one.ledger.messages}
    screen.wait("everything pushed", lambda: acknowledged <= {data["message"]["id"] for _, _, _, data in screen.shown if "message" in data})
    assert not screen.faults, screen.faults[:3]
    screen.leave()
    office.forget(screen)
    ledger.shown_to(screen)
    drained(office)
    office.settled(*(c["id"] for c in office.admin.all_conversations(state="open")))
    wrong = ledger.check(office.admin)
    assert not wrong, wrong[:5]
    audit(office, database, ledger)
    nothing_was_sent_twice(office)


# MARK: Postgres slow


def test_a_slow_postgres_holds_up_no_command(database, offices):
    with SlowProxy(database.cluster.host, database.cluster.port) as proxy:
        office = offices(DATABASE_URL=database.url_with(port=proxy.port), PLANTAO_BARRIER_MILLISECONDS=30_000, **QUICK)
        agents = [office.hire(name, capacity=100) for name in ("Maria", "João")]
        ids = [office.attended_by(agent)["id"] for agent in agents]
        ledger = Ledger()

        def work(agent, id, count, times):
            for n in range(count):
                began = time.monotonic()
                note = agent.api.note(id, f"{agent.name} {n}")
                times.append(time.monotonic() - began)
                ledger.message(note)

        def measure(count):
            times = []
            threads = [threading.Thread(target=work, args=(agent, id, count, times)) for agent, id in zip(agents, ids)]
            [t.start() for t in threads], [t.join(60) for t in threads]
            assert len(times) == count * len(threads)
            return times

        measure(50)
        fast = measure(400)
        drained(office)
        proxy.delay = 0.2
        statements = proxy.statements
        slow = measure(400)
        assert proxy.statements > statements, "it was in use meanwhile"
        print(f"fast: {percentiles(fast)}\nslow: {percentiles(slow)}; {storage(office)['write_behind']['depth']} rows owed")
        assert statistics.median(slow) < 0.15 * PATIENCE, "a command waits for no statement"
        # Slow as it is, it gets everything, and readers get what they wrote.
        assert office.admin.messages(ids[0])["items"][-1]["text"] == "Maria 399"
        drained(office)
        proxy.delay = 0
        audit(office, database, ledger)
        office.server.stop()
