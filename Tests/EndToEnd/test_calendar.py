"""The appointment book through its doors: what is booked once is booked once, what is seen is what can be had, and nothing acknowledged is lost."""

import concurrent.futures
import os
import random
import re
import threading
import time
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from harness.api import Api, is_clear_error, names_fields
from harness.waiting import eventually

pytestmark = pytest.mark.timeout(300)

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
BOOKERS = int(os.environ.get("BOOKERS", "1000"))
CALENDAR_KILL_ROUNDS = int(os.environ.get("CALENDAR_KILL_ROUNDS", "12"))


def weekday(ahead=3):
    """A date some days from now that is no Sunday."""
    day = datetime.now(SAO_PAULO).date() + timedelta(days=ahead)
    return day + timedelta(days=1) if day.weekday() == 6 else day


def at(day, hour, minute=0):
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=SAO_PAULO).astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:00.000Z")


def begun(api, appointment):
    """Puts an appointment where it has begun."""
    return api.post(f"/api/appointments/{appointment['id']}/reschedule", {"start_time": (datetime.now(timezone.utc) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:00Z"), "force": True})


class Salon:
    """A business that takes bookings."""

    def __init__(self, office, **service):
        self.office, self.api = office, office.admin
        self.service = self.api.post("/api/services/", {"name": "Corte de Cabelo", "duration": 60, "price": 50.0} | service, expect=201)

    @property
    def id(self):
        return self.service["id"]

    def body(self, start, name="João Silva", **more):
        return {"service_id": self.id, "client_name": name, "client_whatsapp": "+5511888888888", "start_time": start} | more

    def book(self, start, expect=201, **more):
        return self.api.post("/api/appointments/", self.body(start, **more), expect=expect)

    def slots(self, day, **query):
        return self.api.get("/api/appointments/availability", service_id=self.id, date=day.isoformat(), **query)["available_slots"]

    def rules(self, **rules):
        return self.api.put("/api/users/business-hours", rules)


@pytest.fixture
def salon(office):
    return Salon(office)


# MARK: The contract's own words


def test_the_examples_of_the_contract(salon):
    api, day = salon.api, weekday()
    assert api.get("/api/services/")["services"][0]["name"] == "Corte de Cabelo"
    answer = api.get("/api/appointments/availability", service_id=salon.id, date=day.isoformat(), duration=60)
    assert answer["available_slots"] == [at(day, hour) for hour in range(9, 18)] and answer["conflicts"] == []
    made = salon.book(at(day, 14), client_email="joao@email.com", notes="Primeiro agendamento")
    assert (made["status"], made["is_confirmed"], made["duration_minutes"], made["price"]) == ("pending", False, 60, 50)
    assert made["local_start_time"] == f"{day}T14:00:00-03:00"
    assert api.get(f"/api/appointments/{made['id']}")["client_email"] == "joao@email.com"
    assert at(day, 14) not in salon.slots(day)
    listed = api.get("/api/appointments/", query="joão", date=day.isoformat(), page=1, per_page=10)
    assert [a["id"] for a in listed["appointments"]] == [made["id"]] and listed["total_pages"] == 1
    changed = api.put(f"/api/appointments/{made['id']}", {"notes": "Segundo", "status": "confirmed"})
    assert changed["is_confirmed"] and changed["notes"] == "Segundo"
    gone = api.call("DELETE", f"/api/appointments/{made['id']}", reason="Desistiu", expect=200).json()
    assert gone["is_cancelled"] and gone["cancel_reason"] == "Desistiu"
    stats = api.get("/api/appointments/stats")
    assert (stats["total_appointments"], stats["cancelled"], stats["cancellation_rate"]) == (1, 1, 1)
    assert api.get("/api/services/stats")["total_services"] == 1


def test_services_with_categories_filters_images_and_bad_input(office):
    api = office.admin
    category = api.post("/api/services/categories", {"name": "Cabelo"}, expect=201)
    assert api.call("POST", "/api/services/categories", json={"name": "cabelo"}, expect=409).json()["code"] == "category_taken"
    made = api.post("/api/services/", {"name": "Tintura", "duration": 90, "price": 199.9, "category_id": category["id"], "custom_fields": {"cor": ["loiro"]}, "promotions": [{"desconto": 10}]}, expect=201)
    assert made["category_name"] == "Cabelo" and made["custom_fields"] == {"cor": ["loiro"]} and made["price"] == 199.9
    for number in range(5):
        api.post("/api/services/", {"name": f"Corte {number}", "duration": 30, "price": 10 * number}, expect=201)
    page = api.get("/api/services/", query="corte", min_price=10, per_page=2, page=2)
    assert page["total"] == 4 and len(page["services"]) == 2 and page["total_pages"] == 2
    assert api.get("/api/services/", category_id=category["id"])["total"] == 1
    png = b"\x89PNG\r\n\x1a\n" + b"0" * 100
    pictured = api.call("POST", f"/api/services/{made['id']}/images", body=png, headers={"Content-Type": "image/png"}, expect=201).json()
    (image,) = pictured["images"]
    shown = office.anybody.call("GET", image, expect=200)
    assert shown.body == png and shown.headers["content-type"] == "image/png"
    assert is_clear_error(api.call("POST", f"/api/services/{made['id']}/images", body=b"<html>", headers={"Content-Type": "image/png"}), 422)
    assert api.call("DELETE", image, expect=200).json()["images"] == []
    office.anybody.call("GET", image, expect=404)
    names_fields(api.call("POST", "/api/services/", json={"duration": 0, "price": -1, "category_id": "x"}), "name", "duration", "price", "category_id")
    salon_day = weekday()
    booked = api.post("/api/appointments/", {"service_id": made["id"], "client_name": "A", "client_whatsapp": "+5511900000000", "start_time": at(salon_day, 9)}, expect=201)
    assert api.call("DELETE", f"/api/services/{made['id']}", expect=409).json()["code"] == "service_in_use"
    api.post(f"/api/appointments/{booked['id']}/cancel", {})
    api.call("DELETE", f"/api/services/{made['id']}", expect=204)
    api.call("GET", f"/api/services/{made['id']}", expect=404)
    assert api.get(f"/api/appointments/{booked['id']}")["service_name"] == "Tintura"


# MARK: One time, one winner


def test_of_a_thousand_who_book_one_time_at_once_one_wins(office):
    salon, day = Salon(office), weekday()
    barrier = threading.Barrier(50)

    def one(worker):
        api, statuses = Api(office.server, token=office.admin.token), []
        barrier.wait(30)
        for n in range(BOOKERS // 50):
            reply = api.call("POST", "/api/appointments/", json=salon.body(at(day, 10), name=f"Cliente {worker}-{n}"), timeout=60)
            statuses.append(reply.status)
            if reply.status != 201:
                body = is_clear_error(reply, 409)
                assert body["code"] == "slot_taken" and len(body["alternatives"]) == 5
        return statuses

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        statuses = [status for worker in pool.map(one, range(50)) for status in worker]
    assert statuses.count(201) == 1 and statuses.count(409) == len(statuses) - 1 >= BOOKERS - 51
    assert salon.api.get("/api/appointments/", date=day.isoformat())["total"] == 1
    metrics = office.anybody.call("GET", "/metrics", expect=200).text
    assert not re.search(r"^plantao_calendar_exclusion_hits_total [1-9]", metrics, re.MULTILINE)


def test_holds_keys_revisions_and_alternatives(salon):
    api, day = salon.api, weekday()
    hold = api.post("/api/appointments/holds", {"service_id": salon.id, "start_time": at(day, 9)}, expect=201)
    refused = api.call("POST", "/api/appointments/", json=salon.body(at(day, 9)), expect=409).json()
    assert refused["code"] == "slot_taken" and refused["alternatives"][0] == at(day, 10)
    headers = {"Idempotency-Key": "k-1"}
    body = salon.body(at(day, 9), hold_id=hold["hold_id"])
    first = api.call("POST", "/api/appointments/", json=body, headers=headers, expect=201).json()
    assert api.call("POST", "/api/appointments/", json=body, headers=headers, expect=201).json()["id"] == first["id"]
    assert api.call("POST", "/api/appointments/", json=body | {"notes": "x"}, headers=headers, expect=409).json()["code"] == "idempotency_conflict"
    salon.office.server.restart()
    assert api.call("POST", "/api/appointments/", json=body, headers=headers, expect=201).json()["id"] == first["id"], "also after a restart"
    moved = api.post(f"/api/appointments/{first['id']}/reschedule", {"start_time": at(day, 11), "revision": 0})
    assert (moved["id"], moved["revision"], moved["start_time"]) == (first["id"], 1, at(day, 11))
    stale = api.call("POST", f"/api/appointments/{first['id']}/confirm", json={"revision": 0}, expect=409).json()
    assert stale["code"] == "stale_revision" and stale["revision"] == "1"
    api.post(f"/api/appointments/{first['id']}/confirm")
    released = api.post("/api/appointments/holds", {"service_id": salon.id, "start_time": at(day, 9)}, expect=201)
    api.call("DELETE", f"/api/appointments/holds/{released['hold_id']}", expect=204)
    assert at(day, 9) in salon.slots(day)
    salon.rules(hold_seconds=10)
    lapsing = api.post("/api/appointments/holds", {"service_id": salon.id, "start_time": at(day, 9)}, expect=201)
    salon.office.server.kill()
    salon.office.server.start()
    assert at(day, 9) not in salon.slots(day), "a hold outlives the process"
    eventually("the hold to run out", lambda: at(day, 9) in salon.slots(day), timeout=20)
    assert api.call("POST", "/api/appointments/", json=salon.body(at(day, 9), hold_id=lapsing["hold_id"]), expect=409).json()["code"] == "hold_expired"
    assert api.call("POST", f"/api/appointments/{first['id']}/complete", json={}, expect=409).json()["code"] == "invalid_state", "it has not begun"
    assert api.call("PUT", f"/api/appointments/{first['id']}", json={"status": "no_show"}, expect=409).json()["code"] == "invalid_state"
    begun(api, first)
    completed = api.post(f"/api/appointments/{first['id']}/complete")
    assert completed["is_completed"] and api.get("/api/services/stats")["most_booked"][0]["revenue"] == 50
    api.call("POST", f"/api/appointments/{first['id']}/decline", expect=409)


def test_staff_time_off_forced_ones_classes_and_series(salon):
    api, day = salon.api, weekday()
    ana, bia = (api.post("/api/staff", {"name": name}, expect=201) for name in ("Ana", "Bia"))
    given = {salon.book(at(day, 9))["staff_id"] for _ in range(2)}
    assert given == {ana["id"], bia["id"]}
    assert at(day, 9) not in salon.slots(day) and at(day, 10) in salon.slots(day, staff_id=ana["id"])
    far = (day + timedelta(days=6 * 366)).isoformat() + "T12:00:00Z"
    refused = api.call("POST", "/api/appointments/", json=salon.body(far, force=True), expect=422).json()
    assert refused["detail"][0]["loc"] == ["body", "start_time"], "also what is forced has a bound"
    longer = api.post("/api/appointments/holds", {"service_id": salon.id, "start_time": at(day, 13), "duration_minutes": 120}, expect=201)
    mismatch = api.call("POST", "/api/appointments/", json=salon.body(at(day, 13), hold_id=longer["hold_id"], duration_minutes=60), expect=409).json()
    assert (mismatch["code"], mismatch["duration_minutes"]) == ("hold_mismatch", 120)
    assert salon.book(at(day, 13), hold_id=longer["hold_id"])["duration_minutes"] == 120
    off = api.post("/api/time-off", {"staff_id": ana["id"], "start_time": at(day, 10), "end_time": at(day, 18)}, expect=201)
    assert salon.slots(day, staff_id=ana["id"]) == [] and at(day, 10) in salon.slots(day)
    api.call("DELETE", f"/api/time-off/{off['id']}", expect=204)
    forced = salon.book(at(day, 9, 30), staff_id=bia["id"], force=True, force_reason="urgência")
    assert forced["is_forced"] and forced["forced_reason"] == "urgência"
    assert at(day, 10) not in salon.slots(day, staff_id=bia["id"])
    assert api.call("DELETE", f"/api/staff/{bia['id']}", expect=409).json()["code"] == "staff_in_use"
    yoga = api.post("/api/services/", {"name": "Yoga", "duration": 60, "capacity": 2, "staff_ids": [ana["id"]]}, expect=201)
    seats = [api.call("POST", "/api/appointments/", json=salon.body(at(day, 15), service_id=yoga["id"])).status for _ in range(3)]
    assert seats == [201, 201, 409]
    series = api.post("/api/appointments/", salon.body(at(day, 16), recurrence={"frequency": "weekly", "count": 4}), expect=201)
    assert len(series["appointments"]) == 4 and len({a["local_start_time"][11:16] for a in series["appointments"]}) == 1
    api.call("DELETE", f"/api/appointments/{series['appointments'][1]['id']}", scope="following", expect=200)
    left = api.get("/api/appointments/", series_id=series["series_id"], status="pending")
    assert left["total"] == 1


def test_what_is_put_back_is_only_what_was_changed_in_it(salon):
    """A client of the contract reads an object, changes a field, and puts all of it back."""
    api, day = salon.api, weekday()
    made = salon.book(at(day, 9))
    forced = salon.book(at(day, 9, 30), force=True, force_reason="urgência")
    assert api.put(f"/api/appointments/{forced['id']}", forced | {"notes": "x"})["is_forced"], "it is not moved into a free time"
    begun(api, made)
    past = api.get(f"/api/appointments/{made['id']}")
    changed = api.put(f"/api/appointments/{made['id']}", past | {"notes": "nota", "is_completed": True, "status": None})
    assert (changed["notes"], changed["status"], changed["start_time"]) == ("nota", "completed", past["start_time"])
    assert api.put(f"/api/appointments/{made['id']}", changed | {"internal_notes": "y"})["internal_notes"] == "y", "also of what is over"
    stale = api.call("PUT", f"/api/appointments/{made['id']}", json=changed, expect=409).json()
    assert stale["code"] == "stale_revision" and stale["current"]["internal_notes"] == "y"
    other = api.post("/api/services/", {"name": "Barba", "duration": 30}, expect=201)
    refused = api.call("PUT", f"/api/appointments/{forced['id']}", json={"service_id": other["id"]}, expect=422).json()
    assert refused["detail"][0]["loc"] == ["body", "service_id"]


def test_whoever_writes_over_what_they_have_not_seen_is_told(salon):
    api, day = salon.api, weekday()
    made = salon.book(at(day, 9))
    category = api.post("/api/services/categories", {"name": "Cabelo"}, expect=201)
    member = api.post("/api/staff", {"name": "Ana"}, expect=201)
    client = api.post("/api/clients/", {"name": "Rui", "whatsapp": "+5511977776666"}, expect=201)
    things = {
        "/api/users/profile": ("name", api.get("/api/users/profile")),
        f"/api/services/{salon.id}": ("name", api.get(f"/api/services/{salon.id}")), f"/api/services/categories/{category['id']}": ("name", category),
        f"/api/staff/{member['id']}": ("name", member), f"/api/clients/{client['id']}": ("name", client),
        f"/api/appointments/{made['id']}": ("notes", made), "/api/users/business-hours": ("capacity", api.get("/api/users/business-hours")),
    }
    for path, (field, seen) in things.items():
        first, second = (2, 3) if field == "capacity" else ("Um", "Dois")
        changed = api.call("PUT", path, json={field: first}, headers={"If-Match": f'"{seen["revision"]}"'}, expect=200).json()
        assert changed["revision"] > seen["revision"] and changed[field] == first, path
        for stale in (api.call("PUT", path, json={field: second}, headers={"If-Match": f'"{seen["revision"]}"'}, expect=409).json(),
                      api.call("PUT", path, json={field: second, "revision": seen["revision"]}, expect=409).json()):
            assert stale["code"] == "stale_revision" and stale["revision"] == str(stale["current"]["revision"]), path
            assert stale["current"][field] == first
        assert api.call("PUT", path, json={field: second}, headers={"If-Match": "x"}, expect=422).json()["detail"][0]["loc"] == ["header", "If-Match"]
        # Who says nothing of it changes what there is, as the contract's clients do.
        assert api.put(path, {field: second})[field] == second
        assert api.call("PUT", path, json={field: first}, headers={"If-Match": "*"}, expect=200).json()[field] == first
    # Its client is told no more of it than they may see.
    own = {"user_id": api.user["id"], "token": made["manage_token"]}
    stale = salon.office.anybody.call("POST", f"/api/appointments/public/{made['id']}/cancel", json={"revision": 0}, **own, expect=409).json()
    assert stale["code"] == "stale_revision" and "internal_notes" not in stale["current"] and "client_id" not in stale["current"]


def test_an_object_put_back_does_what_is_another_in_it(salon):
    api, day = salon.api, weekday()
    made = salon.book(at(day, 9))
    path = f"/api/appointments/{made['id']}"
    same = api.put(path, made)
    assert same["revision"] == made["revision"] and same == api.get(path)
    confirmed = api.put(path, same | {"is_confirmed": True})
    assert (confirmed["status"], confirmed["is_confirmed"]) == ("confirmed", True)
    for contradiction in ({"is_cancelled": True, "status": "completed"}, {"is_cancelled": True, "is_completed": True}, {"is_confirmed": False}):
        refused = api.call("PUT", path, json=confirmed | contradiction, expect=422).json()
        assert refused["detail"][0]["loc"][1].startswith("is_"), refused
    assert api.get(path)["revision"] == confirmed["revision"]
    gone = api.put(path, confirmed | {"is_cancelled": True, "is_confirmed": False})
    assert (gone["status"], gone["is_cancelled"], gone["is_confirmed"]) == ("cancelled", True, False)
    over = begun(api, salon.book(at(day, 10)))
    done = api.put(f"/api/appointments/{over['id']}", over | {"is_completed": True, "is_confirmed": True})
    assert (done["status"], done["is_completed"]) == ("completed", True)


def test_a_key_is_the_same_in_the_header_and_in_the_body(salon):
    body = salon.body(at(weekday(), 9))
    first = salon.api.call("POST", "/api/appointments/", json=body, headers={"Idempotency-Key": "k1"}, expect=201).json()
    assert salon.api.post("/api/appointments/", body | {"idempotency_key": "k1"}, expect=201)["id"] == first["id"]
    assert salon.api.call("POST", "/api/appointments/", json=body | {"idempotency_key": "k1", "notes": "x"}, expect=409).json()["code"] == "idempotency_conflict"


def test_availability_of_many_is_that_of_each_of_their_days(salon):
    api, day = salon.api, weekday()
    for name in range(40):
        api.post("/api/staff", {"name": f"Pessoa {name}"}, expect=201)
    for number in range(30):
        salon.book(at(day + timedelta(days=number % 5), 9 + number % 8), force=True)
    last = day + timedelta(days=9)
    days = [day + timedelta(days=n) for n in range(10)]
    whole = api.get("/api/appointments/availability", service_id=salon.id, start_date=day.isoformat(), end_date=last.isoformat())["available_slots"]
    assert whole == [slot for one in days for slot in api.get("/api/appointments/availability", service_id=salon.id, date=one.isoformat())["available_slots"]] != []


def test_what_is_the_businesss_says_whose_it_is(salon):
    api, day, owner = salon.api, weekday(), salon.api.get("/api/users/profile")["id"]
    made = salon.book(at(day, 9))
    client = api.get("/api/clients/")["clients"][0]
    said = [made, client, api.get(f"/api/services/{salon.id}"), api.get("/api/services/")["services"][0], api.get("/api/appointments/")["appointments"][0],
            api.get(f"/api/appointments/{made['id']}"), api.get(f"/api/clients/{client['id']}"), api.get("/api/clients/analytics/overview")["most_frequent_clients"][0],
            api.get(f"/api/clients/{client['id']}/history")["items"][0]["appointment"], api.get("/api/v1/realtime/calendar", wait=0)["data"]["appointments"][0]]
    assert [one["user_id"] for one in said] == [owner] * len(said)
    # An agent's are the business's, whose owner it is; and whoever books in public finds it by that id, or by the service that they book.
    maria = salon.office.hire("Maria")
    assert maria.api.get(f"/api/appointments/{made['id']}")["user_id"] == owner
    for named in ({"user_id": owner}, {}):
        found = salon.office.anybody.call("GET", "/api/appointments/public/availability", service_id=salon.id, date=day.isoformat(), **named, expect=200).json()
        booked = salon.office.anybody.call("POST", "/api/appointments/public", json=salon.body(found["available_slots"][0]) | named, expect=201).json()
        assert booked["user_id"] == owner
    nobody = {"service_id": made["id"], "date": day.isoformat()}
    salon.office.anybody.call("GET", "/api/appointments/public/availability", **nobody, expect=422)


def test_the_public_page_names_only_who_is_booked_there(salon):
    api = salon.api
    ana, bia, rui, gil = (api.post("/api/staff", {"name": name}, expect=201)["id"] for name in ("Ana", "Bia", "Rui", "Gil"))
    api.put(f"/api/services/{salon.id}", {"staff_ids": [ana, gil]})
    api.post("/api/services/", {"name": "Interno", "duration": 30, "staff_ids": [bia], "public_booking": False}, expect=201)
    api.post("/api/services/", {"name": "Parado", "duration": 30, "staff_ids": [rui], "is_active": False}, expect=201)
    api.put(f"/api/staff/{gil}", {"is_active": False})
    page = salon.office.anybody.call("POST", "/api/appointments/public/sessions", json={"user_id": api.user["id"]}, expect=201).json()["catalogue"]
    assert page["staff"] == [{"id": ana, "name": "Ana"}] and [service["staff_ids"] for service in page["services"]] == [[ana]]


def test_images_are_addresses_too(salon):
    api, path = salon.api, f"/api/services/{salon.id}"
    assert api.put(path, {"images": ["https://example.com/a.png", "http://example.com/b.png"]})["images"] == ["https://example.com/a.png", "http://example.com/b.png"]
    for wrong in ("javascript:alert(1)", "/api/services/x/images/y", "https://a b"):
        assert api.call("PUT", path, json={"images": [wrong]}, expect=422).json()["detail"][0]["loc"] == ["body", "images"]
    assert api.put(path, {"name": "Corte"})["images"] == api.get("/api/services/")["services"][0]["images"] != []
    assert api.put(path, {"images": None})["images"] == []


# MARK: Anybody


def test_the_public_books_and_looks_after_its_own_and_sees_nothing_of_others(salon):
    office, api, day = salon.office, salon.api, weekday()
    salon.rules(cutoff_minutes=60)
    anybody, business = office.anybody, {"user_id": api.user["id"]}
    secret = salon.book(at(day, 9), name="Segredo da Silva", notes="segredo")
    free = anybody.call("GET", "/api/appointments/public/availability", service_id=salon.id, date=day.isoformat(), **business, expect=200)
    assert at(day, 9) not in free.json()["available_slots"] and free.json()["conflicts"] == [] and "egredo" not in free.text and secret["id"] not in free.text
    made = anybody.call("POST", "/api/appointments/public", json=salon.body(at(day, 10)) | business, expect=201).json()
    assert made["manage_token"] and "internal_notes" not in made and "client_id" not in made
    taken = anybody.call("POST", "/api/appointments/public", json=salon.body(at(day, 10), force=True) | business, expect=409)
    assert taken.json()["code"] == "slot_taken", "only the staff forces"
    own = f"/api/appointments/public/{made['id']}"
    token = {"token": made["manage_token"]} | business
    assert anybody.call("GET", own, **token, expect=200).json()["start_time"] == at(day, 10)
    secret_token = made["manage_token"]
    nearly = [secret_token[:n] + ("0" if secret_token[n] != "0" else "1") + secret_token[n + 1 :] for n in range(len(secret_token))]
    for wrong in ({}, {"token": "0" * 32}, {"token": secret_token[:-1]}, {"token": secret_token * 2}, *({"token": one} for one in nearly)):
        anybody.call("GET", own, **business, **wrong, expect=404)
    anybody.call("GET", f"/api/appointments/public/{secret['id']}", **token, expect=404)
    moved = anybody.call("POST", own + "/reschedule", json={"start_time": at(day, 11)}, **token, expect=200).json()
    assert moved["revision"] == 1
    file = anybody.call("GET", own + "/calendar.ics", **token, expect=200)
    assert f"UID:{made['id']}@plantao" in file.text and "SEQUENCE:1" in file.text and "METHOD:REQUEST" in file.text
    assert "mailto:simulador@plantao.local" in file.text.replace("\r\n ", "")
    api.put("/api/users/notification-settings", {"reply_to": "salao@example.com"})
    assert "mailto:salao@example.com" in anybody.call("GET", own + "/calendar.ics", **token, expect=200).text.replace("\r\n ", "")
    assert all(len(line.encode()) <= 75 for line in file.text.split("\r\n"))
    gone = anybody.call("POST", own + "/cancel", json={"reason": "viagem"}, **token, expect=200).json()
    assert gone["status"] == "cancelled" and gone["cancelled_by"] == "client"
    assert "METHOD:CANCEL" in anybody.call("GET", own + "/calendar.ics", **token, expect=200).text
    soon = api.post("/api/appointments/", salon.body((datetime.now(timezone.utc) + timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%M:00Z"), force=True), expect=201)
    refused = anybody.call("POST", f"/api/appointments/public/{soon['id']}/cancel", json={}, **business, token=soon["manage_token"], expect=409).json()
    assert refused["code"] == "policy_cutoff" and refused["until"]
    feed = api.get("/api/appointments/feed")["path"]
    assert f"UID:{secret['id']}@plantao" in anybody.call("GET", feed, expect=200).text
    assert api.post("/api/appointments/feed/rotate")["path"] != feed
    anybody.call("GET", feed, expect=404)
    theirs = anybody.post("/api/appointments/public", salon.body(at(day, 15)) | business, expect=201)
    kept = anybody.post("/api/appointments/public/holds", {"service_id": salon.id, "start_time": at(day, 17)} | business, expect=201)
    wish = {"service_id": salon.id, "from": at(day, 0), "until": at(day, 23), "client_name": "Bia", "client_whatsapp": "+5511977777777"}
    waiting = api.post("/api/appointments/waitlist", wish, expect=201)
    salon.rules(public_booking=False)
    assert anybody.call("POST", "/api/appointments/public", json=salon.body(at(day, 12)) | business, expect=403).json()["code"] == "public_booking_off"
    anybody.call("GET", "/api/appointments/public/availability", service_id=salon.id, date=str(day), **business, expect=403)
    # What somebody has is theirs, whatever the business closes.
    assert anybody.get(f"/api/appointments/public/{theirs['id']}", **business, token=theirs["manage_token"])["status"] == "pending"
    assert anybody.call("POST", f"/api/appointments/public/{theirs['id']}/reschedule", json={"start_time": at(day, 16)}, **business, token=theirs["manage_token"], expect=200).json()["start_time"] == at(day, 16)
    assert anybody.call("POST", f"/api/appointments/public/{theirs['id']}/cancel", json={}, **business, token=theirs["manage_token"], expect=200).json()["is_cancelled"]
    mine = business | {"token": waiting["token"]}
    assert anybody.get(f"/api/appointments/public/waitlist/{waiting['id']}", **mine)["status"] == "offered"
    assert anybody.call("DELETE", f"/api/appointments/public/waitlist/{waiting['id']}", **mine, expect=200).json()["status"] == "left"
    anybody.call("DELETE", f"/api/appointments/public/holds/{kept['hold_id']}", **business, expect=204)


class PublicPage:
    """What a visitor of the business's page has on the screen, kept up by what is pushed."""

    def __init__(self, salon):
        self.salon = salon
        session = salon.office.anybody.post("/api/appointments/public/sessions", {"user_id": salon.api.user["id"]}, expect=201)
        self.guest = Api(salon.office.server, token=session["token"])
        self.channel = f"/api/v1/realtime/{session['channel']}"
        self.seen = self.guest.get(self.channel, wait=0)
        self.shown = {s["service_id"]: set(s["slots"]) for s in self.seen["data"]["slots"]}

    @property
    def slots(self):
        return self.shown[self.salon.id]

    def follow(self):
        self.seen = self.guest.get(self.channel, epoch=self.seen["epoch"], offset=self.seen["offset"], wait=10)
        for publication in self.seen["publications"]:
            assert publication["data"]["type"] == "slots.changed" and "Jo" not in str(publication)
            for part in publication["data"]["ranges"]:
                for service in part["services"]:
                    kept = {slot for slot in self.shown[service["service_id"]] if not part["from"] <= slot < part["until"]}
                    self.shown[service["service_id"]] = kept | set(service["slots"])


def test_slots_disappear_and_appear_for_whoever_looks_at_the_public_page(salon):
    office, day = salon.office, weekday(2)
    page = PublicPage(salon)
    assert at(day, 9) in page.slots

    hold = office.anybody.post("/api/appointments/public/holds", {"service_id": salon.id, "start_time": at(day, 9), "user_id": salon.api.user["id"]}, expect=201)
    page.follow()
    assert at(day, 9) not in page.slots, "held by somebody else"
    made = salon.book(at(day, 10))
    page.follow()
    assert at(day, 10) not in page.slots and at(day, 11) in page.slots
    salon.api.post(f"/api/appointments/{made['id']}/cancel", {})
    page.follow()
    assert at(day, 10) in page.slots
    office.anybody.call("DELETE", f"/api/appointments/public/holds/{hold['hold_id']}", user_id=salon.api.user["id"], expect=204)
    page.follow()
    shown = {slot for slot in page.slots if slot.startswith(at(day, 9)[:10])}
    assert shown == set(salon.slots(day)), "the page is what the calendar is"
    # That token opens nothing else.
    for path in ("/api/appointments/", "/api/services/", "/api/v1/conversations", "/api/v1/realtime/calendar", "/api/v1/realtime/booking:outra", "/api/v1/realtime/conversations"):
        assert page.guest.call("GET", path, wait=0 if "realtime" in path else None).status == 403, path


def test_agents_see_their_calendar_live(salon):
    day = weekday(1)
    api = salon.api
    whole, one = (api.get(f"/api/v1/realtime/{channel}", wait=0) for channel in ("calendar", f"calendar:{day}"))
    assert whole["data"]["appointments"] == [] and one["data"]["date"] == str(day)
    made = salon.book(at(day, 9))
    api.post(f"/api/appointments/{made['id']}/reschedule", {"start_time": at(weekday(4), 9)})
    events = [p["data"]["type"] for p in api.get(f"/api/v1/realtime/calendar:{day}", epoch=one["epoch"], offset=one["offset"], wait=5)["publications"]]
    assert events == ["appointment.changed", "appointment.left"]
    news = api.get("/api/v1/realtime/calendar", epoch=whole["epoch"], offset=whole["offset"], wait=5)["publications"]
    assert [p["data"]["appointment"]["revision"] for p in news if p["data"]["type"] == "appointment.changed"] == [0, 1]
    api.call("GET", "/api/v1/realtime/calendar:2026-02-30", wait=0, expect=404)


def test_what_becomes_free_is_offered_to_who_waits(salon):
    office, api, day = salon.office, salon.api, weekday()
    salon.rules(overrides={str(day): [["09:00", "10:00"]]})
    made = salon.book(at(day, 9))
    business = {"user_id": api.user["id"]}
    wish = {"service_id": salon.id, "from": at(day, 0), "until": at(day, 23), "client_name": "Bia", "client_whatsapp": "+5511977777777"}
    entry = office.anybody.post("/api/appointments/public/waitlist", wish | business, expect=201)
    assert entry["status"] == "waiting"
    api.call("DELETE", f"/api/appointments/{made['id']}", expect=200)
    own = {"token": entry["token"]} | business
    offered = office.anybody.get(f"/api/appointments/public/waitlist/{entry['id']}", **own)
    assert offered["status"] == "offered" and offered["offered_start_time"] == at(day, 9)
    salon.book(at(day, 9), expect=409)
    booked = office.anybody.call("POST", f"/api/appointments/public/waitlist/{entry['id']}/accept", **own, expect=201).json()
    assert booked["client_name"] == "Bia" and booked["start_time"] == at(day, 9)
    assert api.get("/api/appointments/waitlist")["waitlist"][0]["status"] == "booked"


def test_no_address_holds_a_whole_calendar(offices):
    office = offices(PUBLIC_HOLDS_PER_ADDRESS=5)
    salon, day = Salon(office), weekday()
    statuses = [
        office.anybody.call("POST", "/api/appointments/public/holds", json={"service_id": salon.id, "start_time": at(day, 9 + n), "user_id": salon.api.user["id"]}).status
        for n in range(9)
    ]
    assert statuses[:5] == [201] * 5 and 429 in statuses[5:]
    assert salon.book(at(day, 17))["start_time"] == at(day, 17)
    day = weekday(10)
    statuses = [
        office.anybody.call("POST", "/api/appointments/public", json=salon.body(at(day, 9 + n)) | {"user_id": salon.api.user["id"]}).status for n in range(9)
    ]
    assert 201 not in statuses[5:] and 429 in statuses, "nor books one"


def test_a_public_appointment_is_not_moved_to_and_fro(offices):
    office = offices(PUBLIC_HOLDS_PER_ADDRESS=20)
    salon, day, anybody = Salon(office), weekday(), office.anybody
    business = {"user_id": office.admin.user["id"]}
    made = anybody.post("/api/appointments/public", salon.body(at(day, 9)) | business, expect=201)
    own, token = f"/api/appointments/public/{made['id']}", {"token": made["manage_token"]} | business

    def move(number):
        return anybody.call("POST", own + "/reschedule", json={"start_time": at(day, 10 + number % 2)}, **token)

    assert [move(number).status for number in range(5)] == [200] * 5
    refused = move(5)
    assert is_clear_error(refused, 429)["code"] == "too_many_moves" and 80_000 < int(refused.headers["retry-after"]) <= 86_400
    office.server.restart()
    assert is_clear_error(move(5), 429)["code"] == "too_many_moves", "it is written down"
    assert office.admin.post(f"/api/appointments/{made['id']}/reschedule", {"start_time": at(day, 15)})["revision"] == 6, "the staff moves what it likes"
    # And each is weighed: nobody asks a thousand times.
    replies = [anybody.call("POST", own + "/cancel", json={}, **token) for _ in range(60)]
    assert replies[0].status == 200 and 429 in {reply.status for reply in replies}
    assert {reply.json()["code"] for reply in replies if reply.status == 429} == {"too_many_holds"}


def test_who_asks_again_is_answered_and_who_holds_nothing_is_weighed(offices):
    office = offices(PUBLIC_HOLDS_PER_ADDRESS=5)
    salon, day, anybody = Salon(office), weekday(), office.anybody
    business = {"user_id": office.admin.user["id"]}
    body, wish = salon.body(at(day, 9)) | business, {"service_id": salon.id, "start_time": at(day, 10)} | business

    def book(**more):
        return anybody.call("POST", "/api/appointments/public", json=body | more, headers={"Idempotency-Key": "uma"} if not more else {})

    def hold():
        return anybody.call("POST", "/api/appointments/public/holds", json=wish, headers={"Idempotency-Key": "outra"})

    made, held = book(), hold()
    assert made.status == held.status == 201
    # Invented holds are none, and each of them is looked for.
    invented = [book(hold_id=f"01980000-0000-7000-8000-{number:012d}", start_time=at(day, 15)) for number in range(30)]
    assert {reply.json()["code"] for reply in invented} == {"hold_expired", "too_many_holds"}
    assert is_clear_error(invented[-1], 429)
    assert book().json() == made.json() and hold().json() == held.json(), "the answer of the first time, however many there were since"
    booked = book(start_time=at(day, 10), hold_id=held.json()["hold_id"])
    assert booked.status == 201, "whoever holds a time was weighed then"


def test_what_is_removed_is_held_no_more(salon):
    api, anybody, day, business = salon.api, salon.office.anybody, weekday(), {"user_id": salon.api.user["id"]}
    ana, bia = (api.post("/api/staff", {"name": name}, expect=201)["id"] for name in ("Ana", "Bia"))
    hold = anybody.post("/api/appointments/public/holds", {"service_id": salon.id, "start_time": at(day, 9), "staff_id": ana} | business, expect=201)
    seen = api.get("/api/v1/realtime/calendar", wait=0)
    api.call("DELETE", f"/api/staff/{ana}", expect=204)
    news = api.get("/api/v1/realtime/calendar", epoch=seen["epoch"], offset=seen["offset"], wait=5)["publications"]
    assert {"type": "hold.ended", "hold_id": hold["hold_id"]} in [p["data"] for p in news]
    refused = anybody.call("POST", "/api/appointments/public", json=salon.body(at(day, 9), hold_id=hold["hold_id"]) | business)
    assert is_clear_error(refused, 409)["code"] == "hold_expired"
    assert at(day, 9) in salon.slots(day, staff_id=bia), "nor does it keep anybody else busy"
    held = api.post("/api/appointments/holds", {"service_id": salon.id, "start_time": at(day, 10)}, expect=201)
    api.call("DELETE", f"/api/services/{salon.id}", expect=204)
    assert api.get("/api/v1/realtime/calendar", wait=0)["data"]["holds"] == []
    assert is_clear_error(api.call("POST", "/api/appointments/", json=salon.body(at(day, 10), hold_id=held["hold_id"])), 409)["code"] == "hold_expired"


def test_a_hold_ends_with_its_start(salon):
    salon.rules(hold_seconds=3600, start_interval_minutes=5, weekly_hours={name: [["00:00", "24:00"]] for name in ("sun", "mon", "tue", "wed", "thu", "fri", "sat")})
    start = (datetime.now(timezone.utc) + timedelta(minutes=10)).replace(second=0)
    start = (start + timedelta(minutes=-start.minute % 5)).strftime("%Y-%m-%dT%H:%M:00.000Z")
    assert salon.api.post("/api/appointments/holds", {"service_id": salon.id, "start_time": start}, expect=201)["expires_at"] == start


def test_viewers_of_the_public_page_ask_anew_when_a_month_is_full(salon):
    salon.rules(max_per_month=1)
    page = PublicPage(salon)
    salon.book(at(weekday(2), 9))
    said = page.guest.get(page.channel, epoch=page.seen["epoch"], offset=page.seen["offset"], wait=10)["publications"]
    assert [p["data"]["type"] for p in said] == ["booking.changed"] and set(said[0]["data"]) == {"type", "version"}
    assert PublicPage(salon).seen["data"]["version"] == said[0]["data"]["version"]


# MARK: Others


def test_times_that_nobody_could_write_end_nothing(salon):
    anybody, business = salon.office.anybody, {"user_id": salon.api.user["id"]}
    for time_ in ("0000-01-01T00:00:00+23:59", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"):
        names_fields(anybody.call("POST", "/api/appointments/public/holds", json={"service_id": salon.id, "start_time": time_} | business), "start_time")
        names_fields(salon.api.call("POST", "/api/appointments/", json=salon.body(time_, force=True)), "start_time")
        names_fields(salon.api.call("POST", "/api/time-off", json={"start_time": time_, "end_time": at(weekday(), 9)}), "start_time")
        wish = {"service_id": salon.id, "from": time_, "until": at(weekday(), 9), "client_name": "A", "client_whatsapp": "+5511900000000"}
        names_fields(anybody.call("POST", "/api/appointments/public/waitlist", json=wish | business), "from")
    assert anybody.get("/health")["status"] == "healthy"


def test_one_business_sees_nothing_of_another(salon):
    other = salon.office.anybody.register("outra@example.com", "Cadeira#Verde9x")
    made = salon.book(at(weekday(), 9))
    for method, path in (("GET", f"/api/appointments/{made['id']}"), ("DELETE", f"/api/appointments/{made['id']}"), ("GET", f"/api/services/{salon.id}")):
        other.call(method, path, expect=404)
    assert other.get("/api/appointments/")["total"] == 0 and other.get("/api/services/")["total"] == 0
    names_fields(other.call("POST", "/api/appointments/", json={}), "service_id", "start_time", "client_name", "client_whatsapp")


# MARK: Crashes


@pytest.mark.timeout(120 + 15 * CALENDAR_KILL_ROUNDS)
def test_after_kill_9_every_booking_and_hold_that_was_acknowledged_is_there_and_none_overlap(office, seed):
    salon = Salon(office, duration=30)
    salon.rules(start_interval_minutes=15, hold_seconds=3600)
    acknowledged, cancelled, held = {}, set(), {}
    for round in range(CALENDAR_KILL_ROUNDS):
        stop = threading.Event()
        day = weekday(5 + round % 20)

        def worker(number):
            api = Api(office.server, token=office.admin.token)
            chance = random.Random(f"{seed.random()} {number}")
            while not stop.is_set():
                start = at(day, chance.randrange(9, 18), chance.choice((0, 15, 30, 45)))
                try:
                    kind = chance.random()
                    if kind < 0.6:
                        reply = api.call("POST", "/api/appointments/", json=salon.body(start, name=f"C{number}"), timeout=10)
                        if reply.status == 201:
                            acknowledged[reply.json()["id"]] = reply.json()
                    elif kind < 0.8:
                        reply = api.call("POST", "/api/appointments/holds", json={"service_id": salon.id, "start_time": start}, timeout=10)
                        if reply.status == 201:
                            held[reply.json()["hold_id"]] = reply.json()
                    elif acknowledged:
                        id = chance.choice(list(acknowledged))
                        if api.call("DELETE", f"/api/appointments/{id}", timeout=10).status == 200:
                            cancelled.add(id)
                except OSError:
                    return
                except Exception as error:  # http.client's own, when the process is gone
                    if "http" not in type(error).__module__:
                        raise
                    return

        threads = [threading.Thread(target=worker, args=(n,)) for n in range(8)]
        [t.start() for t in threads]
        time.sleep(seed.uniform(0.1, 0.6))
        office.server.kill()
        stop.set()
        [t.join(30) for t in threads]
        office.server.start()

    found, page = {}, 1
    while True:
        answer = salon.api.get("/api/appointments/", page=page, per_page=200)
        found |= {a["id"]: a for a in answer["appointments"]}
        if page >= answer["total_pages"]:
            break
        page += 1
    missing = set(acknowledged) - set(found)
    assert not missing, f"{len(missing)} of {len(acknowledged)} acknowledged bookings are gone"
    assert all(found[id]["status"] == "cancelled" for id in cancelled)
    blocking = sorted((a["start_time"], a["end_time"]) for a in found.values() if a["status"] == "pending")
    snapshot = salon.api.get("/api/v1/realtime/calendar", wait=0)["data"]
    assert {h["hold_id"] for h in snapshot["holds"]} >= set(held), "a hold that was acknowledged is gone"
    blocking = sorted(blocking + [(h["start_time"], h["end_time"]) for h in snapshot["holds"]])
    overlaps = [(a, b) for a, b in zip(blocking, blocking[1:]) if b[0] < a[1]]
    assert not overlaps, overlaps[:3]
    print(f"{len(acknowledged)} bookings, {len(cancelled)} cancelled, {len(held)} holds in {CALENDAR_KILL_ROUNDS} rounds")
    assert len(acknowledged) > CALENDAR_KILL_ROUNDS


def test_a_forced_one_over_a_full_class_opens_no_seats_that_postgres_refuses(database, offices):
    office = offices(DATABASE_URL=database.url)
    salon, day = Salon(office, capacity=3), weekday()
    numbers = [f"+55119000000{number:02d}" for number in range(8)]
    for number in numbers[:3]:
        salon.book(at(day, 9), client_whatsapp=number)
    # Where there is a seat, what is forced takes it, and nothing else.
    free = [salon.book(at(day, 14), client_whatsapp=number, force=number == numbers[1]) for number in numbers[:3]]
    assert [one["is_forced"] for one in free] == [False, True, False]
    assert is_clear_error(office.admin.call("POST", "/api/appointments/", json=salon.body(at(day, 14))), 409)["code"] == "capacity_full"
    forced = salon.book(at(day, 9), client_whatsapp=numbers[3], force=True)
    moved = salon.book(at(day, 11), client_whatsapp=numbers[4])
    office.admin.post(f"/api/appointments/{moved['id']}/reschedule", {"start_time": at(day, 9), "force": True})
    business = {"user_id": office.admin.user["id"]}
    for again in range(2):
        assert at(day, 9) not in salon.slots(day)
        for number in numbers[5:7]:
            refused = office.anybody.call("POST", "/api/appointments/public", json=salon.body(at(day, 9), client_whatsapp=number) | business)
            assert is_clear_error(refused, 409)["code"] == "capacity_full"
        if not again:
            office.server.restart()
    for one in (forced, moved):
        office.admin.post(f"/api/appointments/{one['id']}/cancel", {})
    eventually("all of it to be stored", lambda: database.sql("SELECT COUNT(*) FROM appointments WHERE is_blocking") == [(6,)])
    assert "plantao_calendar_exclusion_hits_total 0" in office.anybody.call("GET", "/metrics", expect=200).text


def test_postgres_itself_would_refuse_what_overlaps_and_has_never_had_to(database, offices):
    office = offices(DATABASE_URL=database.url)
    salon, day = Salon(office), weekday()
    first, second = salon.book(at(day, 9)), salon.book(at(day, 10))
    salon.api.post(f"/api/appointments/{first['id']}/reschedule", {"start_time": at(day, 12)})
    salon.api.post(f"/api/appointments/{second['id']}/reschedule", {"start_time": at(day, 9)})
    salon.book(at(day, 9, 30), force=True)
    assert salon.api.get("/api/appointments/")["total"] == 3
    with pytest.raises(Exception, match="appointments_no_overlap"):
        database.sql("UPDATE appointments SET blocked_from = blocked_from - interval '3 hours' WHERE id = %s", first["id"])
    assert "plantao_calendar_exclusion_hits_total 0" in office.anybody.call("GET", "/metrics", expect=200).text


# MARK: Limits, whose holds, RPC


def test_what_a_day_or_a_month_may_take_is_taken_and_no_more(salon):
    api, day = salon.api, weekday()
    salon.rules(max_per_day=2)
    first, second = salon.book(at(day, 9)), salon.book(at(day, 10))
    assert salon.slots(day) == [] and salon.slots(day + timedelta(days=1) if day.weekday() < 5 else day + timedelta(days=2))
    refused = api.call("POST", "/api/appointments/", json=salon.body(at(day, 11)), expect=409).json()
    assert (refused["code"], refused["scope"], refused["limit_of"]) == ("limit_reached", "day", "business") and refused["alternatives"]
    assert api.post(f"/api/appointments/{first['id']}/reschedule", {"start_time": at(day, 11)})["revision"] == 1, "it stands in nobody's way but its own"
    api.post(f"/api/appointments/{second['id']}/cancel")
    hold = api.post("/api/appointments/holds", {"service_id": salon.id, "start_time": at(day, 15)}, expect=201)
    assert salon.slots(day) == [], "what is held counts"
    api.call("DELETE", f"/api/appointments/holds/{hold['hold_id']}", expect=204)
    assert at(day, 15) in salon.slots(day)
    salon.rules(max_per_day=None)
    salon.api.put(f"/api/services/{salon.id}", {"max_per_month": 1})
    refused = api.call("POST", "/api/appointments/", json=salon.body(at(day, 16)), expect=409).json()
    assert (refused["code"], refused["scope"], refused["limit_of"]) == ("limit_reached", "month", "service")
    salon.office.server.restart()
    assert salon.slots(day) == [], "also after a restart"
    assert salon.book(at(day, 16), force=True)["is_forced"], "the staff goes over it"
    names_fields(api.call("PUT", "/api/users/business-hours", json={"max_per_week": 0}), "max_per_week")


def test_viewers_of_the_public_page_see_a_day_fill_up(salon):
    day = weekday(2)
    salon.rules(max_per_day=1)
    page = PublicPage(salon)
    assert at(day, 15) in page.slots
    made = salon.book(at(day, 9))
    page.follow()
    assert not [slot for slot in page.slots if slot.startswith(at(day, 9)[:10])], "the rest of the day is gone, too"
    salon.api.post(f"/api/appointments/{made['id']}/cancel")
    page.follow()
    assert at(day, 15) in page.slots and at(day, 9) in page.slots


def test_a_hold_is_for_whoever_holds_it(salon):
    office, day = salon.office, weekday()
    maria, joao = office.hire("Maria").api, office.hire("João").api
    business = {"user_id": salon.api.user["id"]}
    hold = maria.post("/api/appointments/holds", {"service_id": salon.id, "start_time": at(day, 9)}, expect=201)
    assert hold["held_by"] == str(maria.user["id"])
    body = salon.body(at(day, 9), hold_id=hold["hold_id"])
    assert joao.call("POST", "/api/appointments/", json=body, expect=409).json()["code"] == "hold_of_another"
    assert joao.call("DELETE", f"/api/appointments/holds/{hold['hold_id']}", expect=409).json()["code"] == "hold_of_another"
    office.anybody.call("POST", "/api/appointments/public", json=body | business, expect=404)
    office.anybody.call("DELETE", f"/api/appointments/public/holds/{hold['hold_id']}", **business, expect=404)
    maria.post("/api/appointments/", body, expect=201)
    guests = office.anybody.call("POST", "/api/appointments/public/holds", json={"service_id": salon.id, "start_time": at(day, 10)} | business, expect=201).json()
    assert joao.call("DELETE", f"/api/appointments/holds/{guests['hold_id']}", expect=409).json()["code"] == "hold_of_another"
    salon.api.call("DELETE", f"/api/appointments/holds/{guests['hold_id']}", expect=204)


def test_a_key_is_for_one_thing_of_a_kind(salon):
    api, day, headers = salon.api, weekday(), {"Idempotency-Key": "chave-1"}
    wish = {"service_id": salon.id, "start_time": at(day, 9)}
    hold = api.call("POST", "/api/appointments/holds", json=wish, headers=headers, expect=201).json()
    made = api.call("POST", "/api/appointments/", json=salon.body(at(day, 10)), headers=headers, expect=201).json()
    assert api.call("POST", "/api/appointments/holds", json=wish, headers=headers, expect=201).json() == hold
    series = salon.body(at(day, 10), recurrence={"frequency": "weekly", "count": 2})
    assert api.call("POST", "/api/appointments/", json=series, headers=headers, expect=409).json()["code"] == "idempotency_conflict"
    client = api.call("POST", "/api/clients", json={"name": "Rui", "whatsapp": "+5511955554444"}, headers=headers, expect=201).json()
    assert client["name"] == "Rui"
    salon.office.server.restart()
    assert api.call("POST", "/api/appointments/", json=salon.body(at(day, 10)), headers=headers, expect=201).json()["id"] == made["id"]
    assert api.call("POST", "/api/appointments/", json=series, headers=headers, expect=409).json()["code"] == "idempotency_conflict"


def test_what_the_business_opens_is_offered_to_who_waits(salon):
    api, day = salon.api, weekday()
    hours = {"weekly_hours": {name: [["09:00", "10:00"]] for name in ("mon", "tue", "wed", "thu", "fri", "sat")}}
    salon.rules(overrides={str(day): [["09:00", "10:00"]]})
    salon.book(at(day, 9))

    def waits(number):
        wish = {"service_id": salon.id, "from": at(day, 0), "until": at(day, 23), "client_name": f"C{number}", "client_whatsapp": f"+55119777700{number:02d}"}
        return api.post("/api/appointments/waitlist", wish, expect=201)["id"]

    def status(id):
        return {entry["id"]: entry for entry in api.get("/api/appointments/waitlist", per_page=200)["waitlist"]}[id]

    first, second, third = [waits(number) for number in range(3)]
    salon.rules(overrides={str(day): [["09:00", "11:00"]]})
    assert (status(first)["status"], status(first)["offered_start_time"], status(second)["status"]) == ("offered", at(day, 10), "waiting")
    # Off for an hour, which is taken back.
    off = api.post("/api/time-off", {"start_time": at(day, 11), "end_time": at(day, 12)}, expect=201)
    salon.rules(overrides={str(day): [["09:00", "12:00"]]})
    assert status(second)["status"] == "waiting"
    api.call("DELETE", f"/api/time-off/{off['id']}", expect=204)
    assert (status(second)["status"], status(second)["offered_start_time"]) == ("offered", at(day, 11))
    # Somebody else begins to attend.
    api.post("/api/staff", {"name": "Ana", "weekly_hours": hours["weekly_hours"], "overrides": {str(day): [["13:00", "14:00"]]}}, expect=201)
    assert (status(third)["status"], status(third)["offered_start_time"]) == ("offered", at(day, 13))


def test_who_waits_waits_once(salon):
    anybody, day, business = salon.office.anybody, weekday(), {"user_id": salon.api.user["id"]}
    salon.rules(overrides={str(day): []})
    path = "/api/appointments/public/waitlist"
    wish = {"service_id": salon.id, "from": at(day, 0), "until": at(day, 23), "client_name": "Bia", "client_whatsapp": "+5511977777777"} | business
    first = anybody.post(path, wish, expect=201)
    # Also who says the very same is not known to be the same.
    for again in ({}, {"client_whatsapp": "(11) 97777-7777"}, {"client_name": "Zé"}):
        refused = anybody.call("POST", path, json=wish | again, expect=409)
        assert is_clear_error(refused, 409)["code"] == "already_waiting" and first["token"] not in refused.text and first["id"] not in refused.text
    # Whoever has room books it: an offer would be a hold.
    free = weekday(6)
    refused = is_clear_error(anybody.call("POST", path, json=wish | {"from": at(free, 0), "until": at(free, 23)}), 409)
    assert refused["code"] == "slots_available" and refused["alternatives"][0] == at(free, 9)
    others = [wish | {"client_whatsapp": f"+55119666600{number:02d}"} for number in range(20)]
    statuses = [anybody.call("POST", path, json=one).status for one in others]
    assert statuses == [201] * 19 + [429], "twenty of one address, and no more"
    own = {"token": first["token"]} | business
    anybody.call("DELETE", f"{path}/{first['id']}", **own, expect=200)
    # Also after a restart; and what ended a while ago is still listed.
    before = salon.api.get("/api/appointments/waitlist", per_page=100)
    salon.office.server.restart()
    assert salon.api.get("/api/appointments/waitlist", per_page=100) == before and before["total"] == 20
    anybody.post(path, others[19], expect=201)
    assert is_clear_error(anybody.call("POST", path, json=wish | {"client_whatsapp": "+5511955550000"}), 429)["code"] == "too_many_waiting"
    far = anybody.call("POST", path, json=wish | {"from": "2190-01-01T10:00:00Z", "until": "2190-01-02T10:00:00Z"}, expect=409)
    assert is_clear_error(far, 409)["code"] == "too_far"


def test_prices_and_searches_that_are_none(salon):
    api = salon.api
    for price in ("1.2.3", "..", ".", "", 0.00000000000000001, "0.001", 1.005, "1e3", "-1", "١", -1):
        names_fields(api.call("POST", "/api/services/", json={"name": "X", "duration": 30, "price": price}), "price")
    for price, shown in ((19.9, 19.9), ("19.90", 19.9), (".5", 0.5), (20, 20), (1000000.0, 1000000), (None, None)):
        assert api.post("/api/services/", {"name": "X", "duration": 30, "price": price}, expect=201)["price"] == shown
    salon.book(at(weekday(), 9))
    for query in ("%00", "a%00", "%2B%00"):
        assert is_clear_error(api.call("GET", f"/api/appointments?query={query}"), 422)
    assert api.call("GET", "/api/appointments?query=%2B-", expect=200).json()["total"] == 0
    assert api.call("GET", "/api/appointments?query=%2B55%20(11)", expect=200).json()["total"] == 1


def test_a_series_under_one_key_is_made_once(salon):
    api, day = salon.api, weekday()
    taken = salon.book(at(day + timedelta(days=7), 9))
    body = salon.body(at(day, 9), recurrence={"frequency": "weekly", "count": 4, "skip_unavailable": True})
    headers = {"Idempotency-Key": "serie-1"}
    first = api.call("POST", "/api/appointments/", json=body, headers=headers, expect=201).json()
    assert len(first["appointments"]) == 3 and first["unavailable"] == [taken["start_time"]]
    assert api.call("POST", "/api/appointments/", json=body, headers=headers, expect=201).json() == first
    salon.office.server.restart()
    assert api.call("POST", "/api/appointments/", json=body, headers=headers, expect=201).json() == first
    assert api.call("POST", "/api/appointments/", json=body | {"notes": "x"}, headers=headers, expect=409).json()["code"] == "idempotency_conflict"
    assert api.get("/api/appointments/")["total"] == 4


def test_agents_do_by_rpc_what_they_do_by_rest(salon):
    office, day = salon.office, weekday()
    maria = office.hire("Maria")
    desk = office.desk(maria)
    hold = desk.rpc("appointment.hold", {"service_id": salon.id, "start_time": at(day, 9)})
    made = desk.rpc("appointment.book", salon.body(at(day, 9), hold_id=hold["hold_id"], idempotency_key="r-1"))
    assert desk.rpc("appointment.book", salon.body(at(day, 9), hold_id=hold["hold_id"], idempotency_key="r-1"))["id"] == made["id"]
    one = {"appointment_id": made["id"]}
    assert desk.rpc("appointment.confirm", one | {"revision": 0})["status"] == "confirmed"
    assert desk.rpc("appointment.reschedule", one | {"start_time": at(day, 11)})["start_time"] == at(day, 11)
    assert desk.rpc("appointment.update", one | {"notes": "trazer exames"})["notes"] == "trazer exames"
    begun(salon.api, made)
    assert desk.rpc("appointment.no-show", one)["status"] == "no_show" and desk.rpc("appointment.complete", one)["status"] == "completed"
    other = desk.rpc("appointment.book", salon.body(at(day, 13)))
    assert desk.rpc("appointment.decline", {"appointment_id": other["id"], "reason": "lotado"})["cancel_reason"] == "lotado"
    third = desk.rpc("appointment.book", salon.body(at(day, 14)))
    assert desk.rpc("appointment.cancel", {"appointment_id": third["id"], "reason": "chuva"})["cancelled_by"] == "staff"
    again = desk.rpc("appointment.hold", {"service_id": salon.id, "start_time": at(day, 14)})
    assert desk.rpc("appointment.release", {"hold_id": again["hold_id"]}) == {}
    for key in ("", "x" * 129):
        with pytest.raises(Exception, match="422|128"):
            desk.rpc("appointment.hold", {"service_id": salon.id, "start_time": at(day, 14), "idempotency_key": key})
    waiting = {"service_id": salon.id, "from": at(day, 11), "until": at(day, 12), "client_name": "Rita", "client_whatsapp": "+5511977776666"}
    blocker = desk.rpc("appointment.book", salon.body(at(day, 11)))
    entry = desk.rpc("waitlist.join", waiting)
    desk.rpc("appointment.cancel", {"appointment_id": blocker["id"]})
    assert desk.rpc("waitlist.accept", {"waitlist_id": entry["id"]})["client_name"] == "Rita"
    left = desk.rpc("waitlist.join", waiting)
    assert desk.rpc("waitlist.leave", {"waitlist_id": left["id"]})["status"] == "left"
    with pytest.raises(Exception, match="404|encontrado"):
        desk.rpc("appointment.confirm", {"appointment_id": salon.id})
    viewer = office.admin.create_user("vera@example.com", "Vera", "viewer", "Senha#Forte9x2026")
    desk = office.desk(Api(office.server).login(viewer["email"], "Senha#Forte9x2026"))
    with pytest.raises(Exception, match="403|consulta|perfil"):
        desk.rpc("appointment.book", salon.body(at(day, 15)))


# MARK: Generated histories


class Minutes:
    """What may be had, asked minute by minute: one at a time on weekdays from 9 to 18, from every quarter of an hour."""

    def __init__(self, day, length):
        self.zero = datetime(day.year, day.month, day.day, tzinfo=SAO_PAULO)
        self.length, self.taken = length, {}

    def minute(self, text):
        return int((datetime.fromisoformat(text.replace("Z", "+00:00")) - self.zero).total_seconds() // 60)

    def has_room(self, start, without=None):
        first = self.minute(start)
        busy = {m for id, s in self.taken.items() if id != without for m in range(s, s + self.length)}
        return 540 <= first and first + self.length <= 1080 and not busy & set(range(first, first + self.length))


def _random_command(salon, day, chance, known, holds):
    """Method, path, body, of which id."""
    start = at(day, chance.randrange(9, 18), chance.choice((0, 15, 30, 45)))
    kind = chance.random()
    if kind < 0.35 or not known:
        return "book", "/api/appointments/", salon.body(start), None
    if kind < 0.5:
        return "hold", "/api/appointments/holds", {"service_id": salon.id, "start_time": start}, None
    if kind < 0.65 and holds:
        hold = chance.choice(sorted(holds.items()))
        return "book held", "/api/appointments/", salon.body(hold[1], hold_id=hold[0]), hold[0]
    if kind < 0.72 and holds:
        return "release", "/api/appointments/holds/", None, chance.choice(sorted(holds))
    id = chance.choice(sorted(known))
    if kind < 0.88:
        return "reschedule", f"/api/appointments/{id}/reschedule", {"start_time": start}, id
    if kind < 0.96:
        return "cancel", f"/api/appointments/{id}/cancel", {}, id
    return "confirm", f"/api/appointments/{id}/confirm", {}, id


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_a_generated_history_is_answered_as_the_minutes_say(database, offices, seed, store):
    office = offices(**({"DATABASE_URL": database.url} if store == "postgres" else {}))
    salon, day, length = Salon(office, duration=45), weekday(4), 45
    salon.rules(start_interval_minutes=15, hold_seconds=3600)
    chance, model, known, holds, seen = random.Random(seed.random()), Minutes(day, length), {}, {}, {}
    for step in range(400):
        kind, path, body, of = _random_command(salon, day, chance, known, holds)
        start = (body or {}).get("start_time")
        reply = salon.api.call("DELETE", path + of) if kind == "release" else salon.api.call("POST", path, json=body)
        seen[kind, reply.status] = seen.get((kind, reply.status), 0) + 1
        said = reply.json() if reply.body else {}
        if kind == "book":
            assert reply.status == (201 if model.has_room(start) else 409), (step, reply)
        elif kind == "hold":
            assert reply.status == (201 if model.has_room(start) else 409), (step, reply)
            if reply.status == 201:
                holds[said["hold_id"]] = start
                model.taken[said["hold_id"]] = model.minute(start)
        elif kind == "book held":
            assert reply.status == 201, (step, reply)
            del model.taken[of], holds[of]
        elif kind == "release":
            assert reply.status == 204
            del model.taken[of], holds[of]
        elif kind == "reschedule":
            lives = of in model.taken
            assert reply.status == (200 if lives and model.has_room(start, of) else 409), (step, reply)
            if reply.status == 200:
                model.taken[of] = model.minute(start)
        elif kind == "cancel":
            assert reply.status == 200
            model.taken.pop(of, None)
        else:
            assert reply.status == (200 if of in model.taken else 409), (step, reply)
        if kind in ("book", "book held") and reply.status == 201:
            known[said["id"]] = said
            model.taken[said["id"]] = model.minute(said["start_time"])
        if step % 50 == 0:
            listed = salon.slots(day)
            assert listed == [s for h in range(9, 18) for q in (0, 15, 30, 45) if model.has_room(s := at(day, h, q))], step
    print(seen)
    if store == "postgres":
        assert "plantao_calendar_exclusion_hits_total 0" in office.anybody.call("GET", "/metrics", expect=200).text


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_generated_histories_of_many_at_once_leave_no_minute_twice(database, offices, seed, store):
    office = offices(**({"DATABASE_URL": database.url} if store == "postgres" else {}))
    salon, day, length = Salon(office, duration=45), weekday(4), 45
    salon.rules(start_interval_minutes=15, hold_seconds=3600)
    agents = [office.hire(f"Agente {n}") for n in range(6)]
    known, seen, lock, faults = {}, {}, threading.Lock(), []

    def worker(number):
        chance, holds = random.Random(f"{seed.random()} {number}"), {}
        api = Api(office.server, token=agents[number].api.token)
        try:
            for _ in range(120):
                with lock:
                    everybodys = dict(known)
                kind, path, body, of = _random_command(salon, day, chance, everybodys, holds)
                reply = api.call("DELETE", path + of) if kind == "release" else api.call("POST", path, json=body)
                said = reply.json() if reply.body else {}
                with lock:
                    seen[kind, reply.status] = seen.get((kind, reply.status), 0) + 1
                    if reply.status == 201 and "hold" != kind:
                        known[said["id"]] = said
                if kind in ("book held", "release"):
                    assert reply.status in (201, 204), reply
                    del holds[of]
                elif kind == "hold" and reply.status == 201:
                    holds[said["hold_id"]] = said["start_time"]
                else:
                    assert reply.status in (200, 201) or said["code"] in ("slot_taken", "outside_hours", "invalid_state"), reply
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=worker, args=(n,)) for n in range(6)]
    [t.start() for t in threads], [t.join(240) for t in threads]
    assert not faults, faults[0]
    model = Minutes(day, length)
    standing = [a for a in salon.api.get("/api/appointments/", date=day.isoformat(), per_page=200)["appointments"] if a["status"] in ("pending", "confirmed")]
    standing += salon.api.get(f"/api/v1/realtime/calendar:{day}", wait=0)["data"]["holds"]
    for one in standing:
        assert model.has_room(one["start_time"]), f"two at {one['start_time']}"
        model.taken[one.get("id") or one["hold_id"]] = model.minute(one["start_time"])
    assert len(standing) >= 3
    assert salon.slots(day) == [s for h in range(9, 18) for q in (0, 15, 30, 45) if model.has_room(s := at(day, h, q))]
    assert sum(n for (kind, status), n in seen.items() if status < 300) > 60, seen
    print(seen)
    if store == "postgres":
        assert "plantao_calendar_exclusion_hits_total 0" in office.anybody.call("GET", "/metrics", expect=200).text
