"""Clients are told of their appointments: once, of what is true when they are told, and by the way they want."""

import socket
import threading
import time
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from fakes.whatsapp import status
from harness.api import is_clear_error, names_fields
from harness.mail import MailServer, calendar, part, unsubscribe_token
from harness.office import new_number
from harness.process import SECRET_KEY
from harness.waiting import PATIENCE, eventually, never

pytestmark = pytest.mark.timeout(300)

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
ALWAYS = {day: [["00:00", "24:00"]] for day in ("sun", "mon", "tue", "wed", "thu", "fri", "sat")}


@pytest.fixture
def mail(tmp_path):
    with MailServer(tmp_path) as server:
        yield server


def soon(minutes):
    """A start some minutes from now, at a whole five minutes."""
    now = datetime.now(timezone.utc) + timedelta(minutes=minutes)
    return now.replace(second=0, microsecond=0, minute=now.minute // 5 * 5)


def stamp(time_):
    return time_.strftime("%Y-%m-%dT%H:%M:00.000Z")


class Salon:
    """A business whose clients are told by e-mail, and by WhatsApp where a test says so."""

    def __init__(self, office, **settings):
        self.office, self.api = office, office.admin
        self.api.put("/api/users/business-hours", {"weekly_hours": ALWAYS, "start_interval_minutes": 5, "auto_confirm": True})
        self.service = self.api.post("/api/services/", {"name": "Corte de Cabelo", "duration": 30, "price": 50.0}, expect=201)
        self.api.put("/api/users/notification-settings", {"quiet_hours": None, "whatsapp_enabled": False, "reminders": [], "sender_name": "Salão da Ana"} | settings)

    def book(self, start, email="joao@example.net", expect=201, **more):
        body = {"service_id": self.service["id"], "client_name": "João Silva", "client_whatsapp": "+5511888888888", "client_email": email, "start_time": stamp(start)}
        return self.api.post("/api/appointments/", body | more, expect=expect)

    def settings(self, **settings):
        return self.api.put("/api/users/notification-settings", settings)


# MARK: By e-mail


def test_a_booking_is_confirmed_moved_and_cancelled_by_mail_with_an_invitation(offices, mail):
    salon = Salon(offices(**mail.settings), address="Rua das Flores, 100", reply_to="ana@example.com")
    start = soon(3 * 24 * 60)
    made = salon.book(start)
    confirmed = mail.one("joao@example.net", "confirmado")
    local = start.astimezone(SAO_PAULO)
    assert confirmed["Subject"] == f"Agendamento confirmado: Corte de Cabelo em {local:%d/%m/%Y} às {local:%H:%M}"
    assert confirmed.is_over_tls and confirmed.user
    assert str(confirmed["From"]) == "Salão da Ana <agenda@example.com>" and confirmed["Reply-To"] == "ana@example.com"
    assert confirmed["To"] == "João Silva <joao@example.net>" and confirmed["Auto-Submitted"] == "auto-generated"
    body = part(confirmed, "text/plain")
    assert "Olá, João!" in body and "Rua das Flores, 100" in body and "Com:" not in body
    assert f"https://agenda.example.com/api/appointments/public/{made['id']}?slug=" in body
    assert "<a href=" in part(confirmed, "text/html")
    assert confirmed["List-Unsubscribe"] is None, "what one has booked oneself cannot be refused"
    invitation = calendar(confirmed)
    assert (invitation["method"], invitation["METHOD"], invitation["SEQUENCE"]) == ("REQUEST", "REQUEST", "0")
    assert any(name.startswith("ORGANIZER") and value == "mailto:ana@example.com" for name, value in invitation.items())
    later = start + timedelta(days=1)
    moved = salon.api.post(f"/api/appointments/{made['id']}/reschedule", {"start_time": stamp(later)})
    change = mail.one("joao@example.net", "alterado")
    assert f"Antes: {local:%d/%m/%Y} às {local:%H:%M}" in part(change, "text/plain")
    again = calendar(change)
    assert again["UID"] == invitation["UID"] and again["SEQUENCE"] == str(moved["revision"]) and again["DTSTART"] == f"{later:%Y%m%dT%H%M00Z}"
    salon.api.post(f"/api/appointments/{made['id']}/cancel", {"reason": "Imprevisto"})
    cancelled = mail.one("joao@example.net", "cancelado")
    end = calendar(cancelled)
    assert (end["method"], end["UID"], end["STATUS"]) == ("CANCEL", invitation["UID"], "CANCELLED") and int(end["SEQUENCE"]) > int(again["SEQUENCE"])
    assert "Motivo: Imprevisto" in part(cancelled, "text/plain")
    assert len({m["Message-ID"] for m in mail.mails}) == 3 and all(m["Message-ID"].endswith("@example.com>") for m in mail.mails)


def test_what_waits_for_approval_is_told_and_then_confirmed_or_declined(offices, mail):
    salon = Salon(offices(**mail.settings))
    salon.api.put("/api/users/business-hours", {"auto_confirm": False})
    made = salon.book(soon(2000))
    mail.one("joao@example.net", "Recebemos seu pedido")
    salon.api.post(f"/api/appointments/{made['id']}/confirm")
    mail.one("joao@example.net", "confirmado")
    other = salon.book(soon(3000), email="bia@example.net")
    mail.one("bia@example.net", "Recebemos seu pedido")
    salon.api.post(f"/api/appointments/{other['id']}/decline", {"reason": "Agenda cheia"})
    assert "Motivo: Agenda cheia" in part(mail.one("bia@example.net", "não confirmado"), "text/plain")


def test_what_was_booked_is_told_although_the_server_was_killed_at_once(offices, mail):
    office = offices(**mail.settings, SMTP_BREAKER_SECONDS=1)
    salon = Salon(office)
    mail.stop()
    for number in range(5):
        salon.book(soon(2000 + 60 * number), email=f"cliente{number}@example.net")
    office.server.kill()
    office.server.start()
    mail.start()

    def settled():
        """Who has their mail, and whose was being handed over when the server was killed: nobody knows of that, and it is there to be seen."""
        doubtful = [m["recipient"] for m in salon.api.get("/api/queues/failed/appointment_confirmations")["items"]]
        told = [str(m["To"].addresses[0].addr_spec) for m in list(mail.mails)]
        return len(told + doubtful) >= 5 and (told, doubtful)

    told, doubtful = eventually("everybody is told, or listed", settled, timeout=60)
    assert sorted(told + doubtful) == [f"cliente{number}@example.net" for number in range(5)] and told


def test_a_note_tells_nobody_anything(offices, mail):
    salon = Salon(offices(**mail.settings))
    made = salon.book(soon(2000))
    mail.one("joao@example.net")
    salon.api.put(f"/api/appointments/{made['id']}", {"notes": "janela"})
    never("a second mail", lambda: len(mail.mails) > 1, during=1.5)


# MARK: Faults


def test_a_server_that_says_not_now_gets_it_again_and_one_that_says_never_does_not(offices, mail):
    salon = Salon(offices(**mail.settings))
    mail.faults.append("451")
    salon.book(soon(2000))
    first = mail.one("joao@example.net", timeout=60)
    assert mail.recipients.count("joao@example.net") == 2 and first
    mail.faults.append("550")
    salon.book(soon(3000), email="ninguem@example.net")
    eventually("it was tried", lambda: "ninguem@example.net" in mail.recipients)
    never("tried again", lambda: mail.recipients.count("ninguem@example.net") > 1, during=3)
    failed = salon.api.get("/api/queues/failed/appointment_confirmations")
    assert "no such user" in str(failed) and "ninguem@example.net" in str(failed)


@pytest.mark.parametrize("fault", ["cut", "slow"])
def test_what_may_have_been_sent_is_not_sent_again(offices, mail, fault):
    salon = Salon(offices(**mail.settings))
    mail.faults.append(fault)
    salon.book(soon(2000))
    eventually("it was handed over", lambda: not mail.faults)
    never("sent again", lambda: mail.recipients.count("joao@example.net") > 1, during=12 if fault == "slow" else 4)
    # It is there to be seen, and others go their way.
    salon.book(soon(3000), email="bia@example.net")
    mail.one("bia@example.net", timeout=60)


def test_nothing_is_sent_in_the_clear_and_the_breaker_shows_it(offices, tmp_path):
    with MailServer(tmp_path, starttls=False, auth=False) as mail:
        salon = Salon(offices(**mail.settings, SMTP_BREAKER_FAILURES=1))
        salon.book(soon(2000))
        breaker = eventually("the breaker opens", lambda: (b := salon.api.get("/circuit-breakers")["circuit_breakers"]["smtp"])["state"] == "open" and b)
        assert breaker["shared"] and breaker["in_use"] and breaker["failure_count"] == 1
        assert not mail.mails and not mail.recipients
        eventually("it is told to operators", lambda: salon.office.anybody.get("/health", expect=(200, 503))["checks"]["smtp"]["status"] == "paused")


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(offices, mail):
    settings = {name: value for name, value in mail.settings.items() if name != "SMTP_CA_FILE"}
    salon = Salon(offices(**settings, SMTP_BREAKER_FAILURES=1))
    salon.book(soon(2000))
    eventually("the breaker opens", lambda: salon.api.get("/circuit-breakers")["circuit_breakers"]["smtp"]["state"] == "open")
    assert not mail.mails and not mail.recipients


def test_settings_that_would_send_a_password_in_the_clear_stop_the_start(offices, mail):
    from harness.process import run

    for wrong in ({"SMTP_TLS": "none"}, {"FROM_EMAIL": "x"}, {"SMTP_PASSWORD": ""}, {"SMTP_CA_FILE": "/nowhere"}, {"SMTP_HELO_NAME": "mx example"}, {"SMTP_HELO_NAME": "a..b"}):
        answer = run("serve", PLANTAO_DATA=str(mail.certificate.parent / "data"), PORT=1,  **(mail.settings | wrong), timeout=20)
        assert answer.returncode != 0 and any(name in answer.stdout + answer.stderr for name in wrong), (wrong, answer.stderr[-500:])
        assert mail.settings["SMTP_PASSWORD"] not in answer.stdout + answer.stderr


# MARK: Reminders


def test_a_reminder_that_falls_due_during_an_outage_is_sent_once_or_skipped(offices, mail):
    office = offices(**mail.settings, SMTP_BREAKER_SECONDS=1)
    salon = Salon(office)
    start = soon(70)
    salon.book(start, email="cedo@example.net")
    mail.one("cedo@example.net", "confirmado")
    mail.stop()
    # Whole minutes, and not just now.
    lead = int((start - datetime.now(timezone.utc)).total_seconds() - 10) // 60
    # Due within a minute: one is sent late, the other is not.
    salon.settings(reminders=[
        {"minutes_before": lead, "channels": ["email"], "late": "send"},
        {"minutes_before": lead - 1, "channels": ["email"], "late": "skip", "grace_minutes": 0},
    ])
    time.sleep(max(0.0, (start - timedelta(minutes=lead - 1) - datetime.now(timezone.utc)).total_seconds()) + 17)
    assert not mail.to("cedo@example.net", "Lembrete")
    office.server.kill()
    mail.start()
    office.server.start()
    reminder = mail.one("cedo@example.net", "Lembrete", timeout=60)
    assert reminder["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    never("a second one", lambda: len(mail.to("cedo@example.net", "Lembrete")) > 1, during=5)


def test_nobody_is_reminded_of_what_was_cancelled_or_moved(offices, mail):
    salon = Salon(offices(**mail.settings))
    start = soon(70)
    lead = int((start - datetime.now(timezone.utc)).total_seconds() // 60)
    due = start - timedelta(minutes=lead)
    salon.settings(reminders=[{"minutes_before": lead, "channels": ["email"], "booked_inside_lead": "skip"}])
    kept = salon.book(start, email="fica@example.net")
    gone = salon.book(start + timedelta(minutes=30), email="sai@example.net")
    assert kept and gone
    salon.api.post(f"/api/appointments/{gone['id']}/cancel", {})
    mail.one("sai@example.net", "cancelado")
    never("a reminder of what is off", lambda: mail.to("sai@example.net", "Lembrete"), during=max(1.0, (due - datetime.now(timezone.utc)).total_seconds() + 2))


# MARK: Templates


def test_what_is_cancelled_while_it_is_being_handed_over_is_not_sent_and_the_cancellation_is(offices, mail):
    office = offices(**mail.settings)
    salon = Salon(office)
    mail.faults.append("hold")
    made = salon.book(soon(3000))
    eventually("the server has been told of the recipient", lambda: mail.recipients)
    salon.api.post(f"/api/appointments/{made['id']}/cancel", {"reason": "Imprevisto"})
    mail.one("joao@example.net", "cancelado")
    assert len(mail.mails) == 1, "and nobody is told that it takes place"
    (message,) = salon.api.get("/api/queues/appointment_confirmations/messages")["items"]
    assert message["state"] in ("dropped", "cancelled") and message["attempts"] == 1


@pytest.fixture
def silence():
    """The port of a mail server that takes connections and never says a word. `len` of the list: how many it has taken."""
    taken = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:

        def accept():
            while True:
                try:
                    taken.append(listener.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1], taken
        listener.shutdown(socket.SHUT_RDWR)
    for connection in taken:
        connection.close()


def test_a_mail_server_that_keeps_silent_keeps_nobody_from_ending_and_nothing_is_in_doubt(offices, silence):
    port, taken = silence
    office = offices(SMTP_SERVER="127.0.0.1", SMTP_PORT=port, SMTP_TIMEOUT_SECONDS=120, SMTP_CONNECTIONS=1, QUEUE_LEASE_SECONDS=2, FROM_EMAIL="agenda@example.com")
    salon = Salon(office)
    for number in range(3):
        salon.book(soon(3000 + 60 * number), email=f"cliente{number}@example.net")
    eventually("one is being spoken about", lambda: taken)

    def states():
        return sorted(m["state"] for m in salon.api.get("/api/queues/appointment_confirmations/messages")["items"])

    # Who waits for the connection has not been handed over.
    eventually("all have been begun", lambda: states() == ["claimed", "claimed", "sending"])
    office.server.stop()
    assert b"everything acknowledged is on disk" in office.server.logs()
    office.server.start()
    eventually("they are begun anew", lambda: len(taken) == 2 and "sending" in states())
    office.server.kill()
    office.server.start()
    eventually("only the one that was being handed over is in doubt", lambda: "quarantined" in states())
    assert states().count("quarantined") == 1


def test_no_more_connections_are_made_at_once_than_the_mail_server_takes(offices, mail):
    salon = Salon(offices(**mail.settings, SMTP_CONNECTIONS=2))
    mail.faults.extend(["hold"] * 5)
    for number in range(5):
        salon.book(soon(3000 + 60 * number), email=f"cliente{number}@example.net")
    eventually("all have their mail", lambda: len(mail.mails) == 5, timeout=20)
    assert mail.most_held == 2


def test_who_prefers_mail_is_reminded_by_whatsapp_where_no_mail_would_come(offices, mail):
    salon = Salon(offices(**mail.settings), whatsapp_enabled=True, reminders=[{"minutes_before": 60 * 24 * 30, "channels": ["whatsapp"], "booked_inside_lead": "send_now"}])
    salon.api.post("/api/clients/", {"name": "Bia", "whatsapp": "+5511977776666", "communication_preference": "email"}, expect=201)
    salon.book(soon(2000), email="bia@example.net", client_whatsapp="11 97777-6666")

    def reminder():
        items = salon.api.get("/api/queues/appointment_reminders/messages")["items"]
        return [m["reason"] for m in items if m["channel"] == "whatsapp" and m["reason"]]

    # To somebody who has not written it takes a template that WhatsApp has approved. What they prefer did not keep it back.
    (reason,) = eventually("the reminder by WhatsApp is tried", reminder)
    assert reason.startswith("fora da janela de 24 horas")


def test_who_prefers_mail_is_reminded_by_mail_alone(offices, mail):
    office = offices(**mail.settings)
    salon = Salon(office, whatsapp_enabled=True, reminders=[{"minutes_before": 60 * 24 * 30, "channels": ["email", "whatsapp"], "booked_inside_lead": "send_now"}])
    salon.api.post("/api/clients/", {"name": "Bia", "whatsapp": "+5511977776666", "communication_preference": "email"}, expect=201)
    salon.book(soon(2000), email="bia@example.net", client_whatsapp="11 97777-6666")
    mail.one("bia@example.net", "Lembrete")

    def whatsapp():
        found = [m for m in salon.api.get("/api/queues/appointment_reminders/messages")["items"] if m["channel"] == "whatsapp"]
        return found and found[0]["state"] not in ("available", "scheduled", "claimed", "sending") and found[0]

    over = eventually("the one by WhatsApp is over", whatsapp)
    assert over["state"] == "dropped" and over["reason"] == "o cliente prefere e-mail"


def test_templates_are_the_businesss_own_and_mistakes_are_named(offices, mail):
    salon = Salon(offices(**mail.settings))
    api, path = salon.api, "/api/queues/templates/confirmed/email"
    standard = {(t["event"], t["channel"]): t for t in api.get("/api/queues/templates")["templates"]}
    assert standard["confirmed", "email"]["is_default"] and ("reminder", "whatsapp") in standard and len(standard) == 18
    names_fields(api.call("PUT", path, json={"text": "Olá {{nome}}", "subject": "{{x"}), "text", "subject")
    assert "{{nome}}" in api.call("PUT", path, json={"text": "Olá {{nome}}"}, expect=422).text
    is_clear_error(api.call("PUT", "/api/queues/templates/nada/email", json={"text": "x"}), 404)
    shown = api.post(f"{path}/preview", {"text": "Oi {{client_first_name}}, {{time}}", "subject": "Oi", "variables": {"client_first_name": "Zé"}})
    assert shown["text"].startswith("Oi Zé, ") and standard == {(t["event"], t["channel"]): t for t in api.get("/api/queues/templates")["templates"]}
    api.put(path, {"subject": "{{business_name}} espera {{client_first_name}}", "text": "Até {{date}}!", "html": "<b>{{client_name}}</b>"})
    salon.book(soon(2000), client_name="<João> & \"Silva\"")
    own = mail.one("joao@example.net", "espera")
    assert own["Subject"].endswith("espera <João>") and part(own, "text/plain").startswith("Até ")
    assert part(own, "text/html").strip() == "<b>&lt;João&gt; &amp; &quot;Silva&quot;</b>"
    assert api.call("DELETE", path, expect=200).json()["is_default"]
    salon.office.server.kill()
    salon.office.server.start()
    assert {(t["event"], t["channel"]): t for t in api.get("/api/queues/templates")["templates"]} == standard


def test_settings_are_checked_kept_and_changed_by_one_at_a_time(office):
    api, path = office.admin, "/api/users/notification-settings"
    before = api.get(path)
    assert [rule["minutes_before"] for rule in before["reminders"]] == [1440, 60] and before["quiet_hours"] == {"start": "22:00", "end": "07:00"}
    reply = api.call("PUT", path, json={
        "quiet_hours": {"start": "25:00", "end": "07:00"}, "reply_to": "x", "manage_url": "ftp://x", "events": {"nada": []},
        "reminders": [{"minutes_before": 0}, {"days_before": 1}, {"minutes_before": 60, "late": "x"}], "email_enabled": "sim",
    })
    names_fields(reply, "quiet_hours", "reply_to", "manage_url", "events", "email_enabled")
    assert "reminders.0.minutes_before" in reply.text and "reminders.1.at" in reply.text and "reminders.2.late" in reply.text
    twice = [{"minutes_before": 60, "channels": ["email"]}, {"minutes_before": 60, "channels": ["email", "whatsapp"]}]
    names_fields(api.call("PUT", path, json={"reminders": twice}), "reminders")
    changed = api.put(path, {"quiet_hours": None, "reminders": [{"days_before": 1, "at": "18:00"}], "version": before["version"]})
    assert changed["version"] == before["version"] + 1 and changed["reminders"][0]["at"] == "18:00"
    assert is_clear_error(api.call("PUT", path, json={"version": before["version"]}), 409)["code"] == "stale_version"
    agent = office.hire().api
    is_clear_error(agent.call("PUT", path, json={}), 403)
    office.server.kill()
    office.server.start()
    assert api.get(path) == changed


# MARK: Who wants none


def test_one_click_ends_reminders_and_not_what_one_has_booked(offices, mail):
    office = offices(**mail.settings)
    salon = Salon(office, reminders=[{"minutes_before": 60 * 24 * 30, "channels": ["email"], "booked_inside_lead": "send_now"}])
    salon.book(soon(2000))
    reminder = mail.one("joao@example.net", "Lembrete")
    link = reminder["List-Unsubscribe"].strip("<>")
    path = link.removeprefix("https://agenda.example.com")
    assert path == f"/api/notifications/unsubscribe/{unsubscribe_token(office.admin.user['tenant_id'], 'joao@example.net')}" and link in part(reminder, "text/plain")
    page = office.anybody.call("GET", path, expect=200)
    assert "joao@example.net" in page.text and salon.api.get("/api/users/notification-opt-outs")["total"] == 0, "looking changes nothing"
    office.anybody.call("POST", path, body=b"List-Unsubscribe=One-Click", headers={"Content-Type": "application/x-www-form-urlencoded"}, expect=200)
    (entry,) = salon.api.get("/api/users/notification-opt-outs")["items"]
    assert (entry["recipient"], entry["channel"], entry["source"]) == ("joao@example.net", "email", "link")
    is_clear_error(office.anybody.call("POST", path[:-1] + ("A" if path[-1] != "A" else "B")), 404)
    salon.book(soon(4000), email="JOAO@example.net")
    mail.one("JOAO@example.net", "confirmado")
    never("a reminder", lambda: mail.to("JOAO@example.net", "Lembrete"), during=1.5)
    office.server.kill()
    office.server.start()
    assert salon.api.get("/api/users/notification-opt-outs", recipient="Joao@Example.net")["total"] == 1
    salon.api.put("/api/users/notification-opt-outs", {"channel": "email", "recipient": "joao@example.net", "is_opted_out": False})
    assert salon.api.get("/api/users/notification-opt-outs")["total"] == 0


def test_a_client_who_wants_to_hear_nothing_is_told_what_they_booked_and_no_more(offices, mail):
    office = offices(**mail.settings)
    salon = Salon(office, reminders=[{"minutes_before": 60 * 24 * 30, "channels": ["email"], "booked_inside_lead": "send_now"}])
    client = {"name": "Bia", "whatsapp": "+5511977776666", "communication_preference": "none"}
    made = salon.api.post("/api/clients/", client, expect=201)
    booked = salon.book(soon(2000), email="bia@example.net", client_whatsapp="11 97777-6666")
    assert booked["client_id"] == made["id"]
    salon.book(soon(2100))
    mail.one("joao@example.net", "Lembrete")
    mail.one("bia@example.net", "confirmado")
    never("a reminder", lambda: mail.to("bia@example.net", "Lembrete"), during=1.5)


def test_a_word_in_whatsapp_ends_reminders_and_is_answered_once(offices):
    office = offices()
    salon, number = Salon(office, whatsapp_enabled=True, email_enabled=False), new_number()
    office.says(number, "sair")
    office.whatsapp.wait_for(lambda sent: sent.recipient.endswith(number[-8:]) and "não receberá mais lembretes" in (sent.text or ""), timeout=15 * PATIENCE)
    (entry,) = salon.api.get("/api/users/notification-opt-outs")["items"]
    assert (entry["channel"], entry["source"], entry["is_opted_out"]) == ("whatsapp", "whatsapp", True)
    office.says(number, "SAIR")
    office.says(number, "Voltar")
    office.whatsapp.wait_for(lambda sent: "voltará a receber" in (sent.text or ""), timeout=15 * PATIENCE)
    assert salon.api.get("/api/users/notification-opt-outs")["total"] == 0
    assert len([sent for sent in office.whatsapp.sent if "não receberá mais" in (sent.text or "")]) == 1


# MARK: By WhatsApp


def test_inside_the_window_a_text_is_sent_and_outside_it_the_approved_template_or_nothing(offices):
    office = offices()
    salon, near, far = Salon(office, whatsapp_enabled=True, email_enabled=False), new_number(), new_number()
    office.says(near, "oi")
    salon.book(soon(2000), client_whatsapp=f"+{near}")
    office.whatsapp.wait_for(lambda sent: sent.recipient.endswith(near[-8:]) and "está confirmado" in (sent.text or ""), timeout=15 * PATIENCE)
    salon.book(soon(3000), client_whatsapp=f"+{far}")
    never("something out of the window", lambda: [sent for sent in office.whatsapp.sent if sent.recipient.endswith(far[-8:])], during=2)
    salon.api.put("/api/queues/templates/confirmed/whatsapp", {"text": "Olá", "whatsapp_template": {"name": "agendamento_ok", "parameters": ["client_first_name", "time"]}})
    start = soon(4000)
    salon.book(start, client_whatsapp=f"+{far}")
    sent = office.whatsapp.wait_for(lambda sent: sent.recipient.endswith(far[-8:]), timeout=15 * PATIENCE)
    template = sent.body["template"]
    assert (template["name"], template["language"]["code"]) == ("agendamento_ok", "pt_BR")
    assert [p["text"] for p in template["components"][0]["parameters"]] == ["João", f"{start.astimezone(SAO_PAULO):%H:%M}"]


def test_a_number_that_cannot_be_reached_is_not_tried_again(offices):
    office = offices()
    salon, number = Salon(office, whatsapp_enabled=True, email_enabled=False), new_number()
    office.says(number, "oi")
    office.settled(office.conversation(number)["id"])
    office.whatsapp.fail_next(131026)
    salon.book(soon(2000), client_whatsapp=f"+{number}")
    failed = eventually("it is listed", lambda: salon.api.get("/api/queues/failed/appointment_confirmations")["total"] and salon.api.get("/api/queues/failed/appointment_confirmations"))
    assert "131026" in str(failed)


def becomes(api, queue, *states, key):
    """Waits until the message under a key that ends like this is in one of these states."""

    def there():
        return next((m for m in api.get(f"/api/queues/{queue}/messages", per_page=200)["items"] if m["key"].endswith(key) and m["state"] in states), None)

    return eventually(f"{key} is {' or '.join(states)}", there, timeout=20)


def test_what_whatsapp_could_not_deliver_is_said_wherever_it_is_looked_for_and_not_sent_again(offices):
    """The client's conversation shows what they were told, and begins or moves for it nowhere; what became of it is known there and in the queues."""
    office = offices()
    salon, number, stranger = Salon(office, whatsapp_enabled=True, email_enabled=False), new_number(), new_number()
    office.says(number, "oi")
    talk = office.conversation(number)
    office.settled(talk["id"])
    screen = office.desk(office.admin, "jobs")
    picture = screen.picture("jobs")
    salon.book(soon(2000), client_whatsapp=f"+{number}")
    sent = office.whatsapp.wait_for(lambda sent: sent.recipient.endswith(number[-8:]) and "está confirmado" in (sent.text or ""), timeout=15 * PATIENCE)
    shown = office.message(talk["id"], sent.text)
    assert (shown["direction"], shown["author"]["kind"], shown["status"], shown["external_id"], shown["kind"]) == ("out", "system", "sent", sent.wamid, "text")
    now = office.admin.get(f"/api/v1/conversations/{talk['id']}")
    assert (now["state"], now["unread"]) == ("bot", talk["unread"])
    becomes(salon.api, "appointment_confirmations", "sent", key="confirmed:whatsapp")
    office.deliver(status(sent.wamid, "delivered", recipient=number, callback_data=sent.callback_data))
    office.message(talk["id"], sent.text, status="delivered")
    for _ in range(2):
        office.deliver(status(sent.wamid, "failed", recipient=number, callback_data=sent.callback_data, errors=[{"code": 131026, "title": "Message undeliverable"}]))
    failed = becomes(salon.api, "appointment_confirmations", "dead", key="confirmed:whatsapp")
    assert failed["reason"].startswith("undelivered: ") and "131026" in failed["reason"] and failed["errors"][-1]["outcome"] == "undelivered"
    screen.wait("whoever looks on is told", lambda: picture.failed[failed["id"]]["reason"] == failed["reason"])
    office.message(talk["id"], sent.text, status="failed")
    salon.api.put("/api/queues/templates/confirmed/whatsapp", {"text": "Olá", "whatsapp_template": {"name": "agendamento_ok", "parameters": ["client_first_name"]}})
    salon.book(soon(3000), client_whatsapp=f"+{stranger}")
    office.whatsapp.wait_for(lambda sent: sent.recipient.endswith(stranger[-8:]), timeout=15 * PATIENCE)
    never("it is sent again", lambda: len(office.posts(text=sent.text)) > 1, during=1)
    assert office.admin.conversation_of(stranger) is None, "nobody has a conversation because they were told something"


def test_who_has_a_conversation_that_is_over_sees_what_they_were_told_there_and_it_stays_over(offices):
    office = offices()
    salon, number = Salon(office, whatsapp_enabled=True, email_enabled=False), new_number()
    maria = office.hire("Maria")
    talk = office.attended_by(maria, number)
    maria.api.command(talk["id"], "resolve")
    salon.api.put("/api/queues/templates/confirmed/whatsapp", {"text": "Olá, {{client_first_name}}"})
    office.server.kill()
    office.server.start()
    salon.book(soon(3000), client_whatsapp=f"+{number}")
    told = office.message(talk["id"], "Olá, João", timeout=20)
    assert (told["direction"], told["status"], told["author"]["kind"]) == ("out", "sent", "system")
    assert office.admin.get(f"/api/v1/conversations/{talk['id']}")["state"] == "resolved"


# MARK: Rules that change


def planned(api):
    """When each reminder is to be sent, by rule and channel."""
    items = api.get("/api/queues/appointment_reminders/messages", state="scheduled,available", per_page=200)["items"]
    return {":".join(item["key"].split(":")[2:]): item["run_at"] for item in items}


def test_reminders_follow_the_rules_the_quiet_hours_and_the_zone(offices, mail):
    rule = {"days_before": 1, "at": "18:00", "channels": ["email"]}
    salon = Salon(offices(**mail.settings), reminders=[rule, {"minutes_before": 60, "channels": ["email"]}])
    day = datetime.now(SAO_PAULO).date() + timedelta(days=5)
    start = datetime(day.year, day.month, day.day, 14, 0, tzinfo=SAO_PAULO)
    salon.book(start.astimezone(timezone.utc))
    eve = datetime(day.year, day.month, day.day, 18, 0, tzinfo=SAO_PAULO) - timedelta(days=1)
    at_first = {"reminder-1d-1080:email": stamp(eve.astimezone(timezone.utc)), "reminder-60m:email": stamp((start - timedelta(hours=1)).astimezone(timezone.utc))}
    eventually("both are planned", lambda: planned(salon.api) == at_first)
    # Earlier: Noronha's six o'clock comes an hour before São Paulo's.
    salon.api.put("/api/users/business-hours", {"timezone": "America/Noronha"})
    earlier = at_first | {"reminder-1d-1080:email": stamp((eve - timedelta(hours=1)).astimezone(timezone.utc))}
    eventually("the zone counts", lambda: planned(salon.api) == earlier)
    salon.api.put("/api/users/business-hours", {"timezone": "America/Sao_Paulo"})
    salon.settings(quiet_hours={"start": "17:00", "end": "18:30"})
    later = at_first | {"reminder-1d-1080:email": stamp((eve + timedelta(minutes=30)).astimezone(timezone.utc))}
    eventually("so do quiet hours", lambda: planned(salon.api) == later)
    salon.settings(reminders=[rule | {"at": "09:00"}])
    other = {"reminder-1d-540:email": stamp((eve - timedelta(hours=9)).astimezone(timezone.utc))}
    eventually("another rule takes its place", lambda: planned(salon.api) == other)
    gone = becomes(salon.api, "appointment_reminders", "cancelled", key="reminder-60m:email")
    assert gone["reason"].startswith("withdrawn: ")
    salon.settings(reminders=[rule, {"minutes_before": 60, "channels": ["email"]}], quiet_hours=None)
    eventually("as it was at first", lambda: planned(salon.api) == at_first)
    # Each was made once, whatever became of it meanwhile.
    keys = [item["key"] for item in salon.api.get("/api/queues/appointment_reminders/messages", per_page=200)["items"]]
    assert len(keys) == len(set(keys)) == 3


def test_a_reminder_that_should_have_come_by_the_new_zone_comes_now_and_once(offices, mail):
    salon = Salon(offices(**mail.settings))
    here, there = ZoneInfo("America/Noronha"), ZoneInfo("America/Rio_Branco")  # UTC−2 and UTC−5, all year
    salon.api.put("/api/users/business-hours", {"timezone": "America/Rio_Branco"})
    # A time that has passed in Noronha, and has not in Rio Branco, three hours behind.
    at = datetime.now(here) - timedelta(minutes=90)
    # The day before an appointment at noon, wherever it is that day already.
    salon.settings(reminders=[{"days_before": 1, "at": f"{at:%H:%M}", "channels": ["email"]}])
    start = (at + timedelta(days=1)).replace(hour=12, minute=0, tzinfo=there)
    salon.book(start.astimezone(timezone.utc))
    eventually("it is planned", lambda: planned(salon.api))
    assert not mail.to("joao@example.net", "Lembrete")
    salon.api.put("/api/users/business-hours", {"timezone": "America/Noronha"})
    mail.one("joao@example.net", "Lembrete")


def test_who_takes_back_that_they_want_none_is_reminded_and_a_viewer_decides_nothing_of_it(offices, mail):
    office = offices(**mail.settings)
    salon = Salon(office, reminders=[{"minutes_before": 60, "channels": ["email"]}])
    vera = office.admin.create_user("vera@example.com", "Vera", "viewer", "Senha#Forte9x2026")
    viewer = office.anybody.login(vera["email"], "Senha#Forte9x2026")
    path, who = "/api/users/notification-opt-outs", {"channel": "email", "recipient": "joao@example.net"}
    viewer.call("PUT", path, json=who, expect=403)
    viewer.call("GET", path, expect=403)
    salon.api.put(path, who)
    viewer.call("PUT", path, json=who | {"is_opted_out": False}, expect=403)
    salon.book(soon(3000))
    assert planned(salon.api) == {}
    salon.api.put(path, who | {"is_opted_out": False})
    eventually("it is planned", lambda: planned(salon.api))


def test_what_follows_is_told_once_however_often_it_is_said_whether_somebody_came(offices, mail):
    salon = Salon(offices(**mail.settings), follow_ups=[{"minutes_after": 0, "channels": ["email"]}], events={"no_show": ["email"]})
    made = salon.book(soon(100))
    salon.api.post(f"/api/appointments/{made['id']}/reschedule", {"start_time": stamp(soon(-60)), "force": True})
    path = f"/api/appointments/{made['id']}"
    for verb in ("complete", "no-show", "complete", "no-show"):
        salon.api.post(f"{path}/{verb}")
        eventually("nothing waits", lambda: not any(salon.api.get("/api/queues/status")["appointment_follow_ups"]["states"][state] for state in ("available", "claimed", "sending")))
    states = salon.api.get("/api/queues/appointment_follow_ups/messages", per_page=50)["items"]
    assert sorted(m["state"] for m in states) == ["dropped", "dropped", "sent", "sent"], states
    assert len([m for m in mail.mails if "confirmado" not in m["Subject"] and "alterado" not in m["Subject"]]) == 2, "each of both once"


def test_the_mail_server_is_told_a_name_that_leads_here(offices, mail):
    salon = Salon(offices(**mail.settings))
    salon.book(soon(2000))
    assert mail.one("joao@example.net").hello == "agenda.example.com"
    other = Salon(offices(**mail.settings, SMTP_HELO_NAME="mx.example.net"))
    other.book(soon(2000), email="bia@example.net")
    assert mail.one("bia@example.net").hello == "mx.example.net"


def test_what_is_booked_while_the_database_is_away_is_told_meanwhile(offices, mail, own_postgres):
    office = offices(DATABASE_URL=own_postgres.create_database().url, DATABASE_BREAKER_FAILURES=2, DATABASE_BREAKER_SECONDS=1, **mail.settings)
    salon = Salon(office)
    salon.book(soon(2000), email="antes@example.net")
    mail.one("antes@example.net")
    own_postgres.stop()
    made = salon.book(soon(3000), email="durante@example.net")
    mail.one("durante@example.net", "confirmado")
    salon.api.post(f"/api/appointments/{made['id']}/cancel", {})
    mail.one("durante@example.net", "cancelado")
    own_postgres.start()
    becomes(salon.api, "appointment_cancellations", "sent", key="cancelled:email")


# MARK: The waiting list


def test_who_waits_is_told_of_the_time_that_is_kept_for_them(offices, mail):
    salon = Salon(offices(**mail.settings))
    start = soon(3000)
    made = salon.book(start, email="primeiro@example.net")
    mail.one("primeiro@example.net", "confirmado")
    wish = {"service_id": salon.service["id"], "client_name": "Bia", "client_whatsapp": "+5511900000002", "client_email": "bia@example.net"}
    entry = salon.api.post("/api/appointments/waitlist", wish | {"from": stamp(start), "until": stamp(start + timedelta(minutes=5))}, expect=201)
    salon.api.post(f"/api/appointments/{made['id']}/cancel", {})
    offer = mail.one("bia@example.net", "Surgiu um horário")
    assert f"/waitlist/{entry['id']}?" in part(offer, "text/plain") and "reservado para você até" in part(offer, "text/plain")


# MARK: Everything at once


def test_whatever_happens_nobody_is_told_twice_or_of_what_is_no_longer_so(offices, mail, seed):
    """Bookings, moves and cancellations from several sides, a mail server that is not always willing, and a server that is killed three times."""
    office = offices(**mail.settings, SMTP_BREAKER_SECONDS=1, SMTP_BREAKER_FAILURES=50)
    salon = Salon(office)
    base, rounds = soon(5 * 24 * 60), 8
    appointments, lock = {}, threading.Lock()
    starts = iter(base + timedelta(minutes=30 * n) for n in range(2000))

    def one(worker, choices):
        api = salon.office.anybody.login(*login)
        for number in range(rounds):
            name = f"c{worker}x{number}@example.net"
            steps = [("book", None)] + [(step, None) for step in choices[number]]
            id = None
            for step, _ in steps:
                with lock:
                    start = next(starts)
                for _ in range(200):
                    try:
                        if step == "book":
                            body = {"service_id": salon.service["id"], "client_name": name, "client_whatsapp": "+5511888888888", "client_email": name, "start_time": stamp(start)}
                            reply = api.call("POST", "/api/appointments/", json=body, headers={"Idempotency-Key": name}, timeout=10)
                        elif step == "move":
                            reply = api.call("POST", f"/api/appointments/{id}/reschedule", json={"start_time": stamp(start)}, timeout=10)
                        else:
                            reply = api.call("POST", f"/api/appointments/{id}/cancel", json={}, timeout=10)
                    except OSError:
                        time.sleep(0.05)
                        continue
                    if reply.status in (200, 201):
                        break
                    # It was moved already by the attempt whose answer was lost, or the server is starting.
                    assert reply.status in (409, 503), reply
                    if reply.status == 409:
                        break
                    time.sleep(0.05)
                else:
                    raise AssertionError(f"{step} {name} never answered")
                if step == "book":
                    id = reply.json()["id"]
                with lock:
                    appointments[name] = {"id": id, "over": time.time() if step == "cancel" else None}

    from harness.process import ADMIN_EMAIL, ADMIN_PASSWORD

    login = (ADMIN_EMAIL, ADMIN_PASSWORD)
    mail.faults.extend(seed.choice(["451", None, None, None]) for _ in range(40))
    plans = [[seed.choice([[], ["move"], ["cancel"], ["move", "cancel"], ["move", "move"]]) for _ in range(rounds)] for _ in range(4)]
    threads = [threading.Thread(target=one, args=(worker, plan)) for worker, plan in enumerate(plans)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        time.sleep(seed.uniform(0.1, 0.6))
        office.server.kill()
        office.server.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()

    def waiting():
        status = salon.api.get("/api/queues/status")
        states = [status[name]["states"] for name in ("appointment_confirmations", "appointment_cancellations")]
        return sum(count for state in states for what, count in state.items() if what in ("available", "scheduled", "claimed", "sending"))

    eventually("everything is told or given up", lambda: waiting() == 0, timeout=150)
    doubtful = {m["recipient"] for name in ("appointment_confirmations", "appointment_cancellations") for m in salon.api.get(f"/api/queues/failed/{name}", per_page=200)["items"]}
    ids = [mail_["Message-ID"] for mail_ in mail.mails]
    assert len(ids) == len(set(ids)) >= len(appointments) - len(doubtful), "a message was handed over twice"
    for name, appointment in appointments.items():
        now = salon.api.get(f"/api/appointments/{appointment['id']}")
        theirs = mail.to(name)
        told = [(calendar(m)["method"], int(calendar(m)["SEQUENCE"]), m.received) for m in theirs]
        assert len({(method, sequence) for method, sequence, _ in told}) == len(told), f"{name}: {told}"
        if appointment["over"]:
            late = [t for t in told if t[0] == "REQUEST" and t[2] > appointment["over"] + 3 * PATIENCE]
            assert not late, f"{name} was told of what was off: {late}"
        if name not in doubtful:
            last = calendar(max(theirs, key=lambda m: int(calendar(m)["SEQUENCE"])))
            start = now["start_time"][:19].replace("-", "").replace(":", "") + "Z"
            assert last["DTSTART"] == start and (last["method"] == "CANCEL") == now["is_cancelled"], f"{name}: {told}"
