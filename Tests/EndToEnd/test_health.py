"""`/health`: one body for all contracts, that tells whether a change gets through and how each dependency is; 200 or 503, cheap however often it is asked."""

import concurrent.futures
import datetime

import pytest

from harness.waiting import eventually
from test_disk_full import disk  # noqa: F401 - the fixture
from test_metrics import samples, total

pytestmark = pytest.mark.timeout(120)


def health(office, expect=200):
    return office.anybody.get("/health", expect=expect)


def test_the_body_has_what_each_contract_looks_for(offices):
    office = offices(BASIC_AUTH_USERS="a:b")
    assert office.anybody.get("/")["message"] == "API de Gestão de Clientes está no ar!"
    body = health(office)
    # contracts/ecosys-ms.md "GET /health".
    assert (body["status"], body["environment"], body["redis_connection"]) == ("healthy", "development", "ok")
    assert body["env_variables"] == {"UPSTASH_REDIS_REST_URL": False, "UPSTASH_REDIS_REST_TOKEN": False, "BASIC_AUTH_USERS": True}
    datetime.datetime.fromisoformat(body["timestamp"])
    assert {name: check["status"] for name, check in body["checks"].items()} == {
        "change_path": "ok", "database": "ok", "redis": "off", "queues": "ok", "whatsapp": "ok", "gemini": "off", "pipedrive": "off", "smtp": "simulator",
    }
    assert body["checks"]["change_path"]["latency_ms"] > 0
    info = office.anybody.get("/info")
    assert info["name"] == "Plantão" and info["version"] == body["version"] and info["uptime_seconds"] >= 0 and info["jobs"] == {"waiting": 0, "held": 0}


def test_a_change_really_goes_to_the_disk_and_not_for_everybody_who_asks(office):
    health(office)
    before = office.anybody.get("/info")["gate"]["commits"]
    eventually("a change of its own", lambda: health(office) and office.anybody.get("/info")["gate"]["commits"] > before)
    before = office.anybody.get("/info")["gate"]["commits"]
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        assert {reply["status"] for reply in pool.map(lambda _: health(office), range(500))} == {"healthy"}
    # Asked once a second at the most; those who come meanwhile get the same answer.
    assert office.anybody.get("/info")["gate"]["commits"] - before < 30


def test_a_full_disk_is_unhealthy_and_it_recovers_by_itself(disk, offices, tmp_path):  # noqa: F811
    office = offices(PLANTAO_DATA=str(disk.path))
    assert health(office)["status"] == "healthy"
    disk.fill(office.server)
    body = eventually("unhealthy", lambda: (r := office.anybody.call("GET", "/health")).status == 503 and r.json())
    assert body["status"] == "unhealthy" and body["detail"].startswith("Health check falhou: ")
    assert body["checks"]["change_path"]["status"] == "journal_unavailable"
    disk.free(office.server)
    eventually("healthy again", lambda: office.anybody.call("GET", "/health").status == 200, timeout=20)


def test_redis_that_is_away_makes_it_degraded_and_200(offices, own_redis):
    office = offices(REDIS_URL=own_redis.url)
    eventually("connected", lambda: health(office)["checks"]["redis"]["status"] == "ok")
    own_redis.stop()
    body = eventually("degraded", lambda: (b := health(office))["status"] == "degraded" and b)
    assert body["redis_connection"] == "error" and body["checks"]["redis"]["status"] == "unreachable" and body["detail"]
    own_redis.start()
    eventually("healthy again", lambda: health(office)["status"] == "healthy", timeout=40)


def test_a_database_that_is_away_makes_it_degraded_and_200(offices, own_postgres):
    office = offices(DATABASE_URL=own_postgres.create_database().url, DATABASE_BREAKER_SECONDS=1)
    assert health(office)["checks"]["database"]["status"] == "ok"
    own_postgres.stop()
    body = eventually("degraded", lambda: (b := health(office))["status"] == "degraded" and b, timeout=30)
    assert body["checks"]["change_path"]["status"] == "ok" and body["checks"]["database"]["status"] != "ok" and body["detail"]
    own_postgres.start()
    eventually("healthy again", lambda: health(office)["status"] == "healthy", timeout=40)


def test_one_business_s_open_breaker_is_shown_and_nobody_else_s_trouble(office):
    office.admin.post("/circuit-breakers/whatsapp/force-open", {"reason": "teste"})
    body = eventually("shown", lambda: (b := health(office))["checks"]["whatsapp"]["status"] == "paused" and b)
    assert body["status"] == "healthy"
    assert total(samples(office), "plantao_circuit_breakers", name="whatsapp", state="forced_open") == 1
