"""The REST calls of protocol/README.md, as one user makes them."""

import itertools
import json as jsonlib
import re
from dataclasses import dataclass
from urllib.parse import urlencode

from .contract import is_documented
from .http import Http

# What the text of an error must never show: our language and libraries, SQL, file paths, addresses in memory.
LEAKS = re.compile(
    r"swift|\bnio\b|grdb|sqlite|\bselect\b.+\bfrom\b|insert into|\.build|sources/|/home/|/root/|/tmp/|/var/|/usr/|0x[0-9a-f]{6,}|"
    r"optional\(|fatal error|precondition|stack ?trace|traceback|backtrace|decodingerror|codingpath",
    re.IGNORECASE,
)

_names = itertools.count(1)


class Api:
    """`token` speaks as a user, `api_key` with the contract's header, neither as nobody."""

    def __init__(self, server, token=None, api_key=None, session=None):
        self.server = server
        self.http = Http(server.host, server.port)
        self.token, self.api_key, self.session = token, api_key, session

    def call(self, method, path, json=None, body=None, headers=None, expect=None, timeout=15.0, **query):
        """`expect`: the status, or several, that the answer must have."""
        headers = dict(headers or {})
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        if self.api_key is not None:
            headers.setdefault("api-key", self.api_key)
        if json is not None:
            body = jsonlib.dumps(json).encode()
            headers.setdefault("Content-Type", "application/json")
        query = {name: value for name, value in query.items() if value is not None}
        reply = self.http.request(method, path + ("?" + urlencode(query) if query else ""), headers, body, timeout)
        is_documented(reply)
        if expect is not None:
            expected = expect if isinstance(expect, (tuple, list, set)) else (expect,)
            assert reply.status in expected, f"expected {expect}: {reply}"
        return reply

    def get(self, path, expect=200, **query):
        return self.call("GET", path, expect=expect, **query).json()

    def post(self, path, json=None, expect=200):
        return self.call("POST", path, json=json, expect=expect).json()

    def put(self, path, json=None, expect=200, **query):
        return self.call("PUT", path, json=json, expect=expect, **query).json()

    # MARK: Identity

    def _session(self, answer):
        return Api(self.server, token=answer["access_token"], session=answer)

    def login(self, email, password):
        return self._session(self.post("/api/v1/auth/login", {"email": email, "password": password}))

    def register(self, email, password, **more):
        return self._session(self.post("/api/auth/register", {"email": email, "password": password, **more}, expect=201))

    def refresh(self, refresh_token=None):
        return self._session(self.post("/api/v1/auth/refresh", {"refresh_token": refresh_token or self.session["refresh_token"]}))

    def logout(self):
        return self.post("/api/v1/auth/logout")

    @property
    def user(self):
        return self.session["user"]

    def users(self, **query):
        return self.get("/api/v1/users/", **query)

    def create_user(self, email, name, role, password):
        return self.post("/api/v1/users/", {"email": email, "name": name, "role": role, "password": password}, expect=201)

    # MARK: Conversations

    def conversations(self, **query):
        return self.get("/api/v1/conversations/", **query)

    def all_conversations(self, **query):
        items, page = [], 1
        while True:
            answer = self.conversations(page=page, per_page=100, **query)
            items += answer["items"]
            if page >= answer["total_pages"] or not answer["items"]:
                return items
            page += 1

    def conversation(self, id):
        return self.get(f"/api/v1/conversations/{id}")

    def conversation_of(self, number, **query):
        """The latest conversation of a customer's number, or None."""
        items = [c for c in self.conversations(q=number, per_page=100, **query)["items"] if c["contact"]["number"] == number]
        return max(items, key=lambda c: c["created_at"]) if items else None

    def messages(self, id, **query):
        return self.get(f"/api/v1/conversations/{id}/messages", **query)

    def all_messages(self, id):
        """Every message, oldest first."""
        page = self.messages(id, limit=100)
        items = page["items"]
        while page["has_more"]:
            page = self.messages(id, limit=100, before=items[0]["id"])
            assert page["items"], "has_more, and then nothing"
            items = page["items"] + items
        return items

    def command(self, id, verb, json=None, expect=200):
        return self.post(f"/api/v1/conversations/{id}/{verb}", json, expect=expect)

    def try_command(self, id, verb, json=None, **more):
        return self.call("POST", f"/api/v1/conversations/{id}/{verb}", json=json, **more)

    def say(self, id, text, client_message_id=None, expect=201):
        body = {"text": text} | ({"client_message_id": client_message_id} if client_message_id else {})
        return self.command(id, "messages", body, expect=expect)

    def note(self, id, text, expect=201):
        return self.command(id, "notes", {"text": text}, expect=expect)

    def claim(self, id):
        return self.command(id, "claim")

    def resolve(self, id):
        return self.command(id, "resolve")

    # MARK: Consultores

    def consultores(self):
        return self.get("/consultores")

    def consultor(self, id):
        return self.get(f"/consultor/{id}")

    def create_consultor(self, nome, idiomas=("pt",), **more):
        return self.post("/consultor", {"nome": nome, "idiomas": list(idiomas), **more}, expect=201)

    def set_online(self, consultor_id, online=True):
        return self.put(f"/consultor/{consultor_id}/connection", {"status_online": online})


@dataclass
class Agent:
    """A user who attends, with their consultor."""

    api: Api
    user: dict
    consultor: dict
    password: str

    @property
    def id(self):
        return self.consultor["id"]

    @property
    def token(self):
        return self.api.token

    @property
    def name(self):
        return self.consultor["nome"]


def hire(admin, name="Maria", languages=("pt",), capacity=5, online=True, role="agent"):
    """An agent who can log in, with a consultor linked to them."""
    number = next(_names)
    password = f"Senha#Forte{number}x2026"
    user = admin.create_user(f"atendente{number}@example.com", name, role, password)
    consultor = admin.create_consultor(name, languages, user_id=user["id"], capacity=capacity, status_online=False)
    if online:
        consultor = admin.set_online(consultor["id"])
    return Agent(Api(admin.server).login(user["email"], password), user, consultor, password)


def is_clear_error(reply, *statuses):
    """Checks an error as the contract describes it, and that it shows nothing of the inside. Gives back its body."""
    assert reply.status in statuses, f"expected {statuses}: {reply}"
    body = reply.json()
    assert isinstance(body, dict) and body.get("detail"), f"an error says why in `detail`: {reply}"
    if reply.status == 422 and isinstance(body["detail"], list):
        for field in body["detail"]:
            assert isinstance(field["loc"], list) and field["loc"], reply
            assert isinstance(field["msg"], str) and field["msg"], reply
            assert isinstance(field["type"], str) and field["type"], reply
    else:
        assert isinstance(body["detail"], str), f"`detail` is a sentence: {reply}"
        assert isinstance(body.get("code"), str) and body["code"], f"`code` is a word: {reply}"
    assert not LEAKS.search(reply.text), f"an error shows the inside: {reply}"
    return body


def names_fields(reply, *fields):
    """Checks a 422 in FastAPI's form that names each of `fields`."""
    body = is_clear_error(reply, 422)
    assert isinstance(body["detail"], list), f"wrong fields are listed: {reply}"
    named = {part for entry in body["detail"] for part in entry["loc"]}
    assert named >= set(fields), f"{fields} must be named: {reply}"


def names_winner(reply, agent):
    """Checks the 409 of who came second: it says who has the conversation."""
    body = is_clear_error(reply, 409)
    assignee = jsonlib.dumps(body.get("assignee"), ensure_ascii=False)
    assert agent.name in assignee or f'"{agent.id}"' in assignee or f"{agent.id}" == assignee, f"the assignee is {agent.name}: {reply}"
