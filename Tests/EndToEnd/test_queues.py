"""The queues of messages (contracts/agendazap.md "Filas"): sent once or visibly not, paused and resumed, fair between businesses, over crashes and with either transport."""

import itertools
import os
import re
import time
from datetime import datetime, timedelta, timezone

import pytest
import redis

from harness.api import Api
from harness.waiting import eventually, never

QUEUES = ["appointment_confirmations", "appointment_reminders", "appointment_cancellations", "appointment_follow_ups", "whatsapp_messages", "email_notifications"]
MAIL = "email_notifications"
FAST = {"QUEUE_BACKOFF_SECONDS": 1, "QUEUE_BACKOFF_MAX_SECONDS": 1, "QUEUE_LEASE_SECONDS": 2}
KILL_ROUNDS = int(os.environ.get("QUEUE_KILL_ROUNDS", "12"))
_keys = itertools.count(1)


def mail(api, to="ana@example.com", key=None, expect=200, **more):
    body = {"recipient_email": to, "subject": "Olá", "body": "Tudo bem?", **more}
    headers = {"Idempotency-Key": key} if key else {}
    answer = api.call("POST", "/api/queues/test/email", json=body, headers=headers, expect=expect).json()
    return answer.get("message_id")


def message(api, id, queue=MAIL):
    return api.get(f"/api/queues/{queue}/messages/{id}")


def becomes(api, id, *states, queue=MAIL, timeout=15.0):
    def there():
        found = message(api, id, queue)
        return found if found["state"] in states else None

    return eventually(f"message {id} is {' or '.join(states)}", there, timeout=timeout)


def second_business(office):
    n = next(_keys)
    return office.anybody.register(f"outra{n}-{time.time_ns()}@example.com", "Plantao#2026ok", template_type="service_table", whatsapp_number="+5511977770000")


def handed_over(office):
    """How often the simulator was handed each message that has an Idempotency-Key."""
    times = {}
    for line in office.server.logs().decode("utf-8", "replace").splitlines():
        if "the simulator was handed a message" in line and (found := re.search(r"request:[0-9a-f-]{36}:([\w-]+)", line)):
            times[found.group(1)] = times.get(found.group(1), 0) + 1
    return times


def test_the_status_has_the_contracts_shape_and_counts_what_there_is(offices):
    office = offices()
    api = office.admin
    status = api.get("/api/queues/status")
    assert list(status) == QUEUES + ["scheduled_messages"]
    assert status["scheduled_messages"] == {"length": 0}
    assert all(status[queue]["length"] == 0 and status[queue]["groups"] == 1 and status[queue]["last-entry"] is None for queue in QUEUES)
    for n in range(3):
        mail(api, f"depois{n}@example.com", delay_seconds=3600)
    api.post(f"/api/queues/{MAIL}/pause", {"reason": "teste"})
    mail(api)
    status = api.get("/api/queues/status")
    assert status["scheduled_messages"] == {"length": 3}
    assert status[MAIL]["length"] == 1 and status[MAIL]["paused"] is True and status[MAIL]["paused_by"][0]["reason"] == "teste"
    assert re.fullmatch(r"\d{13}-0", status[MAIL]["last-entry"])
    assert status[MAIL]["states"]["scheduled"] == 3 and status[MAIL]["states"]["available"] == 1
    assert office.anybody.get("/health")["checks"]["queues"]["status"] == "ok"


def test_what_is_enqueued_is_sent_and_can_be_looked_at(offices):
    office = offices()
    api = office.admin
    id = mail(api)
    sent = becomes(api, id, "sent")
    assert sent["attempts"] == 1 and sent["provider_id"].startswith("sim-") and sent["payload"] == {"subject": "Olá", "text": "Tudo bem?"}
    assert sent["finished_at"] and sent["recipient"] == "ana@example.com"
    answer = api.post("/api/queues/test/whatsapp", {"recipient_whatsapp": "+55 11 98888-8888", "message_content": "Mensagem de teste"})
    assert answer["success"] is True and answer["message"]
    office.posted("Mensagem de teste")
    becomes(api, answer["message_id"], "sent", queue="whatsapp_messages")
    assert api.get(f"/api/queues/{MAIL}/messages", state="sent")["total"] == 1
    assert api.get(f"/api/queues/{MAIL}/messages", state="dead,available")["total"] == 0


def test_bad_input_names_the_field_and_unknown_queues_are_404(offices):
    office = offices()
    api = office.admin
    for path, body, field in [
        ("whatsapp", {"recipient_whatsapp": "abc", "message_content": "x"}, "recipient_whatsapp"),
        ("whatsapp", {"recipient_whatsapp": "+5511988888888"}, "message_content"),
        ("email", {"recipient_email": "sem-arroba", "subject": "a", "body": "b"}, "recipient_email"),
        ("email", {"recipient_email": "joão@b.co", "subject": "a", "body": "b"}, "recipient_email"),
        ("email", {"recipient_email": "a(b)@b.co", "subject": "a", "body": "b"}, "recipient_email"),
        ("email", {"recipient_email": "a" * 65 + "@b.co", "subject": "a", "body": "b"}, "recipient_email"),
        ("email", {"recipient_email": "a@b.co", "subject": "a\nBcc: x@y.z", "body": "b"}, "subject"),
        ("email", {"recipient_email": "a@b.co", "subject": "a", "body": "b", "delay_seconds": -1}, "delay_seconds"),
    ]:
        reply = api.call("POST", f"/api/queues/test/{path}", json=body, expect=422)
        assert field in [error["loc"][-1] for error in reply.json()["detail"]], reply
    for method, path in [("GET", "failed/nada"), ("DELETE", "failed/nada"), ("POST", "failed/nada/retry"), ("GET", "nada/messages"), ("POST", "nada/pause")]:
        api.call(method, f"/api/queues/{path}", expect=404)
    api.call("GET", f"/api/queues/{MAIL}/messages/00000000-0000-7000-8000-000000000000", expect=404)
    api.call("GET", f"/api/queues/{MAIL}/messages", expect=422, state="nada")
    api.call("POST", "/api/queues/workers/stop", expect=404, queue="nada")
    maria = office.hire("Maria").api
    maria.get("/api/queues/status")
    for path in (f"{MAIL}/pause", "workers/stop", f"failed/{MAIL}/retry"):
        maria.call("POST", f"/api/queues/{path}", expect=403)
    office.anybody.call("GET", "/api/queues/status", expect=401)


def test_dead_letters_are_listed_retried_and_cleared(offices):
    office = offices(**FAST)
    api = office.admin
    refused, doubtful, failing = mail(api, "recusa@simulador.invalid", key="r1"), mail(api, "incerto@simulador.invalid"), mail(api, "falha@simulador.invalid", max_attempts=3)
    assert becomes(api, refused, "dead")["attempts"] == 1
    assert becomes(api, doubtful, "quarantined")["reason"].startswith("outcome_unknown")
    dead = becomes(api, failing, "dead")
    assert dead["attempts"] == 3 and [error["outcome"] for error in dead["errors"]] == ["failed"] * 3
    page = api.get(f"/api/queues/failed/{MAIL}", per_page=2)
    assert page["total"] == 3 and len(page["items"]) == 2 and page["total_pages"] == 2
    assert {item["id"] for item in api.get(f"/api/queues/failed/{MAIL}")["items"]} == {refused, doubtful, failing}

    again = api.post(f"/api/queues/failed/{MAIL}/{refused}/retry")
    assert again["state"] == "available" and again["attempts"] == 0
    eventually("it was refused once more", lambda: len(message(api, refused)["errors"]) == 2)
    becomes(api, refused, "dead")
    answer = api.post(f"/api/queues/failed/{MAIL}/retry")
    assert answer["retried"] == 2, "what is in doubt is not among them"
    becomes(api, failing, "dead", timeout=20)
    becomes(api, refused, "dead")
    assert message(api, doubtful)["state"] == "quarantined" and message(api, doubtful)["attempts"] == 1
    sent = becomes(api, mail(api), "sent")["id"]
    api.call("POST", f"/api/queues/failed/{MAIL}/{sent}/retry", expect=409)
    api.call("POST", f"/api/queues/failed/appointment_reminders/{refused}/retry", expect=404)

    assert api.call("DELETE", f"/api/queues/failed/{MAIL}", expect=200).json()["deleted"] == 3
    assert api.get(f"/api/queues/failed/{MAIL}")["total"] == 0 and api.get("/api/queues/status")[MAIL]["states"]["dead"] == 0
    assert mail(api, "recusa@simulador.invalid", key="r1") == refused, "its key is remembered"
    assert handed_over(office)["r1"] == 3, "and nothing was sent for it"


def test_a_key_is_taken_once_also_over_a_restart_and_not_for_another_message(offices):
    office = offices()
    key = "chave-1"
    id = mail(office.admin, key=key)
    assert mail(office.admin, key=key) == id
    becomes(office.admin, id, "sent")
    office.server.kill()
    office.server.start()
    assert mail(office.admin, key=key) == id
    mail(office.admin, "outra@example.com", key=key, expect=409)
    assert handed_over(office)[key] == 1


def test_what_is_put_off_costs_no_attempt(offices):
    office = offices()
    id = mail(office.admin, "adia@simulador.invalid", max_attempts=1)
    put_off = eventually("it was put off twice", lambda: (found := message(office.admin, id)) and len(found["errors"]) >= 2 and found)
    assert put_off["attempts"] == 0 and {error["outcome"] for error in put_off["errors"]} == {"postponed"}


def test_what_is_scheduled_waits_also_over_a_restart_and_can_be_cancelled(offices):
    office = offices()
    soon, never_sent = mail(office.admin, key="logo", delay_seconds=3), mail(office.admin, key="nunca", delay_seconds=3)
    cancelled = office.admin.post(f"/api/queues/{MAIL}/messages/{never_sent}/cancel", {"reason": "mudou de ideia"})
    assert cancelled["state"] == "cancelled" and cancelled["reason"] == "mudou de ideia"
    office.admin.call("POST", f"/api/queues/{MAIL}/messages/{never_sent}/cancel", expect=409)
    office.server.kill()
    office.server.start()
    assert message(office.admin, soon)["state"] in ("scheduled", "available")
    becomes(office.admin, soon, "sent")
    assert handed_over(office) == {"logo": 1}


def test_a_paused_queue_rests_over_restarts_and_goes_on_when_it_is_resumed(offices):
    office = offices()
    api = office.admin
    assert api.post(f"/api/queues/{MAIL}/pause", {"reason": "feriado"})["paused"] is True
    id = mail(api)
    never("a paused queue sends", lambda: message(api, id)["state"] != "available", during=0.7)
    office.server.kill()
    office.server.start()
    status = office.admin.get("/api/queues/status")[MAIL]
    assert status["paused"] and status["paused_by"][0]["kind"] == "paused" and status["paused_by"][0]["reason"] == "feriado" and status["paused_by"][0]["by"]
    never("a paused queue sends", lambda: message(office.admin, id)["state"] != "available", during=0.7)
    assert office.admin.post(f"/api/queues/{MAIL}/resume")["paused"] is False
    becomes(office.admin, id, "sent")


def test_workers_stop_and_start_for_one_business_and_for_the_server(offices):
    office = offices()
    mine, theirs = office.admin, second_business(office)
    assert mine.get("/api/queues/workers/status")["workers"][MAIL]["status"] == "running"
    mine.post("/api/queues/workers/stop", {"reason": "manutenção"})
    assert mine.get("/api/queues/workers/status")["running"] is False
    held = mail(mine)
    becomes(theirs, mail(theirs), "sent")
    assert message(mine, held)["state"] == "available"
    assert mine.call("POST", "/api/queues/workers/start", expect=200, queue=MAIL).json()["queues"] == [MAIL]
    becomes(mine, held, "sent")
    assert mine.get("/api/queues/workers/status")["workers"]["appointment_reminders"]["status"] == "stopped"

    theirs.call("POST", "/api/queues/workers/stop", json={"scope": "server"}, expect=403)
    mine.post("/api/queues/workers/stop", {"scope": "server", "queue_name": MAIL, "reason": "provedor"})
    held = mail(theirs)
    office.server.kill()
    office.server.start()
    never("a stopped worker sends", lambda: message(theirs, held)["state"] != "available", during=0.7)
    stopped = theirs.get("/api/queues/workers/status")["workers"][MAIL]
    assert stopped["status"] == "stopped" and stopped["stopped_by"][0]["kind"] == "server_stopped"
    # Who runs the server is nobody else's to know.
    assert stopped["stopped_by"][0]["by"] == "operação do servidor"
    assert office.admin.get("/api/queues/workers/status")["workers"][MAIL]["stopped_by"][0]["by"] != "operação do servidor"
    assert theirs.get("/api/queues/status")[MAIL]["paused_by"][0]["by"] == "operação do servidor"
    office.admin.post("/api/queues/workers/start", {"scope": "server", "queue_name": MAIL})
    becomes(theirs, held, "sent")


def test_too_many_messages_of_a_business_are_refused_and_those_of_its_rules_are_there_to_be_seen(offices):
    office = offices(QUEUE_MAX_WAITING=4)
    mine, theirs = office.admin, second_business(office)
    screen = office.desk(mine, "jobs")
    picture = screen.picture("jobs")
    mine.post(f"/api/queues/{MAIL}/pause")
    ids = [mail(mine, key=f"k{n}") for n in range(4)]
    refused = mine.call("POST", "/api/queues/test/email", json={"recipient_email": "ana@example.com", "subject": "Olá", "body": "x"}, expect=429).json()
    assert (refused["code"], refused["limit"], refused["waiting"]) == ("queue_full", 4, 4) and "4" in refused["detail"]
    assert mail(mine, key="k0") == ids[0], "what is there already is answered as before"
    becomes(theirs, mail(theirs), "sent")
    assert metric(office, "plantao_queue_refusals_total", queue=MAIL, source="request") == 1
    # What its own rules plan is taken up to twice as many, and past that it is dead from the beginning.
    mine.put("/api/users/business-hours", {"weekly_hours": {"mon": [["00:00", "24:00"]]}, "auto_confirm": True})
    mine.put("/api/users/notification-settings", {"whatsapp_enabled": False, "events": {"confirmed": []}, "reminders": [{"minutes_before": 60 * n, "channels": ["email"]} for n in range(1, 7)]})
    service = mine.post("/api/services/", {"name": "Corte", "duration": 30, "price": 50.0}, expect=201)
    day = datetime.now(timezone.utc) + timedelta(days=4)
    day += timedelta(days=-day.weekday() % 7)
    body = {"service_id": service["id"], "client_name": "João", "client_whatsapp": "+5511888888888", "client_email": "joao@example.net", "start_time": f"{day:%Y-%m-%d}T15:00:00Z"}
    mine.post("/api/appointments/", body, expect=201)
    screen.wait("whoever looks on is told", lambda: len(picture.failed) == 2)
    dead = mine.get("/api/queues/failed/appointment_reminders")["items"]
    assert len(dead) == 2 and all(m["reason"].startswith("queue_full: ") for m in dead)
    assert metric(office, "plantao_queue_refusals_total", queue="appointment_reminders", source="rules") == 2
    assert "found no room" in office.server.logs().decode()
    again = f"/api/queues/failed/appointment_reminders/{dead[0]['id']}/retry"
    assert mine.call("POST", again, expect=429).json()["code"] == "queue_full"
    mine.call("POST", "/api/queues/failed/appointment_reminders/retry", expect=429)
    # Over a restart it is the same, and with room they are tried.
    office.server.kill()
    office.server.start()
    office.admin.call("POST", again, expect=429)
    office.admin.post(f"/api/queues/{MAIL}/resume")
    for id in ids:
        becomes(office.admin, id, "sent")
    for item in office.admin.get("/api/queues/appointment_reminders/messages", state="scheduled")["items"][:2]:
        office.admin.post(f"/api/queues/appointment_reminders/messages/{item['id']}/cancel")
    office.admin.post(again)
    # It is not its time yet, and then it waits for that.
    eventually("it waits for its time", lambda: message(office.admin, dead[0]["id"], "appointment_reminders")["state"] == "scheduled")


def test_one_businesss_backlog_does_not_stand_before_anothers_messages(offices):
    office = offices(QUEUE_WORKERS=4, QUEUE_WORKERS_PER_TENANT=2)
    mine, theirs = office.admin, second_business(office)
    slow = [mail(mine, f"lento{n}@simulador.invalid") for n in range(8)]
    eventually("the workers are busy", lambda: mine.get("/api/queues/workers/status")["workers"][MAIL]["busy"] == 2)
    began = time.monotonic()
    for n in range(5):
        becomes(theirs, mail(theirs), "sent")
    assert time.monotonic() - began < 4, "they have not waited for slow ones"
    assert sum(message(mine, id)["state"] in ("available", "sending", "claimed") for id in slow) >= 4


def test_priorities_come_first_within_a_business(offices):
    office = offices(QUEUE_WORKERS=1)
    api = office.admin
    api.post(f"/api/queues/{MAIL}/pause")
    ids = [mail(api, priority=priority) for priority in (9, 5, 0)]
    api.post(f"/api/queues/{MAIL}/resume")
    ends = [becomes(api, id, "sent")["finished_at"] for id in ids]
    assert ends == sorted(ends, reverse=True)


def test_the_channel_jobs_tells_numbers_failures_and_pauses_and_rpc_does_what_rest_does(offices):
    office = offices()
    owner = office.admin
    line = office.desk(owner, "jobs")
    picture = line.picture("jobs")
    assert list(picture.queues) == QUEUES
    result = line.rpc("queue.test-email", {"recipient_email": "recusa@simulador.invalid", "subject": "a", "body": "b"})
    becomes(owner, result["message_id"], "dead")
    line.wait("the dead letter is told", lambda: picture.failed[result["message_id"]]["reason"])
    line.wait("the numbers are told", lambda: picture.queues[MAIL]["states"]["dead"] == 1)
    assert line.rpc("queue.pause", {"queue_name": MAIL, "reason": "feriado"})["paused"] is True
    line.wait("the pause is told", lambda: picture.paused[MAIL]["reason"] == "feriado")
    assert line.rpc("queue.clear-failed", {"queue_name": MAIL})["deleted"] == 1
    assert not line.faults, line.faults


def test_codes_are_shown_to_nobody_and_payloads_and_recipients_to_owner_and_admin_alone(offices):
    """A viewer who read a code would be the owner by the next request."""
    office = offices(**FAST)
    owner = office.admin
    owner.create_user("vera@example.com", "Vera", "viewer", "Senha#Forte2026x")
    viewer = office.anybody.login("vera@example.com", "Senha#Forte2026x")
    lines = [office.desk(who, "jobs") for who in (owner, viewer)]
    pictures = [line.picture("jobs") for line in lines]
    # One is sent, another waits, another fails for good.
    office.anybody.call("POST", "/api/auth/forgot-password", json={"email": "vera@example.com"}, expect=202)
    owner.create_user("recusa.zoe@simulador.invalid", "Zoe", "viewer", "Senha#Forte2026x")
    office.anybody.call("POST", "/api/auth/forgot-password", json={"email": "recusa.zoe@simulador.invalid"}, expect=202)
    eventually("one was sent and one is dead", lambda: (states := owner.get("/api/queues/status")[MAIL]["states"])["sent"] and states["dead"])
    owner.post(f"/api/queues/{MAIL}/pause")
    office.anybody.call("POST", "/api/auth/forgot-password", json={"email": owner.get("/api/users/profile")["email"]}, expect=202)
    eventually("one waits", lambda: owner.get("/api/queues/status")[MAIL]["states"]["available"])
    for who in (owner, viewer):
        assert who.get(f"/api/queues/{MAIL}/messages")["total"] == 0
        assert who.get(f"/api/queues/failed/{MAIL}")["total"] == 0
    assert owner.post(f"/api/queues/failed/{MAIL}/retry")["retried"] == 0
    assert owner.call("DELETE", f"/api/queues/failed/{MAIL}", expect=200).json()["deleted"] == 0
    owner.post(f"/api/queues/{MAIL}/resume")

    refused = mail(owner, "recusa@simulador.invalid")
    becomes(owner, refused, "dead")
    for line, picture in zip(lines, pictures):
        line.wait("the failure is told", lambda: refused in picture.failed)
        assert list(picture.failed) == [refused] and picture.failed[refused]["recipient"] == "r…@simulador.invalid"
        assert "payload" not in picture.failed[refused]
    seen = message(viewer, refused)
    assert seen["state"] == "dead" and seen["recipient"] == "r…@simulador.invalid" and "payload" not in seen
    assert viewer.get(f"/api/queues/{MAIL}/messages")["items"][0]["recipient"] == "r…@simulador.invalid"
    whole = message(owner, refused)
    assert whole["recipient"] == "recusa@simulador.invalid" and whole["payload"] == {"subject": "Olá", "text": "Tudo bem?"}


def test_in_production_the_log_says_neither_to_whom_nor_what(offices):
    office = offices(ENVIRONMENT="production", BCRYPT_ROUNDS=12)
    becomes(office.admin, mail(office.admin, "segredo@example.com", subject="Assunto secreto"), "sent")
    said = office.server.logs().decode("utf-8", "replace")
    assert "SMTP_SERVER is not set" in said and "segredo@example.com" not in said and "Assunto secreto" not in said


def metric(office, name, **labels):
    text = office.anybody.call("GET", "/metrics", expect=200).text
    wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
    found = re.search(rf"^{name}\{{{re.escape(wanted)}\}} (\S+)$", text, re.MULTILINE)
    return float(found.group(1)) if found else None


def test_a_queue_that_nobody_listens_to_shows_in_health_and_metrics(offices):
    office = offices(QUEUE_WORKERS=1, QUEUE_DEAF_SECONDS=1)
    api = office.admin
    for n in range(3):
        mail(api, f"lento{n}@simulador.invalid")

    def deaf():
        health = office.anybody.get("/health")
        return health if health["checks"]["queues"]["status"] == "deaf" else None

    health = eventually("health says so", deaf)
    assert health["status"] == "degraded" and MAIL in health["checks"]["queues"]["detail"]
    assert metric(office, "plantao_queue_oldest_available_seconds", queue=MAIL) >= 1
    assert metric(office, "plantao_queue_messages", queue=MAIL, state="available") >= 1
    api.post(f"/api/queues/{MAIL}/pause")
    eventually("a queue that rests is not deaf", lambda: office.anybody.get("/health")["checks"]["queues"]["status"] == "ok")
    eventually("attempts are counted", lambda: (metric(office, "plantao_queue_attempts_total", queue=MAIL, outcome="sent") or 0) >= 1, timeout=20)


def test_a_stop_lets_what_is_being_sent_end_and_claims_nothing_more(offices):
    office = offices(QUEUE_WORKERS=1)
    slow, waiting = mail(office.admin, "lento@simulador.invalid", key="lenta"), mail(office.admin, key="depois")
    eventually("it is being sent", lambda: message(office.admin, slow)["state"] == "sending")
    office.server.stop()
    assert handed_over(office) == {"lenta": 1}
    office.server.start()
    assert message(office.admin, slow)["state"] == "sent"
    becomes(office.admin, waiting, "sent")


# MARK: Crashes and transports


def a_round(office, seed, keys, disturb):
    """Messages under load, something happens in the middle. What was acknowledged, by key."""
    acknowledged = {}
    end = time.monotonic() + seed.uniform(0.3, 1.0)
    disturbed = False
    for key in keys:
        to = seed.choice(["ana@example.com"] * 6 + ["lento@simulador.invalid", "falha@simulador.invalid"])
        try:
            acknowledged[key] = mail(office.admin, to, key=key, max_attempts=3)
        except OSError:
            break
        if time.monotonic() > end and not disturbed:
            disturbed = True
            disturb()
    if not disturbed:
        disturb()
    return acknowledged


def all_end(office, acknowledged, timeout=40.0):
    """Everything acknowledged is sent, or visibly waits for a person; and was handed over once, unless it is known that it failed."""
    open_ = dict(acknowledged)

    def over():
        for key, id in list(open_.items()):
            if message(office.admin, id)["state"] in ("sent", "dead", "quarantined"):
                del open_[key]
        return not open_

    try:
        eventually("every message has come to an end", over, timeout=timeout, every=0.2)
    except AssertionError:
        raise AssertionError(f"these have not ended: {[message(office.admin, id) for id in list(open_.values())[:3]]}") from None
    times = handed_over(office)
    for key, id in acknowledged.items():
        found = message(office.admin, id)
        surely_failed = sum(error["outcome"] == "failed" for error in found["errors"])
        assert times.get(key, 0) <= 1 + surely_failed, f"{key} was handed over {times[key]} times: {found}"
        assert found["state"] != "sent" or times.get(key, 0) >= 1, f"{key} counts as sent and never was: {found}"


@pytest.mark.timeout(120 + 15 * KILL_ROUNDS)
def test_after_kill_9_each_message_was_handed_over_at_most_once_and_none_is_lost(offices, seed):
    office = offices(**FAST, QUEUE_WORKERS=32, QUEUE_WORKERS_PER_TENANT=32)
    office.admin
    everything = {}
    for n in range(KILL_ROUNDS):
        keys = [f"r{n}-{i}" for i in range(seed.randint(5, 40))]

        def kill():
            time.sleep(seed.uniform(0, 0.2))
            office.server.kill()

        acknowledged = a_round(office, seed, keys, kill)
        everything |= acknowledged
        office.server.start()
        print(f"round {n}: {len(acknowledged)} acknowledged")
    all_end(office, everything, timeout=60)
    assert len(everything) > 5 * KILL_ROUNDS / 2, "nothing was going on"


def test_what_was_being_sent_when_the_server_was_killed_is_put_aside_and_a_person_decides(offices):
    office = offices(**FAST)
    id = mail(office.admin, "lento@simulador.invalid", key="no-meio")
    eventually("it is being sent", lambda: message(office.admin, id)["state"] == "sending")
    office.server.kill()
    office.server.start()
    found = becomes(office.admin, id, "quarantined")
    assert found["reason"].startswith("outcome_unknown") and found["crash_count"] == 1
    never("it is sent again", lambda: message(office.admin, id)["state"] != "quarantined", during=2)
    assert handed_over(office) == {"no-meio": 1}
    office.admin.post(f"/api/queues/failed/{MAIL}/{id}/retry")
    becomes(office.admin, id, "sent")
    assert handed_over(office) == {"no-meio": 2}


def with_redis(offices, own_redis, **more):
    office = offices(REDIS_URL=own_redis.url, REDIS_BREAKER_SECONDS=1, **FAST, **more)
    eventually("Redis is connected", lambda: office.anybody.get("/info")["redis"]["connected"])
    return office


def test_with_redis_messages_go_by_way_of_its_streams(offices, own_redis):
    office = with_redis(offices, own_redis)
    client = redis.Redis(port=own_redis.port)
    eventually("the groups are there", lambda: client.exists(f"plantao:queue:{MAIL}") and client.xinfo_groups(f"plantao:queue:{MAIL}"))
    ids = {f"k{n}": mail(office.admin, key=f"k{n}") for n in range(30)}
    for id in ids.values():
        becomes(office.admin, id, "sent")
    assert handed_over(office) == {key: 1 for key in ids}
    group = eventually("everything is acknowledged", lambda: next((g for g in client.xinfo_groups(f"plantao:queue:{MAIL}") if g["pending"] == 0), None))
    assert group["name"] == b"workers" and group["entries-read"] >= 30, "they came by that way"
    # A ticket that comes again, or is nonsense, does nothing.
    for fields in ({"tenant": office.admin.user["tenant_id"] if "tenant_id" in office.admin.user else "x", "message": ids["k0"]}, {"a": "b"}):
        client.xadd(f"plantao:queue:{MAIL}", fields)
    eventually("they are acknowledged", lambda: client.xlen(f"plantao:queue:{MAIL}") == 0)
    assert handed_over(office) == {key: 1 for key in ids}


def test_redis_may_forget_everything_and_nothing_is_lost_or_doubled(offices, own_redis, seed):
    office = with_redis(offices, own_redis)
    client = redis.Redis(port=own_redis.port)
    everything = {}
    for n in range(5):
        everything |= a_round(office, seed, [f"f{n}-{i}" for i in range(15)], client.flushall)
    all_end(office, everything)
    assert client.xinfo_groups(f"plantao:queue:{MAIL}"), "the group was made again"


def test_redis_may_die_and_come_back_and_nothing_is_lost_or_doubled(offices, own_redis, seed):
    office = with_redis(offices, own_redis)
    everything = {}
    for n in range(4):
        everything |= a_round(office, seed, [f"d{n}-{i}" for i in range(15)], own_redis.start if n % 2 else own_redis.stop)
    all_end(office, everything)
    client = redis.Redis(port=own_redis.port)
    eventually("Redis is used again", lambda: office.anybody.get("/info")["redis"]["connected"], timeout=20)
    eventually("the group is there", lambda: client.exists(f"plantao:queue:{MAIL}") and client.xinfo_groups(f"plantao:queue:{MAIL}"), timeout=20)
    becomes(office.admin, mail(office.admin, key="depois"), "sent")


def test_what_a_dead_consumer_had_is_taken_over_and_no_consumer_is_deleted(offices, own_redis):
    office = with_redis(offices, own_redis)
    client, stream = redis.Redis(port=own_redis.port), f"plantao:queue:{MAIL}"
    eventually("the group is there", lambda: client.exists(stream) and client.xinfo_groups(stream))
    office.admin.post(f"/api/queues/{MAIL}/pause")
    id = mail(office.admin, key="herdada")
    for _ in range(50):
        entry = client.xadd(stream, {"tenant": "00000000-0000-7000-8000-000000000000", "message": id})
        client.xclaim(stream, "workers", "morto", 0, [entry]) or client.xreadgroup("workers", "morto", {stream: ">"}, count=1)
    office.admin.post(f"/api/queues/{MAIL}/resume")
    becomes(office.admin, id, "sent")
    eventually("nothing is pending", lambda: client.xpending(stream, "workers")["pending"] == 0, timeout=20)
    assert handed_over(office) == {"herdada": 1}
    assert b"morto" in {consumer["name"] for consumer in client.xinfo_consumers(stream, "workers")}


def test_kill_9_with_redis_between(offices, own_redis, seed):
    office = with_redis(offices, own_redis)
    everything = {}
    for n in range(4):

        def kill():
            office.server.kill()

        everything |= a_round(office, seed, [f"m{n}-{i}" for i in range(20)], kill)
        office.server.start()
    all_end(office, everything, timeout=60)
