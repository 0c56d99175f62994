"""WhatsApp's Cloud API in full: what comes in and goes out besides words, what its error codes do, and whose number is whose (protocol/README.md "WhatsApp")."""

import json

import pytest

from fakes.whatsapp import (
    batch, button_reply, contacts, digest_of, echo, edit, list_reply, location, media, message, meta_json, order, reaction, revoke, sign, status, system,
    template_button, text, unsupported,
)
from harness.api import is_clear_error, names_fields
from harness.office import new_number
from harness.process import PHONE_NUMBER_ID, WHATSAPP_TOKEN
from harness.waiting import eventually, never

pytestmark = pytest.mark.timeout(120)

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(255, -1, -1)) * 40
OGG = b"OggS\x00\x02" + b"\r\n--voz\r\n" * 500
PDF = b"%PDF-1.7\n" + b"conta de luz\n" * 900
HTML = b"<!DOCTYPE html><script>alert(1)</script>"


@pytest.fixture
def ana(shared_office):
    """A customer whose conversation Maria has taken: the office, Maria, the number and the conversation."""
    maria = shared_office.hire(online=False)
    number = new_number()
    return shared_office, maria, number, shared_office.attended_by(maria, number)["id"]


def messages(office, conversation, **fields):
    return [m for m in office.admin.all_messages(conversation) if all(m[name] == value for name, value in fields.items())]


def sends_file(office, number, kind, content, mime_type=None, **more):
    """A customer sends a file. Gives back the wamid."""
    sent = {"mime_type": mime_type} if mime_type else {}
    media_id = office.whatsapp.add_media(content, mime_type or {"image": "image/png", "document": "application/pdf"}.get(kind, "audio/ogg"))
    item = media(number, kind, media_id, content={"sha256": digest_of(content)} | sent | more)
    office.deliver(item)
    return item.element["id"]


def by_wamid(office, id, wamid, **content):
    def there():
        for m in messages(office, id, external_id=wamid):
            if all(m.get("content", {}).get(name) == value for name, value in content.items()):
                return m

    return eventually(f"{wamid} with {content}", there, timeout=30)


def download(who, id, message, expect=200, **headers):
    return who.call("GET", f"/api/v1/conversations/{id}/messages/{message['id']}/media", headers=headers, expect=expect)


def upload(who, id, content, mime_type, expect=201, **query):
    return who.call("POST", f"/api/v1/conversations/{id}/media", body=content, headers={"Content-Type": mime_type}, expect=expect, **query)


# MARK: Files in


@pytest.mark.parametrize("kind, content, mime_type", [
    ("image", PNG, "image/png"), ("image", JPEG, "image/jpeg"), ("audio", OGG, "audio/ogg; codecs=opus"), ("document", PDF, "application/pdf"),
    ("sticker", b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(500), "image/webp"), ("video", b"\x00\x00\x00\x18ftypmp42" + bytes(5000), "video/mp4"),
])
def test_a_customers_file_is_fetched_at_once_and_served(ana, kind, content, mime_type):
    office, maria, number, id = ana
    screen = office.desk(maria, f"conversation:{id}")
    wamid = sends_file(office, number, kind, content, mime_type, filename="conta.bin")
    stored = by_wamid(office, id, wamid, state="stored")
    assert (stored["content"]["size"], stored["content"]["mime_type"]) == (len(content), mime_type)
    reply = download(maria.api, id, stored)
    assert reply.body == content and reply.headers["content-type"] == mime_type
    assert reply.headers["x-content-type-options"] == "nosniff" and "sandbox" in reply.headers["content-security-policy"]
    assert "conta.bin" in reply.headers["content-disposition"] and reply.headers["accept-ranges"] == "bytes"
    shown = screen.wait("on the screen", lambda: [m for m in screen.picture(f"conversation:{id}").ordered if m["external_id"] == wamid and m["content"]["state"] == "stored"])
    assert shown
    screen.agrees_with(maria.api)


def test_a_file_is_served_in_parts(ana):
    office, maria, number, id = ana
    stored = by_wamid(office, id, sends_file(office, number, "image", PNG), state="stored")
    for asked, first, last in [("bytes=0-0", 0, 1), ("bytes=10-99", 10, 100), ("bytes=5000-", 5000, len(PNG)), ("bytes=-7", len(PNG) - 7, len(PNG)), ("bytes=0-999999", 0, len(PNG))]:
        part = download(maria.api, id, stored, 206, Range=asked)
        assert part.body == PNG[first:last] and part.headers["content-range"] == f"bytes {first}-{last - 1}/{len(PNG)}", asked
    for asked in ("bytes=a-b", "bytes=0-1,3-4", "lines=1-2", "bytes=9-3", "bytes=-"):
        assert download(maria.api, id, stored, 200, Range=asked).body == PNG, asked
    for asked in (f"bytes={len(PNG)}-", "bytes=-0"):
        assert download(maria.api, id, stored, 416, Range=asked).headers["content-range"] == f"bytes */{len(PNG)}"
    tag = download(maria.api, id, stored).headers["etag"]
    assert download(maria.api, id, stored, 304, **{"If-None-Match": tag}).body == b""
    assert download(maria.api, id, stored, 206, **{"If-Range": tag, "Range": "bytes=0-1"}).body == PNG[:2]
    assert download(maria.api, id, stored, 200, **{"If-Range": '"old"', "Range": "bytes=0-1"}).body == PNG


def test_a_file_is_nobodys_but_its_business(ana):
    office, maria, number, id = ana
    stored = by_wamid(office, id, sends_file(office, number, "image", PNG), state="stored")
    path = f"/api/v1/conversations/{id}/messages/{stored['id']}/media"
    is_clear_error(office.anybody.call("GET", path), 401)
    other = office.anybody.register(f"outra{number}@example.com", "Nova#Firma2026", business_name="Outra")
    is_clear_error(other.call("GET", path), 404)
    elsewhere = office.in_line()["id"]
    is_clear_error(maria.api.call("GET", f"/api/v1/conversations/{elsewhere}/messages/{stored['id']}/media"), 404)
    plain = messages(office, id, kind="text")[0]
    assert is_clear_error(maria.api.call("GET", f"/api/v1/conversations/{id}/messages/{plain['id']}/media"), 404)["code"] == "no_media"


@pytest.mark.parametrize("fault", ["expired", "cut", "altered", "error"])
def test_a_fetch_that_goes_wrong_is_made_again_from_a_new_address(ana, fault):
    office, maria, number, id = ana
    office.whatsapp.fail_media(fault)
    stored = by_wamid(office, id, sends_file(office, number, "image", PNG), state="stored")
    assert download(maria.api, id, stored).body == PNG


def test_a_file_that_is_gone_or_too_large_is_said_to_be(offices):
    office = offices(PLANTAO_MEDIA_MAX_MB=1)
    maria, number = office.hire(online=False), new_number()
    id = office.attended_by(maria, number)["id"]
    gone, large = media(number, "image", "799999999999999"), b"%PDF-" + bytes(1 << 20)
    office.deliver(gone)
    failed = by_wamid(office, id, gone.element["id"], state="failed")
    assert failed["content"]["error"] and is_clear_error(download(maria.api, id, failed, 404), 404)["code"] == "media_failed"
    wamid = sends_file(office, number, "document", large)
    assert "limite" in by_wamid(office, id, wamid, state="failed")["content"]["error"]
    is_clear_error(upload(maria.api, id, large, "application/pdf", expect=413), 413)


def test_a_page_that_calls_itself_an_image_is_never_shown_as_one(ana):
    office, maria, number, id = ana
    stored = by_wamid(office, id, sends_file(office, number, "image", HTML, "image/png"), state="stored")
    reply = download(maria.api, id, stored)
    assert reply.headers["content-type"] == "application/octet-stream" and reply.headers["content-disposition"].startswith("attachment")


def test_a_file_is_fetched_after_a_restart_when_it_was_not_before(office):
    maria, number = office.hire(online=False), new_number()
    id = office.attended_by(maria, number)["id"]
    office.whatsapp.fail_media(*["error"] * 3)
    wamid = sends_file(office, number, "image", PNG)
    office.server.kill()
    office.whatsapp.clear_faults()
    office.server.start()
    stored = by_wamid(office, id, wamid, state="stored")
    assert download(office.admin, id, stored).body == PNG


# MARK: Files out


@pytest.mark.parametrize("mime_type, content, kind", [
    ("image/png", PNG, "image"), ("audio/ogg", OGG, "audio"), ("application/pdf", PDF, "document"), ("video/mp4", b"\x00\x00\x00\x18ftypmp42" + bytes(70_000), "video"),
])
def test_an_agents_file_goes_up_and_out_once(ana, mime_type, content, kind):
    office, maria, number, id = ana
    sent = upload(maria.api, id, content, mime_type, filename="nossa conta.bin", client_message_id="f1").json()
    assert sent["kind"] == kind and sent["content"]["state"] == "stored"
    assert upload(maria.api, id, content, mime_type, filename="nossa conta.bin", client_message_id="f1").json()["id"] == sent["id"]
    office.message(id, status="sent", id=sent["id"])
    (post,) = [p for p in office.posts(number) if p.kind == kind]
    assert office.whatsapp.uploads[post.content["id"]][:2] == (content, mime_type)
    assert download(maria.api, id, sent).body == content


def test_a_form_with_a_file_is_taken_as_browsers_send_it(ana):
    office, maria, number, id = ana
    boundary = "----WebKitFormBoundaryAbC123"
    parts = [("caption", None, None, "Segue a conta".encode()), ("outro", None, None, b"x"), ("file", "ação.png", "image/png", PNG)]
    body = b""
    for name, filename, mime_type, value in parts:
        named = f'; filename="{filename}"' if filename else ""
        typed = f"Content-Type: {mime_type}\r\n" if mime_type else ""
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n{typed}\r\n'.encode() + value + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    sent = upload(maria.api, id, body, f"multipart/form-data; boundary={boundary}").json()
    assert (sent["content"]["caption"], sent["content"]["filename"], sent["content"]["size"]) == ("Segue a conta", "ação.png", len(PNG))
    office.message(id, status="sent", id=sent["id"])
    (post,) = [p for p in office.posts(number) if p.kind == "image"]
    assert post.content["caption"] == "Segue a conta" and office.whatsapp.uploads[post.content["id"]][0] == PNG
    for broken in (body[:-30], body.replace(b'name="file"', b'name="other"'), b"", b"--x"):
        is_clear_error(upload(maria.api, id, broken, f"multipart/form-data; boundary={boundary}", expect=400), 400)


def test_what_whatsapp_would_not_take_is_refused_before_it_is_a_message(ana):
    office, maria, number, id = ana
    before = len(messages(office, id))
    for content, mime_type in [(HTML, "text/html"), (b"MZ", "application/x-msdownload"), (HTML, "image/png"), (PNG, "image/jpeg"), (PNG + bytes(5 << 20), "image/png"), (b"", "image/png")]:
        names_fields(upload(maria.api, id, content, mime_type, expect=422), "file")
    names_fields(upload(maria.api, id, PNG, "image/png", expect=422, reply_to="x"), "reply_to")
    assert len(messages(office, id)) == before


def test_a_failed_upload_is_repeated_and_the_message_goes_out_once(ana):
    office, maria, number, id = ana
    office.whatsapp.fail_media("upload")
    sent = upload(maria.api, id, PNG, "image/png").json()
    office.message(id, status="sent", id=sent["id"], timeout=30)
    assert len([p for p in office.posts(number) if p.kind == "image" and p.accepted]) == 1


# MARK: Everything else that comes in


def test_what_customers_send_is_kept_with_its_parts(ana):
    office, maria, number, id = ana
    said = messages(office, id, direction="in")[0]["external_id"]
    items = {
        "contacts": contacts(number, ("Bia", "5511900000099")), "order": order(number, ("SKU-1", 2, 9.9)), "button": template_button(number, "SIM", "Sim!"),
        "location": location(number, -23.5, -46.6), "reply": button_reply(number, "b1", "Quero"), "row": list_reply(number, "r2", "Plano 2"),
        "unsupported": unsupported(number), "hologram": message("hologram", {"depth": 3}, number), "revoked": revoke(number, said),
        "flow": message("interactive", {"type": "nfm_reply", "nfm_reply": {"name": "flow", "body": "Sent", "response_json": '{"cpf":"1"}'}}, number),
        "ad": text(number, "vi o anúncio", referral={"source_id": "77", "source_type": "ad", "ctwa_clid": "c", "headline": "Fibra"}),
        "forwarded": message("text", {"body": "repassando"}, number, context={"forwarded": True}),
    }
    office.deliver(*items.values())
    kept = {m["external_id"]: m for m in messages(office, id)}
    content = {name: kept[item.element["id"]].get("content") for name, item in items.items()}
    assert content["contacts"] == {"contacts": [{"name": "Bia", "phones": ["5511900000099"]}]}
    assert content["order"]["items"] == [{"product_id": "SKU-1", "quantity": 2, "price": "9.9", "currency": "BRL"}]
    assert content["button"] == {"payload": "SIM", "text": "Sim!"} and content["reply"] == {"id": "b1", "title": "Quero"}
    assert content["row"]["id"] == "r2" and content["location"]["latitude"] == -23.5
    assert content["unsupported"]["code"] == 131051 and content["hologram"]["raw"]["hologram"] == {"depth": 3}
    assert content["flow"]["response"] == {"cpf": "1"} and content["ad"]["referral"]["source_id"] == "77" and content["forwarded"]["forwarded"] is True
    assert kept[said]["revoked"] is True and kept[said]["text"] == "atendente", "what was deleted stays with the business"


def test_a_reaction_is_on_its_message_and_comes_off_again(ana):
    office, maria, number, id = ana
    maria.api.say(id, "tudo certo?")
    sent = office.message(id, "tudo certo?", status="sent")
    screen = office.desk(maria, f"conversation:{id}")
    unread = office.admin.conversation(id)["unread"]
    for emoji, shown in (("😮", "😮"), ("❤️", "❤️"), (None, None)):
        office.deliver(reaction(number, sent["external_id"], emoji))
        found = eventually("on the message", lambda: [m for m in messages(office, id, id=sent["id"]) if (m.get("reactions") or {}).get("customer") == shown])
        assert shown is None or found[0]["reactions"] == {"customer": shown, "business": None}
    assert office.admin.conversation(id)["unread"] == unread, "a reaction is nothing to be read"
    screen.agrees_with(maria.api)


def test_an_edit_is_on_its_message_which_keeps_what_it_said(ana):
    office, maria, number, id = ana
    wamid = office.says(number, "são 2 pontos")
    office.deliver(edit(number, wamid, "são 3 pontos"))
    (edited,) = messages(office, id, external_id=wamid)
    assert (edited["text"], edited["edited_text"]) == ("são 2 pontos", "são 3 pontos")


def test_a_reaction_after_the_end_opens_no_conversation(ana):
    office, maria, number, id = ana
    maria.api.say(id, "até logo")
    sent = office.message(id, "até logo", status="sent")
    maria.api.command(id, "resolve")
    office.deliver(reaction(number, sent["external_id"], "👍"))
    eventually("on the message", lambda: [m for m in messages(office, id, id=sent["id"]) if m.get("reactions")])
    assert len(office.admin.conversations(q=number)["items"]) == 1 and office.admin.conversation(id)["state"] == "resolved"


# MARK: Everything else that goes out


def test_buttons_lists_locations_and_quotes_go_out_as_whatsapp_wants_them(ana):
    office, maria, number, id = ana
    asked = messages(office, id, direction="in")[0]
    sections = [{"title": "Fibra", "rows": [{"id": "p1", "title": "300 Mega", "description": "R$ 99"}, {"id": "p2", "title": "600 Mega"}]}, {"title": "Outros", "rows": [{"id": "x", "title": "Falar"}]}]
    posts = [
        {"text": "Confirma?", "buttons": [{"id": "s", "title": "Sim"}, {"id": "n", "title": "Não"}], "footer": "Rede", "header": "Visita"},
        {"text": "Qual plano?", "list": {"button": "Ver planos", "sections": sections}, "reply_to": asked["id"]},
        {"location": {"latitude": -23.55, "longitude": -46.63, "name": "Loja"}}, {"text": "respondendo", "reply_to": asked["id"]},
    ]
    sent = [maria.api.post(f"/api/v1/conversations/{id}/messages", body, expect=201) for body in posts]
    office.settled(id)
    statuses = {m["id"]: (m["status"], m["error"]) for m in messages(office, id)}
    assert [statuses[m["id"]] for m in sent] == [("sent", None)] * 4
    buttons, rows, place, quote = [p for p in office.posts(number) if p.callback_data in {m["id"] for m in sent}]
    assert buttons.content["action"]["buttons"][1] == {"type": "reply", "reply": {"id": "n", "title": "Não"}} and buttons.content["footer"] == {"text": "Rede"}
    assert rows.content["action"] == {"button": "Ver planos", "sections": sections} and rows.body["context"] == {"message_id": asked["external_id"]}
    assert place.content == {"latitude": -23.55, "longitude": -46.63, "name": "Loja"} and quote.body["context"] == {"message_id": asked["external_id"]}


@pytest.mark.parametrize("body, field", [
    ({"text": "a", "buttons": []}, "buttons"), ({"text": "a", "buttons": [{"id": "1", "title": "x" * 21}]}, "buttons"), ({"text": "a", "buttons": [{"id": "1", "title": "a"}] * 2}, "buttons"),
    ({"buttons": [{"id": "1", "title": "a"}]}, "text"), ({"text": "a", "list": {"button": "b", "sections": []}}, "list"),
    ({"text": "a", "list": {"button": "b", "sections": [{"rows": [{"id": str(n), "title": "t"} for n in range(11)]}]}}, "list"),
    ({"text": "a", "list": {"button": "b", "sections": [{"rows": [{"id": "1", "title": "t"}]}, {"rows": [{"id": "2", "title": "t"}]}]}}, "list"),
    ({"template": {"name": "Oi!"}}, "template"), ({"template": 5}, "template"), ({"location": {"latitude": 91, "longitude": 0}}, "location"),
    ({"text": "a", "reply_to": "x"}, "reply_to"), ({"text": "a", "buttons": [{"id": "1", "title": "a"}], "template": {"name": "a"}}, "template"),
])
def test_what_whatsapp_would_refuse_is_refused_with_its_field(ana, body, field):
    office, maria, number, id = ana
    names_fields(maria.api.call("POST", f"/api/v1/conversations/{id}/messages", json=body), field)


def test_an_agents_reaction_goes_out_and_comes_off(ana):
    office, maria, number, id = ana
    asked = messages(office, id, direction="in")[0]
    for emoji in ("👍", None):
        maria.api.post(f"/api/v1/conversations/{id}/reactions", {"message_id": asked["id"], "emoji": emoji}, expect=201)
    office.settled(id)
    assert [p.content for p in office.posts(number) if p.kind == "reaction"] == [{"message_id": asked["external_id"], "emoji": e} for e in ("👍", "")]
    assert "reactions" not in messages(office, id, id=asked["id"])[0]


def test_outside_the_window_only_a_template_goes(ana):
    office, maria, number, id = ana
    office.whatsapp.templates = {"visita_confirmada": 2}
    office.whatsapp.fail_next(131047, to=number)
    maria.api.say(id, "ainda aí?")
    assert office.message(id, "ainda aí?", status="failed")["error"]["code"] == "131047"
    # WhatsApp has the last word on the window: the composer is told, and free text is refused here from now on.
    eventually("the window is closed", lambda: is_clear_error(maria.api.call("POST", f"/api/v1/conversations/{id}/messages", json={"text": "oi?"}), 409)["code"] == "outside_window")
    body = {"template": {"name": "visita_confirmada", "parameters": ["Ana", "amanhã"]}}
    sent = maria.api.post(f"/api/v1/conversations/{id}/messages", body, expect=201)
    office.message(id, status="sent", id=sent["id"])
    (post,) = [p for p in office.posts(number) if p.kind == "template"]
    assert post.content["language"] == {"code": "pt_BR"} and [p["text"] for p in post.content["components"][0]["parameters"]] == ["Ana", "amanhã"]
    wrong = maria.api.post(f"/api/v1/conversations/{id}/messages", {"template": {"name": "visita_confirmada"}}, expect=201)
    assert office.message(id, status="failed", id=wrong["id"])["error"]["code"] == "132000"
    office.says(number, "voltei")
    maria.api.say(id, "que bom")
    office.message(id, "que bom", status="sent")


def test_reading_and_typing_are_shown_to_the_customer(ana):
    office, maria, number, id = ana
    wamid = office.says(number, "alguém aí?")
    maria.api.command(id, "read")
    eventually("blue ticks", lambda: [r for r in office.whatsapp.receipts if r["message_id"] == wamid and "typing_indicator" not in r])
    for _ in range(5):
        maria.api.command(id, "typing", {"typing": True})
    eventually("typing", lambda: [r for r in office.whatsapp.receipts if r["message_id"] == wamid and r.get("typing_indicator") == {"type": "text"}])
    never("more than one", lambda: len([r for r in office.whatsapp.receipts if r["message_id"] == wamid]) > 2, during=0.5)


# MARK: What error codes do


def test_an_account_that_is_stopped_holds_everything_until_a_person_has_seen_to_it(office):
    maria, people = office.hire(online=False, capacity=10), [new_number() for _ in range(3)]
    ids = [office.attended_by(maria, number)["id"] for number in people]
    screen = office.desk(maria, "notices", f"conversation:{ids[0]}")
    office.whatsapp.expire_token()
    maria.api.say(ids[0], "primeira")
    waiting = eventually("said why it waits", lambda: [m for m in messages(office, ids[0], text="primeira", status="queued") if m["error"]])[0]
    assert waiting["error"]["code"] == "190" and waiting["error"]["message"]
    account = office.admin.get("/api/v1/whatsapp/status")["account"]
    assert (account["state"], account["code"]) == ("stopped", "190") and account["since"]
    notice = eventually("people are told", lambda: office.admin.get("/api/v1/notices")["items"])
    assert "190" in notice[0]["text"] and len(notice) == 1
    for number, id in zip(people, ids):
        for n in range(3):
            maria.api.say(id, f"{number} {n}")
    refused = len(office.posts())
    never("sent into the wall", lambda: len(office.posts()) > refused, during=0.7)
    office.whatsapp.renew_token()
    assert office.admin.post("/api/v1/whatsapp/resume") == {"resumed": True}
    office.settled(*ids)
    assert office.admin.get("/api/v1/whatsapp/status")["account"]["state"] == "ok"
    for number in people:
        assert [p.text for p in office.posts(number) if p.accepted and p.text.startswith(number)] == [f"{number} {n}" for n in range(3)]
    assert [p.text for p in office.posts(people[0]) if p.accepted].count("primeira") == 1
    screen.agrees_with(maria.api)


def test_too_fast_for_one_recipient_parks_that_conversation_alone(shared_office):
    office = shared_office
    maria, ana, bia = office.hire(online=False), new_number(), new_number()
    slow, free = office.attended_by(maria, ana)["id"], office.attended_by(maria, bia)["id"]
    office.whatsapp.fail_next(131056, to=ana)
    maria.api.say(slow, "devagar 1")
    maria.api.say(slow, "devagar 2")
    parked = eventually("parked", lambda: [m for m in messages(office, slow, text="devagar 1", status="queued") if m["error"]])[0]
    assert parked["error"]["code"] == "131056"
    maria.api.say(free, "livre")
    office.message(free, "livre", status="sent")
    assert messages(office, slow, text="devagar 1")[0]["status"] == "queued", "the other conversation went on meanwhile"
    office.message(slow, "devagar 2", status="sent", timeout=30)
    assert [p.text for p in office.posts(ana) if p.accepted][-2:] == ["devagar 1", "devagar 2"]
    assert messages(office, slow, text="devagar 1")[0]["error"] is None


@pytest.mark.parametrize("code", [131048, 131049, 131026, 131051, 131053, 100, 131008, 130472, 131030, 132001, 368000])
def test_a_code_that_is_for_good_fails_the_message_at_once_with_a_sentence(ana, code):
    office, maria, number, id = ana
    office.whatsapp.fail_next(code, to=number)
    maria.api.say(id, f"código {code}")
    failed = office.message(id, f"código {code}", status="failed")
    assert failed["error"]["code"] == str(code) and len(failed["error"]["message"]) > 10
    maria.api.say(id, "a próxima vai")
    office.message(id, "a próxima vai", status="sent")
    assert len(office.posts(number, f"código {code}")) == 1


@pytest.mark.parametrize("with_our_id", [True, False])
def test_a_status_before_the_answer_to_the_send_counts(ana, with_our_id):
    office, maria, number, id = ana
    office.whatsapp.slow_next(1.0, to=number)
    maria.api.say(id, "quem chega antes?")
    post = office.whatsapp.wait_for(lambda s: s.recipient == number and s.text == "quem chega antes?" and s.accepted, 20)
    office.deliver(status(post.wamid, "read", recipient=number, callback_data=post.callback_data if with_our_id else None))
    office.message(id, "quem chega antes?", status="read")
    assert len(office.posts(number, "quem chega antes?")) == 1


# MARK: Who is who


def test_both_forms_of_a_brazilian_mobile_number_are_one_person(shared_office):
    office = shared_office
    for new, old in (("5531987650001", "553187650001"), ("551199770002", "5511999770002")):
        office.deliver(text(new, "oi", name="Nono Dígito"))
        office.deliver(text(old, "sou eu", name="Nono Dígito"))
        (conversation,) = office.admin.conversations(q=old[-8:])["items"]
        assert [m["text"] for m in office.admin.all_messages(conversation["id"]) if m["direction"] == "in"] == ["oi", "sou eu"]


def test_a_customer_who_changes_the_number_is_the_same_contact(ana):
    office, maria, number, id = ana
    new = new_number()
    office.deliver(system(number, new))
    office.says(new, "troquei de número")
    assert office.admin.conversation(id)["contact"]["number"] == new
    assert messages(office, id, text="troquei de número"), "in the same conversation"
    maria.api.say(id, "anotado")
    office.posted("anotado", new)


def test_a_number_and_a_business_scoped_id_of_one_person_are_one_contact(shared_office):
    office, number = shared_office, new_number()
    bsuid = f"BR.{number}X"
    office.deliver(text(number, "com número", bsuid=bsuid), text(None, "sem número", bsuid=bsuid))
    (conversation,) = office.admin.conversations(q=number)["items"]
    assert len(messages(office, conversation["id"], direction="in")) == 2


def test_the_owner_answering_on_the_handset_stops_the_bot(shared_office):
    office, number = shared_office, new_number()
    office.says(number, "oi")
    id = office.conversation(number, "bot")["id"]
    office.settled(id)
    answers = len(office.posts(number))
    delivery = office.whatsapp.deliver(echo(number, "aqui é o dono, já vou aí"), times=5, redeliver=False)
    assert delivery.answers == [200] * 5
    conversation = office.conversation(number, "queued", "offered")
    (said,) = messages(office, id, text="aqui é o dono, já vou aí")
    assert (said["direction"], said["status"], said["author"]["kind"], said["author"]["name"]) == ("out", "sent", "agent", "Celular da empresa")
    office.says(number, "1")
    office.settled(id)
    never("the bot spoke", lambda: len(office.posts(number)) > answers, during=0.5)
    office.deliver(status(said["external_id"], "read", recipient=number))
    office.message(id, "aqui é o dono, já vou aí", status="read")
    assert conversation["id"] == id


def test_an_echo_of_what_we_sent_ourselves_is_nothing_new(ana):
    office, maria, number, id = ana
    maria.api.say(id, "pela API")
    sent = office.message(id, "pela API", status="sent")
    office.deliver(echo(number, "pela API", wamid=sent["external_id"]))
    assert len(messages(office, id, text="pela API")) == 1


# MARK: Whose number


def test_one_callback_serves_many_businesses_and_many_numbers(office):
    theirs, ours = "330000000000003", "330000000000004"
    office.whatsapp.numbers |= {theirs: "990000000000003", ours: "990011223344"}
    other = office.anybody.register("vizinha@example.com", "Nova#Firma2026", business_name="Vizinha")
    names_fields(other.call("POST", "/api/v1/whatsapp/numbers", json={"phone_number_id": theirs}), "access_token")
    names_fields(other.call("POST", "/api/v1/whatsapp/numbers", json={"phone_number_id": theirs, "access_token": "wrong"}), "access_token")
    made = other.post("/api/v1/whatsapp/numbers", {"phone_number_id": theirs, "access_token": WHATSAPP_TOKEN}, expect=201)
    assert made["own_token"] and WHATSAPP_TOKEN not in json.dumps(made)
    is_clear_error(other.call("POST", "/api/v1/whatsapp/numbers", json={"phone_number_id": PHONE_NUMBER_ID, "access_token": WHATSAPP_TOKEN}), 409)
    office.admin.post("/api/v1/whatsapp/numbers", {"phone_number_id": ours}, expect=201)
    is_clear_error(office.admin.call("POST", "/api/v1/whatsapp/numbers", json={"phone_number_id": theirs}), 409)
    is_clear_error(office.hire().api.call("GET", "/api/v1/whatsapp/numbers"), 403)

    def serves():
        ana, bia, caio = new_number(), new_number(), new_number()
        items = [text(ana, "para a principal"), text(bia, "para a vizinha", number=theirs), text(caio, "para a segunda", number=ours)]
        body = meta_json(batch([*items, status("wamid.X", "read", number=theirs)], office.whatsapp.numbers))
        assert office.whatsapp.deliver(raw=body, redeliver=False).answers == [200] and sign(office.whatsapp.app_secret, body)
        assert [c["contact"]["number"] for c in other.conversations()["items"]][:1] == [bia]
        mine = [c["contact"]["number"] for c in office.admin.conversations()["items"]]
        assert ana in mine and caio in mine and bia not in mine
        for number, sender in ((ana, PHONE_NUMBER_ID), (bia, theirs), (caio, ours)):
            assert eventually(f"the bot's answer to {number}", lambda n=number: office.posts(n))[0].number == sender
        assert [c["phone_number_id"] for c in other.conversations()["items"]] == [theirs] * len(other.conversations()["items"])

    serves()
    office.server.restart()
    serves()
    assert [n["source"] for n in office.admin.get("/api/v1/whatsapp/status")["numbers"]] == ["configuration", "registered"]
    is_clear_error(other.call("DELETE", f"/api/v1/whatsapp/numbers/{ours}"), 404)
    is_clear_error(office.admin.call("DELETE", f"/api/v1/whatsapp/numbers/{PHONE_NUMBER_ID}"), 409)
    other.call("DELETE", f"/api/v1/whatsapp/numbers/{theirs}", expect=204)
    lost = new_number()
    office.deliver(text(lost, "para ninguém", number=theirs))
    assert lost not in [c["contact"]["number"] for c in other.conversations()["items"] + office.admin.conversations()["items"]]
    assert office.admin.get("/api/v1/whatsapp/status")["deliveries_set_aside"] == 1
