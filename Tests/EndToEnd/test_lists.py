"""Lists of conversations and of users: what is in them, in what order, page by page."""

from datetime import datetime, timedelta, timezone

import pytest

from fakes.whatsapp import text
from harness.api import Api, is_clear_error, names_fields
from harness.office import new_number
from harness.waiting import eventually


@pytest.fixture(scope="module")
def scene(shared_office):
    """Six conversations that differ in everything there is a filter for."""
    office = shared_office
    maria = office.hire("Maria", capacity=50)
    numbers = {name: new_number() for name in ("Ana Ávila", "Bruno 100%", "Carla", "Dora_x", "Edu")}
    for name, number in numbers.items():
        office.deliver(text(number, f"bom dia, é {name}", name=name))
    ids = {name: office.conversation(number)["id"] for name, number in numbers.items()}
    web = office.anybody.post("/api/v1/chat/sessions", {"slug": "minha-empresa", "name": "Fábio"}, expect=201)
    ids["Fábio"] = web["conversation_id"]
    Api(office.server, token=web["token"]).say(ids["Fábio"], "bom dia, é Fábio")
    office.admin.command(ids["Fábio"], "read")
    for name in ("Ana Ávila", "Bruno 100%"):
        maria.api.claim(ids[name])
    maria.api.command(ids["Ana Ávila"], "labels", {"labels": ["vip", 'com "aspas", e vírgula']})
    maria.api.command(ids["Bruno 100%"], "labels", {"labels": ["vip", "financeiro"]})
    maria.api.command(ids["Bruno 100%"], "read")
    office.deliver(text(numbers["Carla"], "english", name="Carla"))
    eventually("Carla in English", lambda: office.admin.conversation(ids["Carla"])["language"] == "en")
    maria.api.claim(ids["Edu"])
    maria.api.resolve(ids["Edu"])
    maria.api.note(ids["Ana Ávila"], "o roteador dela é um TP-Link")
    return office, maria, ids, numbers


def names(api, **query):
    return [c["contact"]["name"] for c in api.all_conversations(**query)]


def test_each_filter_lets_through_what_it_says_and_they_add_up(scene):
    office, maria, ids, numbers = scene
    api = office.admin
    everybody = {"Ana Ávila", "Bruno 100%", "Carla", "Dora_x", "Edu", "Fábio"}
    assert set(names(api)) == everybody
    assert set(names(api, state="open")) == everybody - {"Edu"} and names(api, state="resolved") == ["Edu"]
    assert set(names(api, label="vip")) == {"Ana Ávila", "Bruno 100%"} and names(api, label="vip,financeiro") == ["Bruno 100%"]
    assert names(api, label="vi") == [] and names(api, label="VIP") == []
    assert names(api, channel="web") == ["Fábio"] and names(api, language="en") == ["Carla"]
    assert set(names(api, unread="false")) == {"Bruno 100%", "Edu", "Fábio"} and set(names(api, unread="true")) == everybody - {"Bruno 100%", "Edu", "Fábio"}
    assert set(names(maria.api, assignee="me", state="active")) == {"Ana Ávila", "Bruno 100%"}
    assert names(maria.api, assignee="me", label="vip", unread="true") == ["Ana Ávila"]
    assert names(api, label="vip", channel="web") == []
    # Empty parameters are none.
    assert set(names(api, **{"from": "", "to": "", "label": "", "sort": ""})) == everybody


def test_what_is_searched_for_is_found_however_it_is_written(scene):
    office, maria, ids, numbers = scene
    api = office.admin
    assert names(api, q="carla") == ["Carla"] and names(api, q="100%") == ["Bruno 100%"] and names(api, q="a_x") == ["Dora_x"]
    number = numbers["Carla"]
    for written in (number, f"+{number[:2]} ({number[2:4]}) {number[4:9]}-{number[9:]}", number[4:]):
        assert names(api, q=written) == ["Carla"], written
    assert names(api, q=office.admin.conversation(ids["Bruno 100%"])["protocol"]) == ["Bruno 100%"]
    # In what was written, notes too, but not in the desk's own record.
    assert names(api, text="tp-link") == ["Ana Ávila"] and names(api, text="é dora_x") == ["Dora_x"]
    assert names(api, text="assumiu a conversa") == []
    assert names(api, text="bom dia", q="carla") == ["Carla"] and names(api, text="bom dia", state="resolved") == ["Edu"]


def test_accents_and_capitals_do_not_matter(office):
    maria = office.hire("João Conceição")
    number = new_number()
    office.says(number, "atendente", name="JOÃO d'Ávila")
    id = office.conversation(number, "queued", "offered")["id"]
    maria.api.claim(id)
    maria.api.say(id, "A manutenção É AMANHÃ, vovô")
    for q in ("joao", "JOÃO", "Joa\u0303o", "avila", "João D'Á"):
        assert [c["id"] for c in office.admin.conversations(q=q)["items"]] == [id], q
        assert office.admin.conversations(q=q + "x")["items"] == []
    for text in ("manutencao", "MANUTENÇÃO", "e amanha", "vovo"):
        assert [c["id"] for c in office.admin.conversations(text=text)["items"]] == [id], text
    assert [u["id"] for u in office.admin.users(q="joao conceicao")["items"]] == [maria.user["id"]]


def test_days_are_the_business_s_and_times_are_exact(scene):
    office, maria, ids, numbers = scene
    api = office.admin
    created = {c["contact"]["name"]: c["created_at"] for c in api.all_conversations()}
    today = (datetime.now(timezone.utc) - timedelta(hours=3)).date()
    assert len(names(api, **{"from": str(today - timedelta(days=1)), "to": str(today)})) == 6
    assert names(api, to=str(today - timedelta(days=2))) == [] and names(api, **{"from": str(today + timedelta(days=1))}) == []
    assert names(api, **{"from": created["Dora_x"], "to": created["Dora_x"]}) == ["Dora_x"]
    for name in ("from", "to"):
        for wrong in ("ontem", "2026-13-01", "2026-02-30", "01/03/2026"):
            names_fields(api.call("GET", "/api/v1/conversations/", **{name: wrong}), name)


def test_each_order_is_kept_over_the_pages(scene):
    office, maria, ids, numbers = scene
    api = office.admin
    whole = api.all_conversations()
    keys = {
        "updated_at": lambda c: c["updated_at"], "created_at": lambda c: c["created_at"], "unread": lambda c: c["unread"],
        "name": lambda c: c["contact"]["name"].lower(),
    }
    for sort, key in keys.items():
        for sign in ("", "-"):
            paged = [api.conversations(sort=sign + sort, page=n, per_page=2)["items"] for n in (1, 2, 3)]
            items = [c for page in paged for c in page]
            assert sorted(c["id"] for c in items) == sorted(c["id"] for c in whole), "none twice, none missing"
            assert [key(c) for c in items] == sorted((key(c) for c in items), reverse=sign == "-"), sign + sort
    assert [c["id"] for c in whole] == [c["id"] for c in api.all_conversations(sort="-updated_at")]
    api.conversations(sort="queued_at")
    page = api.conversations(per_page=4)
    assert (page["total"], page["page"], page["per_page"], page["total_pages"], len(page["items"])) == (6, 1, 4, 2, 4)
    for query, field in [({"sort": "colour"}, "sort"), ({"sort": "--name"}, "sort"), ({"unread": "talvez"}, "unread"), ({"per_page": 0}, "per_page")]:
        names_fields(api.call("GET", "/api/v1/conversations/", **query), field)


def test_views_are_kept_for_whom_they_are(scene):
    office, maria, ids, numbers = scene
    views = {
        "views": [
            {"name": "VIPs sem resposta", "query": {"label": "vip", "unread": "true", "sort": "created_at"}},
            {"name": "Minhas", "query": {"assignee": "me", "state": "active"}},
        ],
        "selected": "Minhas",
    }
    assert maria.api.get("/api/v1/users/me/views") == {"views": [], "selected": None}
    assert maria.api.put("/api/v1/users/me/views", views) == views == maria.api.get("/api/v1/users/me/views")
    assert office.admin.get("/api/v1/users/me/views")["views"] == []
    assert names(maria.api, **views["views"][0]["query"]) == ["Ana Ávila"], "a view is a query as it is"
    office.server.restart()
    assert maria.api.get("/api/v1/users/me/views") == views
    for wrong in (
        {"views": "todas"}, {"views": [{"name": "", "query": {}}]}, {"views": [{"name": "a", "query": {"colour": "red"}}]}, {},
        {"views": [{"name": "a", "query": {}}, {"name": "a", "query": {}}]}, {"views": [{"name": "a", "query": {"q": 1}}]},
        {"views": [{"name": "a", "query": {"state": "nada"}}]}, {"views": [{"name": "a", "query": {"sort": "cor"}}]}, {"views": [{"name": "a", "query": {"per_page": "muitos"}}]},
        {"views": [{"name": "a", "query": {"from": "ontem"}}]}, {"views": [{"name": "a", "query": {"assignee": "alguém"}}]},
        {"views": [{"name": "a", "query": {}}] * 51}, {"views": [], "selected": "Nada"},
    ):
        is_clear_error(maria.api.call("PUT", "/api/v1/users/me/views", json=wrong), 422)
    assert maria.api.get("/api/v1/users/me/views") == views


def test_users_are_found_disabled_and_told_apart(scene):
    office, maria, ids, numbers = scene
    owner = office.admin
    made = [owner.create_user(f"pessoa{n}@example.com", f"Pessoa {n:02d}", ["agent", "viewer", "admin"][n % 3], f"Senha#Forte{n}x") for n in range(9)]
    assert owner.users(q="PESSOA")["total"] == 9 and owner.users(q="pessoa4@")["items"][0]["id"] == made[4]["id"]
    assert {u["role"] for u in owner.users(role="viewer", q="pessoa")["items"]} == {"viewer"}
    pages = [owner.users(q="pessoa", page=n, per_page=4) for n in (1, 2, 3)]
    assert [u["name"] for page in pages for u in page["items"]] == [u["name"] for u in made] and pages[0]["total_pages"] == 3
    gone = owner.put(f"/api/v1/users/{made[0]['id']}", {"is_active": False})
    assert gone["is_active"] is False and [u["id"] for u in owner.users(is_active="false")["items"]] == [gone["id"]]
    assert office.anybody.call("POST", "/api/v1/auth/login", json={"email": gone["email"], "password": "Senha#Forte0x"}).status == 401
    again = {"email": "PESSOA1@example.com", "name": "x", "role": "agent", "password": "Senha#Forte1x"}
    assert is_clear_error(owner.call("POST", "/api/v1/users/", json=again), 409)["code"] == "email_taken"
    for field, value in {"role": "visitor", "email": "sem arroba", "password": "fraca", "name": " "}.items():
        names_fields(owner.call("POST", "/api/v1/users/", json=again | {"email": "nova@example.com"} | {field: value}), field)
    names_fields(owner.call("GET", "/api/v1/users/", role="visitor"), "role")
    names_fields(owner.call("GET", "/api/v1/users/", is_active="talvez"), "is_active")
    is_clear_error(maria.api.call("POST", "/api/v1/users/", json=again), 403)
