"""Spans of the change path, as an OpenTelemetry collector gets them; and nobody waits for a collector that does not."""

import time

import pytest

from fakes.collector import Collector, attributes
from harness.process import run
from harness.waiting import eventually

pytestmark = pytest.mark.timeout(120)

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def collector():
    with Collector() as collector:
        yield collector


def traced(office, who, sampled="01", text="oi"):
    return who.call("POST", "/api/v1/notices", json={"text": text}, headers={"traceparent": f"00-{TRACE}-{PARENT}-{sampled}"}, expect=201)


def named(collector, *names):
    """The spans of the trace by name, once all of `names` are there."""
    return eventually(
        f"spans {names}", lambda: (found := {s["name"]: s for s in collector.of(TRACE)}).keys() >= set(names) and found, timeout=20
    )


def test_a_request_s_spans_hang_together_down_to_the_database(offices, collector, database):
    office = offices(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_EXPORTER_OTLP_HEADERS="x-key=a%20b", DATABASE_URL=database.url)
    agent = office.hire()
    id = office.attended_by(agent)["id"]
    reply = agent.api.call(
        "POST", f"/api/v1/conversations/{id}/messages", json={"text": "oi"}, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"}, expect=201,
    )
    assert reply.headers["traceresponse"].split("-")[1] == TRACE
    spans = named(collector, "POST /api/v1/conversations/{id}/messages", "turn desk", "gate.commit", "journal.commit", "fanout", "write_behind")
    request, commit = spans["POST /api/v1/conversations/{id}/messages"], spans["gate.commit"]
    assert request["parentSpanId"] == PARENT and request["kind"] == 2
    assert attributes(request)["http.route"] == "/api/v1/conversations/{id}/messages" and attributes(request)["http.response.status_code"] == "201"
    ids = {span["spanId"] for span in collector.of(TRACE)}
    assert len(ids) == len(collector.of(TRACE))
    assert all(span["parentSpanId"] in ids for span in collector.of(TRACE) if span is not request)
    assert {spans[name]["parentSpanId"] for name in ("journal.commit", "fanout", "write_behind")} <= {s["spanId"] for s in collector.of(TRACE) if s["name"] == "gate.commit"}
    for span in collector.of(TRACE):
        assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
    assert int(attributes(commit)["change.events"]) >= 0
    path, headers, _ = collector.requests[0]
    assert path == "/v1/traces" and headers["Content-Type"] == "application/json" and headers["x-key"] == "a b"
    assert collector.resources[0]["service.name"] == "plantao"


def test_a_send_takes_its_trace_along(offices, collector):
    office = offices(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    office.attended_by(office.hire())
    sent = eventually("a send", lambda: [s for s in office.posts() if s.accepted])[0]
    headers = {name.lower(): value for name, value in sent.headers.items()}
    _, trace, span, _ = headers["traceparent"].split("-")
    eventually("its span", lambda: [s for s in collector.of(trace) if s["spanId"] == span and s["name"] == "outbox.send"])


def test_what_is_not_sampled_is_not_sent(offices, collector):
    office = offices(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_TRACES_SAMPLER_ARG="0")
    traced(office, office.admin, sampled="00", text="sem")
    traced(office, office.admin, sampled="01")
    named(collector, "POST /api/v1/notices")
    assert {s["traceId"] for s in collector.spans} == {TRACE} and len([s for s in collector.spans if s["name"] == "POST /api/v1/notices"]) == 1


@pytest.mark.parametrize("status", [500, None], ids=["refuses", "is silent"])
def test_a_collector_that_takes_nothing_is_in_nobody_s_way(offices, collector, status):
    collector.status = status
    office = offices(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    for n in range(50):
        began = time.monotonic()
        office.admin.post("/api/v1/notices", {"text": f"{n}"}, expect=201)
        assert time.monotonic() - began < 5
    dropped = lambda: float(office.anybody.call("GET", "/metrics").text.split("\nplantao_trace_spans_dropped_total ")[1].split("\n")[0])
    eventually("it is counted", lambda: dropped() > 0, timeout=20)
    collector.status = 200
    traced(office, office.admin)
    named(collector, "POST /api/v1/notices", "gate.commit")


def test_without_a_collector_there_are_no_spans(office):
    reply = traced(office, office.admin)
    assert "traceresponse" not in reply.headers
    assert office.anybody.get("/info")["tracing"] == "off" and "plantao_trace" not in office.anybody.call("GET", "/metrics").text


def test_a_protocol_that_is_not_spoken_stops_nothing_and_is_warned_of(offices, collector):
    office = offices(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf", REDIS_CLUSTER_NODES="r1:6379,r2:6379")
    traced(office, office.admin)
    eventually("a span", lambda: collector.of(TRACE))
    assert collector.requests[0][1]["Content-Type"] == "application/json"
    log = office.server.log_tail(2000)
    assert "OTEL_EXPORTER_OTLP_PROTOCOL" in log and "REDIS_CLUSTER_NODES" in log and "not supported" in log


@pytest.mark.parametrize("name, value", [("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_TRACES_SAMPLER_ARG", "2")])
def test_a_setting_that_makes_no_sense_stops_the_start(name, value):
    done = run("routes", **{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", name: value})
    assert done.returncode == 78 and name in done.stderr
