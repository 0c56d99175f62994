"""Circuit breakers: what is asked no more, what waits meanwhile, and what people say about it (contracts/isp-support.md, research/scheduling.md E)."""

import collections
import concurrent.futures

import pytest

from harness.api import is_clear_error
from harness.office import new_number
from harness.process import ADMIN_EMAIL, run
from harness.waiting import eventually, never

pytestmark = pytest.mark.timeout(120)


def breaker(office, name="whatsapp", who=None):
    return (who or office.admin).get("/circuit-breakers")["circuit_breakers"][name]


def accepted(office, text):
    return [s for s in office.posts(text=text) if s.accepted]


def test_all_are_there_with_the_contract_s_numbers(shared_office):
    breakers = shared_office.admin.get("/circuit-breakers")["circuit_breakers"]
    assert {name: (b["failure_threshold"], b["recovery_timeout"]) for name, b in breakers.items()} == {
        "whatsapp": (3, 30), "database": (5, 60), "gemini": (3, 45), "redis": (3, 30), "pipedrive": (3, 30), "smtp": (3, 60),
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


def test_of_many_orders_at_once_the_one_that_stood_stands_after_a_restart(offices, own_redis, seed):
    office = offices(REDIS_URL=own_redis.url)
    face = lambda name: {key: breaker(office, name)[key] for key in ("state", "forced")}  # noqa: E731
    for round in range(4):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            orders = [(seed.choice(("whatsapp", "redis")), seed.choice(("reset", "force-open", "force-closed")), f"{round}.{n}") for n in range(40)]
            list(pool.map(lambda o: office.admin.post(f"/circuit-breakers/{o[0]}/{o[1]}", {"reason": o[2]}), orders))
        before = {}
        for name in ("whatsapp", "redis"):
            last = next(o for o in office.admin.get("/circuit-breakers/orders", per_page=200)["items"] if o["name"] == name)
            before[name] = eventually("the last order stands", lambda: (f := face(name))["state"] == {"reset": "closed"}.get(last["action"], last["action"].replace("force-", "forced_")) and f)
            assert not before[name]["forced"] or before[name]["forced"]["reason"] == last["reason"]
        office.server.restart()
        assert {name: face(name) for name in before} == before


def test_slow_calls_open_it_where_that_is_set(offices):
    office = offices(WHATSAPP_BREAKER_PERCENT=100, WHATSAPP_BREAKER_FAILURES=1, WHATSAPP_BREAKER_SLOW_SECONDS=1, WHATSAPP_BREAKER_SLOW_PERCENT=1)
    agent = office.hire()
    id = office.attended_by(agent)["id"]
    office.whatsapp.latency = 1.2
    agent.api.say(id, "devagar")
    assert eventually("open", lambda: (b := breaker(office))["state"] == "open" and b)["cause"] == "slow"
    for wrong in ({"WHATSAPP_BREAKER_SLOW_SECONDS": 1}, {"GEMINI_BREAKER_PERCENT": 5, "GEMINI_BREAKER_SLOW_SECONDS": 601}):
        done = run("routes", **wrong)
        assert done.returncode == 78 and "_BREAKER_SLOW_SECONDS" in done.stderr


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
    for _ in range(2):
        assert is_clear_error(other.call("POST", "/circuit-breakers/redis/reset"), 403)["code"] == "shared_dependency"
        assert breaker(office, "redis")["state"] == "forced_open"
        office.server.restart()
    checks = eventually("shown with who and why", lambda: (c := office.anybody.get("/health")["checks"]["redis"])["status"] == "breaker_open" and c)
    assert "troca de máquina" in checks["detail"] and office.admin.user["name"] in checks["detail"]
    office.admin.post("/circuit-breakers/redis/reset", {"reason": "máquina trocada"})
    eventually("connected again", lambda: office.anybody.get("/info")["redis"]["connected"])
    # What is not forced anybody may close; who runs the server sees that they did.
    other.post("/circuit-breakers/redis/reset", {"reason": "parecia aberto"})
    seen = office.admin.get("/circuit-breakers/orders", page=1, per_page=2)
    assert [o["reason"] for o in seen["items"]] == ["parecia aberto", "máquina trocada"] and (seen["total"], seen["total_pages"]) == (3, 2)
    assert [o["reason"] for o in other.get("/circuit-breakers/orders")["items"]] == ["parecia aberto"]


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
