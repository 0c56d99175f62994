"""What goes out when something is wrong with it: outages, one number of several, contacts that cannot or must not be reached, and messages sent again."""

import time

import pytest

from fakes.whatsapp import status, text
from harness.api import is_clear_error
from harness.office import new_number
from harness.process import PHONE_NUMBER_ID
from harness.waiting import eventually
from test_webchat import visit

pytestmark = pytest.mark.timeout(120)

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


def resend(who, id, message, expect=200):
    return who.call("POST", f"/api/v1/conversations/{id}/messages/{message['id']}/resend", expect=expect)


def contact(office, id):
    return office.admin.conversation(id)["contact"]


def activities(office, id):
    return [m["text"] for m in office.admin.all_messages(id) if m["kind"] == "activity"]


# MARK: Outages, and sending again


def test_the_first_messages_of_an_outage_go_out_after_it(offices):
    office = offices(WHATSAPP_BREAKER_SECONDS=1)
    maria = office.hire()
    id = office.attended_by(maria)["id"]
    office.whatsapp.fail_next(None, 503, times=2)
    for n in range(3):
        maria.api.say(id, f"m{n}")
    office.message(id, "m2", timeout=40, status="sent")
    assert [m["status"] for m in office.admin.all_messages(id) if m["text"] in ("m0", "m1", "m2")] == ["sent"] * 3
    assert [s.text for s in office.posts() if s.accepted and s.text in ("m0", "m1", "m2")] == ["m0", "m1", "m2"]


def test_what_failed_or_may_have_is_sent_again_when_somebody_says_so(office):
    maria, joao = office.hire("Maria"), office.hire("João", online=False)
    id = office.attended_by(maria)["id"]
    live = office.desk(maria, f"conversation:{id}")
    office.whatsapp.drop_before_accept()
    maria.api.say(id, "perdida")
    lost = office.message(id, "perdida", status="unknown")
    is_clear_error(resend(joao.api, id, lost, expect=409), 409)
    again = resend(maria.api, id, lost).json()
    assert (again["id"], again["status"], again["error"]) == (lost["id"], "queued", None)
    sent = office.message(id, "perdida", status="sent")
    assert (sent["id"], sent["resends"]) == (lost["id"], 1) and sent["sent_at"]
    assert len([s for s in office.posts(text="perdida") if s.accepted]) == 1
    assert is_clear_error(resend(maria.api, id, sent, expect=409), 409)["code"] == "message_not_failed"
    assert "Maria reenviou uma mensagem" in activities(office, id)
    live.agrees_with(office.admin)

    # One that failed by webhook, over RPC; a status of the attempt before says nothing of this one.
    office.whatsapp.fail_next(131026, by_webhook=True)
    maria.api.say(id, "outra")
    failed = office.message(id, "outra", status="failed")
    answer = live.rpc("conversation.resend", {"conversation_id": id, "message_id": failed["id"]})
    assert answer["id"] == failed["id"]
    sent = office.message(id, "outra", status="sent")
    assert sent["external_id"] != failed["external_id"]
    office.deliver(status(failed["external_id"], "failed", callback_data=failed["id"], errors=[{"code": 131026, "title": "x"}]))
    assert office.message(id, "outra")["status"] == "sent"
    office.deliver(status(sent["external_id"], "delivered"))
    office.message(id, "outra", status="delivered")

    note = maria.api.note(id, "só para nós")
    is_clear_error(resend(maria.api, id, note, expect=404), 404)
    is_clear_error(resend(maria.api, office.attended_by(maria)["id"], sent, expect=404), 404)


# MARK: One number of several


def test_a_locked_number_does_not_stop_the_other(office):
    second = "330000000000004"
    office.whatsapp.numbers |= {second: "990011223344"}
    office.admin.post("/api/v1/whatsapp/numbers", {"phone_number_id": second}, expect=201)
    maria = office.hire(capacity=5)
    one, other = new_number(), new_number()
    office.deliver(text(one, "atendente"))
    office.deliver(text(other, "atendente", number=second))
    first, on_second = office.conversation(one, "offered")["id"], office.conversation(other, "offered")["id"]
    maria.api.claim(first), maria.api.claim(on_second)
    office.settled(first, on_second)
    office.whatsapp.fail_next(131031, times=1, to=other)
    maria.api.say(on_second, "na segunda")
    stopped = eventually("that number stopped", lambda: office.admin.get("/api/v1/whatsapp/status")["stopped_numbers"])
    assert [(s["phone_number_id"], s["code"]) for s in stopped] == [(second, "131031")]
    assert office.admin.get("/api/v1/whatsapp/status")["account"]["state"] == "ok"
    maria.api.say(first, "na primeira")
    office.message(first, "na primeira", status="sent")
    assert office.message(on_second, "na segunda")["status"] == "queued"
    numbers = office.admin.get("/circuit-breakers")["circuit_breakers"]["whatsapp"]["numbers"]
    assert {n["phone_number_id"]: n["state"] for n in numbers} == {PHONE_NUMBER_ID: "closed", second: "closed"}
    office.admin.post("/api/v1/whatsapp/resume")
    office.message(on_second, "na segunda", status="sent")

    # What WhatsApp answers of one opens that one's breaker.
    office.whatsapp.fail_next(131016, times=1000, to=other)
    maria.api.say(on_second, "de novo")

    def its_breaker():
        breaker = office.admin.get("/circuit-breakers")["circuit_breakers"]["whatsapp"]
        return breaker["state"] == "closed" and [n for n in breaker["numbers"] if n["phone_number_id"] == second and n["state"] == "open"]

    eventually("its breaker open", its_breaker, timeout=40)
    maria.api.say(first, "esta passa")
    office.message(first, "esta passa", status="sent")


# MARK: Contacts


def test_who_cannot_be_reached_is_marked_until_they_write(office):
    maria = office.hire()
    conversation = office.attended_by(maria)
    id, number = conversation["id"], conversation["contact"]["number"]
    office.whatsapp.fail_next(131026)
    maria.api.say(id, "x1")
    office.message(id, "x1", status="failed")
    assert contact(office, id)["unreachable_since"]
    assert "O WhatsApp informa que este contato não recebe mensagens" in activities(office, id)
    office.server.restart()
    office._admin = None
    assert contact(office, id)["unreachable_since"], "also after a restart"
    office.says(number, "oi")
    assert "unreachable_since" not in contact(office, id)


def test_who_has_had_enough_of_marketing_gets_no_more_of_it_for_a_day(office):
    maria = office.hire()
    id = office.attended_by(maria)["id"]
    offer = {"template": {"name": "oferta"}}
    office.whatsapp.fail_next(131049)
    maria.api.command(id, "messages", offer, expect=201)
    office.message(id, "[Modelo oferta]", status="failed")
    refused = is_clear_error(maria.api.try_command(id, "messages", offer), 409)
    until = contact(office, id)["templates_paused_until"]
    assert refused["code"] == "contact_paused" and until in refused["detail"]
    failed = office.message(id, "[Modelo oferta]")
    assert is_clear_error(resend(maria.api, id, failed, expect=409), 409)["code"] == "contact_paused"
    maria.api.command(id, "messages", {"template": {"name": "recibo", "category": "utility"}}, expect=201)
    office.message(id, "[Modelo recibo]", status="sent")
    maria.api.say(id, "e palavras")
    office.message(id, "e palavras", status="sent")


def test_when_it_was_sent_delivered_read_and_played_is_kept(office):
    maria = office.hire()
    id = office.attended_by(maria)["id"]
    maria.api.say(id, "y")
    wamid = office.message(id, "y", status="sent")["external_id"]
    now = int(time.time())
    for name, at in (("read", now - 20), ("delivered", now - 30), ("delivered", now - 10), ("played", now - 5)):
        office.deliver(status(wamid, name, timestamp=at))
    m = office.message(id, "y", status="read")
    stamp = lambda at: time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
    assert [m[name][:19] for name in ("delivered_at", "read_at", "played_at")] == [stamp(now - 30), stamp(now - 20), stamp(now - 5)]
    assert m["sent_at"]


def test_the_number_that_whatsapp_answers_with_is_the_same_contact(office):
    maria = office.hire()
    # Mexico writes some numbers with a 1 after the country's code, and answers without.
    number, answered = "5215512345678", "525512345678"
    office.whatsapp.wa_ids[number] = answered
    id = office.attended_by(maria, number)["id"]
    maria.api.say(id, "hola")
    office.message(id, "hola", status="sent")
    office.server.restart()
    office._admin = None
    wamid = office.says(answered, "soy yo")
    assert office.message(id, "soy yo")["external_id"] == wamid


def test_messages_of_a_batch_stand_in_the_order_they_were_sent(office):
    number, now = new_number(), int(time.time())
    items = [text(number, f"{n}", timestamp=now - 60 + n) for n in (3, 1, 0, 2)]
    office.deliver(*items)
    id = office.conversation(number)["id"]
    assert [m["text"] for m in office.admin.all_messages(id) if m["direction"] == "in"] == ["0", "1", "2", "3"]


def test_one_person_known_as_two_is_one_from_the_message_that_says_so(office):
    maria = office.hire()
    number, hidden = new_number(), "BR.9988776655"
    # Hidden first, with the bot; then by the number, with Maria.
    office.deliver(text(None, "oi", bsuid=hidden, name="Ana"))
    bot = eventually("hidden", lambda: [c for c in office.admin.all_conversations() if c["contact"]["number"] is None])[0]
    id = office.attended_by(maria, number)["id"]
    office.deliver(text(number, "sou a mesma", bsuid=hidden))
    assert office.message(id, "sou a mesma")
    eventually("the other is over", lambda: office.admin.conversation(bot["id"])["state"] == "resolved")
    mine = office.admin.conversation(id)
    assert (mine["state"], mine["contact"]["number"]) == ("active", number)
    assert office.admin.conversation(bot["id"])["contact"]["id"] == mine["contact"]["id"]
    office.server.restart()
    office._admin = None
    office.deliver(text(None, "e agora sem número", bsuid=hidden))
    assert office.message(id, "e agora sem número")
    office.says(number, "e com")
    assert office.message(id, "e com")
    maria.api.say(id, "tudo aqui")
    office.posted("tudo aqui", number)
    assert len([c for c in office.admin.all_conversations() if c["state"] != "resolved"]) == 1


# MARK: In a web chat


def test_a_visitor_gets_what_an_agent_sends_and_what_is_whatsapps_is_refused(office):
    maria = office.hire()
    ana, eva = visit(office, name="Ana"), visit(office, name="Eva")
    ana.api.say(ana.id, "atendente")
    maria.api.claim(ana.id)
    file = maria.api.call("POST", f"/api/v1/conversations/{ana.id}/media", body=PNG, headers={"Content-Type": "image/png"}, expect=201).json()
    path = f"/api/v1/conversations/{ana.id}/messages/{file['id']}/media"
    assert ana.api.call("GET", path, expect=200).body == PNG
    is_clear_error(eva.api.call("GET", path), 403)
    is_clear_error(office.anybody.call("GET", path), 401)
    note = maria.api.note(ana.id, "só para nós")
    is_clear_error(ana.api.call("GET", f"/api/v1/conversations/{ana.id}/messages/{note['id']}/media"), 404)

    refused = is_clear_error(maria.api.try_command(ana.id, "messages", {"template": {"name": "oferta"}}), 409)
    assert refused["code"] == "template_in_web_chat"
    hers = next(m for m in ana.api.all_messages(ana.id) if m["direction"] == "in")
    quote = maria.api.command(ana.id, "messages", {"text": "citando", "reply_to": hers["id"]}, expect=201)
    assert quote["reply_to"] == hers["id"]
    maria.api.command(ana.id, "reactions", {"message_id": hers["id"], "emoji": "👍"}, expect=201)
    seen = {m["id"]: m for m in ana.api.all_messages(ana.id)}
    assert seen[hers["id"]]["reactions"]["business"] == "👍" and seen[quote["id"]]["reply_to"] == hers["id"]
    is_clear_error(maria.api.try_command(ana.id, "messages", {"text": "x", "reply_to": note["id"]}), 404)
