"""protocol/ is true: its routes are the router's, its channels and methods the program's, its examples replay, and what passes on the wire is what its schemas say.

E2E_RECORD   1: writes down anew what the server answers in protocol/examples/ (for one file: with -k)
"""

import base64
import hashlib
import hmac
import http.client
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from fakes.gemini import FakeGemini
from fakes.whatsapp import media, status
from harness.api import Api
from harness.contract import METHODS, PROTOCOL, Broken, Contract, document, every_schema
from harness.golden import Player, Socket
from harness.mail import unsubscribe_token
from harness.http import Reply
from harness.office import new_number
from harness.process import ADMIN_EMAIL, ADMIN_PASSWORD, API_KEY, APP_SECRET, VERIFY_TOKEN, WHATSAPP_TOKEN, run
from harness.rawsocket import RawSocket
from harness.waiting import PATIENCE, eventually

EXAMPLES = sorted((PROTOCOL / "examples").glob("*.jsonl"))
# As `plantao serve` runs with nothing set: the simulator stands in for WhatsApp.
SIMULATED = {"WHATSAPP_API_TOKEN": "", "WHATSAPP_PHONE_NUMBER_ID": ""}


@pytest.fixture(scope="module")
def listed():
    """What the program itself says can be called."""
    done = run("routes", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# MARK: The documents and the program


def test_every_route_of_the_router_is_in_openapi_and_the_other_way_round(listed):
    routes = {(route["method"], route["path"]) for route in listed["routes"]}
    documented = {(method.upper(), path) for path, item in document("openapi.yaml")["paths"].items() for method in item if method in METHODS}
    assert len(routes) == len(listed["routes"]) > 40
    assert not routes - documented, "missing in openapi.yaml"
    assert not documented - routes, "no such route"


def test_a_route_that_only_a_setting_opens_is_listed_only_with_it(listed):
    cloud = json.loads(run("routes", "--json", WHATSAPP_API_TOKEN="t", WHATSAPP_PHONE_NUMBER_ID="1").stdout)
    assert [route for route in listed["routes"] if route not in cloud["routes"]] == [{"method": "POST", "path": "/api/v1/simulator/messages"}]
    lines = run("routes").stdout.splitlines()
    assert "GET     /health" in lines and "RPC     conversation.claim" in lines and "CHANNEL queue" in lines
    wrong = run("routes", PORT="many")
    assert wrong.returncode == 78 and "PORT" in wrong.stderr


def test_every_channel_and_method_is_in_asyncapi_and_the_other_way_round(listed):
    asyncapi = document("asyncapi.yaml")
    assert {channel["address"] for channel in asyncapi["channels"].values()} - {None} == set(listed["channels"])
    methods = {name.removeprefix("rpc.") for name in asyncapi["operations"] if name.startswith("rpc.")}
    assert methods == set(listed["rpc"])
    schemas = {name for name in every_schema() if name.startswith("commands/")}
    assert schemas == {f"commands/{method}.{part}.json" for method in listed["rpc"] for part in ("input", "result")}


def test_openapi_is_valid():
    validate(document("openapi.yaml"), base_uri=(PROTOCOL / "openapi.yaml").as_uri())
    identifiers = [operation["operationId"] for item in document("openapi.yaml")["paths"].values() for operation in item.values()]
    assert len(identifiers) == len(set(identifiers))


def test_asyncapi_names_only_what_there_is():
    asyncapi = document("asyncapi.yaml")
    assert asyncapi["asyncapi"] == "3.0.0" and {"info", "servers", "channels", "operations", "components"} <= set(asyncapi)
    for name, operation in asyncapi["operations"].items():
        assert operation["action"] in ("send", "receive"), name
        # AsyncAPI 3.0.0 "Operation Object": the messages of an operation are those of its channel.
        for place in [operation, operation.get("reply", operation)]:
            channel = place["channel"]["$ref"]
            assert all(message["$ref"].startswith(channel + "/messages/") for message in place["messages"]), name
    said = {ref for operation in asyncapi["operations"].values() for ref in _references(operation)}
    for name, channel in asyncapi["channels"].items():
        for message in channel["messages"]:
            assert f"#/channels/{name}/messages/{message}" in said, f"no operation has {message} of {name}"


@pytest.mark.parametrize("name", ["openapi.yaml", "asyncapi.yaml", *sorted(f"schemas/{name}" for name in every_schema())])
def test_every_reference_leads_somewhere(name):
    path = PROTOCOL / name
    contents = document(name) if path.suffix == ".yaml" else json.loads(path.read_text("utf-8"))
    for reference in _references(contents):
        target, _, pointer = reference.partition("#")
        found = contents if not target else json.loads((path.parent / target).read_text("utf-8"))
        for step in pointer.split("/")[1:]:
            assert step in found, f"{reference}: there is no {step}"
            found = found[step]


def test_every_schema_is_of_the_draft_it_names_and_says_what_it_is():
    for name in every_schema():
        schema = json.loads((PROTOCOL / "schemas" / name).read_text("utf-8"))
        Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$schema"] and schema["title"] and schema["description"], name


def _references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for member in value.values():
            yield from _references(member)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


# MARK: Golden examples


def _people(office):
    """Those whom examples name: the owner, and two agents with consultores 1 and 2, of whom Maria is online."""
    owner = office.admin
    people = {"owner": owner.token}
    for number, (name, languages) in enumerate([("Maria", ["pt", "en"]), ("João", ["pt"])], 1):
        email, password = f"{'maria' if number == 1 else 'joao'}@example.com", f"Senha#Forte{number}x2026"
        user = owner.create_user(email, name, "agent", password)
        consultor = owner.create_consultor(name, languages, user_id=user["id"], status_online=number == 1)
        assert consultor["id"] == number
        people[email.split("@")[0]] = Api(office.server).login(email, password).token
    return people


def _play(path, offices, contract, recorder=None):
    entries = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    settings = entries[0].get("settings", {})
    office = offices(**SIMULATED, **settings)
    Player(office.server, Api(office.server), _people(office), contract, recorder).play(entries)
    return entries


@pytest.fixture(scope="module")
def seen():
    """What of protocol/ the tests of this file have come across, and the examples that have been played."""
    contract = Contract()
    contract.played = set()
    return contract


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_plays_as_it_is_written(path, offices, seen):
    if os.environ.get("E2E_RECORD"):
        recorder = []
        first = json.loads(path.read_text("utf-8").splitlines()[0])
        _play(path, offices, seen, recorder)
        entries = ([first] if "settings" in first else []) + recorder
        path.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries), "utf-8")
    else:
        _play(path, offices, seen)
    seen.played.add(path)


def test_a_player_that_hears_something_else_says_so(offices):
    """The comparison can fail: each of these differs from what the server answers."""
    entries = [{"open": "websocket"}, {">": {"id": 1, "connect": {"token": "<maria's token>"}}}, {">": {"id": 2, "rpc": {"method": "echo", "data": {"a": 1}}}}]
    office = offices(**SIMULATED)
    people = _people(office)
    for wrong in [{"id": 2, "rpc": {"data": {"a": 2}}}, {"id": 2, "rpc": {"data": {"a": "1"}}}, {"id": 2, "rpc": {"data": {}}}, {"id": 2, "rpc": {"data": [1]}}]:
        with pytest.raises(AssertionError):
            Player(office.server, Api(office.server), people, Contract()).play([*entries, {"<": wrong}])


# MARK: A live session


class Checked(Api):
    """A client of whom every request and every answer is held against openapi.yaml."""

    def __init__(self, server, contract, token=None, api_key=None, session=None):
        super().__init__(server, token, api_key, session)
        self.contract = contract

    def _session(self, answer):
        return Checked(self.server, self.contract, token=answer["access_token"], session=answer)

    def call(self, method, path, json=None, **more):
        is_sane = more.pop("is_sane", True)
        reply = super().call(method, path, json=json, **more)
        self.contract.exchanged(*reply.request.split(" ", 1), json, reply, is_sane)
        return reply


def _tour_of_identity(owner, anybody):
    form = "application/x-www-form-urlencoded"
    for base in ("/api/v1/auth", "/api/auth"):
        anybody.call("POST", f"{base}/login", body=f"username={ADMIN_EMAIL}&password=no", headers={"Content-Type": form}, expect=401)
        anybody.call("POST", f"{base}/login", json={"email": ADMIN_EMAIL}, expect=422)
        session = anybody._session(anybody.post(f"{base}/login", {"username": ADMIN_EMAIL, "password": ADMIN_PASSWORD}))
        again = anybody._session(anybody.post(f"{base}/refresh", {"refresh_token": session.session["refresh_token"]}))
        again.post(f"{base}/logout")
        again.call("POST", f"{base}/logout", expect=401)
        anybody.call("POST", f"{base}/refresh", json={"refresh_token": "old"}, expect=401)
    session = anybody.login(ADMIN_EMAIL, ADMIN_PASSWORD)
    assert session.get("/api/v1/auth/me")["email"] == ADMIN_EMAIL
    session.call("POST", "/api/v1/auth/password", json={"current_password": "no", "new_password": "x"}, expect=422)
    session.post("/api/v1/auth/password", {"current_password": ADMIN_PASSWORD, "new_password": ADMIN_PASSWORD})
    other = anybody.login(ADMIN_EMAIL, ADMIN_PASSWORD)
    assert [s["current"] for s in other.get("/api/v1/auth/sessions")["items"]].count(True) == 1
    other.call("DELETE", f"/api/v1/auth/sessions/{other.get('/api/v1/auth/sessions', per_page=1)['items'][0]['id']}", expect=204)
    assert session.call("DELETE", "/api/v1/auth/sessions", expect=200).json() == {"ended": 0}
    assert session.get("/api/v1/auth/audit", per_page=2, outcome="success", email=ADMIN_EMAIL)["items"]
    owner.token = session.token
    other = anybody.register("outra@example.com", "Nova#Firma2026", business_name="Outra")
    anybody.call("POST", "/api/auth/register", json={"email": "outra@example.com", "password": "Nova#Firma2026"}, expect=409)
    anybody.call("POST", "/api/auth/register", json={"email": "fraca@example.com", "password": "1"}, expect=422)

    user = owner.create_user("vera@example.com", "Vera", "viewer", "Olha#Tudo2026x")
    owner.call("POST", "/api/v1/users/", json={"email": "vera@example.com", "name": "Vera", "role": "viewer", "password": "Olha#Tudo2026x"}, expect=409)
    path = f"/api/v1/users/{user['id']}"
    owner.put(path, {"name": "Vera Lima"})
    assert owner.get(path)["name"] == "Vera Lima" and owner.users(page=1, per_page=1)["total_pages"] > 1
    other.call("GET", path, expect=404)
    assert owner.users(q="vera", role="viewer", is_active="true")["total"] == 1
    owner.call("GET", "/api/v1/users", page=0, expect=422)
    vera = anybody.login("vera@example.com", "Olha#Tudo2026x")
    vera.call("PUT", path, json={"role": "owner"}, is_sane=False, expect=403)
    owner.call("DELETE", f"/api/v1/users/{owner.user['id']}", expect=409)
    gone = owner.create_user("vai@example.com", "Vai", "agent", "Por#Pouco2026x")
    owner.call("DELETE", f"/api/v1/users/{gone['id']}", expect=204)
    owner.call("DELETE", f"/api/v1/users/{gone['id']}", expect=404)
    return vera


def _tour_of_consultores(owner, integrator):
    for who in (owner, integrator):
        consultor = who.post("/consultor", {"nome": "Rita", "idiomas": ["pt"]}, expect=201)
        path = f"/consultor/{consultor['id']}"
        who.put(path, {"capacity": 3, "id_pipedrive": 7, "user_id": None})
        who.call("PUT", path, json={"capacity": -1}, is_sane=False, expect=422)
        who.put(f"{path}/connection", status_online="true")
        who.put(f"{path}/connection", {"status_online": True})
        assert who.get("/consultor/da-vez", idioma="pt")["numero_protocolo"].startswith("#")
        who.call("GET", "/consultor/da-vez", idioma="xx", expect=404)
        who.call("GET", "/consultor/da-vez", expect=422)
        assert consultor["id"] in [c["id"] for c in who.get("/consultores")] and who.get(path)["capacity"] == 3
        for method in ("GET", "POST"):
            key = {"Idempotency-Key": f"{who.api_key} {method}"}
            turn = who.call(method, "/consultor/da-vez", headers=key, idioma="pt", expect=200)
            assert who.call(method, "/consultor/da-vez", headers=key, idioma="pt", expect=200).text == turn.text
            who.call(method, "/consultor/da-vez", headers=key, idioma="en", expect=422)
            number = who.call(method, "/gerar-protocolo", consultor_id=consultor["id"], expect=200).json()
        who.post("/consultor/da-vez", {"idioma": "pt"})
        protocolo = f"/protocolo/{number['id']}"
        assert who.get(protocolo)["numero"] == number["numero_protocolo"]
        assert who.put(protocolo, {"consultor_id": None, "observacao": "ligou de volta"})["consultor_id"] is None
        assert [entry["acao"] for entry in who.get(f"{protocolo}/historico")["items"]] == ["gerado", "atribuido"]
        assert who.get("/protocolos", q="volta", limit=1, ordem="desc")[0]["id"] == number["id"]
        who.call("GET", "/protocolo/999999", expect=404)
        items = who.post("/consultores/import", [{"nome": f"Lista {who.api_key}", "idiomas": ["pt"]}])["items"]
        assert [item["outcome"] for item in items] == ["created"]
        who.call("DELETE", path, expect=204)
        who.call("GET", path, expect=404)
    key = owner.call("POST", "/api/v1/api-keys", json={"name": "CRM", "scopes": ["da-vez"]}, expect=201).json()
    owner.call("POST", "/api/v1/api-keys", json={"name": "CRM"}, expect=409)
    owner.post(f"/api/v1/api-keys/{key['id']}/rotate", {"grace_seconds": 0})
    assert [k["name"] for k in owner.get("/api/v1/api-keys")["items"]] == ["AUTHENTICATION_API_KEY", "CRM"]
    owner.call("DELETE", f"/api/v1/api-keys/{key['id']}", expect=204)
    owner.get("/api/v1/pipedrive/status")


def _tour_of_pipedrive(offices, seen):
    office = offices(PIPEDRIVE_API_TOKEN="t", PIPEDRIVE_API_URL="http://127.0.0.1:1", PIPEDRIVE_WEBHOOK_PASSWORD="p")
    anybody = Checked(office.server, seen)
    news = {"meta": {"action": "change", "entity": "person", "entity_id": "1"}, "data": {"id": 1, "name": "Ana"}}
    anybody.call("POST", "/api/webhooks/pipedrive", json=news, headers={"Authorization": "Basic " + base64.b64encode(b"plantao:p").decode()}, expect=200)


def _tour_of_conversations(office, owner, maria):
    id = office.attended_by(maria)["id"]
    agent = Checked(office.server, owner.contract, token=maria.token)
    base = f"/api/v1/conversations/{id}"
    for query in ({"state": "open"}, {"state": "active,queued", "assignee": "me", "per_page": 2}, {"assignee": "none"}, {"q": "#0000"}, {"assignee": 1}, {"label": "a", "channel": "web", "language": "pt", "unread": "true"}, {"from": "2026-01-01", "to": "2026-12-31", "sort": "name", "text": "oi"}):
        agent.conversations(**query)
    agent.call("GET", "/api/v1/conversations", state="dreaming", expect=422)
    assert agent.put("/api/v1/users/me/views", {"views": [{"name": "Minhas", "query": {"assignee": "me"}}]})["selected"] is None
    assert agent.get("/api/v1/users/me/views")["views"][0]["name"] == "Minhas"
    agent.conversation(id)
    said = agent.say(id, "Bom dia!", client_message_id="k1")
    assert agent.say(id, "Bom dia!", client_message_id="k1")["id"] == said["id"]
    agent.note(id, "só entre nós")
    office.settled(id)
    agent.call("POST", f"{base}/reactions", json={"message_id": said["id"], "emoji": "👍"}, expect=201)
    agent.call("POST", f"{base}/reactions", json={"message_id": "x"}, is_sane=False, expect=422)
    office.settled(id)
    office.whatsapp.fail_next(131026)
    agent.say(id, "De novo!")
    failed = office.message(id, "De novo!", status="failed")
    session, line = agent.contract.session(), RawSocket(agent.server.host, agent.server.port)
    again = {"method": "conversation.resend", "data": {"conversation_id": id, "message_id": failed["id"]}}
    for command in ({"id": 1, "connect": {"token": agent.token}}, {"id": 2, "rpc": again}):
        session.said(command)
        line.send(json.dumps(command))
    _until(line, session, lambda frame: frame.get("id") == 2)
    line.abort()
    office.settled(id)
    agent.call("POST", f"{base}/messages/{said['id']}/resend", expect=409)
    office.whatsapp.fail_next(131026)
    agent.say(id, "E mais uma!")
    failed = office.message(id, "E mais uma!", status="failed")
    agent.call("POST", f"{base}/messages/{failed['id']}/resend", expect=200)
    office.settled(id)
    pdf = b"%PDF-1.4 conta"
    sent = agent.call("POST", f"{base}/media", body=pdf, headers={"Content-Type": "application/pdf"}, filename="conta.pdf", is_sane=False, expect=201).json()
    assert agent.call("GET", f"{base}/messages/{sent['id']}/media", expect=200).body == pdf
    agent.messages(id, limit=2, before=said["id"])
    agent.call("GET", f"{base}/messages", before="x", expect=422)
    for verb, body in {"claim": None, "read": None, "typing": {"typing": False}, "labels": {"labels": ["a"]}, "transfer": {"consultor_id": maria.id}}.items():
        agent.command(id, verb, body)
    agent.call("POST", f"{base}/decline", expect=409)
    agent.call("POST", f"{base}/snooze", json={"until": "yesterday"}, expect=422)
    agent.command(id, "snooze", {"until": (datetime.now(timezone.utc) + timedelta(hours=1)).isoformat()})
    agent.command(id, "return-to-bot")
    agent.command(id, "resolve")
    agent.call("POST", f"{base}/messages", json={"text": "tarde demais"}, expect=409)
    agent.command(id, "reopen")
    agent.call("POST", f"{base}/reopen", expect=409)

    # An offer, given back.
    offered = office.in_line()["id"]
    eventually("the offer", lambda: agent.conversation(offered)["state"] == "offered")
    agent.command(offered, "decline")
    # What is more than text, and what became of an answer.
    number = agent.conversation(id)["contact"]["number"]
    office.deliver(media(number, "image", content={"caption": "olha"}))
    office.settled(id)
    sent = office.message(id, "Bom dia!")["external_id"]
    office.deliver(status(sent, "failed", errors=[{"code": 131026, "title": "Message undeliverable"}]))
    office.message(id, "Bom dia!", status="failed")
    assert [m for m in agent.messages(id)["items"] if "content" in m] and [m for m in agent.messages(id)["items"] if m["error"]]


def _tour_of_web_chat(office, owner, anybody, maria):
    session = anybody.post("/api/v1/chat/sessions", {"tenant_id": owner.user["tenant_id"], "name": "Ana"}, expect=201)
    assert anybody.post("/api/v1/chat/sessions/refresh", {"refresh_token": session["refresh_token"]})["conversation_id"] == session["conversation_id"]
    anybody.call("POST", "/api/v1/chat/sessions", json={"slug": "nenhuma"}, expect=404)
    visitor, id = Checked(office.server, owner.contract, token=session["token"]), session["conversation_id"]
    visitor.say(id, "oi", client_message_id="k1")
    for verb, body in {"read": None, "typing": {"typing": True}}.items():
        visitor.command(id, verb, body)
    assert visitor.messages(id)["items"][0]["text"] == "oi" and visitor.conversation(id)["channel"] == "web"
    visitor.call("POST", f"/api/v1/conversations/{id}/resolve", expect=403)
    # An agent looks on while the visitor comes.
    agent = Socket("", owner.contract.session(), office.server)
    page = Socket("", owner.contract.session(), office.server)
    try:
        for line, token in ((agent, maria.token), (page, session["token"])):
            line.say({"id": 1, "connect": {"token": token}})
            assert line.wait(lambda: line.frames)
            line.say({"id": 2, "subscribe": {"channel": f"conversation:{id}"}})
        visitor.say(id, "alguém aí?")
        for line, kind in ((agent, "visitor.presence"), (page, "message.created")):
            assert line.wait(lambda: kind in json.dumps(line.frames)), kind
            for frame in list(line.frames):
                line.contract.heard(frame)
    finally:
        agent.close()
        page.close()


def _tour_of_desk(office, owner, contract):
    """How the desk is run, and what its people are told."""
    maria, joao = office.hire("Maria"), office.hire("João Paz", online=False)
    agent = Checked(office.server, contract, token=maria.token)
    lines = {}
    for who, token, channels in [
        ("owner", office.admin.token, ["desk", "supervision", "queue"]), ("maria", maria.token, [f"user:{maria.user['id']}"]), ("joao", joao.token, [f"user:{joao.user['id']}"])
    ]:
        line = lines[who] = Socket(who, contract.session(), office.server)
        line.say({"id": 1, "connect": {"token": token}})
        for number, channel in enumerate(channels, 2):
            line.say({"id": number, "subscribe": {"channel": channel}})

    def told(who, kind):
        came = lambda: [f for f in lines[who].frames if f.get("push", {}).get("pub", {}).get("data", {}).get("type") == kind]
        assert lines[who].wait(came), f"{who} is not told {kind}"

    settings = {"wrap_up_seconds": 60, "first_answer_seconds": 2, "warn_before_seconds": 1, "weekly_hours": {"sun": [["00:00", "24:00"]]}}
    owner.put("/api/v1/desk/settings", settings)
    assert owner.get("/api/v1/desk/settings")["wrap_up_seconds"] == 60
    agent.call("PUT", "/api/v1/desk/settings", json=settings, expect=403)
    owner.call("PUT", "/api/v1/desk/settings", json={"holidays": ["natal"]}, is_sane=False, expect=422)
    told("owner", "settings.changed")

    reply = agent.post("/api/v1/canned-replies", {"shortcut": "oi", "text": "Olá, {{contact}}!"}, expect=201)
    path = f"/api/v1/canned-replies/{reply['id']}"
    agent.call("POST", "/api/v1/canned-replies", json={"shortcut": "oi", "text": "x"}, expect=409)
    assert agent.get("/api/v1/canned-replies", page=1, per_page=1)["items"] == [reply]
    agent.put(path, {"text": "Oi, {{contact}}!"})
    agent.get(path)

    in_line = office.in_line()
    line = lines["customer"] = Socket("customer", contract.session(), office.server)
    line.say({"id": 1, "connect": {"token": office.admin.token}})
    line.say({"id": 2, "subscribe": {"channel": f"conversation:{in_line['id']}"}})
    line.wait(lambda: any(f.get("id") == 2 for f in line.frames))
    joao.api.set_online(joao.id)
    told("customer", "queue.position")
    told("owner", "queue.estimated")
    agent.claim(in_line["id"])
    # Taken from the bot: what is promised is hers from the beginning.
    number = new_number()
    office.says(number, "oi")
    id = agent.claim(office.conversation(number, "bot")["id"])["id"]
    for who in ("owner", "maria"):
        told(who, "sla.warned")
        told(who, "sla.breached")
    agent.command(id, "messages", {"shortcut": "oi"}, expect=201)
    office.says(number, "oi?")
    told("maria", "unread.counted")
    agent.note(id, "@joão olha")
    told("joao", "mention.created")
    joao.api.command(id, "read")
    told("joao", "mentions.read")
    told("owner", "work.changed")
    agent.command(id, "transfer", {"queue": True})
    agent.command(agent.claim(id)["id"], "resolve")
    agent.get(f"/api/v1/conversations/{id}/audit", limit=2)
    agent.call("GET", "/api/v1/audit", expect=403)
    owner.get("/api/v1/audit", before=5)
    agent.post(f"/consultor/{maria.id}/wrapped-up")
    lines["maria"].say({"id": 9, "rpc": {"method": "consultor.wrapped-up", "data": {}}})
    assert lines["maria"].wait(lambda: any(f.get("id") == 9 for f in lines["maria"].frames))
    agent.call("DELETE", path, expect=204)
    told("owner", "canned.changed")
    told("owner", "canned.removed")
    owner.put("/api/v1/desk/settings", {"wrap_up_seconds": 0, "first_answer_seconds": None, "weekly_hours": None})
    for line in lines.values():
        for frame in line.frames:
            line.contract.heard(frame)
        line.close()


def _tour_of_portfolio(office, owner, anybody, viewer):
    """Customers and sales, with everything that is told of them."""
    line = Socket("", owner.contract.session(), office.server)
    line.say({"id": 1, "connect": {"token": owner.token}})
    for number, channel in enumerate(("health", "sales"), 2):
        line.say({"id": number, "subscribe": {"channel": channel}})
    assert line.wait(lambda: {2, 3} <= {frame.get("id") for frame in line.frames})
    today = (datetime.now(timezone.utc) - timedelta(hours=3)).date().isoformat()
    seller = {"id": 7, "name": "Amanda", "email": "a@example.com"}
    owner.post("/vendas/vendedores", seller)
    owner.post("/clientes", [{"client_id": n, "nome": f"C{n}", "valor": 10.5, "vendedor_id": 7, "cs": "Maria", "data_adesao": today} for n in range(1, 7)])
    owner.call("POST", "/clientes", json={"client_id": 0}, is_sane=False, expect=422)
    viewer.call("POST", "/clientes", json={"client_id": 1}, expect=403)
    owner.post("/atividades", [{"tenant_id": 1, "tipo": "login"}] * 41 + [{"tenant_id": 1, "tipo": "econversa", "ativo": True}])
    owner.call("POST", "/atividades", json={"tenant_id": 1, "tipo": "dança"}, is_sane=False, expect=422)
    owner.post("/atividades", {"tenant_id": 1, "tipo": "integrador", "nome": "ERP"})
    for path in ("/clientes", "/health-scores", "/dashboard"):
        viewer.get(path, data_adesao_inicio="2020-01-01", data_adesao_fim="2040-01-01")
        viewer.call("GET", path, data_adesao_inicio="ontem", expect=422)
    viewer.get("/logins", tenant_id=1)
    viewer.get("/clientes/1")
    viewer.call("GET", "/clientes/99", expect=404)
    viewer.get("/clientes/1/health", inicio="2026-01-01", completo="true")
    action = owner.get("/clientes/acoes", estado="abertas", cs="Maria", limit=5)["items"][0]
    owner.post(f"/clientes/acoes/{action['id']}/concluir")
    viewer.call("POST", f"/clientes/acoes/{action['id']}/concluir", expect=403)
    owner.post("/cache/clear")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    anybody.call("POST", "/api/webhooks/kommo", body="leads[add][0][id]=50&leads[add][0][name]=Novo", headers=form, is_sane=False, expect=200)
    for path in ("clientes", "clientes/vendedor/7", "clientes/inadimplentes", "clientes/novos", "clientes/churns", "resumo-comissoes", "ranking", "dashboard", "commission-config", "mrr"):
        viewer.get(f"/vendas/{path}", month=today[:7])
        viewer.call("GET", f"/vendas/{path}", month="2024-13", expect=422)
    for way in ("json", "csv", "html"):
        viewer.call("GET", "/vendas/extrato/7", formato=way, expect=200)
    viewer.call("GET", "/vendas/extrato/7", formato="pdf", expect=422)
    viewer.call("GET", "/vendas/extrato/5", expect=404)
    assert viewer.get("/vendas/vendedores") == [seller]
    owner.put("/vendas/commission-config", {"sales_goal": 12})
    owner.call("PUT", "/vendas/commission-config", json={"sales_goal": 0}, is_sane=False, expect=422)
    owner.post("/vendas/cache/clear")
    viewer.call("GET", "/api/v1/kommo/names", expect=403)
    owner.put("/api/v1/kommo/names", {"pipelines": {"77": "CS | ONGOING"}})
    owner.call("PUT", "/api/v1/kommo/names", json={"users": {"x": "y"}}, is_sane=False, expect=422)
    owner.get("/api/v1/kommo/names")
    page = {"limit": 2, "after": 1}
    calls = [
        ("customer.list", page), ("customer.get", {"client_id": 1}), ("customer.put", {"client_id": 1, "nome": "Um"}), ("customer.history", {"client_id": 1}),
        ("customer.logins", {"tenant_id": 1}), ("customer.actions", {"estado": "todas"}), ("customer.finish-action", {"id": action["id"]}),
        ("activity.record", {"tenant_id": 1, "tipo": "lead"}), ("activity.record", {"atividades": [{"tenant_id": 1, "tipo": "lead"}], "idempotency_key": "k"}),
        ("health.scores", page), ("health.dashboard", {"data_adesao_inicio": "2020-01-01"}), ("sales.sellers", {}), ("sales.put-sellers", [seller]),
        ("sales.customers", page | {"month": today[:7]}), ("sales.summary", {}), ("sales.ranking", {}), ("sales.dashboard", {}), ("sales.config", {}),
        ("sales.configure", {"sales_goal": 11}), ("sales.mrr", {"month": today[:7]}), ("sales.statement", {"vendedor_id": 7}),
    ]
    for number, (method, data) in enumerate(calls, 10):
        line.say({"id": number, "rpc": {"method": method, "data": data}})
    answered = lambda: {frame.get("id") for frame in list(line.frames) if "rpc" in frame}
    assert line.wait(lambda: len(answered()) == len(calls)), [calls[n - 10] for n in range(10, 10 + len(calls)) if n not in answered()]
    owner.post("/clientes", [{"client_id": 2, "valor": 20}, {"client_id": 3, "data_cancelamento": today}])
    wanted = {message for message in document("asyncapi.yaml")["components"]["messages"] if message.startswith(("health.", "sales."))}
    assert line.wait(lambda: wanted <= {frame["push"]["pub"]["data"]["type"] for frame in list(line.frames) if "pub" in frame.get("push", {})})
    for frame in line.frames:
        line.contract.heard(frame)
    line.close()


def _tour_of_whatsapp(owner, anybody):
    handshake = {"hub.mode": "subscribe", "hub.verify_token": VERIFY_TOKEN, "hub.challenge": "42"}
    assert anybody.call("GET", "/api/webhooks/whatsapp", expect=200, **handshake).text == "42"
    anybody.call("GET", "/api/webhooks/whatsapp", expect=403, **handshake | {"hub.verify_token": "no"})
    for body, key, expect in [(b'{"object":"whatsapp_business_account","entry":[]}', APP_SECRET, 200), (b"{}", "another", 403), (b"[", APP_SECRET, 400), (b"{}", None, 401)]:
        signature = {"X-Hub-Signature-256": "sha256=" + hmac.new(key.encode(), body, hashlib.sha256).hexdigest()} if key else {}
        anybody.call("POST", "/api/webhooks/whatsapp", body=body, headers=signature, is_sane=False, expect=expect)
    owner.get("/api/v1/whatsapp/status")
    assert owner.post("/api/v1/whatsapp/resume") == {"resumed": False}
    owner.call("POST", "/api/v1/whatsapp/numbers", json={"phone_number_id": "x"}, is_sane=False, expect=422)
    number = {"phone_number_id": "110200300400999", "waba_id": "1", "access_token": WHATSAPP_TOKEN}
    owner.call("POST", "/api/v1/whatsapp/numbers", json=number, expect=201)
    owner.call("POST", "/api/v1/whatsapp/numbers", json=number, expect=200)
    assert [n["phone_number_id"] for n in owner.get("/api/v1/whatsapp/numbers")["items"]][1:] == ["110200300400999"]
    owner.call("DELETE", "/api/v1/whatsapp/numbers/110200300400999", expect=204)
    owner.call("DELETE", "/api/v1/whatsapp/numbers/110200300400999", expect=404)


def _listens_only(owner):
    """`uni_sse` as a browser opens it: everything in the query."""
    line = http.client.HTTPConnection(owner.server.host, owner.server.port, timeout=20 * PATIENCE)
    line.request("GET", f"/connection/uni_sse?token={owner.token}&channels=queue")
    response = line.getresponse()
    assert response.status == 200 and response.headers["content-type"].startswith("text/event-stream")
    while not (text := response.readline().decode()).startswith("data: "):
        assert text.startswith(("id: ", "retry: ", ":")) or not text.strip(), text
    owner.contract.session(is_one_way=True).heard(json.loads(text.removeprefix("data: ")))
    owner.contract.answered.setdefault(("GET", "/connection/uni_sse"), set()).add(200)
    line.sock.shutdown(socket.SHUT_RDWR)


def _until(line, session, found):
    while True:
        frames = [json.loads(text) for text in line.receive(timeout=20 * PATIENCE).splitlines()]
        for frame in frames:
            session.heard(frame)
        wanted = next((frame for frame in frames if found(frame)), None)
        if wanted is not None:
            return wanted


def _tour_of_the_bot(offices, contract):
    with FakeGemini() as gemini:
        office = offices(GEMINI_API_KEY="k", GEMINI_API_URL=gemini.url)
        owner = Checked(office.server, contract).login(ADMIN_EMAIL, ADMIN_PASSWORD)
        base = "/api/v1/bot/flow"
        assert owner.put(base, owner.get(base)["flow"])["version"] == 1
        owner.call("PUT", base, json={"start": "x"}, is_sane=False, expect=422)
        assert owner.get(f"{base}/versions", page=1, per_page=10)["total"] == 1
        assert owner.get(f"{base}/versions/1")["active"] and owner.post(f"{base}/versions/1/activate")["active"]
        owner.call("GET", f"{base}/versions/9", expect=404)
        assert len(owner.post(f"{base}/preview", {"inputs": ["oi", {"choice": "1"}]})["steps"]) == 2
        # And what its assistant says, as it comes.
        number = new_number()
        office.says(number, "oi")
        id = office.conversation(number, "bot")["id"]
        session, line = contract.session(), RawSocket(owner.server.host, owner.server.port)
        for command in ({"id": 1, "connect": {"token": owner.token}}, {"id": 2, "subscribe": {"channel": f"conversation:{id}"}}):
            session.said(command)
            line.send(json.dumps(command))
        office.says(number, "o que é isso?")
        _until(line, session, lambda frame: frame.get("push", {}).get("pub", {}).get("data", {}).get("type") == "message.streaming")
        line.abort()
        office.settled(id)


def _an_hour_ago():
    return (datetime.now(timezone.utc) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:00Z")


def _by_rpc(line, session, service, at):
    """What the staff does with the calendar, over a socket."""
    numbers = itertools.count(100)

    def call(method, **data):
        number = next(numbers)
        command = {"id": number, "rpc": {"method": method, "data": data}}
        session.said(command)
        line.send(json.dumps(command))
        return _until(line, session, lambda frame: frame.get("id") == number)["rpc"]["data"]

    person = {"service_id": service, "client_name": "Bia", "client_whatsapp": "+5511900000002"}
    hold = call("appointment.hold", service_id=service, start_time=at(13))
    made = call("appointment.book", **person, start_time=at(13), hold_id=hold["hold_id"])["id"]
    call("appointment.confirm", appointment_id=made)
    call("appointment.update", appointment_id=made, notes="porta")
    call("appointment.reschedule", appointment_id=made, start_time=at(14))
    # What has not begun does not end.
    call("appointment.reschedule", appointment_id=made, start_time=_an_hour_ago(), force=True)
    call("appointment.complete", appointment_id=made)
    call("appointment.no-show", appointment_id=made)
    call("appointment.decline", appointment_id=call("appointment.book", **person, start_time=at(13))["id"], reason="cheio")
    call("appointment.release", hold_id=call("appointment.hold", service_id=service, start_time=at(13))["hold_id"])
    blocker = call("appointment.book", **person, start_time=at(15))["id"]
    wish = person | {"from": at(15), "until": at(16)}
    entry = call("waitlist.join", **wish)
    call("appointment.cancel", appointment_id=blocker, reason="chuva")
    call("appointment.cancel", appointment_id=call("waitlist.accept", waitlist_id=entry["id"])["id"])
    call("waitlist.leave", waitlist_id=call("waitlist.join", **wish)["id"])


def _tour_of_bookings(office, owner, anybody):
    base, business = "/api/appointments", {"user_id": owner.user["id"]}
    day = datetime.now(timezone.utc).date() + timedelta(days=3)
    day += timedelta(days=day.weekday() == 6)
    at = lambda hour: f"{day}T{hour + 3:02d}:00:00.000Z"  # noqa: E731
    session, line = owner.contract.session(), RawSocket(owner.server.host, owner.server.port)
    rules = owner.put("/api/users/business-hours", {"hold_seconds": 60, "breaks": {"sun": [["12:00", "12:30"]]}})
    assert owner.get("/api/users/business-hours") == rules
    category = owner.post("/api/services/categories", {"name": "Cabelo"}, expect=201)
    owner.put(f"/api/services/categories/{category['id']}", {"name": "Cabelos"})
    owner.get("/api/services/categories")
    service = owner.post("/api/services", {"name": "Corte", "duration": 60, "price": 50.5, "category_id": category["id"]}, expect=201)
    guest = anybody.post(f"{base}/public/sessions", business, expect=201)
    follower, page = owner.contract.session(), RawSocket(owner.server.host, owner.server.port)
    for socket_, says, token, channels in ((line, session, owner.token, ["calendar", f"calendar:{day}"]), (page, follower, guest["token"], [guest["channel"]])):
        for command in [{"id": 1, "connect": {"token": token}}, *({"id": n, "subscribe": {"channel": channel}} for n, channel in enumerate(channels, 2))]:
            says.said(command)
            socket_.send(json.dumps(command))
        _until(socket_, says, lambda frame: frame.get("id") == len(channels) + 1)

    def until(event, on=None):
        socket_, says = on or (line, session)
        _until(socket_, says, lambda frame: frame.get("push", {}).get("pub", {}).get("data", {}).get("type") == event)

    owner.put("/api/users/business-hours", {"hold_seconds": 120})
    until("booking_rules.changed")
    until("booking.changed", (page, follower))
    owner.get("/api/services", query="corte", min_price=1, is_active="true")
    owner.put(f"/api/services/{service['id']}", {"description": "com lavagem"})
    until("service.changed")
    owner.get(f"/api/services/{service['id']}")
    png = b"\x89PNG\r\n\x1a\n" + b"0" * 64
    image = owner.call("POST", f"/api/services/{service['id']}/images", body=png, headers={"Content-Type": "image/png"}, is_sane=False, expect=201).json()["images"][0]
    anybody.call("GET", image, expect=200)
    owner.call("DELETE", image, expect=200)
    ana = owner.post("/api/staff", {"name": "Ana"}, expect=201)
    until("staff.changed")
    owner.put(f"/api/staff/{ana['id']}", {"weekly_hours": {"mon": [["08:00", "12:00"]]}})
    owner.get(f"/api/staff/{ana['id']}")
    owner.get("/api/staff")
    owner.call("DELETE", f"/api/staff/{ana['id']}", expect=204)
    off = owner.post("/api/time-off", {"start_time": at(20), "end_time": at(20)[:11] + "23:30:00Z", "reason": "curso"}, expect=201)
    until("time_off.changed")
    owner.get("/api/time-off")
    owner.call("DELETE", f"/api/time-off/{off['id']}", expect=204)

    owner.get(f"{base}/availability", service_id=service["id"], date=str(day))
    hold = owner.post(f"{base}/holds", {"service_id": service["id"], "start_time": at(9)}, expect=201)
    until("hold.made")
    until("slots.changed", (page, follower))
    person = {"service_id": service["id"], "client_name": "Ana", "client_whatsapp": "+5511900000001"}
    made = owner.post(base, person | {"start_time": at(9), "hold_id": hold["hold_id"]}, expect=201)
    until("appointment.changed")
    owner.call("POST", base, json=person | {"start_time": at(9)}, expect=409)
    owner.call("POST", base, json={}, is_sane=False, expect=422)
    own = f"{base}/{made['id']}"
    owner.get(own)
    owner.put(own, {"notes": "janela"})
    owner.post(f"{own}/confirm")
    owner.call("GET", f"{own}/calendar.ics", expect=200)
    later = day + timedelta(days=8 if day.weekday() == 5 else 7)
    owner.post(f"{own}/reschedule", {"start_time": f"{later}T17:00:00Z"})
    until("appointment.left")
    owner.call("POST", f"{own}/complete", expect=409)
    owner.post(f"{own}/reschedule", {"start_time": _an_hour_ago(), "force": True})
    owner.post(f"{own}/complete")
    owner.post(f"{own}/no-show")
    for verb, hour in (("cancel", 9), ("decline", 10)):
        one = owner.post(base, person | {"start_time": at(hour)}, expect=201)
        owner.post(f"{base}/{one['id']}/{verb}", {"reason": "teste"})
    one = owner.post(base, person | {"start_time": at(9), "recurrence": {"frequency": "weekly", "count": 2}}, expect=201)["appointments"][0]
    owner.call("DELETE", f"{base}/{one['id']}", scope="following", expect=200)
    owner.get(base, q="ana", status="cancelled", order="desc")
    owner.get(f"{base}/stats")
    _by_rpc(line, session, service["id"], at)
    released = owner.post(f"{base}/holds", {"service_id": service["id"], "start_time": at(9)}, expect=201)
    owner.call("DELETE", f"{base}/holds/{released['hold_id']}", expect=204)
    until("hold.ended")
    anybody.call("GET", owner.get(f"{base}/feed")["path"], expect=200)
    owner.post(f"{base}/feed/rotate")

    anybody.get(f"{base}/public/availability", service_id=service["id"], date=str(day), **business)
    kept = anybody.post(f"{base}/public/holds", {"service_id": service["id"], "start_time": at(11)} | business, expect=201)
    anybody.call("DELETE", f"{base}/public/holds/{kept['hold_id']}", expect=204, **business)
    theirs = anybody.post(f"{base}/public", person | business | {"start_time": at(11)}, expect=201)
    place, token = f"{base}/public/{theirs['id']}", business | {"token": theirs["manage_token"]}
    anybody.get(place, **token)
    anybody.call("GET", place, expect=404, **business)
    anybody.call("GET", f"{place}/calendar.ics", expect=200, **token)
    anybody.call("POST", f"{place}/reschedule", json={"start_time": at(15)}, expect=200, **token)
    wish = {name: person[name] for name in person} | {"from": at(15), "until": at(16)}
    waiting = [anybody.post(f"{base}/public/waitlist", wish | business, expect=201), owner.post(f"{base}/waitlist", wish | {"client_whatsapp": "+5511900000009"}, expect=201)]
    anybody.call("POST", f"{base}/public/waitlist", json=wish | business | {"client_name": "Eva"}, expect=409)
    until("waitlist.changed")
    anybody.call("POST", f"{place}/cancel", json={}, expect=200, **token)
    entry, token = f"{base}/public/waitlist/{waiting[0]['id']}", business | {"token": waiting[0]["token"]}
    assert anybody.get(entry, **token)["status"] == "offered"
    booked = anybody.call("POST", f"{entry}/accept", expect=201, **token).json()
    anybody.call("DELETE", entry, expect=200, **token)
    owner.call("DELETE", f"{base}/{booked['id']}", expect=200)
    assert owner.get(f"{base}/waitlist")["total"] == 4
    owner.call("POST", f"{base}/waitlist/{waiting[1]['id']}/accept", expect=201)
    owner.call("DELETE", f"{base}/waitlist/{waiting[1]['id']}", expect=200)
    owner.get("/api/services/stats")
    owner.call("DELETE", f"/api/services/categories/{category['id']}", expect=204)
    spare = owner.post("/api/services", {"name": "Barba", "duration": 30}, expect=201)
    owner.call("DELETE", f"/api/services/{spare['id']}", expect=204)
    line.abort()
    page.abort()


def _tour_of_clients(owner):
    base, number = "/api/clients", "+5511912340001"
    session, line = owner.contract.session(), RawSocket(owner.server.host, owner.server.port)
    ids = itertools.count(3)

    def call(method, data):
        command = {"id": next(ids), "rpc": {"method": method, "data": data}}
        session.said(command)
        line.send(json.dumps(command))
        return _until(line, session, lambda frame: frame.get("id") == command["id"])["rpc"]["data"]

    for command in ({"id": 1, "connect": {"token": owner.token}}, {"id": 2, "subscribe": {"channel": "calendar"}}):
        session.said(command)
        line.send(json.dumps(command))
    _until(line, session, lambda frame: frame.get("id") == 2)
    one = owner.post(base, {"name": "Ana", "whatsapp": number, "tags": ["a"], "birth_date": "1990-05-17"}, expect=201)
    _until(line, session, lambda frame: frame.get("push", {}).get("pub", {}).get("data", {}).get("type") == "client.changed")
    owner.call("POST", base, json={"name": "Ana", "whatsapp": number}, expect=409)
    owner.call("POST", base, json={}, is_sane=False, expect=422)
    own = f"{base}/{one['id']}"
    owner.get(own)
    owner.put(own, {"city": "Itu", "custom_fields": {"a": 1}})
    owner.get(base, query="ana", is_active="true", min_appointments=0, sort_by="frequency_score", sort_order="desc")
    owner.get(f"{own}/history", type="change")
    owner.get(f"{base}/analytics/overview")
    owner.post(f"{base}/bulk-update", {"client_ids": [one["id"]], "changes": {"tags_add": ["b"]}})
    owner.call("POST", f"{base}/import", json=[{"name": "Bia", "whatsapp": "+5511912340002"}], expect=200)
    owner.call("GET", f"{base}/export", query="bia", expect=200)
    other = call("client.create", {"name": "Caio", "email": "caio@example.com", "whatsapp": "+5511912340003"})
    call("client.update", {"client_id": other["id"], "email": "ana@example.com"})
    owner.put(own, {"email": "ana@example.com"})
    assert owner.get(f"{base}/duplicates")["total"] == 1
    call("client.bulk-update", {"client_ids": [other["id"]], "changes": {"is_vip": True}})
    third = owner.post(base, {"name": "Davi", "whatsapp": "+5511912340004"}, expect=201)
    owner.post(f"{own}/merge", {"from": third["id"]})
    call("client.merge", {"client_id": other["id"], "into": one["id"]})
    owner.call("GET", f"{base}/{other['id']}", expect=404)
    owner.get(f"{own}/history")
    spare = owner.post(base, {"name": "Eva", "whatsapp": "+5511912340005"}, expect=201)
    call("client.remove", {"client_id": spare["id"]})
    owner.call("DELETE", own, erase="true", expect=204)
    line.abort()


def _tour_of_accounts(office, owner, anybody):
    from test_account import code

    ana = anybody.register("conta@example.com", "Senha123!", template_type="service_table", whatsapp_number="+5511999999999", business_name="Conta")
    digits = code(office, "conta@example.com")
    ana.call("POST", "/api/users/verify-email", json={"code": "000000" if digits != "000000" else "000001"}, expect=400)
    ana.call("POST", "/api/users/verify-email/resend", expect=429)
    ana.post("/api/users/verify-email", {"code": digits})
    ana.post("/api/users/verify-email/resend")
    assert ana.get("/api/users/profile")["is_verified"] is True
    ana.put("/api/users/profile", {"business_name": "Conta Nova", "timezone": "America/Manaus"})
    ana.call("PUT", "/api/users/profile", json={"name": "Conta"}, headers={"If-Match": '"1"'}, expect=409)
    ana.call("PUT", "/api/users/profile", json={"email": ADMIN_EMAIL, "current_password": "Senha123!"}, expect=409)
    ana.post("/api/users/change-password", {"current_password": "Senha123!", "new_password": "Outra#2026ok"})
    anybody.post("/api/auth/forgot-password", {"email": "conta@example.com"}, expect=202)
    reset = {"email": "conta@example.com", "code": code(office, "conta@example.com", subject="nova senha"), "new_password": "Senha123!"}
    anybody.post("/api/auth/reset-password", reset)
    anybody.call("POST", "/api/auth/reset-password", json=reset, expect=400)
    ana = anybody.login("conta@example.com", "Senha123!")

    session, line = owner.contract.session(), RawSocket(owner.server.host, owner.server.port)
    for command in ({"id": 1, "connect": {"token": ana.token}}, {"id": 2, "subscribe": {"channel": "usage"}}):
        session.said(command)
        line.send(json.dumps(command))
    _until(line, session, lambda frame: frame.get("id") == 2)
    for number in range(2):
        ana.post("/api/staff", {"name": f"P{number}"}, expect=201)
    ana.call("POST", "/api/staff", json={"name": "P"}, expect=402)
    for event in ("usage.changed", "usage.alert"):
        if event not in session.contract.messages:
            _until(line, session, lambda frame: frame.get("push", {}).get("pub", {}).get("data", {}).get("type") == event)
    ids = itertools.count(3)

    def call(method, data=None):
        command = {"id": next(ids), "rpc": {"method": method, "data": data or {}}}
        session.said(command)
        line.send(json.dumps(command))
        return _until(line, session, lambda frame: frame.get("id") == command["id"])

    for method in ("account.profile", "account.usage", "account.plans", "account.resend-code"):
        assert "rpc" in call(method), method
    call("account.update-profile", {"name": "Ana"})
    call("account.verify-email", {"code": "123456"})
    call("account.upgrade-plan", {"plan_type": "free"})
    ana.get("/api/users/usage")
    assert ana.post("/api/users/upgrade-plan", {"plan_type": "PRO"})["changed"]
    _until(line, session, lambda frame: frame.get("push", {}).get("pub", {}).get("data", {}).get("type") == "plan.changed")
    line.abort()
    ana.get("/api/users/plans")
    slug = ana.get("/api/users/profile")["slug"]
    owner.put(f"/api/v1/plans/{slug}", {"plan_type": "starter"})
    ana.call("PUT", f"/api/v1/plans/{slug}", json={"plan_type": "pro"}, expect=403)
    owner.call("PUT", "/api/v1/plans/ninguem", json={"plan_type": "pro"}, expect=404)


def _tour_of_queues(owner, viewer, anybody):
    base, mail = "/api/queues", "email_notifications"
    session, line = owner.contract.session(), RawSocket(owner.server.host, owner.server.port)
    numbers = itertools.count(1)

    def say(command):
        number = next(numbers)
        session.said({"id": number} | command)
        line.send(json.dumps({"id": number} | command))
        _until(line, session, lambda frame: frame.get("id") == number)

    def until(event):
        _until(line, session, lambda frame: frame.get("push", {}).get("pub", {}).get("data", {}).get("type") == event)

    def write(to, **more):
        return owner.post(f"{base}/test/email", {"recipient_email": to, "subject": "Olá", "body": "Tudo bem?"} | more)["message_id"]

    def becomes(id, state):
        eventually(f"{id} is {state}", lambda: owner.get(f"{base}/{mail}/messages/{id}")["state"] == state)

    say({"connect": {"token": owner.token}})
    say({"subscribe": {"channel": "jobs"}})
    owner.get(f"{base}/status")
    owner.get(f"{base}/workers/status")
    refused, doubtful, later = write("recusa@simulador.invalid"), write("incerto@simulador.invalid"), write("ana@example.com", delay_seconds=600)
    until("jobs.failed")
    becomes(refused, "dead")
    becomes(doubtful, "quarantined")
    owner.post(f"{base}/test/whatsapp", {"recipient_whatsapp": "+5511988887777", "message_content": "Mensagem de teste"})
    assert owner.get(f"{base}/failed/{mail}")["total"] == 2
    owner.get(f"{base}/{mail}/messages", state="scheduled,sent")
    owner.post(f"{base}/{mail}/pause", {"reason": "feriado"})
    until("jobs.control")
    until("jobs.stats")
    owner.post(f"{base}/failed/{mail}/{refused}/retry")
    owner.call("POST", f"{base}/failed/{mail}/{refused}/retry", expect=409)
    owner.post(f"{base}/{mail}/messages/{refused}/cancel", {"reason": "teste"})
    owner.post(f"{base}/failed/{mail}/retry", {"include_quarantined": True})
    owner.post(f"{base}/{mail}/messages/{doubtful}/cancel")
    owner.call("DELETE", f"{base}/failed/{mail}", expect=200)
    owner.post(f"{base}/{mail}/resume")
    owner.post(f"{base}/workers/stop", {"reason": "teste"})
    owner.post(f"{base}/workers/start")
    viewer.call("POST", f"{base}/{mail}/pause", expect=403)
    owner.call("POST", f"{base}/nada/pause", expect=404)
    owner.call("POST", f"{base}/test/email", json={}, is_sane=False, expect=422)
    # The same by RPC.
    again = write("recusa@simulador.invalid")
    becomes(again, "dead")
    for verb, data in [
        ("pause", {"queue_name": mail, "reason": "feriado"}), ("retry", {"queue_name": mail, "message_id": again}), ("retry-failed", {"queue_name": mail}),
        ("cancel", {"queue_name": mail, "message_id": later}), ("clear-failed", {"queue_name": mail}), ("resume", {"queue_name": mail}),
        ("stop-workers", {"queue_name": mail}), ("start-workers", {}),
        ("test-email", {"recipient_email": "ana@example.com", "subject": "Olá", "body": "Tudo bem?", "idempotency_key": "a"}),
        ("test-whatsapp", {"recipient_whatsapp": "+5511988887777", "message_content": "Mensagem de teste"}),
    ]:
        say({"rpc": {"method": f"queue.{verb}", "data": data}})
    line.abort()


def _tour_of_notifications(office, owner, anybody):
    """How clients are told of their appointments. The address of somebody who wants no more is read from the page that a mail would lead to."""
    session, line = owner.contract.session(), RawSocket(owner.server.host, owner.server.port)
    for command in ({"id": 1, "connect": {"token": owner.token}}, {"id": 2, "subscribe": {"channel": "calendar"}}):
        session.said(command)
        line.send(json.dumps(command))
    _until(line, session, lambda frame: frame.get("id") == 2)

    def until(event):
        _until(line, session, lambda frame: frame.get("push", {}).get("pub", {}).get("data", {}).get("type") == event)

    settings = owner.get("/api/users/notification-settings")
    rules = [{"days_before": 1, "at": "18:00", "channels": ["email"], "template": "reminder_vespera"}, {"minutes_before": 60, "channels": ["whatsapp"]}]
    changed = owner.put("/api/users/notification-settings", {"reminders": rules, "follow_ups": [{"minutes_after": 60}], "version": settings["version"]})
    until("notification_settings.changed")
    owner.call("PUT", "/api/users/notification-settings", json={"version": settings["version"]}, expect=409)
    owner.call("PUT", "/api/users/notification-settings", json={"reminders": [{}]}, is_sane=False, expect=422)
    assert owner.get("/api/users/notification-settings") == changed
    template = "/api/queues/templates/reminder_vespera/email"
    owner.put(template, {"subject": "Amanhã às {{time}}", "text": "Olá, {{client_name}}", "html": "<p>{{client_name}}</p>"})
    until("notification_template.changed")
    owner.put("/api/queues/templates/confirmed/whatsapp", {"text": "Olá", "whatsapp_template": {"name": "confirmado", "parameters": ["client_name"]}})
    owner.get("/api/queues/templates")
    owner.post(f"{template}/preview", {"variables": {"client_name": "Bia"}})
    owner.post("/api/queues/templates/confirmed/whatsapp/preview")
    owner.call("DELETE", template, expect=200)
    owner.call("PUT", "/api/queues/templates/nada/email", json={"text": "x"}, is_sane=False, expect=404)
    owner.put("/api/users/notification-opt-outs", {"channel": "email", "recipient": "Ana@Example.com"})
    until("opt_out.changed")
    assert owner.get("/api/users/notification-opt-outs", channel="email")["items"][0]["recipient"] == "ana@example.com"
    token = unsubscribe_token(owner.user["tenant_id"], "bia@example.com")
    anybody.call("GET", f"/api/notifications/unsubscribe/{token}", expect=200)
    anybody.call("POST", f"/api/notifications/unsubscribe/{token}", expect=200)
    assert owner.get("/api/users/notification-opt-outs")["total"] == 2
    anybody.call("GET", "/api/notifications/unsubscribe/nada", expect=404)
    for number, (verb, data) in enumerate([
        ("settings", {"quiet_hours": None}), ("template", {"event": "reminder", "channel": "email", "text": "Até já, {{client_name}}"}),
        ("template-reset", {"event": "reminder", "channel": "email"}), ("opt-out", {"channel": "whatsapp", "recipient": "+5511900000009"}),
        ("opt-in", {"channel": "whatsapp", "recipient": "+5511900000009"}),
    ], 10):
        command = {"id": number, "rpc": {"method": f"notification.{verb}", "data": data}}
        session.said(command)
        line.send(json.dumps(command))
        _until(line, session, lambda frame: frame.get("id") == number and "rpc" in frame)
    line.abort()


def _tour_of_operators(owner, viewer, anybody):
    for path in ("/", "/health", "/info", "/metrics"):
        anybody.call("GET", path, expect=200)
    owner.get("/api/v1/storage")
    assert owner.post("/api/v1/storage/retry")["tried"] == 0
    owner.call("POST", "/api/v1/storage/retry", json={"ids": [5]}, expect=404)
    viewer.call("GET", "/api/v1/storage", expect=403)
    owner.get("/circuit-breakers")
    viewer.call("POST", "/circuit-breakers/whatsapp/reset", expect=403)
    owner.call("POST", "/circuit-breakers/nothing/reset", is_sane=False, expect=404)
    owner.call("POST", "/circuit-breakers/whatsapp/force-open", json={}, is_sane=False, expect=422)
    owner.call("POST", "/circuit-breakers/redis/force-open", json={"reason": "x"}, expect=409)
    for verb, body in {"force-open": {"reason": "manutenção"}, "force-closed": {"reason": "teste"}, "reset": None}.items():
        owner.post(f"/circuit-breakers/whatsapp/{verb}", body)
    assert [order["action"] for order in owner.get("/circuit-breakers/orders")["items"]] == ["reset", "force-closed", "force-open"]
    session, line = owner.contract.session(), RawSocket(owner.server.host, owner.server.port)
    for command in ({"id": 1, "connect": {"token": owner.token}}, {"id": 2, "subscribe": {"channel": "breakers"}}):
        session.said(command)
        line.send(json.dumps(command))
    _until(line, session, lambda frame: frame.get("id") == 2)
    owner.post("/circuit-breakers/whatsapp/force-open", {"reason": "à vista"})
    _until(line, session, lambda frame: "pub" in frame.get("push", {}))
    owner.post("/circuit-breakers/whatsapp/reset")
    line.abort()
    owner.call("GET", "/api/v1/notices", limit=1, expect=200)
    viewer.call("POST", "/api/v1/notices", json={"text": "eu"}, expect=403)
    anybody.call("GET", "/connection/websocket", expect=400)
    anybody.call("GET", "/connection/sse", expect=422)
    for path in ("/connection/uni_sse?channels=nothing", "/connection/uni_sse?cf_connect=x"):
        owner.call("GET", path, is_sane=False, expect=(404, 422))
    anybody.call("GET", "/connection/uni_sse", expect=401)
    _listens_only(owner)
    anybody.call("POST", "/emulation", json={"session": "none", "data": "{}"}, expect=404)
    anybody.call("GET", "/nowhere", expect=404)


def _subscribed_late(own_postgres, offices, contract):
    """Whoever connects while their business cannot be read is subscribed by the server later, in a push."""
    office = offices(DATABASE_URL=own_postgres.create_database().url, DATABASE_BREAKER_SECONDS=1)
    token = office.admin.token
    office.server.restart()
    own_postgres.stop()
    line = Socket("", contract.session(), office.server)
    try:
        line.say({"id": 1, "connect": {"token": token}})
        assert line.wait(lambda: line.frames), "connecting waits for nothing"
        own_postgres.start()
        assert line.wait(lambda: len(line.frames) == 2, timeout=40)
        for frame in line.frames:
            line.contract.heard(frame)
    finally:
        line.close()


def _cut_off_for_not_reading(office, contract):
    """Whose channel has more waiting than there is room for loses it, and is told so."""
    session, line = contract.session(), RawSocket(office.server.host, office.server.port)
    line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def heard():
        frames = [json.loads(text) for text in line.receive(timeout=20 * PATIENCE).splitlines()]
        for frame in frames:
            session.heard(frame)
        return frames

    try:
        for command in ({"id": 1, "connect": {"token": office.admin.token}}, {"id": 2, "subscribe": {"channel": "notices"}}):
            session.said(command)
            line.send(json.dumps(command))
        while not [frame for frame in heard() if frame.get("id") == 2]:
            pass
        for number in range(200):
            office.admin.post("/api/v1/notices", {"text": f"{number}" + "🌻" * 3900}, expect=201)
        while not [frame for frame in heard() if "unsubscribe" in frame.get("push", {})]:
            pass
    finally:
        line.abort()


def test_what_passes_in_a_live_session_is_as_described_and_nothing_is_described_that_never_passes(offices, own_postgres, seen):
    for path in EXAMPLES:
        if path not in seen.played:
            _play(path, offices, seen)
    office = offices()
    anybody, owner = Checked(office.server, seen), Checked(office.server, seen).login(ADMIN_EMAIL, ADMIN_PASSWORD)
    viewer = _tour_of_identity(owner, anybody)
    _tour_of_consultores(owner, Checked(office.server, seen, api_key=API_KEY))
    maria = office.hire("Maria", languages=("pt",))
    _tour_of_conversations(office, owner, maria)
    _tour_of_web_chat(office, owner, anybody, maria)
    _tour_of_desk(office, owner, seen)
    office.whatsapp.numbers["110200300400999"] = "1"
    _tour_of_whatsapp(owner, anybody)
    _tour_of_portfolio(office, owner, anybody, viewer)
    _tour_of_the_bot(offices, seen)
    _tour_of_pipedrive(offices, seen)
    _tour_of_bookings(office, owner, anybody)
    _tour_of_clients(owner)
    _tour_of_accounts(office, owner, anybody)
    _tour_of_notifications(office, owner, anybody)
    _tour_of_queues(owner, viewer, anybody)
    _tour_of_operators(owner, viewer, anybody)
    _subscribed_late(own_postgres, offices, seen)
    _cut_off_for_not_reading(office, seen)

    # The other way round.
    unused = sorted(every_schema() - seen.used)
    assert not unused, f"schemas that nothing was like: take them away, or let something pass that is: {unused}"
    unsent = sorted(set(document("asyncapi.yaml")["components"]["messages"]) - seen.messages)
    assert not unsent, f"messages that nobody has sent: {unsent}"
    unanswered = {
        (method.upper(), path)
        for path, item in document("openapi.yaml")["paths"].items()
        for method in item
        if not any(status < 300 for status in seen.answered.get((method.upper(), path), ()))
    }
    assert not unanswered, "addresses that were never answered well"


# MARK: Who may


def _addresses():
    for path, item in document("openapi.yaml")["paths"].items():
        id = "1" if path.startswith(("/consultor", "/protocolo")) else "00000000-0000-7000-8000-000000000000"
        for method, operation in item.items():
            yield method.upper(), path.replace("{id}", id).replace("{channel}", "notices").replace("{slug}", "minha-empresa"), operation


def test_the_credentials_that_openapi_names_are_those_that_are_asked_for(offices):
    office, contract = offices(**SIMULATED), Contract()
    anybody, integrator = Checked(office.server, contract), Checked(office.server, contract, api_key=API_KEY)
    for method, path, operation in _addresses():
        schemes = {scheme for choice in operation["security"] for scheme in choice}
        # 401 also says that an e-mail and password are wrong; there are none here.
        status = anybody.call(method, path, is_sane=False).status
        assert (status == 401) == bool(schemes), f"{method} {path} without a credential: {status}, and openapi.yaml says {schemes or 'none'}"
        if "bearer" in schemes:
            status = integrator.call(method, path, is_sane=False).status
            assert (status != 401) == ("apiKey" in schemes), f"{method} {path} with the api-key: {status}, and openapi.yaml says {schemes}"


def test_a_body_that_cannot_be_read_is_answered_as_openapi_says(offices):
    office, contract = offices(), Contract()
    owner = Checked(office.server, contract, token=office.admin.token)
    for method, path, operation in _addresses():
        if "requestBody" in operation:
            for body in (b"{", b"[]", b'"text"', b"\xff"):
                assert owner.call(method, path, body=body, is_sane=False).status < 500


def test_what_is_not_described_is_noticed():
    """The checks themselves: a member, a type, a status, an event or a header that protocol/ does not have."""
    contract = Contract()
    notice = {"id": "01234567-89ab-7def-8123-456789abcdef", "text": "a", "author": {"id": "01234567-89ab-7def-8123-456789abcdef", "name": "b"}, "created_at": "2026-03-01T09:30:00.000Z"}
    good = {"push": {"channel": "notices", "pub": {"data": {"type": "notice.created", "notice": notice}, "offset": 1}}}
    contract.session().heard(good)
    for wrong in [notice | {"colour": "red"}, notice | {"text": 7}, {k: v for k, v in notice.items() if k != "author"}, notice | {"created_at": "2026-03-01"}]:
        with pytest.raises(Broken):
            contract.session().heard({"push": {"channel": "notices", "pub": {"data": {"type": "notice.created", "notice": wrong}, "offset": 1}}})
    for channel in ("queue", "nowhere"):
        with pytest.raises(Broken):
            contract.session().heard({"push": good["push"] | {"channel": channel}})
    headers = [("X-Request-ID", "1"), ("X-Process-Time", "0.1"), ("Content-Type", "application/json")]
    error = json.dumps({"detail": "x", "code": "y"}).encode()
    contract.exchanged("GET", "/api/v1/users", None, Reply("GET", "/api/v1/users", 401, [*headers, ("WWW-Authenticate", "Bearer")], error))
    for status_, fields in [(418, headers), (401, headers), (503, headers), (401, [*headers[:2], ("WWW-Authenticate", "Bearer")])]:
        with pytest.raises(AssertionError):
            contract.exchanged("GET", "/api/v1/users", None, Reply("GET", "/api/v1/users", status_, fields, error))


# MARK: The README


def _blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", (PROTOCOL / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)


def _reader(office):
    return {"PATH": os.environ["PATH"], "BASE": office.server.url, "EMAIL": ADMIN_EMAIL, "PASSWORD": ADMIN_PASSWORD, "no_proxy": "*"}


def test_the_readme_names_every_channel_event_command_and_method(listed):
    text = (PROTOCOL / "README.md").read_text("utf-8")
    names = {channel.replace("{id}", "<id>") for channel in listed["channels"]} | set(listed["rpc"])
    names |= {path.stem for path in (PROTOCOL / "schemas" / "events").glob("*.json")}
    names |= {path.stem.removeprefix("command.") for path in (PROTOCOL / "schemas" / "frames").glob("command.*.json")} - {"pong"}
    missing = {name for name in names if not re.search(rf"`{re.escape(name)}[` {{]", text) and f"RPC `{name}`" not in text}
    assert not missing
    linked = set(re.findall(r"\(([a-z_]+\.jsonl)\)", (PROTOCOL / "examples" / "README.md").read_text("utf-8")))
    assert linked == {path.name for path in EXAMPLES}


def test_the_lines_for_curl_do_what_they_say(offices):
    (script,) = _blocks("sh")
    office = offices(**SIMULATED)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], env=_reader(office), capture_output=True, text=True, timeout=60 * PATIENCE)
    assert done.returncode == 0, done.stderr
    wamid, state, status_, news = (line for line in done.stdout.replace("}active", "}\nactive").splitlines())
    assert json.loads(wamid)["wamid"].startswith("wamid.SIM") and (state, status_) == ("active", "queued")
    events = [publication["data"] for publication in json.loads(news)["publications"]]
    assert [event["conversation"]["labels"] for event in events if event["type"] == "conversation.changed"][-1] == ["vip"]


@pytest.mark.parametrize("number", [0, 1], ids=["bare", "sdk"])
def test_the_clients_in_python_show_the_list_and_come_back_after_a_restart(offices, number):
    program, office = _blocks("python")[number], offices(**SIMULATED)
    client = subprocess.Popen([sys.executable, "-u", "-c", program], env=_reader(office), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    threading.Thread(target=lambda: lines.extend(iter(client.stdout.readline, "")), daemon=True).start()

    def shows(line, count=1):
        eventually(f"{line!r}, {count} times", lambda: [shown.strip() for shown in list(lines)].count(line) >= count, timeout=30)

    def says(name, text):
        office.admin.post("/api/v1/simulator/messages", {"from": f"55119000000{len(name):02d}", "name": name, "text": text}, expect=201)

    try:
        shows("snapshot 0")
        says("Ana", "oi")
        shows("change Ana bot")
        office.server.restart()
        shows("snapshot 1")
        says("Beatriz", "quero um atendente")
        shows("change Beatriz queued")
        if number == 0:
            # A new password ends every login: it makes another, and misses nothing. For the SDK that is the end, as its application has to ask.
            office.admin.put(f"/api/v1/users/{office.admin.user['id']}", {"password": ADMIN_PASSWORD, "current_password": ADMIN_PASSWORD})
            office._admin = None
            says("Carla Maria", "oi")
            shows("change Carla Maria bot")
        assert client.poll() is None
    except AssertionError as error:
        raise AssertionError(f"{error}\n{''.join(lines)}") from None
    finally:
        client.kill()
        client.wait()
