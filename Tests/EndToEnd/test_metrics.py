"""`/metrics` as Prometheus reads it: every name of the contract is there, is what it says, and moves (contracts/isp-support.md "Métricas implementadas")."""

import json
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.contract import PROTOCOL
from harness.office import new_number
from harness.waiting import eventually

pytestmark = pytest.mark.timeout(120)


def families(office):
    reply = office.anybody.call("GET", "/metrics", expect=200)
    assert reply.headers["content-type"].startswith("text/plain")
    found = {}
    for family in text_string_to_metric_families(reply.text):
        assert family.name not in found, f"{family.name} is there twice"
        found[family.name] = family
    return found


def samples(office):
    """`{(sample, labels): value}` of the whole page."""
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families(office).values() for s in f.samples}


def total(page, name, /, **labels):
    return sum(value for (sample, found), value in page.items() if sample == name and labels.items() <= dict(found).items())


# By what a sample of it is called, and its type.
CONTRACT = {
    "conversation_duration_seconds": "histogram",
    "conversations_by_state": "gauge",
    "conversations_created": "counter",
    "message_processing_seconds": "histogram",
    "messages_sent": "counter",
    "message_queue_size": "gauge",
    "whatsapp_connections_active": "gauge",
    "whatsapp_api_calls": "counter",
    "whatsapp_rate_limits": "counter",
    "http_requests": "counter",
    "http_request_duration_seconds": "histogram",
    "database_query_duration_seconds": "histogram",
    "cache_operations": "counter",
}


def test_every_name_of_the_contract_is_there_and_of_its_type(shared_office):
    page = families(shared_office)
    assert {name: page[name].type for name in CONTRACT if name in page} == CONTRACT
    assert all(family.documentation for family in page.values())


def test_each_of_them_moves(office):
    before = samples(office)
    maria = office.hire("Maria")
    id = office.attended_by(maria)["id"]
    now = samples(office)
    moved = lambda name, /, **labels: total(samples(office), name, **labels) - total(before, name, **labels)
    assert moved("conversations_created_total", channel="whatsapp") == 1
    assert total(now, "conversations_by_state", state="active") == 1 and total(now, "conversations_by_state", state="bot") == 0
    maria.api.say(id, "Bom dia!")
    office.settled(id)
    assert moved("message_processing_seconds_count", direction="inbound") >= 1
    assert moved("message_processing_seconds_count", direction="outbound") == 1
    sent = len([s for s in office.posts() if s.accepted])
    assert moved("messages_sent_total", channel="whatsapp", status="sent") == sent == moved("whatsapp_api_calls_total", outcome="sent")
    assert moved("http_requests_total", method="POST", path="/api/v1/conversations/{id}/messages", status="201") == 1
    assert moved("http_request_duration_seconds_count", method="POST", path="/api/v1/conversations/{id}/messages") == 1
    for operation in ("read", "commit", "marks"):
        assert moved("database_query_duration_seconds_count", operation=operation) > 0, operation
    assert moved("cache_operations_total", cache="tenants", result="hit") > 0
    assert moved("cache_operations_total", cache="conversations", result="hit") > 0

    # It is waiting while WhatsApp wants none of it.
    assert total(now, "whatsapp_connections_active") == 1
    office.whatsapp.fail_next(80007, retry_after=3600)
    maria.api.say(id, "um")
    eventually("whose limit it was", lambda: moved("whatsapp_rate_limits_total", scope="account") == 1)
    maria.api.say(id, "dois")
    eventually("the queue", lambda: total(samples(office), "message_queue_size") == 2)
    assert total(samples(office), "whatsapp_connections_active") == 0
    assert moved("whatsapp_api_calls_total", outcome="retry") == 1
    assert total(samples(office), "plantao_circuit_breaker_open", name="whatsapp") == 1
    office.admin.post("/circuit-breakers/whatsapp/reset")
    maria.api.resolve(id)
    eventually("its duration", lambda: moved("conversation_duration_seconds_count") == 1)
    assert moved("conversation_duration_seconds_sum") > 0
    assert total(samples(office), "conversations_by_state") == 0


def test_open_conversations_are_counted_on_from_the_store(office):
    maria = office.hire("Maria")
    kept = [office.attended_by(maria)["id"] for _ in range(2)]
    office.says(new_number(), "oi")
    eventually("the bot's", lambda: total(samples(office), "conversations_by_state", state="bot") == 1)
    office.server.restart()
    page = samples(office)
    assert (total(page, "conversations_by_state", state="active"), total(page, "conversations_by_state", state="bot")) == (2, 1)
    maria.api.resolve(kept[0])
    assert total(samples(office), "conversations_by_state", state="active") == 1


def test_histograms_are_cumulative_and_counters_only_grow(office):
    office.attended_by(office.hire())
    first, second = families(office), families(office)
    for name, family in second.items():
        if family.type == "histogram":
            rows = {}
            for sample in family.samples:
                labels = {k: v for k, v in sample.labels.items() if k != "le"}
                rows.setdefault(json.dumps(labels, sort_keys=True), []).append(sample)
            for row in rows.values():
                buckets = [s.value for s in row if s.name.endswith("_bucket")]
                assert buckets == sorted(buckets) and row[len(buckets) - 1].labels["le"] == "+Inf", name
                assert [s.value for s in row if s.name.endswith("_count")] == [buckets[-1]], name
        if family.type in ("counter", "histogram"):
            now = {(s.name, json.dumps(s.labels)): s.value for s in family.samples}
            for sample in first[name].samples if name in first else ():
                assert now[sample.name, json.dumps(sample.labels)] >= sample.value, sample


def test_what_clients_make_up_is_no_label(office):
    for n in range(30):
        office.anybody.call("GET", f"/nowhere/{n}", expect=404)
        office.admin.call("GET", f"/api/v1/conversations/00000000-0000-7000-8000-0000000000{n:02}", expect=404)
    labels = [dict(found) for name, found in samples(office) if name == "http_requests_total"]
    assert not [found for found in labels if "nowhere" in found["path"] or "0000" in found["path"]]
    text = office.anybody.call("GET", "/metrics").text
    assert office.admin.user["id"] not in text and "@" not in text


def test_sockets_and_fan_out_are_counted(office):
    maria = office.hire()
    before = samples(office)
    desks = [office.desk(maria, "notices") for _ in range(3)]
    office.admin.post("/api/v1/notices", {"text": "oi"}, expect=201)
    for desk in desks:
        desk.wait("the notice", lambda: desk.picture("notices").items)
    after = samples(office)
    assert total(after, "plantao_realtime_connections") - total(before, "plantao_realtime_connections") == 3
    assert total(after, "plantao_realtime_deliveries_total") - total(before, "plantao_realtime_deliveries_total") == 3


def test_writing_behind_is_timed(offices, database):
    office = offices(DATABASE_URL=database.url)
    office.admin.post("/api/v1/notices", {"text": "oi"}, expect=201)
    eventually("a batch", lambda: total(samples(office), "database_query_duration_seconds_count", operation="write_behind") > 0)


# MARK: The dashboard


def queries(value):
    if isinstance(value, dict):
        if isinstance(value.get("expr"), str):
            yield value["expr"]
        for member in value.values():
            yield from queries(member)
    elif isinstance(value, list):
        for item in value:
            yield from queries(item)


WORDS = {"sum", "by", "rate", "increase", "histogram_quantile", "max", "min", "avg", "le", "on", "without", "clamp_min", "count", "topk", "vector", "or"}


def test_each_metric_that_the_dashboard_asks_for_exists(offices, database, own_redis):
    office = offices(DATABASE_URL=database.url, REDIS_URL=own_redis.url)
    id = office.attended_by(office.hire())["id"]
    office.admin.resolve(id)
    there = {s.name: set(s.labels) for f in families(office).values() for s in f.samples}
    for f in families(office).values():
        for s in f.samples:
            there[s.name] |= set(s.labels)
        # One that has not happened yet has no sample, and is asked for all the same.
        there.setdefault(f.name + ("_total" if f.type == "counter" else ""), set())
    dashboard = json.loads((PROTOCOL / "grafana" / "plantao.json").read_text("utf-8"))
    asked = list(queries(dashboard))
    assert len(asked) > 15
    for query in asked:
        plain = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"", "", query)
        plain = re.sub(r"\b(by|without|on)\s*\([^)]*\)", "", plain)
        names = set(re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", plain)) - WORDS
        assert names and names <= set(there), f"{query}: there is no {names - set(there)}"
