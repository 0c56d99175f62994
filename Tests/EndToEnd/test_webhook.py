"""WhatsApp's webhook: 200 means that every element is on disk, and the same one has one effect however often it comes (protocol/README.md "WhatsApp")."""

import threading

import pytest

from fakes.whatsapp import (
    DEFAULT_NUMBER, batch, button_reply, echo, location, media, message, meta_json, new_wamid, poison, reaction, sign, status, text, unsupported,
)
from harness.api import is_clear_error
from harness.http import raw_exchange, status_of
from harness.office import WEBHOOK, new_number
from harness.process import APP_SECRET, VERIFY_TOKEN
from harness.waiting import eventually, never

pytestmark = pytest.mark.timeout(90)


def post(office, body, signature=None, **headers):
    if signature is not None:
        headers["X-Hub-Signature-256"] = signature
    return office.anybody.call("POST", WEBHOOK, body=body, headers={"Content-Type": "application/json"} | headers)


def inbound(office, number):
    """The messages of a customer, over all their conversations."""
    conversations = [c for c in office.admin.conversations(q=number, per_page=100)["items"] if c["contact"]["number"] == number]
    return [m for c in conversations for m in office.admin.all_messages(c["id"]) if m["direction"] == "in"]


# MARK: Who may post


def test_the_handshake_echoes_the_challenge_to_who_knows_the_token(shared_office):
    assert shared_office.whatsapp.handshake(VERIFY_TOKEN, "1158201444") == (200, "1158201444")


@pytest.mark.parametrize("token, mode", [("wrong", "subscribe"), ("", "subscribe"), (VERIFY_TOKEN, "unsubscribe"), (VERIFY_TOKEN + " ", "subscribe")])
def test_the_handshake_is_refused_otherwise(shared_office, token, mode):
    status, body = shared_office.whatsapp.handshake(token, "1158201444", mode)
    assert status == 403 and "1158201444" not in body


def test_a_handshake_without_its_parameters_is_refused(shared_office):
    assert shared_office.anybody.call("GET", WEBHOOK).status in (400, 403, 422)


def test_a_delivery_without_a_signature_is_refused_with_401_and_has_no_effect(shared_office):
    number = new_number()
    body = meta_json(batch([text(number, "oi")], shared_office.whatsapp.numbers))
    is_clear_error(post(shared_office, body), 401)
    assert inbound(shared_office, number) == []


def test_a_delivery_with_a_wrong_signature_is_refused_with_403_and_has_no_effect(shared_office):
    number = new_number()
    body = meta_json(batch([text(number, "oi")], shared_office.whatsapp.numbers))
    right = sign(APP_SECRET, body)
    wrong = [
        sign("another secret", body), sign(APP_SECRET, body + b" "), sign(APP_SECRET, b""), right[:-1] + ("0" if right[-1] != "0" else "1"),
        right[:-2], "sha256=", "sha1=" + right[7:], right[7:], "sha256=" + "g" * 64, "sha256=" + right[7:] * 2, "ç" * 10,
    ]
    for signature in wrong:
        reply = post(shared_office, body, signature.encode("latin-1", "replace").decode("latin-1"))
        is_clear_error(reply, 401, 403)
        if signature.startswith("sha256=") and len(signature) == len(right):
            assert reply.status == 403, reply
    assert inbound(shared_office, number) == []
    assert post(shared_office, body, right).status == 200
    assert len(inbound(shared_office, number)) == 1


def test_the_signature_is_over_the_bytes_as_they_came(shared_office):
    number = new_number()
    said = 'São João é às 18h 🎉 <ana@example.com> "ok" a/b \\ \u2028 fim'
    body = meta_json(batch([text(number, said)], shared_office.whatsapp.numbers))
    assert b"\\u0040" in body and b"\\/" in body and b"\\u2028" in body
    assert post(shared_office, body, sign(APP_SECRET, body)).status == 200
    assert [m["text"] for m in inbound(shared_office, number)] == [said]
    spaced = b"\n " + body.replace(b'"object":', b'"object"  :\t') + b"\r\n"
    assert post(shared_office, spaced, sign(APP_SECRET, spaced)).status == 200, "the same delivery in other bytes, signed as those"
    assert len(inbound(shared_office, number)) == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"not json", b"[]", b"null", b'"text"', b"{}", b'{"object":"page","entry":[]}', b"\xff\xfe\x00", b"[" * 50_000, b'{"a":' * 20_000],
    ids=lambda body: repr(body[:12]),
)
def test_a_signed_body_that_is_no_delivery_is_refused(shared_office, body):
    is_clear_error(post(shared_office, body, sign(APP_SECRET, body)), 400, 413, 422)


def test_an_oversized_delivery_is_refused_with_413(shared_office):
    size = 16 << 20
    head = (
        f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Hub-Signature-256: sha256={'0' * 64}\r\nContent-Length: {size}\r\n\r\n"
    )
    assert status_of(raw_exchange(shared_office.server.host, shared_office.server.port, head.encode() + b" " * size)) == 413


def test_three_megabytes_as_meta_may_send_are_taken(shared_office):
    numbers = [new_number() for _ in range(3)]
    body = meta_json(batch([text(n, "oi", filler="x" * 950_000) for n in numbers], shared_office.whatsapp.numbers))
    assert 2_800_000 < len(body) < 3 << 20
    assert post(shared_office, body, sign(APP_SECRET, body)).status == 200
    assert [len(inbound(shared_office, n)) for n in numbers] == [1, 1, 1]


# MARK: Batches


def test_an_element_that_makes_no_sense_does_its_neighbours_no_harm(shared_office):
    office = shared_office
    maria = office.hire(online=False)
    ana, bia, caio = new_number(), new_number(), new_number()
    id = office.attended_by(maria, ana)["id"]
    maria.api.say(id, "chegou?")
    sent = office.message(id, "chegou?", status="sent")
    good = text(bia, "sou a Bia").element
    broken = [
        None, 7, "text", [], {}, {"id": new_wamid()}, good | {"id": None}, good | {"id": {}}, good | {"id": new_wamid(), "text": 5},
        good | {"id": new_wamid(), "text": {"body": ["x"]}}, good | {"id": new_wamid(), "timestamp": "yesterday"}, good | {"id": new_wamid(), "from": None},
        good | {"id": new_wamid(), "type": 9},
    ]
    items = [text(ana, "antes")] + [poison(element) for element in broken] + [text(caio, "sou o Caio"), poison(good)]
    items += [poison(None, "statuses"), poison({"id": 5, "status": []}, "statuses"), status(sent["external_id"], "delivered", recipient=ana)]
    office.deliver(*items)
    office.message(id, "chegou?", status="delivered")
    assert "antes" in [m["text"] for m in inbound(office, ana)]
    assert "sou a Bia" in [m["text"] for m in inbound(office, bia)]
    assert [m["text"] for m in inbound(office, caio)] == ["sou o Caio"]


def test_a_batch_for_several_businesses_is_routed_by_its_numbers(shared_office):
    office = shared_office
    ana, bia = new_number(), new_number()
    office.deliver(text(bia, "para outra empresa", number=DEFAULT_NUMBER), text(ana, "para vocês"), status("wamid.X", "read", number=DEFAULT_NUMBER))
    assert [m["text"] for m in inbound(office, ana)] == ["para vocês"]
    assert inbound(office, bia) == [], "a number that is nobody's here belongs to nobody here"


def test_changes_of_other_kinds_are_taken_and_do_nothing(shared_office):
    number = new_number()
    body = batch([text(number, "oi")], shared_office.whatsapp.numbers)
    body["entry"][0]["changes"] = [
        {"field": "account_update", "value": {"event": "VERIFIED_ACCOUNT"}},
        {"field": "message_template_status_update", "value": {"event": "APPROVED", "message_template_id": 1}},
        {"field": "messages"},
        {"value": None, "field": "messages"},
        *body["entry"][0]["changes"],
    ]
    body["entry"] = [{"id": "0", "changes": []}, {"id": "0"}, None, *body["entry"]]
    data = meta_json(body)
    assert post(shared_office, data, sign(APP_SECRET, data)).status == 200
    assert len(inbound(shared_office, number)) == 1


def test_a_batch_mixes_messages_and_statuses_of_many_customers(shared_office):
    numbers = [new_number() for _ in range(20)]
    office = shared_office
    office.deliver(*(text(n, f"mensagem {i}") for n in numbers for i in range(3)), *(status(new_wamid(), "delivered", recipient=n) for n in numbers))
    for number in numbers:
        assert [m["text"] for m in inbound(office, number)] == ["mensagem 0", "mensagem 1", "mensagem 2"]


# MARK: Once


def test_the_same_message_delivered_twenty_times_at_once_has_one_effect(office):
    number = new_number()
    office.whatsapp.deliver(text(number, "oi"), times=20, redeliver=False)
    assert office.whatsapp.deliveries[-1].answers == [200] * 20
    eventually("the bot's answer", lambda: office.posts(number))
    conversation = office.conversation(number)
    office.settled(conversation["id"])
    assert len(inbound(office, number)) == 1
    assert (conversation["unread"], len(office.posts(number))) == (1, 1)
    assert len(office.admin.conversations(q=number)["items"]) == 1


def test_a_hand_off_delivered_twenty_times_at_once_takes_one_number(office):
    number = new_number()
    office.whatsapp.deliver(text(number, "atendente"), times=20, redeliver=False)
    assert office.conversation(number, "queued")["protocol"] == "#00001"
    assert office.in_line()["protocol"] == "#00002"


def test_twenty_first_messages_of_one_new_customer_at_once_make_one_conversation(office):
    number = new_number()
    barrier, answers = threading.Barrier(20), []

    def write(n):
        barrier.wait(10)
        answers.append(office.whatsapp.deliver(text(number, f"mensagem {n}"), redeliver=False).answers)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(20)]
    [t.start() for t in threads], [t.join(30) for t in threads]
    assert answers == [[200]] * 20
    assert len(office.admin.conversations(q=number)["items"]) == 1
    conversation = office.conversation(number)
    assert sorted(m["text"] for m in inbound(office, number)) == sorted(f"mensagem {n}" for n in range(20))
    assert conversation["unread"] == 20
    seqs = [m["seq"] for m in office.admin.all_messages(conversation["id"])]
    assert seqs == list(range(1, len(seqs) + 1))


def test_a_message_delivered_again_after_a_restart_has_no_second_effect(office):
    number = new_number()
    delivery = office.whatsapp.deliver(text(number, "atendente"), redeliver=False)
    id = office.conversation(number, "queued")["id"]
    office.settled(id)
    before, posts = office.admin.all_messages(id), len(office.posts(number))
    for end in (office.server.stop, office.server.kill):
        end()
        office.server.start()
        assert office.whatsapp.redeliver(delivery).answers[-1] == 200
    assert office.admin.all_messages(id) == before
    assert len(office.admin.conversations(q=number)["items"]) == 1
    never("answered again", lambda: len(office.posts(number)) > posts, during=0.5)


def test_a_delivery_that_found_the_server_away_has_its_effect_when_it_comes_again(office):
    number = new_number()
    office.server.stop()
    delivery = office.whatsapp.deliver(text(number, "tem alguém?"))
    assert delivery.answers == [0]
    office.server.start()
    eventually("delivered", lambda: delivery.accepted)
    assert [m["text"] for m in inbound(office, number)] == ["tem alguém?"]


def test_statuses_of_messages_nobody_knows_do_nothing(shared_office):
    office = shared_office
    before = office.admin.conversations()["total"]
    office.deliver(*(status(new_wamid(), s, recipient=new_number(), callback_data=c) for s in ("sent", "read", "failed", "novo") for c in (None, "x", "{}")))
    assert office.admin.conversations()["total"] == before


# MARK: Kinds of messages


def test_every_kind_of_message_is_kept_and_shown(shared_office):
    office = shared_office
    maria = office.hire(online=False)
    ana = new_number()
    id = office.attended_by(maria, ana)["id"]
    screen = office.desk(maria, f"conversation:{id}")
    items = [
        media(ana, "image", content={"caption": "minha fatura"}), media(ana, "audio", content={"voice": True}),
        media(ana, "document", content={"filename": "contrato.pdf"}), media(ana, "sticker"), media(ana, "video"), location(ana, -23.55, -46.63),
        message("contacts", [{"name": {"formatted_name": "Bia"}, "phones": [{"phone": "+55 11 90000-0000"}]}], ana), button_reply(ana, "b1", "Sim"),
        unsupported(ana), message("hologram", {"depth": 3, "nested": {"list": [1, None, "é"]}}, ana), message("hologram", None, ana),
        message("order", {"catalog_id": "1", "product_items": [{"product_retailer_id": "p", "quantity": "1", "item_price": "9.9", "currency": "BRL"}]}, ana),
    ]
    office.deliver(*items)
    wamids = [item.element["id"] for item in items]
    kept = {m["external_id"]: m for m in inbound(office, ana)}
    assert [w for w in wamids if w not in kept] == [], "nothing is dropped"
    shown = screen.wait("all on the screen", lambda: {m["external_id"]: m for m in screen.picture(f"conversation:{id}").ordered}.keys() >= set(wamids))
    assert shown and all(kept[w]["kind"] and isinstance(kept[w]["text"], str) for w in wamids)
    assert [kept[w]["seq"] for w in wamids] == sorted(kept[w]["seq"] for w in wamids), "in their order"
    assert "minha fatura" in kept[wamids[0]]["text"] and "Sim" in kept[wamids[7]]["text"]
    pending = lambda: [m for m in maria.api.all_messages(id) if (m.get("content") or {}).get("state") == "pending"]
    eventually("the files fetched, or known not to be there", lambda: not pending())
    screen.agrees_with(maria.api)


def test_a_reply_names_the_message_it_answers(shared_office):
    office = shared_office
    maria = office.hire(online=False)
    ana = new_number()
    id = office.attended_by(maria, ana)["id"]
    maria.api.say(id, "qual dos dois?")
    sent = office.message(id, "qual dos dois?", status="sent")
    office.says(ana, "o primeiro", reply_to=sent["external_id"])
    assert office.message(id, "o primeiro")["reply_to"] in (sent["external_id"], sent["id"])


@pytest.mark.parametrize("emoji", ["😮", "", None])
def test_a_reaction_or_its_removal_is_harmless(shared_office, emoji):
    office = shared_office
    ana = new_number()
    wamid = office.says(ana, "oi")
    office.deliver(reaction(ana, wamid, emoji), reaction(ana, "wamid.NOBODY", emoji))
    assert office.conversation(ana)["state"] == "bot"


def test_what_cannot_be_read_or_placed_is_set_aside_and_not_lost(office):
    def count():
        return office.admin.get("/api/v1/whatsapp/status")["deliveries_set_aside"]

    before = count()
    ana = new_number()
    office.deliver(poison({"id": 5}), text(ana, "oi"))
    assert office.conversation(ana), "its neighbour is taken"
    assert count() == before + 1
    office.server.kill()
    office.server.start()
    assert count() == before + 1


def test_somebody_who_hides_their_number_is_one_contact(shared_office):
    office = shared_office
    bsuid = f"BR.{new_number()}"
    office.deliver(text(None, "oi, sou eu", bsuid=bsuid, name="Sem Número"), text(None, "ainda eu", bsuid=bsuid, name="Sem Número"))
    found = eventually("the conversation", lambda: [c for c in office.admin.conversations(q="Sem Número")["items"] if c["contact"]["name"] == "Sem Número"])
    assert len(found) == 1 and found[0]["contact"]["number"] is None
    assert [m["text"] for m in office.admin.all_messages(found[0]["id"]) if m["direction"] == "in"] == ["oi, sou eu", "ainda eu"]
    reply = eventually("the bot's answer", lambda: office.posts(bsuid))[0]
    assert reply.body.get("recipient") == bsuid and "to" not in reply.body


def test_an_answer_from_the_business_handset_is_taken(shared_office):
    office = shared_office
    ana = new_number()
    office.says(ana, "oi")
    office.deliver(echo(ana, "respondi pelo celular"))
    assert office.conversation(ana)
