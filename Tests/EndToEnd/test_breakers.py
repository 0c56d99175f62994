"""Circuit breakers: what is asked no more, what waits meanwhile, and what people say about it (contracts/isp-support.md, research/scheduling.md E)."""

import collections
import concurrent.futures

import pytest

from harness.api import is_clear_error
from harness.office import new_number
from harness.process import ADMIN_EMAIL
from harness.waiting import eventually, never

pytestmark = pytest.mark.timeout(120)


def breaker(office, name="whatsapp", who=None):
    return (who or office.admin).get("/circuit-breakers")["circuit_breakers"][name]


def accepted(office, text):
    return [s for s in office.posts(text=text) if s.accepted]


def test_all_are_there_with_the_contract_s_numbers(shared_office):
    breakers = shared_office.admin.get("/circuit-breakers")["circuit_breakers"]
    assert {name: (b["failure_threshold"], b["recovery_timeout"]) for name, b in breakers.items()} == {
        "whatsapp": (3, 30), "database": (5, 60), "gemini": (3, 45), "redis": (3, 30), "pipedrive": (3, 30),
    }
    assert {b["state"] for b in breakers.values()} == {"closed"}
    is_clear_error(shared_office.anybody.call("GET", "/circuit-breakers"), 401)


def test_while_whatsapp_is_down_everything_waits_in_order_and_then_goes_out_once(offices):
    office = offices(WHATSAPP_BREAKER_SECONDS=1)
    agents = [office.hire(f"Agente {n}", capacity=10) for n in range(3)]
    conversations = [office.attended_by(agents[n % 3])["id"] for n in range(6)]
    owner = {id: agents[n % 3] for n, id in enumerate(conversations)}
    watcher = office.desk(office.admin, "breakers")
    states = lambda: [data["circuit_breakers"]["whatsapp"]["state"] for channel, _, _, data in watcher.shown if channel == "breakers"]

    # 131016: it is not available; certainly not sent.
    office.whatsapp.fail_next(131016, times=100_000)
    said = collections.defaultdict(list)
    for turn in range(5):
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            for id, message in zip(conversations, pool.map(lambda id: owner[id].api.say(id, f"{id} {turn}"), conversations)):
                said[id].append(message["text"])
    eventually("the breaker open", lambda: breaker(office)["state"] in ("open", "half_open"))
    eventually("it is pushed", lambda: "open" in states())
    assert breaker(office)["cause"] in ("failures", "probe") and breaker(office)["times_opened"] >= 1
    # Conversations go on while nothing gets out.
    office.says(new_number(), "atendente")
    before = len(office.posts())
    eventually("it knocks now and then", lambda: breaker(office)["times_opened"] >= 2, timeout=20)
    assert len(office.posts()) - before < 15, "an open breaker keeps the outbox from knocking"
    assert all(m["status"] in ("queued", "sending") for id in conversations for m in office.admin.all_messages(id) if m["text"] in said[id])

    office.whatsapp.clear_faults()
    eventually("closed again", lambda: breaker(office)["state"] == "closed", timeout=30)
    office.settled(*conversations)
    for id in conversations:
        assert [s.text for s in office.posts() if s.accepted and s.text in said[id]] == said[id], "each once, in its order"
        assert all(m["status"] == "sent" for m in office.admin.all_messages(id) if m["text"] in said[id])
    eventually("that it closed is pushed", lambda: states()[-1] == "closed")
    watcher.agrees_with(office.admin)


def test_a_refusal_of_one_message_says_nothing_against_whatsapp(office):
    agent = office.hire()
    id = office.attended_by(agent)["id"]
    for n in range(5):
        office.whatsapp.fail_next(131026)
        agent.api.say(id, f"para ninguém {n}")
        office.message(id, f"para ninguém {n}", status="failed")
    assert (breaker(office)["state"], breaker(office)["failure_count"]) == ("closed", 0)


def test_whatsapp_is_left_alone_for_as_long_as_it_asks(office):
    agent = office.hire()
    id, other = office.attended_by(agent)["id"], office.attended_by(agent)["id"]
    office.whatsapp.fail_next(80007, retry_after=3600)
    agent.api.say(id, "cedo demais")
    paused = eventually("the pause", lambda: (b := breaker(office))["state"] == "open" and b)
    assert paused["cause"] == "throttled"
    agent.api.say(other, "também espera")
    never("a send while it wants to be left alone", lambda: office.posts(text="também espera"), 1)
    office.admin.post("/circuit-breakers/whatsapp/reset")
    office.posted("também espera")


def test_what_a_person_forced_stands_over_a_restart_with_who_and_why(office):
    agent = office.hire()
    id = office.attended_by(agent)["id"]
    is_clear_error(agent.api.call("POST", "/circuit-breakers/whatsapp/force-open", json={"reason": "não pode"}), 403)
    is_clear_error(office.admin.call("POST", "/circuit-breakers/whatsapp/force-open", json={}), 422)
    forced = office.admin.post("/circuit-breakers/whatsapp/force-open", {"reason": "Meta em manutenção"})
    assert forced["state"] == "forced_open" and forced["forced"]["reason"] == "Meta em manutenção"
    agent.api.say(id, "espera")
    never("a send while it is forced open", lambda: office.posts(text="espera"), 0.5)

    office.server.restart()
    now = breaker(office)
    assert now["state"] == "forced_open" and now["forced"] == forced["forced"]
    never("a send while it is forced open", lambda: office.posts(text="espera"), 0.5)
    assert office.admin.post("/circuit-breakers/whatsapp/reset")["state"] == "closed"
    office.posted("espera")
    office.settled(id)
    assert len(accepted(office, "espera")) == 1

    office.server.restart()
    assert breaker(office)["state"] == "closed"
    orders = office.admin.get("/circuit-breakers/orders")["items"]
    assert [(o["name"], o["action"], o["reason"]) for o in orders] == [("whatsapp", "reset", None), ("whatsapp", "force-open", "Meta em manutenção")]
    assert {o["user"]["id"] for o in orders} == {office.admin.user["id"]} and office.admin.user["email"] == ADMIN_EMAIL
    assert office.admin.get("/circuit-breakers/orders", limit=1)["items"] == orders[:1]


def test_one_business_s_breaker_is_not_another_s(office):
    office.admin.post("/circuit-breakers/whatsapp/force-open", {"reason": "só a minha"})
    other = office.anybody.register("vizinha@example.com", "Nova#Firma2026", business_name="Vizinha")
    assert breaker(office, who=other)["state"] == "closed"
    assert other.get("/circuit-breakers/orders")["items"] == []


def test_the_server_s_own_are_forced_by_its_first_business_alone(offices, own_redis):
    office = offices(REDIS_URL=own_redis.url)
    other = office.anybody.register("vizinha@example.com", "Nova#Firma2026", business_name="Vizinha")
    watcher = office.desk(other, "breakers")
    assert is_clear_error(other.call("POST", "/circuit-breakers/redis/force-open", json={"reason": "x"}), 403)["code"] == "shared_dependency"
    assert is_clear_error(office.admin.call("POST", "/circuit-breakers/database/force-open", json={"reason": "x"}), 409)["code"] == "breaker_not_in_use"
    eventually("connected", lambda: office.anybody.get("/info")["redis"]["connected"])
    office.admin.post("/circuit-breakers/redis/force-open", {"reason": "troca de máquina"})
    eventually("given up", lambda: not office.anybody.get("/info")["redis"]["connected"])
    eventually("everybody is told", lambda: watcher.picture("breakers").items["redis"]["state"] == "forced_open")
    office.server.restart()
    assert breaker(office, "redis")["state"] == "forced_open" and not office.anybody.get("/info")["redis"]["connected"]
    other.post("/circuit-breakers/redis/reset")
    eventually("connected again", lambda: office.anybody.get("/info")["redis"]["connected"])


def test_a_database_that_is_forced_open_is_owed_and_then_paid(offices, database):
    office = offices(DATABASE_URL=database.url)
    office.admin.post("/circuit-breakers/database/force-open", {"reason": "manutenção"})
    eventually("forced open", lambda: breaker(office, "database")["state"] == "forced_open")
    office.admin.post("/api/v1/notices", {"text": "fica no diário"}, expect=201)
    eventually("it is owed", lambda: office.admin.get("/api/v1/storage")["write_behind"]["depth"] > 0)
    is_clear_error(office.admin.call("GET", "/api/v1/notices"), 503)
    office.admin.post("/circuit-breakers/database/reset")
    eventually("it is paid at once", lambda: office.admin.get("/api/v1/storage")["write_behind"]["depth"] == 0)
    assert office.admin.get("/api/v1/notices")["items"][0]["text"] == "fica no diário"
