"""Clients through their doors: one number is one client, whatever they do is counted with them, and nothing of them is anybody else's."""

import concurrent.futures
import json
import random
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from fakes.whatsapp import text
from harness.api import Api, is_clear_error, names_fields
from harness.office import new_number
from harness.waiting import eventually

pytestmark = pytest.mark.timeout(300)

BASE = "/api/clients"
SAO_PAULO = ZoneInfo("America/Sao_Paulo")
STORES = ["sqlite", "postgres"]


def weekday(ahead=3):
    """A date some days from now that is no Sunday."""
    day = datetime.now(SAO_PAULO).date() + timedelta(days=ahead)
    return day + timedelta(days=1) if day.weekday() == 6 else day


def at(day, hour, minute=0):
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=SAO_PAULO).astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:00.000Z")


def ago(days, hour=0):
    return at(datetime.now(SAO_PAULO).date() - timedelta(days=days), hour)


@pytest.fixture(params=STORES)
def shop(request):
    """A business with a service, over each of the stores."""
    # Asked for first, it is taken away last.
    extra = {"DATABASE_URL": request.getfixturevalue("database").url} if request.param == "postgres" else {}
    return Shop(request.getfixturevalue("offices")(**extra))


class Shop:
    def __init__(self, office):
        self.office, self.api = office, office.admin
        self.cut = self.service("Corte de Cabelo", 50)

    def service(self, name, price):
        return self.api.post("/api/services/", {"name": name, "duration": 60, "price": price}, expect=201)["id"]

    def client(self, name, whatsapp, expect=201, **more):
        return self.api.post(f"{BASE}/", {"name": name, "whatsapp": whatsapp} | more, expect=expect)

    def book(self, number, start, service=None, end=None, name="João Silva", **more):
        """`end`: how it ended. What lies in the past is put in by force."""
        body = {"service_id": service or self.cut, "client_name": name, "client_whatsapp": number, "start_time": start, "force": True} | more
        made = self.api.post("/api/appointments/", body, expect=201)
        return self.api.post(f"/api/appointments/{made['id']}/{end}", {}) if end else made

    def list(self, **query):
        return self.api.get(f"{BASE}/", **query)

    def names(self, **query):
        return [client["name"] for client in self.list(**query)["clients"]]

    def of(self, number):
        (client,) = self.list(query=number)["clients"]
        return client


# MARK: The contract's own words


def test_the_examples_of_the_contract(shop):
    for number in range(5):
        shop.book("+5511888888888", ago(28 - 7 * number, hour=0), end="complete", client_email="joao@email.com")
    shop.client("Maria", "+5511777777777")
    answer = shop.list(query="João", is_active="true", min_appointments=1, page=1, per_page=10)
    assert {name: answer[name] for name in ("total", "page", "per_page", "total_pages")} == {"total": 1, "page": 1, "per_page": 10, "total_pages": 1}
    (joao,) = answer["clients"]
    assert (joao["name"], joao["whatsapp"], joao["email"], joao["total_appointments"]) == ("João Silva", "+5511888888888", "joao@email.com", 5)
    # Five visits, as regular as a clock, the last one today: 15 + 30 + 40.
    assert joao["is_regular_customer"] and joao["frequency_score"] == 85 and joao["last_appointment_at"] == ago(0, hour=0)
    assert (joao["total_spent"], joao["average_ticket"], joao["completed_appointments"]) == (250, 50, 5)
    assert joao["preferred_services"] == [shop.cut] and joao["preferred_times"] == ["00:00"] and joao["average_days_between_appointments"] == 7
    overview = shop.api.get(f"{BASE}/analytics/overview")
    assert (overview["total_clients"], overview["active_clients"], overview["inactive_clients"], overview["clients_with_appointments"]) == (2, 2, 0, 1)
    assert overview["average_appointments_per_client"] == 2.5
    assert [client["id"] for client in overview["most_frequent_clients"]] == [joao["id"]]
    assert overview["top_preferred_services"] == {"Corte de Cabelo": 1}
    assert overview["clients_by_creation_month"] == {datetime.now(SAO_PAULO).strftime("%Y-%m"): 2}
    assert (overview["regular_clients"], overview["new_clients_this_month"], overview["lost_clients"]) == (1, 2, 0)
    assert overview["clients_by_source"] == {"booking": 1, "manual": 1}


def test_a_client_is_made_changed_and_removed(shop):
    api = shop.api
    whole = {
        "name": "Ana", "whatsapp": "+55 11 98888-7777", "email": "ana@example.com", "notes": "prefere a Bia", "is_vip": True, "communication_preference": "email",
        "birth_date": "1990-05-17", "gender": "feminino", "address": "Rua A, 1", "city": "São Paulo", "state": "SP", "zip_code": "01000-000", "source": "indicação",
        "referral_code": "X1", "tags": ["fiel", "cor"], "custom_fields": {"cor": "loiro"},
    }
    made = api.post(f"{BASE}/", whole, expect=201)
    assert {name: made[name] for name in whole} == whole and made["revision"] == 1 and made["total_appointments"] == 0
    assert api.get(f"{BASE}/{made['id']}") == made
    changed = api.put(f"{BASE}/{made['id']}", {"city": "Campinas", "notes": None, "tags": ["fiel", "fiel"]})
    assert (changed["city"], changed["notes"], changed["tags"], changed["revision"], changed["gender"]) == ("Campinas", None, ["fiel"], 2, "feminino")
    assert api.put(f"{BASE}/{made['id']}", {"city": "Campinas"})["revision"] == 2, "the same again is no change"
    # What was seen must be what is there.
    assert is_clear_error(api.call("PUT", f"{BASE}/{made['id']}", json={"city": "x", "revision": 1}), 409)["code"] == "stale_revision"
    assert api.call("PUT", f"{BASE}/{made['id']}", json={"city": "Santos"}, headers={"If-Match": '"1"'}).status == 409
    assert api.call("PUT", f"{BASE}/{made['id']}", json={"city": "Santos"}, headers={"If-Match": '"2"'}).json()["revision"] == 3
    # One number is one client, however it is written.
    for number in ("11 98888-7777", "+551188887777", "5511988887777", "011 98888 7777"):
        assert is_clear_error(api.call("POST", f"{BASE}/", json={"name": "Outra", "whatsapp": number}), 409)["client_id"] == made["id"]
        assert shop.names(query=number) == ["Ana"]
    other = shop.client("Bia", "+5511977776666")
    assert api.call("PUT", f"{BASE}/{other['id']}", json={"whatsapp": "11988887777"}).json()["client_id"] == made["id"]
    booked = shop.book("(11) 8888-7777", at(weekday(), 9))
    assert booked["client_id"] == made["id"] and api.get("/api/appointments/", client_id=made["id"])["total"] == 1
    # Off the lists, with what they had; and back when they book.
    path = f"{BASE}/{made['id']}"
    refused = is_clear_error(api.call("DELETE", path), 409)
    assert refused["code"] == "client_has_appointments" and refused["appointments"] == [booked["id"]]
    api.post(f"/api/appointments/{booked['id']}/cancel", {})
    api.call("DELETE", path, expect=204)
    api.call("GET", path, expect=404)
    api.call("DELETE", path, expect=404)
    assert shop.names() == ["Bia"] and [i["change"]["kind"] for i in api.get(f"{path}/history", type="change")["items"]][0] == "removed"
    assert shop.book("11988887777", at(weekday(), 10), name="Ana")["client_id"] == made["id"]
    assert api.get(path)["is_active"] and api.get(path)["total_appointments"] == 2
    api.call("DELETE", path, force="true", expect=204)
    assert api.get("/api/appointments/", client_id=made["id"], status="cancelled")["total"] == 2, "by force what was to come is cancelled"


def test_a_request_that_is_sent_again_makes_nothing_new(office):
    shop = Shop(office)
    key = {"Idempotency-Key": "k1"}
    body = {"name": "Ana", "whatsapp": "+5511988887777"}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: Api(office.server, token=shop.api.token).call("POST", f"{BASE}/", json=body, headers=key), range(8)))
    assert {reply.status for reply in answers} == {201} and len({reply.json()["id"] for reply in answers}) == 1
    assert shop.api.call("POST", f"{BASE}/", json=body | {"name": "Bia"}, headers=key).json()["code"] == "idempotency_conflict"
    ids = [answers[0].json()["id"]]
    bulk = {"client_ids": ids, "changes": {"tags_add": ["a"]}}
    first = shop.api.call("POST", f"{BASE}/bulk-update", json=bulk, headers={"Idempotency-Key": "k2"}, expect=200).json()
    assert first == {"results": [{"client_id": ids[0], "status": "updated"}], "updated": 1, "unchanged": 0, "failed": 0}
    shop.api.put(f"{BASE}/{ids[0]}", {"tags": []})
    office.server.restart()
    assert shop.api.call("POST", f"{BASE}/bulk-update", json=bulk, headers={"Idempotency-Key": "k2"}, expect=200).json() == first
    assert shop.api.get(f"{BASE}/{ids[0]}")["tags"] == [], "it was done once"
    assert shop.api.call("POST", f"{BASE}/", json=body, headers=key).json()["id"] == ids[0]


# MARK: Numbers that move with the appointments


def test_numbers_move_with_the_appointments_and_are_there_after_a_restart(shop):
    api, day = shop.api, weekday()
    color = shop.service("Tintura", 199.9)
    shop.book("+5511988887777", ago(40), end="complete")
    shop.book("+5511988887777", ago(20, 15), color, end="complete")
    missed = shop.book("+5511988887777", ago(10), end="no-show")
    coming = shop.book("+5511988887777", at(day, 9))
    gone = shop.book("+5511988887777", at(day, 10), end="cancel")

    def numbers():
        client = shop.of("11988887777")
        assert client == api.get(f"{BASE}/{client['id']}")
        return client

    client = numbers()
    assert [client[f"{kind}_appointments"] for kind in ("total", "completed", "no_show", "cancelled")] == [5, 2, 1, 1]
    assert (client["total_spent"], client["average_ticket"], client["last_payment_at"]) == (249.9, 124.95, ago(20, 15))
    assert (client["first_appointment_at"], client["last_appointment_at"], client["next_appointment_at"]) == (ago(40), at(day, 9), at(day, 9))
    assert client["preferred_services"][0] == shop.cut and set(client["preferred_services"]) == {shop.cut, color}
    assert shop.names(has_upcoming="true") == ["João Silva"] and shop.names(has_upcoming="false") == []
    # One is told from the other later; one is moved; one takes place.
    api.post(f"/api/appointments/{missed['id']}/complete", {})
    api.put(f"/api/appointments/{coming['id']}", {"start_time": at(day, 14)})
    client = numbers()
    assert (client["no_show_appointments"], client["completed_appointments"], client["total_spent"]) == (0, 3, 299.9)
    assert client["next_appointment_at"] == at(day, 14) and client["is_regular_customer"]
    shop.office.server.restart()
    assert numbers() == client
    api.post(f"/api/appointments/{missed['id']}/no-show", {})
    api.post(f"/api/appointments/{coming['id']}/cancel", {})
    client = numbers()
    assert [client[f"{kind}_appointments"] for kind in ("total", "completed", "no_show", "cancelled")] == [5, 2, 1, 2]
    assert client["next_appointment_at"] is None and client["last_appointment_at"] == ago(20, 15) and not client["is_regular_customer"]
    assert gone["client_id"] == client["id"]


def test_after_any_history_the_numbers_are_those_of_the_appointments(shop, seed):
    api, numbers = shop.api, [f"+551198888{n:04d}" for n in range(6)]
    made = []
    for step in range(60):
        act = seed.choice(["book", "book", "book", "end", "move", "cancel", "restart" if step % 20 == 0 else "book"])
        if act == "book" or not made:
            made.append(shop.book(seed.choice(numbers), ago(seed.randrange(-20, 90), seed.randrange(8, 18)))["id"])
        elif act == "end":
            api.call("POST", f"/api/appointments/{seed.choice(made)}/{seed.choice(['complete', 'no-show', 'confirm'])}", json={})
        elif act == "move":
            api.call("PUT", f"/api/appointments/{seed.choice(made)}", json={"start_time": ago(-seed.randrange(1, 20)), "force": True})
        elif act == "cancel":
            api.call("POST", f"/api/appointments/{seed.choice(made)}/cancel", json={})
        else:
            shop.office.server.restart()
    for number in numbers:
        found = shop.list(query=number)["clients"]
        theirs = [a for a in api.get("/api/appointments/", per_page=200)["appointments"] if a["client_whatsapp"] == number]
        if not theirs:
            assert not found
            continue
        (client,) = found
        visits = sorted(a["start_time"] for a in theirs if a["status"] not in ("cancelled", "no_show"))
        done = [a for a in theirs if a["status"] == "completed"]
        assert client["total_appointments"] == len(theirs) and client["completed_appointments"] == len(done)
        assert client["total_spent"] == 50 * len(done) and client["cancelled_appointments"] == sum(a["status"] == "cancelled" for a in theirs)
        assert (client["first_appointment_at"], client["last_appointment_at"]) == ((visits[0], visits[-1]) if visits else (None, None))
        assert client["last_payment_at"] == max((a["start_time"] for a in done), default=None)
        now = datetime.now(SAO_PAULO)
        this = sum(datetime.fromisoformat(v).astimezone(SAO_PAULO).strftime("%Y-%m") == now.strftime("%Y-%m") for v in visits)
        assert client["appointments_this_month"] == this


# MARK: Finding them


def test_every_filter_and_order(shop):
    barba = shop.service("Barba", 30)
    ana = shop.client("Ana Conceição", "+5511988880001", email="Ana@Example.com", city="São Paulo", state="SP", gender="Feminino", birth_date="1990-05-17", tags=["fiel", "cor"], is_vip=True, source="indicação")
    shop.client("Bruno 50%", "+5511988880002", city="Campinas", state="SP", tags=["fiel"], birth_date="1985-12-01", is_active=False, communication_preference="none")
    shop.client("Caio_d'Ávila", "+14155550100", city="Curitiba", state="PR")
    for number in range(4):
        shop.book("+5511988880001", ago(7 * number, hour=0), end="complete")
    shop.book("+5511988880002", ago(200), barba, end="complete")
    shop.book("+14155550100", at(weekday(), 9), barba)
    a, b, c = "Ana Conceição", "Bruno 50%", "Caio_d'Ávila"
    today = datetime.now(SAO_PAULO).date()
    for wanted, query in [
        ([a, b, c], {}), ([a], {"query": "conceicao"}), ([a], {"query": "ANA@example"}), ([a], {"query": "(11) 98888-0001"}), ([a], {"query": "1188880001"}),
        ([c], {"query": "415 555"}), ([b], {"query": "50%"}), ([c], {"query": "o_d"}), ([], {"query": "%x"}), ([c], {"q": "avila"}),
        ([b], {"is_active": "false"}), ([a, c], {"is_active": "true"}), ([a], {"is_vip": "true"}), ([b, c], {"is_vip": "false"}),
        ([a], {"min_appointments": 2}), ([b, c], {"max_appointments": 1}), ([a], {"min_spent": 199.99}), ([b, c], {"max_spent": "30.0"}), ([a, b], {"min_spent": 30}),
        ([a], {"min_frequency_score": 60}), ([a], {"min_frequency_score": 82}), ([], {"min_frequency_score": 82.1}), ([b], {"max_frequency_score": 3}),
        ([a, c], {"last_appointment_from": today - timedelta(days=1)}), ([b], {"last_appointment_to": today - timedelta(days=100)}),
        ([a, b, c], {"created_from": today, "created_to": today}), ([], {"created_to": today - timedelta(days=1)}),
        ([a, b], {"tags": "fiel"}), ([a], {"tags": "cor, fiel"}), ([a], {"city": "sao paulo"}), ([a, b], {"state": "sp"}), ([a], {"source": "indicação"}),
        ([a], {"gender": "feminino"}), ([a], {"birth_month": 5}), ([b], {"birth_month": 12}), ([b, c], {"preferred_service": barba}), ([a], {"preferred_service": shop.cut}),
        ([a], {"is_regular_customer": "true"}), ([b, c], {"is_regular_customer": "false"}), ([c], {"has_upcoming": "true"}), ([a, b], {"has_upcoming": "false"}),
        ([b], {"communication_preference": "none"}), ([c, b, a], {"sort_order": "desc"}), ([a, b, c], {"sort_by": "created_at"}),
        ([a, c, b], {"sort_by": "frequency_score", "sort_order": "desc"}), ([a, b, c], {"sort_by": "total_spent", "sort_order": "desc"}),
        ([b, a, c], {"sort_by": "last_appointment_at"}), ([c, a, b], {"sort_by": "last_appointment_at", "sort_order": "desc"}), ([b, a, c], {"sort_by": "first_appointment_at"}),
        ([a], {"sort_by": "total_appointments", "sort_order": "desc", "per_page": 1}), ([c], {"per_page": 2, "page": 2}), ([], {"city": "sao paulo", "is_vip": "false"}),
    ]:
        found = shop.names(**query)
        assert found == wanted, (query, found)
    # What a list says of somebody is what they say themselves.
    assert shop.list(query="conceicao")["clients"] == [shop.api.get(f"{BASE}/{ana['id']}")]


def test_what_cannot_be_is_refused_and_said(office):
    shop = Shop(office)
    api, made = shop.api, shop.client("Ana", "+5511988887777")
    path = f"{BASE}/{made['id']}"
    bad = {"is_active": "talvez", "min_appointments": "-1", "min_frequency_score": "101", "min_spent": "x", "created_from": "ontem", "birth_month": "13", "preferred_service": "1", "sort_by": "id", "sort_order": "up"}
    names_fields(api.call("GET", f"{BASE}/", **bad), *bad)
    names_fields(api.call("GET", f"{BASE}/", per_page=201), "per_page")
    for body, field in [
        ({"whatsapp": "+5511900000000"}, "name"), ({"name": " ", "whatsapp": "+5511900000000"}, "name"), ({"name": "x"}, "whatsapp"), ({"name": "x", "whatsapp": "abc"}, "whatsapp"),
        ({"name": "x", "email": "nada"}, "email"), ({"name": "x", "email": "a\u0600<b@example.com"}, "email"), ({"name": "x" * 256, "whatsapp": "+5511900000000"}, "name"), ({"name": "x", "whatsapp": "+5511900000000", "birth_date": "1990-02-30"}, "birth_date"),
        ({"name": "x", "whatsapp": "+5511900000000", "tags": [str(n) for n in range(51)]}, "tags"), ({"name": "x", "whatsapp": "+5511900000000", "communication_preference": "fax"}, "communication_preference"),
        ({"name": "x", "whatsapp": "+5511900000000", "is_vip": "sim"}, "is_vip"), ({"name": "x", "whatsapp": "+5511900000000", "custom_fields": "x"}, "custom_fields"), ({"name": "a\x00", "whatsapp": "+5511900000000"}, "name"),
    ]:
        names_fields(api.call("POST", f"{BASE}/", json=body), field)
    names_fields(api.call("PUT", path, json={"name": None}), "name")
    names_fields(api.call("PUT", path, json={"whatsapp": None, "email": None}), "whatsapp")
    names_fields(api.call("PUT", path, json={"city": "x"}, headers={"If-Match": "abc"}), "If-Match")
    names_fields(api.call("GET", f"{path}/history", type="tudo"), "type")
    for body, field in [
        ({}, "client_ids"), ({"client_ids": [made["id"]]}, "changes"), ({"client_ids": [made["id"]], "changes": {}}, "tags_add"), ({"client_ids": ["x"], "changes": {"is_vip": True}}, "client_ids"),
        ({"client_ids": [], "changes": {"is_vip": True}}, "client_ids"), ({"client_ids": [made["id"]], "changes": {"name": "x"}}, "name"), ({"filter": {}, "changes": {"is_vip": True}}, "filter"),
        ({"filter": {"citty": "x"}, "changes": {"is_vip": True}}, "citty"), ({"client_ids": [made["id"]], "filter": {"city": "x"}, "changes": {"is_vip": True}}, "client_ids"),
    ]:
        names_fields(api.call("POST", f"{BASE}/bulk-update", json=body), field)
    names_fields(api.call("POST", f"{path}/merge", json={}), "into")
    names_fields(api.call("POST", f"{path}/merge", json={"into": "x"}), "into")
    assert is_clear_error(api.call("POST", f"{path}/merge", json={"into": made["id"]}), 409)["code"] == "same_client"
    for body in (b"{", b"[]", b"\xff", b""):
        assert api.call("POST", f"{BASE}/", body=body).status == 422
    assert api.get(path) == made and shop.list()["total"] == 1, "nothing of it was done"


def test_one_business_sees_nothing_of_another_and_viewers_only_look(office):
    shop = Shop(office)
    made = shop.client("Ana", "+5511988887777")
    other = office.anybody.register("dona@example.com", "Senha#Forte2026xyz", business_name="Outra")
    path, missing = f"{BASE}/{made['id']}", "00000000-0000-7000-8000-000000000000"
    for id in (made["id"], missing, "x"):
        for method, where, body in [("GET", "", None), ("PUT", "", {"city": "x"}), ("DELETE", "", None), ("GET", "/history", None), ("POST", "/merge", {"into": missing[:-1] + "1"})]:
            assert is_clear_error(other.call(method, f"{BASE}/{id}{where}", json=body), 404)["code"] == "not_found"
    mine = other.post(f"{BASE}/", {"name": "Minha", "whatsapp": "+5511988887777"}, expect=201)
    assert other.call("POST", f"{BASE}/{mine['id']}/merge", json={"from": made["id"]}).status == 404
    assert other.post(f"{BASE}/bulk-update", {"client_ids": [made["id"], mine["id"]], "changes": {"is_vip": True}})["results"] == [{"client_id": made["id"], "status": "not_found"}, {"client_id": mine["id"], "status": "updated"}]
    assert other.get(f"{BASE}/")["total"] == 1 and other.get(f"{BASE}/analytics/overview")["total_clients"] == 1
    assert shop.api.get(path) == made
    agent = office.hire("Maria").api
    assert agent.post(f"{BASE}/", {"name": "Da Maria", "whatsapp": "+5511977770000"}, expect=201)["name"] == "Da Maria"
    assert agent.call("DELETE", path, erase="true").status == 403 and agent.call("GET", f"{BASE}/export").status == 403
    shop.api.create_user("vera@example.com", "Vera", "viewer", "Senha#Forte2026abc")
    viewer = office.anybody.login("vera@example.com", "Senha#Forte2026abc")
    assert viewer.get(path) == made
    for method, where, body in [("POST", f"{BASE}/", {"name": "x", "whatsapp": "+5511900000000"}), ("PUT", path, {"city": "x"}), ("DELETE", path, None), ("POST", f"{path}/merge", {"into": missing}), ("POST", f"{BASE}/bulk-update", {"client_ids": [made["id"]], "changes": {"is_vip": True}}), ("POST", f"{BASE}/import", [])]:
        assert viewer.call(method, where, json=body).status == 403, (method, where)


# MARK: Many, two, none


def test_many_are_changed_at_once(shop):
    ids = [shop.client(f"C{n:02d}", f"+55119888801{n:02d}", city="Santos" if n % 2 else "Itu")["id"] for n in range(20)]
    bulk = lambda body, expect=200: shop.api.post(f"{BASE}/bulk-update", body, expect=expect)  # noqa: E731
    answer = bulk({"client_ids": ids[:3] + ids[:1], "changes": {"tags_add": ["a", "b"], "is_vip": True}})
    assert [result["client_id"] for result in answer["results"]] == ids[:3] and answer["updated"] == 3
    assert bulk({"client_ids": ids[:3], "changes": {"tags_add": ["a"]}})["unchanged"] == 3
    answer = bulk({"filter": {"city": "santos", "is_active": True}, "changes": {"is_active": False, "tags_remove": ["b"], "source": "feira"}})
    assert answer["updated"] == 10 and shop.list(is_active="false", source="feira")["total"] == 10
    assert shop.api.get(f"{BASE}/{ids[1]}")["tags"] == ["a"] and shop.api.get(f"{BASE}/{ids[0]}")["tags"] == ["a", "b"]
    full = bulk({"client_ids": ids[:1], "changes": {"tags": [f"t{n}" for n in range(50)]}})
    assert full["updated"] == 1
    answer = bulk({"client_ids": ids[:2], "changes": {"tags_add": ["mais"]}})
    assert [result["status"] for result in answer["results"]] == ["too_many_tags", "updated"] and answer["failed"] == 1


def test_no_request_changes_or_brings_more_than_it_may(office):
    shop = Shop(office)
    lines = lambda count, name="C": "\n".join(json.dumps({"name": f"{name}{n}", "whatsapp": f"+55119{10_000_000 + n}", "city": "Itu"}) for n in range(count)).encode()  # noqa: E731
    send = lambda body: shop.api.call("POST", f"{BASE}/import", body=body, headers={"Content-Type": "application/x-ndjson"}, timeout=60)  # noqa: E731
    assert send(lines(1001)).json()["created"] == 1001
    assert shop.api.call("POST", f"{BASE}/bulk-update", json={"filter": {"city": "itu"}, "changes": {"is_vip": True}}).status == 422
    assert shop.list(is_vip="true")["total"] == 0, "none of them"
    ids = [shop.list(per_page=200, page=page)["clients"] for page in range(1, 7)]
    everybody = [client["id"] for page in ids for client in page]
    assert len(set(everybody)) == 1001, "nobody on two pages or on none"
    names_fields(shop.api.call("POST", f"{BASE}/bulk-update", json={"client_ids": everybody, "changes": {"is_vip": True}}), "client_ids")
    assert shop.api.post(f"{BASE}/bulk-update", {"client_ids": everybody[:1000], "changes": {"is_vip": True}})["updated"] == 1000
    assert shop.list(is_vip="true")["total"] == 1000
    assert send(lines(5001)).status == 422 and send(lines(20_000, "muito " * 5)).status == 413
    assert shop.api.call("GET", f"{BASE}/export", expect=200).text.count("\r\n") == 1002
    assert shop.names(sort_by="name", per_page=3) == ["C0", "C1", "C10"]


def test_two_who_are_one_are_found_and_united(shop):
    api = shop.api
    one = shop.client("Ana", "+5511988887777", email="ana@example.com", tags=["a"], city="Itu")
    two = shop.client("Ana Maria", "+5511977776666", email="ANA@example.com", tags=["b"], notes="nova")
    three = shop.client("Outra", "+5511966665555")
    groups = api.get(f"{BASE}/duplicates")
    assert groups["total"] == 1 and groups["items"][0]["reason"] == "email" and [c["id"] for c in groups["items"][0]["clients"]] == [one["id"], two["id"]]
    shop.book("+5511988887777", ago(30), end="complete")
    shop.book("+5511977776666", ago(60), end="complete")
    coming = shop.book("+5511977776666", at(weekday(), 9))
    shop.office.server.restart()
    merged = api.post(f"{BASE}/{two['id']}/merge", {"into": one["id"]})
    assert merged["id"] == one["id"] and merged["name"] == "Ana" and merged["tags"] == ["a", "b"] and merged["notes"] == "nova" and merged["city"] == "Itu"
    assert (merged["total_appointments"], merged["completed_appointments"], merged["total_spent"], merged["first_appointment_at"]) == (3, 2, 100, ago(60))
    assert api.get("/api/appointments/", client_id=one["id"])["total"] == 3 and api.get("/api/appointments/", client_id=two["id"])["total"] == 0
    assert is_clear_error(api.call("GET", f"{BASE}/{two['id']}"), 404)["merged_into"] == one["id"]
    assert api.get(f"{BASE}/duplicates")["total"] == 0 and shop.list()["total"] == 2
    # Their number leads to whoever stayed, also of one merged before, and after a restart.
    api.post(f"{BASE}/{three['id']}/merge", {"from": one["id"]})
    shop.office.server.restart()
    for number, hour in (("11977776666", 10), ("1188887777", 11), ("+5511966665555", 12)):
        assert shop.book(number, at(weekday(), hour))["client_id"] == three["id"]
    assert api.get(f"{BASE}/{three['id']}")["total_appointments"] == 6
    api.post(f"/api/appointments/{coming['id']}/cancel", {})
    assert api.get(f"{BASE}/{three['id']}")["cancelled_appointments"] == 1
    kinds = [item["change"]["kind"] for item in api.get(f"{BASE}/{three['id']}/history", type="change", per_page=200)["items"]]
    assert kinds.count("created") == 3 and "merged" in kinds


def test_whoever_wants_to_be_forgotten_is(shop):
    api, secret = shop.api, "Fulana Secreta"
    made = shop.client(secret, "+5511988887777", email="secreta@example.com", address="Rua Secreta", tags=["segredo"], custom_fields={"s": "segredo"})
    for number in range(3):
        shop.book("+5511988887777", ago(10 + 30 * number), end="complete", name=secret, client_email="secreta@example.com", notes="nota secreta", internal_notes="interno secreto")
    coming = shop.book("+5511988887777", at(weekday(), 9), name=secret)
    path = f"{BASE}/{made['id']}"
    assert "988887777" in json.dumps(api.get("/api/queues/appointment_confirmations/messages", per_page=100)), "they were told of it"
    wish = {"service_id": shop.cut, "from": at(weekday(), 9), "until": at(weekday(), 10), "client_name": secret, "client_whatsapp": "(11) 8888-7777"}
    waits = [api.post("/api/appointments/waitlist", wish | {"until": at(weekday(), hour)}, expect=201) for hour in (10, 11)]
    api.call("DELETE", f"/api/appointments/waitlist/{waits[0]['id']}", expect=200)
    assert api.call("DELETE", path, erase="true").json()["code"] == "client_has_appointments"
    assert api.get(path)["name"] == secret and api.get(f"/api/appointments/{coming['id']}")["client_name"] == secret, "refused before anything is forgotten"
    api.call("DELETE", path, erase="true", force="true", expect=204)
    shop.office.server.restart()
    left = json.dumps([api.get("/api/appointments/", per_page=200), api.get(f"{path}/history", per_page=200), api.get(f"{BASE}/"), api.get(f"{BASE}/duplicates"), api.get("/api/appointments/waitlist")]
                      + [api.get(f"/api/queues/{queue}/messages", per_page=100) for queue in api.get("/api/queues/status") if queue != "scheduled_messages"], ensure_ascii=False)
    assert "ecret" not in left and "888887777" not in left and "988887777" not in left and "egredo" not in left
    theirs = api.get("/api/appointments/", client_id=made["id"])
    assert theirs["total"] == 4 and {a["client_name"] for a in theirs["appointments"]} == {"Cliente removido"}
    assert api.get("/api/appointments/", query="98888")["total"] == 0
    api.call("DELETE", path, erase="true", expect=204)
    assert shop.book("+5511988887777", at(weekday(), 10))["client_id"] != made["id"], "whoever comes with the number is somebody new"


def test_of_whoever_is_forgotten_nothing_is_left_in_the_file(office):
    """Messages that nobody said whom they are about, too: to the number, and naming it; and nobody else's are touched."""
    shop, api = Shop(office), office.admin
    made = shop.client("Fulana Secreta", "+5511988887777", email="secreta@example.com", address="Rua Secreta")
    shop.book("(11) 98888-7777", at(weekday(), 9), name="Fulana Secreta", client_email="secreta@example.com", notes="nota secreta " * 300)
    for body in ({"recipient_whatsapp": "+5511988887777", "message_content": "para ela " * 300},
                 {"recipient_whatsapp": "+5511977776666", "message_content": "ligue para (11) 98888-7777"},
                 {"recipient_whatsapp": "+5521988887777", "message_content": "de outro estado, com o mesmo final"}):
        api.post("/api/queues/test/whatsapp", body)
    api.post("/api/queues/test/email", {"recipient_email": "Secreta@example.com", "subject": "olá", "body": "corpo"})
    written = [b"988887777", b"98888-7777", b"ecreta"]

    def traces():
        files = [path for path in office.server.data.rglob("*") if path.is_file()]
        return {(path.name, trace) for path in files for trace in written if trace in path.read_bytes().replace(b"5521988887777", b"")}

    eventually("it is all in there", lambda: {trace for _, trace in traces()} == set(written))
    eventually("all was sent", lambda: api.get("/api/queues/whatsapp_messages/messages", per_page=100, state="sent")["total"] == 3)
    api.call("DELETE", f"{BASE}/{made['id']}", erase="true", force="true", expect=204)
    assert not traces()
    office.server.stop()
    assert not traces()
    office.server.start()
    left = api.get("/api/queues/whatsapp_messages/messages", per_page=100)["items"]
    assert [message["recipient"].lstrip("+") for message in left if message["state"] != "forgotten"] == ["5521988887777"]


def test_history_is_all_of_it_the_newest_first(office):
    shop, number = Shop(office), new_number()
    office.says(number, "Oi")
    office.conversation(number)
    (client,) = shop.list(query=number)["clients"]
    assert client["source"] == "whatsapp" and client["contact_id"]
    booked = shop.book(f"+{number}", at(weekday(), 9))
    past = shop.book(f"+{number}", ago(20), end="complete")
    assert booked["client_id"] == client["id"] == past["client_id"]
    shop.api.put(f"{BASE}/{client['id']}", {"city": "Itu", "notes": "x"})
    answer = shop.api.get(f"{BASE}/{client['id']}/history")
    assert answer["total"] == 5 and sorted(item["type"] for item in answer["items"]) == ["appointment", "appointment", "change", "change", "conversation"]
    assert [item["at"] for item in answer["items"]] == sorted((item["at"] for item in answer["items"]), reverse=True)
    assert answer["items"][0]["appointment"]["id"] == booked["id"] and answer["items"][-1]["appointment"]["id"] == past["id"]
    changes = shop.api.get(f"{BASE}/{client['id']}/history", type="change")["items"]
    assert [item["change"]["kind"] for item in changes] == ["updated", "created"] and changes[0]["change"]["fields"] == ["notes", "city"]
    assert changes[0]["change"]["author"]["kind"] == "agent" and changes[1]["change"]["author"]["kind"] == "customer"
    (talk,) = shop.api.get(f"{BASE}/{client['id']}/history", type="conversation")["items"]
    assert talk["conversation"]["channel"] == "whatsapp"
    paged = [shop.api.get(f"{BASE}/{client['id']}/history", page=page, per_page=2)["items"] for page in (1, 2, 3)]
    assert sum(paged, []) == answer["items"]


# MARK: Those who write


def test_whoever_writes_is_a_client_and_the_one_that_they_were(office):
    shop = Shop(office)
    # Booked first, with the other way of writing the number.
    shop.book("(11) 98765-4321", at(weekday(), 9), name="João")
    office.says("551187654321", "Oi", name="Joãozinho")
    office.conversation("551187654321")
    (joao,) = shop.list()["clients"]
    assert joao["name"] == "João" and joao["contact_id"] and joao["source"] == "booking"
    # A web chat has no number.
    chat = office.anybody.post("/api/v1/chat/sessions", {"tenant_id": office.admin.user["tenant_id"], "name": "Visitante Zé"}, expect=201)
    assert shop.list()["total"] == 1, "nobody has written yet"
    visitor = Api(office.server, token=chat["token"])
    visitor.post(f"/api/v1/conversations/{chat['conversation_id']}/messages", {"text": "Olá"}, expect=201)
    visitor.post(f"/api/v1/conversations/{chat['conversation_id']}/messages", {"text": "Tem alguém?"}, expect=201)
    ze = shop.list(source="webchat")
    assert ze["total"] == 1 and ze["clients"][0]["name"] == "Visitante Zé" and ze["clients"][0]["whatsapp"] is None
    # Whoever wrote before they were a client, as one who was removed: what they said is theirs by the number, and writing anew brings nobody back twice.
    ana = new_number()
    office.says(ana, "Oi")
    office.conversation(ana)
    first = shop.of(ana)
    shop.api.call("DELETE", f"{BASE}/{first['id']}", erase="true", expect=204)
    again = shop.client("Ana", f"+{ana}")
    assert again["id"] != first["id"] and shop.api.get(f"{BASE}/{again['id']}/history", type="conversation")["total"] == 1
    # They are told apart no longer.
    merged = shop.api.post(f"{BASE}/{ze['clients'][0]['id']}/merge", {"into": joao["id"]})
    assert shop.api.get(f"{BASE}/{merged['id']}/history", type="conversation")["total"] == 2
    office.server.restart()
    office.says("551187654321", "De novo")
    eventually("the message", lambda: any(m["text"] == "De novo" for m in shop.api.all_messages(office.conversation("551187654321")["id"])))
    assert shop.list()["total"] == 2


def test_who_hid_their_number_and_shows_it_is_the_client_that_has_it(office):
    shop, number, other = Shop(office), new_number(), new_number()
    # Somebody unknown by their number, who then shows it, after a restart: nobody is in memory.
    office.deliver(text(None, "sem número", bsuid="BR.1"))
    eventually("a client", lambda: shop.list()["total"] == 1)
    (hidden,) = shop.list()["clients"]
    assert hidden["whatsapp"] is None and hidden["source"] == "whatsapp"
    office.server.restart()
    office.deliver(text(number, "com número", bsuid="BR.1"))
    eventually("the number", lambda: shop.api.get(f"{BASE}/{hidden['id']}")["whatsapp"] == f"+{number}")
    assert shop.book(number, at(weekday(), 9))["client_id"] == hidden["id"]
    # Somebody who has booked and been here, and writes without a number: they are two until they show it.
    known = shop.book(f"+{other}", ago(20), end="complete")["client_id"]
    office.says(other, "Oi")
    office.deliver(text(None, "sem número", bsuid="BR.2"))
    eventually("three", lambda: shop.list()["total"] == 3)
    office.server.restart()
    office.deliver(text(other, "sou eu", bsuid="BR.2"))
    eventually("two", lambda: shop.list()["total"] == 2)
    (one,) = shop.list(query=other)["clients"]
    assert one["completed_appointments"] == 1 and shop.api.get("/api/appointments/", client_id=one["id"])["total"] == 1
    assert shop.api.get(f"{BASE}/{one['id']}/history", type="conversation")["total"] == 2
    assert shop.book(other, at(weekday(), 10))["client_id"] == one["id"] and known


def test_a_hundred_who_book_at_once_under_one_number_are_one_client(office):
    shop, day = Shop(office), weekday()
    starts = [at(day + timedelta(days=7 * week), hour) for week in range(13) for hour in range(9, 17)][:100]
    forms = ["+5511988887777", "11988887777", "(11) 8888-7777", "551188887777"]

    def book(pair):
        index, start = pair
        body = {"service_id": shop.cut, "client_name": f"N{index}", "client_whatsapp": forms[index % 4], "start_time": start}
        return Api(office.server, token=shop.api.token).call("POST", "/api/appointments/", json=body).status

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(book, enumerate(starts)))
    assert statuses == [201] * 100
    (client,) = shop.list()["clients"]
    assert client["total_appointments"] == 100 and client["frequency_score"] >= 70


# MARK: Lists that come and go, and what is pushed


def test_lists_come_in_and_go_out(shop):
    api = shop.api
    csv = (
        "Name;WhatsApp;Email;Tags;is_vip;city\r\n"
        'Ana;+55 11 98888-0001;ana@example.com;fiel;true;"São Paulo; centro"\r\n'
        "Bruno;11988880002;;;;\r\n"
        ";11988880003;;;;\r\n"
        "Caio;abc;;;;\r\n"
        "Ana de novo;1188880001;;;;\r\n"
    )
    send = lambda body, kind: api.call("POST", f"{BASE}/import", body=body.encode(), headers={"Content-Type": kind}, expect=200).json()  # noqa: E731
    answer = send(csv, "text/csv")
    assert (answer["created"], answer["updated"], answer["unchanged"]) == (2, 1, 0)
    assert [(line["line"], line["errors"][0]["loc"][-1]) for line in answer["refused"]] == [(4, "name"), (5, "whatsapp")]
    ana = shop.of("988880001")
    assert (ana["name"], ana["city"], ana["is_vip"], ana["tags"], ana["whatsapp"]) == ("Ana de novo", "São Paulo; centro", True, ["fiel"], "+55 11 98888-0001")
    lines = '{"name": "Ana de novo", "whatsapp": "+5511988880001"}\n\n{"name": "Dora", "email": "dora@example.com"}\nnada\n{"name": 7}\n'
    answer = send(lines, "application/x-ndjson")
    assert (answer["created"], answer["updated"], answer["unchanged"]) == (1, 0, 1) and [line["line"] for line in answer["refused"]] == [4, 5]
    shop.client("=cmd()", "+5511988880009", notes='aspas " e\nlinha')
    out = api.call("GET", f"{BASE}/export", expect=200)
    assert out.headers["content-type"].startswith("text/csv") and out.text.startswith("\ufeffid,name,whatsapp")
    assert "'=cmd()" in out.text and '"aspas "" e\nlinha"' in out.text and out.text.count("+5511988880009") == 1
    again = send(api.call("GET", f"{BASE}/export", query="bruno", expect=200).text, "text/csv")
    assert (again["created"], again["unchanged"], again["refused"]) == (0, 1, [])
    names_fields(api.call("POST", f"{BASE}/import", body=b"Nome\r\nAna\r\n", headers={"Content-Type": "text/csv"}), 1)
    assert api.call("POST", f"{BASE}/import", body=b"").status == 422


def test_agents_see_clients_change_live_and_change_them_by_rpc(office):
    shop = Shop(office)
    with office.desk(office.hire("Maria")) as desk:
        made = desk.rpc("client.create", {"name": "Ana", "whatsapp": "+5511988887777", "idempotency_key": "k"})
        assert desk.rpc("client.create", {"name": "Ana", "whatsapp": "+5511988887777", "idempotency_key": "k"})["id"] == made["id"]
        assert desk.rpc("client.update", {"client_id": made["id"], "city": "Itu"})["city"] == "Itu"
        assert desk.rpc("client.bulk-update", {"client_ids": [made["id"]], "changes": {"is_vip": True}})["updated"] == 1
        position = shop.api.get("/api/v1/realtime/calendar", wait=0)
        shop.book("+5511988887777", at(weekday(), 9), end="cancel")
        news = shop.api.get("/api/v1/realtime/calendar", epoch=position["epoch"], offset=position["offset"], wait=5)["publications"]
        told = [p["data"]["client"] for p in news if p["data"]["type"] == "client.changed"]
        assert [c["total_appointments"] for c in told] == [1, 1] and told[0]["frequency_score"] == 43 and told[1]["frequency_score"] == 0
        other = desk.rpc("client.create", {"name": "Bia", "whatsapp": "+5511977776666"})
        assert desk.rpc("client.merge", {"client_id": other["id"], "into": made["id"]})["id"] == made["id"]
        assert desk.rpc("client.remove", {"client_id": made["id"]}) == {}
        for method, data in [("client.update", {"client_id": made["id"], "city": "x"}), ("client.remove", {"client_id": made["id"]}), ("client.create", {"name": "x"})]:
            with pytest.raises(Exception):
                desk.rpc(method, data)
    assert shop.list()["total"] == 0


# MARK: When things fail


def test_what_was_kept_before_numbers_had_one_form_is_found_and_counted(database, offices):
    """Rows of a version that had no counts, and kept a number's digits as they were written."""
    office = offices(DATABASE_URL=database.url)
    shop = Shop(office)
    first, second = shop.client("Ana", "+5511988887777"), shop.client("Ana de novo", "+5511977770000")
    shop.book("+5511988887777", ago(10), end="complete")
    eventually("the rows", lambda: len(database.values("SELECT id FROM clients")) == 2 and database.values("SELECT total_appointments FROM clients ORDER BY 1") == [0, 1])
    office.server.stop()
    database.sql("UPDATE clients SET tally = NULL, visits = NULL, total_appointments = NULL, last_visit_ms = NULL, steady_score = NULL, revision = NULL, is_active = NULL, email_key = NULL")
    database.sql("UPDATE clients SET found_by = '1188887777', whatsapp = '(11) 8888-7777' WHERE id = %s", first["id"])
    database.sql("UPDATE clients SET found_by = '5511988887777', whatsapp = '5511988887777' WHERE id = %s", second["id"])
    office.server.start()
    groups = shop.api.get(f"{BASE}/duplicates")
    assert [(g["reason"], g["value"], len(g["clients"])) for g in groups["items"]] == [("whatsapp", "+5511988887777", 2)]
    assert shop.list(is_active="true", max_appointments=0, is_regular_customer="false", min_frequency_score=0)["total"] == 2
    assert shop.book("+5511988887777", at(weekday(), 9))["client_id"] == first["id"], "whoever was there first"
    client = shop.api.get(f"{BASE}/{first['id']}")
    assert (client["total_appointments"], client["completed_appointments"], client["total_spent"]) == (2, 1, 50)


def test_whoever_books_while_the_database_is_away_is_booked(offices, own_postgres):
    office = offices(DATABASE_URL=own_postgres.create_database().url, DATABASE_BREAKER_SECONDS=1)
    shop = Shop(office)
    known = shop.book("+5511988887777", at(weekday(), 9))
    own_postgres.stop()
    assert shop.book("11988887777", at(weekday(), 10))["client_id"] == known["client_id"]
    stranger = shop.book("+5511977776666", at(weekday(), 11))
    own_postgres.start()
    eventually("the list", lambda: shop.api.call("GET", f"{BASE}/").status == 200, 30)
    eventually("both", lambda: shop.list()["total"] == 2, 30)
    assert shop.of("977776666")["id"] == stranger["client_id"] and shop.of("988887777")["total_appointments"] == 2


def test_after_kill_9_what_was_acknowledged_is_counted(office, seed):
    shop = Shop(office)
    numbers = [f"+5511988880{n:03d}" for n in range(5)]
    booked = {number: 0 for number in numbers}
    for round in range(4):
        for _ in range(8):
            number = seed.choice(numbers)
            shop.book(number, ago(random.Random(f"{round}{_}").randrange(1, 80)), end="complete")
            booked[number] += 1
        office.server.kill()
        office.server.start()
    for number, count in booked.items():
        found = shop.list(query=number)["clients"]
        assert [client["completed_appointments"] for client in found] == ([count] if count else [])
        assert [client["total_spent"] for client in found] == ([50 * count] if count else [])
