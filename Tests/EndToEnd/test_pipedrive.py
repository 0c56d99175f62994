"""Hand-offs reach Pipedrive whatever goes wrong in between, nothing is made twice there, and what is changed there comes back without going around."""

import threading
import time

import pytest

from harness.api import is_clear_error
from harness.office import new_number
from harness.pipedrive import ME, FakePipedrive
from harness.waiting import eventually, never

pytestmark = pytest.mark.timeout(180)
PASSWORD = "segredo-do-webhook"


@pytest.fixture
def pipedrive():
    with FakePipedrive() as fake:
        yield fake


@pytest.fixture
def bureau(offices, pipedrive):
    office = offices(
        PIPEDRIVE_API_TOKEN=pipedrive.token, PIPEDRIVE_API_URL=pipedrive.url, PIPEDRIVE_WEBHOOK_PASSWORD=PASSWORD, PIPEDRIVE_BREAKER_SECONDS=1,
    )
    pipedrive.webhook = f"http://plantao:{PASSWORD}@127.0.0.1:{office.server.port}/api/webhooks/pipedrive"
    return office


def hire(office, name="Maria", owner=11):
    agent = office.hire(name)
    office.admin.put(f"/consultor/{agent.id}", {"id_pipedrive": owner})
    return agent


def status(office):
    return office.admin.get("/api/v1/pipedrive/status")


def told(office, count=1):
    return eventually(f"{count} hand-offs told", lambda: status(office)["handoffs_told"] >= count, timeout=20)


def test_a_hand_off_becomes_a_person_a_deal_and_an_activity_of_the_consultor(bureau, pipedrive):
    maria = hire(bureau)
    number = new_number()
    conversation = bureau.attended_by(maria, number)
    told(bureau)
    [person], [deal], [activity] = pipedrive.all("persons"), pipedrive.all("deals"), pipedrive.all("activities")
    assert (person["name"], person["owner_id"]) == (conversation["contact"]["name"], 11)
    assert [(p["value"], p["primary"]) for p in person["phones"]] == [("+" + number, True)]
    assert (deal["person_id"], deal["owner_id"], deal["status"]) == (person["id"], 11, "open")
    assert conversation["protocol"] in deal["title"] and conversation["protocol"] in activity["subject"]
    assert (activity["deal_id"], activity["owner_id"], activity["participants"][0]["person_id"]) == (deal["id"], 11, person["id"])
    assert bureau.server.url and bureau.anybody.get("/info")["pipedrive"] == "configured"
    assert all(body is None or "token" not in str(body) for _, _, body, _ in pipedrive.calls)


def test_a_transfer_moves_all_of_it_to_the_next_consultor_and_makes_nothing_new(bureau, pipedrive):
    maria, joao = hire(bureau), hire(bureau, "João", 12)
    conversation = bureau.attended_by(maria)
    told(bureau)
    maria.api.command(conversation["id"], "transfer", {"consultor_id": joao.id})
    told(bureau, 2)
    for kind in ("persons", "deals", "activities"):
        assert [thing["owner_id"] for thing in pipedrive.all(kind)] == [12], kind


def test_a_customer_who_comes_back_is_the_same_person_and_one_whom_pipedrive_knows_is_found_by_the_number(bureau, pipedrive):
    maria = hire(bureau)
    number = new_number()
    known = pipedrive.add("persons", name="Conhecida", phones=[{"value": "+" + number, "primary": True, "label": "mobile"}])
    conversation = bureau.attended_by(maria, number)
    told(bureau)
    assert [(p["id"], p["name"], p["owner_id"]) for p in pipedrive.all("persons")] == [(known["id"], "Conhecida", 11)], "found, and not renamed"
    maria.api.resolve(conversation["id"])
    bureau.attended_by(maria, number)
    told(bureau, 2)
    assert len(pipedrive.all("persons")) == 1 and len(pipedrive.all("deals")) == 1, "its deal is still open"
    assert len({a["subject"] for a in pipedrive.all("activities")}) == 2, "an activity for each attendance"


def test_who_has_no_id_pipedrive_is_no_business_of_pipedrives(bureau, pipedrive):
    bureau.attended_by(bureau.hire("Sem CRM"))
    never("a call", lambda: pipedrive.calls, during=1.5)


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 429, "retry_after": 1}, {"status": 200, "drop": True}, {"status": 403, "retry_after": 1}], ids=str)
def test_what_goes_wrong_on_the_way_is_tried_again_and_nothing_is_there_twice(bureau, pipedrive, fault):
    maria = hire(bureau)
    # At each step in turn.
    for step in range(4):
        done = status(bureau)["handoffs_told"]
        seen = len(pipedrive.calls)
        conversation = bureau.in_line()
        armed = threading.Event()

        def arm(*_):
            if len(pipedrive.calls) - seen >= step and not armed.is_set():
                armed.set()
                pipedrive.fail_next(**fault)

        pipedrive.on_call = arm
        if step == 0:
            armed.set()
            pipedrive.fail_next(**fault)
        maria.api.claim(conversation["id"])
        eventually("told", lambda: status(bureau)["handoffs_told"] == done + 1, timeout=40)
        pipedrive.on_call = None
        for kind in ("persons", "deals", "activities"):
            assert len(pipedrive.all(kind)) == step + 1, (kind, step, pipedrive.calls[seen:])
    assert status(bureau)["problem"] is None


def test_while_pipedrive_is_away_agents_work_on_the_breaker_opens_and_it_all_arrives_afterwards(bureau, pipedrive):
    maria = hire(bureau)
    pipedrive.fail_next(503, times=6)
    ids = [bureau.attended_by(maria)["id"] for _ in range(3)]
    eventually("the breaker", lambda: bureau.admin.get("/circuit-breakers")["circuit_breakers"]["pipedrive"]["times_opened"] > 0, timeout=30)
    assert [maria.api.conversation(id)["state"] for id in ids] == ["active"] * 3
    eventually("told", lambda: status(bureau)["handoffs_told"] == 3, timeout=60)
    assert len(pipedrive.all("persons")) == 3 and len(pipedrive.all("activities")) == 3


def test_what_is_owed_survives_a_kill(bureau, pipedrive):
    maria = hire(bureau)
    pipedrive.fail_next(500, times=2)
    bureau.attended_by(maria)
    bureau.server.kill()
    bureau.server.start()
    eventually("an activity", lambda: len(pipedrive.all("activities")) == 1, timeout=40)
    assert len(pipedrive.all("persons")) == len(pipedrive.all("deals")) == 1


def test_what_pipedrive_will_never_take_is_given_up_and_holds_nobody_up(bureau, pipedrive):
    unknown, maria = hire(bureau, "Sem usuário", owner=777), hire(bureau, "Maria", 11)
    bureau.attended_by(unknown)
    eventually("the problem", lambda: "owner_id" in (status(bureau)["problem"] or ""), timeout=20)
    bureau.attended_by(maria)
    told(bureau)
    assert [p["owner_id"] for p in pipedrive.all("persons")] == [11]


def test_the_burst_limit_is_kept(offices):
    with FakePipedrive(burst=(20, 2)) as pipedrive:
        office = offices(PIPEDRIVE_API_TOKEN=pipedrive.token, PIPEDRIVE_API_URL=pipedrive.url + "/api/v2/")
        maria = office.hire("Maria", capacity=100)
        office.admin.put(f"/consultor/{maria.id}", {"id_pipedrive": 11})
        for _ in range(6):
            maria.api.claim(office.in_line()["id"])
        eventually("told", lambda: status(office)["handoffs_told"] == 6, timeout=60)
        # On a busy machine calls that went out in time may arrive closer together.
        assert len([call for call in pipedrive.calls if call[3] == 429]) <= 1
        assert len(pipedrive.all("persons")) == 6


# MARK: Webhooks


def test_a_name_given_in_pipedrive_is_the_contacts_and_goes_around_no_further(bureau, pipedrive):
    maria = hire(bureau)
    number = new_number()
    conversation = bureau.attended_by(maria, number)
    told(bureau)
    # Our own writes have come back by now, and were known as ours.
    eventually("our own", lambda: status(bureau)["webhooks_own"] >= 1)
    screen = bureau.desk(maria, "conversations")
    calls = len(pipedrive.calls)
    [person] = pipedrive.all("persons")
    pipedrive.by_hand("person", person["id"], name="Ana de Souza")
    screen.wait("the name", lambda: screen.conversations[conversation["id"]]["contact"]["name"] == "Ana de Souza")
    never("anything said back", lambda: len(pipedrive.calls) > calls, during=1.5)
    bureau.says(number, "oi de novo", name="Aninha ✨")
    assert maria.api.conversation(conversation["id"])["contact"]["name"] == "Ana de Souza", "what somebody wrote in the CRM stays"


def test_what_comes_late_changes_nothing(bureau, pipedrive):
    maria = hire(bureau)
    conversation = bureau.attended_by(maria)
    told(bureau)
    [person] = pipedrive.all("persons")
    before = len(pipedrive.webhooks)
    pipedrive.by_hand("person", person["id"], name="Primeira")
    # Pipedrive counts in milliseconds.
    time.sleep(0.01)
    pipedrive.by_hand("person", person["id"], name="Segunda")
    eventually("both", lambda: len(pipedrive.webhooks) >= before + 2)
    eventually("the second", lambda: maria.api.conversation(conversation["id"])["contact"]["name"] == "Segunda")
    first = next(news for news, _ in pipedrive.webhooks if (news["data"] or {}).get("name") == "Primeira")
    assert pipedrive.post(first) == 200
    never("the first", lambda: maria.api.conversation(conversation["id"])["contact"]["name"] == "Primeira", during=1)


def test_two_persons_made_one_are_one_here_too(bureau, pipedrive):
    maria = hire(bureau)
    number = new_number()
    first = bureau.attended_by(maria, number)
    told(bureau)
    [person] = pipedrive.all("persons")
    other = pipedrive.add("persons", name="A mesma", phones=[{"value": "+" + number, "primary": True, "label": "mobile"}])
    pipedrive.merge(person["id"], into=other["id"])
    eventually("the survivor's name", lambda: maria.api.conversation(first["id"])["contact"]["name"] == "A mesma")
    maria.api.resolve(first["id"])
    bureau.attended_by(maria, number)
    told(bureau, 2)
    assert [p["id"] for p in pipedrive.all("persons")] == [other["id"]]


def test_only_pipedrive_is_heard(bureau, offices, pipedrive):
    body = {"meta": {"action": "change", "entity": "person", "entity_id": "1", "user_id": "11", "change_source": "app"}, "data": {"id": 1, "name": "X"}}
    assert [pipedrive.post(body, credential) for credential in (("plantao", "errada"), ("outro", PASSWORD), ("", ""))] == [401] * 3
    path = "/api/webhooks/pipedrive"
    reply = bureau.anybody.call("POST", path, json=body)
    assert is_clear_error(reply, 401)["code"] == "basic_auth_invalid" and reply.headers["www-authenticate"] == "Basic"
    assert pipedrive.post(body) == 200, "of a person who is nobody's"
    assert pipedrive.post({**body, "meta": {**body["meta"], "entity": "deal"}}) == 200
    assert [pipedrive.post(broken) for broken in (b"{", b"[]", b"{}", b'{"meta": {"entity": "person", "action": "change"}}', b"")] == [422, 400, 400, 400, 400]
    is_clear_error(offices().anybody.call("POST", path, json=body, headers={"Authorization": "Basic eDp5"}), 403)
    assert str(ME) not in str(status(bureau))


def test_the_settings_are_checked(offices):
    for environment in ({"PIPEDRIVE_API_TOKEN": "t", "PIPEDRIVE_API_URL": "pipedrive"}, {"PIPEDRIVE_WEBHOOK_PASSWORD": "x"}, {"PIPEDRIVE_API_TOKEN": "a b"}):
        office = offices(start=False, **environment)
        office.server.start(ready=False)
        assert office.server.wait(15) == 78
        office.server.process = None
        assert "PIPEDRIVE_API" in office.server.logs().decode()
