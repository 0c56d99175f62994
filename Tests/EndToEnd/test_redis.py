"""Redis beside the server: what it relays, and that nobody waits for it (DESIGN section 10)."""

import json
import re

import pytest
import redis

from harness.office import new_number
from harness.process import free_port, run
from harness.waiting import eventually


@pytest.fixture
def office(own_redis, offices):
    office = offices(REDIS_URL=own_redis.url, REDIS_BREAKER_SECONDS=1)
    eventually("Redis is connected", lambda: metric(office, "plantao_redis_connected") == 1)
    return office


def metric(office, name):
    reply = office.anybody.call("GET", "/metrics", expect=200)
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = re.search(rf"^{re.escape(name)} (\S+)$", reply.text, re.MULTILINE)
    return float(found.group(1)) if found else None


class Listener:
    """Another program that follows a tenant's pushes."""

    def __init__(self, server):
        self.client = redis.Redis(port=server.port, socket_timeout=5)
        self.pubsub = self.client.pubsub(ignore_subscribe_messages=True)
        self.pubsub.psubscribe("plantao:push:*")
        self.heard = []
        # The subscription stands once Redis has said so.
        eventually("the listener listens", lambda: self.client.pubsub_numpat() == 1)

    def listen(self):
        while (message := self.pubsub.get_message(timeout=0.05)) is not None:
            self.heard.append((message["channel"].decode(), json.loads(message["data"])))
        return self.heard


def test_every_push_is_relayed_in_order_and_every_job_is_noted(office, own_redis):
    listener = Listener(own_redis)
    maria = office.hire("Maria")
    # A stream that somebody follows is pushed on; what is relayed does not depend on it.
    office.desk(maria, "conversations")
    ana = new_number()
    office.says(ana, "quero um atendente")
    id = office.conversation(ana, "offered")["id"]
    maria.api.claim(id)
    maria.api.post(f"/api/v1/conversations/{id}/messages", {"text": "Olá, Ana"}, expect=201)
    eventually(
        "the answer is relayed",
        lambda: any(push["channel"] == f"conversation:{id}" and push["data"].get("message", {}).get("text") == "Olá, Ana" for _, push in listener.listen()),
    )
    channels, pushes = {channel for channel, _ in listener.heard}, [push for _, push in listener.heard]
    assert len(channels) == 1, "one tenant, one channel"
    assert len({push["server"] for push in pushes}) == 1
    numbers = [push["n"] for push in pushes]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "one after the other, none left out"
    jobs = listener.client.xrange("plantao:jobs")
    assert jobs and all(fields[b"kind"] == b"whatsapp.send" for _, fields in jobs)
    assert len({fields[b"id"] for _, fields in jobs}) == len(jobs)
    assert metric(office, "plantao_redis_dropped_total") == 0 and metric(office, "plantao_redis_relayed_total") >= len(pushes)


def test_with_redis_gone_everything_goes_on_and_afterwards_it_is_relayed_again(office, own_redis):
    maria = office.hire("Maria")
    own_redis.stop()
    for number in range(5):
        ana = new_number()
        office.says(ana, f"atendente, por favor ({number})")
        maria.api.claim(office.conversation(ana)["id"])
    eventually("what could not be relayed is counted", lambda: metric(office, "plantao_redis_dropped_total") > 0)
    assert metric(office, "plantao_redis_connected") == 0
    relay = office.anybody.get("/info")["redis"]
    assert relay["connected"] is False and "address" not in relay
    assert office.anybody.get("/health")["status"] == "healthy", "Redis is nobody's health"
    own_redis.start()
    eventually("Redis is connected again", lambda: metric(office, "plantao_redis_connected") == 1, timeout=30)
    listener = Listener(own_redis)
    office.says(new_number(), "alguém aí?")
    eventually("relayed again", lambda: len(listener.listen()) > 0)


def test_a_redis_that_is_not_there_keeps_no_server_from_starting(offices):
    office = offices(REDIS_URL="redis://127.0.0.1:1/0")
    office.says(new_number(), "oi")
    assert office.anybody.get("/info")["redis"]["connected"] is False


@pytest.mark.parametrize("url", ["rediss://:segredo@h", "http://:segredo@h", "redis://:segredo@h:port", "redis://:segredo@h/x"])
def test_a_bad_redis_url_is_refused_at_the_start_without_showing_the_password(tmp_path, url):
    ended = run("serve", PLANTAO_DATA=tmp_path, PORT=free_port(), REDIS_URL=url)
    assert ended.returncode == 78 and "REDIS_URL" in ended.stderr and "segredo" not in ended.stdout + ended.stderr, ended.stderr
