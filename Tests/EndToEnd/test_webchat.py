"""The public web chat: a visitor talks to the bot and to people, sees their own conversation and nothing else (protocol/README.md "Web chat")."""

import base64
import json

import pytest

from harness.api import Api, is_clear_error, names_fields
from harness.contract import document
from harness.desk import Desk, ReplyError
from harness.http import Http
from harness.pictures import OneConversation
from harness.process import ADMIN_EMAIL
from harness.waiting import eventually, never


class Visitor:
    """A page that keeps what it was given, and what its stream told it."""

    def __init__(self, office, session):
        self.office, self.session = office, session
        self.id, self.token = session["conversation_id"], session["token"]
        self.api = Api(office.server, token=self.token)

    def connect(self):
        self.desk = Desk(self.office.server, self.token, keeps_on=False)
        self.office._clients.append(self.desk)
        self.desk.connect()
        return self.desk

    def told(self, kind=None):
        return [data for channel, _, _, data in self.desk.shown if channel == f"conversation:{self.id}" and (kind is None or data["type"] == kind)]

    def texts(self):
        return [m["text"] for m in self.api.all_messages(self.id)]


def slug(office):
    return "minha-empresa"


def visit(office, **more):
    return Visitor(office, office.anybody.post("/api/v1/chat/sessions", {"slug": slug(office)} | more, expect=201))


def follow(visitor):
    """Connected, and with the subscription as its own: `Desk` notes what it is told on channels that it follows."""
    desk = visitor.connect()
    desk.wait("what the server subscribes", lambda: desk.connect_result)
    return desk.follow(f"conversation:{visitor.id}", picture=OneConversation(is_whole=False))


def test_a_visitor_talks_to_the_bot_and_to_a_person_like_a_customer_on_whatsapp(office):
    maria = office.hire("Maria")
    ana = visit(office, name="Ana da Página")
    here = follow(ana)
    assert here.picture.conversation["state"] == "bot" and here.picture.texts == []
    answer = ana.desk.rpc("conversation.messages", {"conversation_id": ana.id, "text": "oi", "client_message_id": "k1"})
    assert (answer["direction"], answer["text"], answer["client_message_id"]) == ("in", "oi", "k1")
    eventually("the menu", lambda: len(here.picture.texts) == 2 and "atendente" in here.picture.texts[1].lower())
    menu = ana.api.all_messages(ana.id)[1]
    assert (menu["status"], menu["author"]["kind"], menu["direction"]) == ("sent", "bot", "out")

    # She asks for a person over REST; Maria is offered it as any conversation.
    assert ana.api.say(ana.id, "quero um atendente", client_message_id="k2")["text"] == "quero um atendente"
    conversation = eventually("the offer", lambda: (c := maria.api.conversation(ana.id))["state"] == "offered" and c)
    assert (conversation["channel"], conversation["contact"]["name"], conversation["contact"]["number"]) == ("web", "Ana da Página", None)
    assert conversation["window_expires_at"] is None
    maria.api.claim(ana.id)
    maria.api.note(ana.id, "cliente difícil, cuidado")
    maria.api.command(ana.id, "labels", {"labels": ["vip"]})
    said = maria.api.say(ana.id, "Olá Ana, aqui é a Maria")
    assert said["status"] == "sent"
    eventually("Maria's answer on the page", lambda: "Olá Ana, aqui é a Maria" in here.picture.texts)
    shown = eventually("Maria's name", lambda: (c := here.picture.conversation)["state"] == "active" and c)
    assert shown["assignee"] == {"consultor_id": maria.id, "user_id": None, "name": "Maria"}

    # Nothing of the desk's own is among what she was ever given, in whatever way.
    given = json.dumps([ana.desk.shown, ana.desk.snapshots, ana.api.all_messages(ana.id), ana.api.conversation(ana.id)], ensure_ascii=False)
    for secret in ("cliente difícil", "vip", maria.user["id"], "assumiu a conversa"):
        assert secret not in given, secret
    again = Desk(office.server, ana.token)
    office._clients.append(again)
    again.connect()
    fresh = again.follow(f"conversation:{ana.id}", picture=OneConversation(is_whole=False))
    history = again.command("history", {"channel": f"conversation:{ana.id}", "limit": 100})
    assert "cliente difícil" not in json.dumps([again.snapshots, history], ensure_ascii=False)
    assert {c["conn_info"]["role"] for c in again.command("presence", {"channel": f"conversation:{ana.id}"})["presence"].values()} == {"visitor"}
    assert fresh.picture.texts == ana.texts()
    # WhatsApp was not asked to send any of it.
    never("a send to WhatsApp", lambda: office.posts(), 0.3)


def test_a_visitor_sees_their_place_in_line_and_says_how_it_was(office):
    office.admin.put("/api/v1/desk/settings", {"asks_satisfaction": True})
    maria = office.hire("Maria", capacity=1)
    first, second = visit(office, name="Ana"), visit(office, name="Bia")
    first.api.say(first.id, "atendente")
    eventually("the offer", lambda: maria.api.conversation(first.id)["state"] == "offered")
    maria.api.claim(first.id)
    here = follow(second).picture
    second.api.say(second.id, "atendente")
    place = eventually("a place", lambda: here.queue)
    assert place["position"] == 1 and place["online"] == 1
    again = Desk(office.server, second.token)
    office._clients.append(again)
    again.connect()
    assert again.follow(f"conversation:{second.id}", picture=OneConversation(is_whole=False)).picture.queue == place

    maria.api.say(first.id, "Pronto!")
    maria.api.command(first.id, "resolve")
    question = eventually("the question", lambda: (t := first.texts()) and "1" in t[-1] and t[-1])
    assert "atendimento" in question
    is_clear_error(first.api.call("POST", f"/api/v1/conversations/{first.id}/messages", json={"text": "adeus"}), 409)
    first.api.say(first.id, "5", client_message_id="nota")
    first.api.say(first.id, "5", client_message_id="nota")
    assert first.api.conversation(first.id)["satisfaction"]["score"] == maria.api.conversation(first.id)["satisfaction"]["score"] == 5
    assert first.texts().count("5") == 1
    is_clear_error(first.api.call("POST", f"/api/v1/conversations/{first.id}/messages", json={"text": "5"}), 409)


def test_new_web_chats_of_one_address_may_be_without_bound(offices):
    office = offices(CHAT_SESSIONS_PER_ADDRESS=0)
    assert len({visit(office).id for _ in range(70)}) == 70


def test_typing_reading_and_presence_go_both_ways(offices):
    office = offices(PRESENCE_GRACE_SECONDS=1)
    maria = office.hire("Maria")
    ana = visit(office)
    ana.api.say(ana.id, "atendente")
    maria.api.claim(ana.id)
    screen = office.desk(maria, f"conversation:{ana.id}")
    assert screen.snapshots[-1][3]["visitor"] == {"online": False}

    def events(desk, kind):
        return [data for _, _, _, data in desk.shown if data["type"] == kind]

    follow(ana)
    eventually("the visitor is there", lambda: events(screen, "visitor.presence") == [{"type": "visitor.presence", "online": True}])
    other = office.desk(maria, f"conversation:{ana.id}")
    assert other.snapshots[-1][3]["visitor"] == {"online": True}
    ana.desk.rpc("conversation.typing", {"conversation_id": ana.id, "typing": True})
    eventually("she types", lambda: {"type": "typing", "user_id": None, "name": "Visitante", "typing": True} in screen.picture(f"conversation:{ana.id}").typing)
    maria.api.command(ana.id, "typing", {"typing": True})
    eventually("Maria types", lambda: {"type": "typing", "user_id": None, "name": "Maria", "typing": True} in ana.desk.picture(f"conversation:{ana.id}").typing)

    said = maria.api.say(ana.id, "tudo bem?")
    assert ana.api.conversation(ana.id)["unread"] == 1
    maria.api.command(ana.id, "read")
    eventually("Maria has read", lambda: ana.told("conversation.changed")[-1]["conversation"]["unread"] == 0)
    ana.desk.rpc("conversation.read", {"conversation_id": ana.id})
    eventually("she has read", lambda: [e for e in events(screen, "message.changed") if e["message"]["id"] == said["id"] and e["message"]["status"] == "read"])
    ana.desk.leave()
    eventually("the visitor is gone", lambda: events(screen, "visitor.presence")[-1]["online"] is False)


def test_a_message_is_taken_once_however_often_it_is_sent_and_after_a_restart(office):
    ana = visit(office)
    first = ana.api.say(ana.id, "oi", client_message_id="k")
    assert ana.api.say(ana.id, "oi", client_message_id="k")["id"] == first["id"]
    office.server.restart()
    assert ana.api.say(ana.id, "oi", client_message_id="k")["id"] == first["id"]
    assert ana.texts().count("oi") == 1
    names_fields(ana.api.try_command(ana.id, "messages", {"text": ""}), "text")


def test_whoever_comes_back_goes_on_and_after_the_end_begins_anew(office):
    maria = office.hire("Maria")
    ana = visit(office, name="Ana")
    ana.api.say(ana.id, "atendente")
    maria.api.claim(ana.id)
    back = Visitor(office, office.anybody.post("/api/v1/chat/sessions/refresh", {"refresh_token": ana.session["refresh_token"]}))
    assert back.id == ana.id and back.texts() == ana.texts()
    follow(back)
    renewed = back.desk.command("refresh", {"token": office.anybody.post("/api/v1/chat/sessions/refresh", {"refresh_token": back.session["refresh_token"]})["token"]})
    assert renewed["expires"] is True
    maria.api.resolve(ana.id)
    assert is_clear_error(ana.api.try_command(ana.id, "messages", {"text": "oi?"}), 409)["code"] == "conversation_resolved"
    anew = Visitor(office, office.anybody.post("/api/v1/chat/sessions/refresh", {"refresh_token": ana.session["refresh_token"]}))
    assert anew.id != ana.id
    anew.api.say(anew.id, "voltei")
    theirs = maria.api.conversation(anew.id)["contact"]
    assert theirs == maria.api.conversation(ana.id)["contact"] and theirs["name"] == "Ana"
    # The old token still reads the old one, and does not open the new one.
    assert ana.api.conversation(ana.id)["state"] == "resolved"
    is_clear_error(ana.api.call("GET", f"/api/v1/conversations/{anew.id}"), 403)


def test_a_visitor_reaches_nothing_but_their_own_conversation(office):
    maria = office.hire("Maria")
    other, ana = visit(office), visit(office)
    other.api.say(other.id, "segredo da outra")
    whatsapp = office.in_line()["id"]
    nowhere = "00000000-0000-7000-8000-000000000000"
    for id in (other.id, whatsapp, nowhere):
        for method, path in [("GET", ""), ("GET", "/messages"), ("POST", "/messages"), ("POST", "/typing"), ("POST", "/read"), ("POST", "/claim")]:
            reply = ana.api.call(method, f"/api/v1/conversations/{id}{path}", json={"text": "x"} if method == "POST" else None)
            assert is_clear_error(reply, 403)["code"] == "visitor_forbidden"
    for verb in ("notes", "claim", "resolve", "transfer", "labels", "snooze", "return-to-bot", "reopen", "decline"):
        assert is_clear_error(ana.api.try_command(ana.id, verb, {"text": "x"}), 403)["code"] == "visitor_forbidden"

    follow(ana)
    for channel in ("conversations", "queue", "queue:counts", "consultores", "notices", f"conversation:{other.id}", f"conversation:{whatsapp}", f"conversation:{nowhere}"):
        with pytest.raises(ReplyError) as refused:
            ana.desk.follow(channel)
        assert refused.value.code == 103, channel
        for name in ("presence", "presence_stats", "history"):
            with pytest.raises(ReplyError) as refused:
                ana.desk.command(name, {"channel": channel})
            assert refused.value.code == 103, (name, channel)
    from harness.contract import every_schema

    for method in sorted(name.removeprefix("commands/").removesuffix(".input.json") for name in every_schema() if name.endswith(".input.json")):
        if method == "echo":
            continue
        for id in (ana.id, other.id, nowhere):
            if id == ana.id and method in ("conversation.messages", "conversation.read", "conversation.typing"):
                continue
            with pytest.raises(ReplyError) as refused:
                ana.desk.rpc(method, {"conversation_id": id, "text": "x", "status_online": True, "consultor_id": maria.id, "labels": ["x"]})
            assert refused.value.code == 403, method
    # Whatever else there is, by its address. Answers are not held against the document: others' addresses are theirs to describe.
    http = Http(office.server.host, office.server.port)
    for path, item in document("openapi.yaml")["paths"].items():
        for method, operation in item.items():
            if not any("bearer" in scheme for scheme in operation["security"]) or path.startswith(("/api/v1/conversations/{id}", "/connection/")):
                continue
            address = path.replace("{id}", "1" if path.startswith("/consultor") else nowhere).replace("{channel}", "notices")
            reply = http.request(method.upper(), address, {"Authorization": f"Bearer {ana.token}", "Content-Type": "application/json"}, b"{}" if method != "get" else None)
            # The simulator has no address while there is a WhatsApp.
            assert reply.status in (401, 403) or "/simulator/" in path, f"{method} {path}: {reply}"
    assert [m["text"] for m in maria.api.all_messages(other.id)][0] == "segredo da outra"
    assert maria.api.conversation(whatsapp)["labels"] == []


def test_tampered_and_misused_tokens_open_nothing(office):
    ana, other = visit(office), visit(office)
    head, body, signature = ana.token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    assert (claims["role"], claims["aud"], claims["sid"]) == ("visitor", "plantao:visit", ana.id)

    def packed(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    forged = [
        f"{head}.{packed(claims | change)}.{signature}"
        for change in ({"sid": other.id}, {"role": "owner"}, {"aud": "plantao:access"}, {"exp": claims["exp"] + 9999})
    ] + [f"{packed({'alg': 'none', 'typ': 'JWT'})}.{packed(claims | {'role': 'owner', 'aud': 'plantao:access'})}.", ana.session["refresh_token"], ana.token[:-4]]
    for token in forged:
        assert Api(office.server, token=token).call("GET", f"/api/v1/conversations/{ana.id}").status == 401
        desk = Desk(office.server, token)
        with pytest.raises(Exception):
            desk.connect()
        desk.leave()
    for token in (ana.token, office.admin.token, office.admin.session["refresh_token"], "x"):
        assert office.anybody.call("POST", "/api/v1/chat/sessions/refresh", json={"refresh_token": token}).status == 401
    assert office.anybody.call("POST", "/api/v1/auth/refresh", json={"refresh_token": ana.session["refresh_token"]}).status == 401
    # A socket does not become another's by refreshing it.
    follow(ana)
    with pytest.raises(Exception):
        ana.desk.command("refresh", {"token": other.token})


def test_opening_is_checked_and_limited_per_address(offices):
    office = offices(CHAT_SESSIONS_PER_ADDRESS=3, PLANTAO_TRUSTED_PROXIES="127.0.0.1")
    tenant = office.admin.user["tenant_id"]

    def open_from(address, **body):
        return office.anybody.call("POST", "/api/v1/chat/sessions", json=body or {"tenant_id": tenant}, headers={"X-Forwarded-For": address})

    assert open_from("198.51.100.1").status == 201
    names_fields(open_from("198.51.100.2", name="sem empresa"), "slug")
    is_clear_error(open_from("198.51.100.2", slug="nao-existe"), 404)
    is_clear_error(open_from("198.51.100.3", tenant_id="não é um id"), 404)
    statuses = [open_from("203.0.113.9, 198.51.100.7").status for _ in range(6)]
    assert 429 in statuses and statuses[0] == 201
    limited = next(reply for _ in range(20) if (reply := open_from("203.0.113.77, 198.51.100.7")).status == 429)
    assert int(limited.headers["retry-after"]) >= 1, "what a client writes in front of the proxy's own entry changes nothing"
    assert open_from("198.51.100.8").status == 201
    # One customer has a whole network of IPv6.
    statuses = [open_from(f"2001:db8:1:2::{n:x}").status for n in range(1, 8)]
    assert 429 in statuses


def test_a_visitor_who_floods_is_slowed_down(office):
    ana = visit(office)
    replies = [ana.api.try_command(ana.id, "messages", {"text": f"spam {n}"}) for n in range(40)]
    assert [r.status for r in replies[:15]] == [201] * 15 and 429 in [r.status for r in replies]


def test_the_official_client_and_the_other_doors_open_a_web_chat(office):
    ana = visit(office)
    ana.api.say(ana.id, "oi")
    screen = office.official(ana).connect()
    page = screen.follow(f"conversation:{ana.id}")
    assert page.picture.texts[0] == "oi"
    assert screen.run(screen.client.rpc("conversation.messages", {"conversation_id": ana.id, "text": "2"})).data["text"] == "2"
    eventually("the bot's answer", lambda: "fatura" in page.picture.texts[-1].lower())
    # Long poll, and server-sent events that go one way.
    polled = ana.api.get(f"/api/v1/realtime/conversation:{ana.id}", wait=0)
    assert [m["text"] for m in polled["data"]["messages"]] == ana.texts()
    is_clear_error(ana.api.call("GET", "/api/v1/realtime/conversations", wait=0), 403)
    import http.client

    line = http.client.HTTPConnection(office.server.host, office.server.port, timeout=20)
    line.request("GET", f"/connection/uni_sse?token={ana.token}")
    response = line.getresponse()
    while not (text := response.readline().decode()).startswith("data: "):
        pass
    connect = json.loads(text.removeprefix("data: "))["connect"]
    assert set(connect["subs"]) == {f"conversation:{ana.id}"}
    line.close()
    assert ADMIN_EMAIL not in text
