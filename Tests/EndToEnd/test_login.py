"""Who guesses passwords learns nothing, and not for long; who owns the business sees that it was tried."""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

from harness.api import Api, is_clear_error, names_fields
from harness.desk import Desk
from harness.process import ADMIN_EMAIL, ADMIN_PASSWORD
from harness.waiting import eventually

NOBODY = "ninguem@example.com"


def attempt(office, email, password="Errada#2026", **headers):
    return office.anybody.call("POST", "/api/v1/auth/login", json={"email": email, "password": password}, headers=headers)


def test_a_locked_account_and_one_that_does_not_exist_are_told_the_same(offices):
    office = offices(LOGIN_MAX_FAILURES=4)
    answers = {email: [attempt(office, email) for _ in range(6)] for email in (ADMIN_EMAIL, NOBODY)}
    for replies in answers.values():
        assert [r.status for r in replies] == [401] * 4 + [429] * 2
        assert 30 <= int(replies[-1].headers["retry-after"]) <= 38
    words = {email: [is_clear_error(r, 401, 429)["code"] for r in replies] for email, replies in answers.items()}
    assert words[ADMIN_EMAIL] == words[NOBODY]
    assert answers[ADMIN_EMAIL][0].json() == answers[NOBODY][0].json()
    # The right password does not open a lock, by whatever name and door.
    assert attempt(office, ADMIN_EMAIL.upper(), ADMIN_PASSWORD).status == 429
    form = f"username={ADMIN_EMAIL}&password={ADMIN_PASSWORD}"
    assert office.anybody.call("POST", "/api/auth/login", body=form, headers={"Content-Type": "application/x-www-form-urlencoded"}).status == 429


def test_the_name_is_the_e_mail_or_the_username_whatever_stands_in_the_other(office):
    for body in ({"email": None, "username": ADMIN_EMAIL}, {"email": "", "username": ADMIN_EMAIL}, {"email": "  ", "username": f" {ADMIN_EMAIL}\n"},
                 {"email": f"\t{ADMIN_EMAIL.upper()} ", "username": None}, {"email": ADMIN_EMAIL, "username": "outra@example.com"}):
        office.anybody.post("/api/v1/auth/login", body | {"password": ADMIN_PASSWORD})
    for body, name in (({"email": None}, "email"), ({"email": " ", "username": ""}, "email"), ({}, "username"), ({"email": 5}, "email")):
        names_fields(office.anybody.call("POST", "/api/v1/auth/login", json=body | {"password": ADMIN_PASSWORD}), name)


def test_forms_are_taken_where_fastapi_took_them(office):
    boundary = "limite"
    parts = {"username": ADMIN_EMAIL, "password": ADMIN_PASSWORD, "grant_type": "password"}
    form = "".join(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in parts.items()) + f"--{boundary}--\r\n"
    multipart = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    session = office.anybody.call("POST", "/api/v1/auth/login", body=form, headers=multipart, expect=200).json()
    urlencoded = {"Content-Type": "application/x-www-form-urlencoded"}
    office.anybody.call("POST", "/api/v1/auth/refresh", body=f"grant_type=refresh_token&refresh_token={session['refresh_token']}", headers=urlencoded, expect=200)
    is_clear_error(office.anybody.call("POST", "/api/v1/auth/login", body=form[:60], headers=multipart), 422)


def test_an_administrator_changes_an_e_mail(office):
    made = office.admin.create_user("antes@example.com", "Ana", "agent", "Senha#Forte1x2026")
    ana = office.anybody.login("antes@example.com", "Senha#Forte1x2026")
    changed = office.admin.put(f"/api/v1/users/{made['id']}", {"email": " Depois@Example.com "})
    assert changed["email"] == "depois@example.com" and changed["name"] == "Ana"
    ana.conversations()
    assert attempt(office, "antes@example.com", "Senha#Forte1x2026").status == 401 and attempt(office, "depois@example.com", "Senha#Forte1x2026").status == 200
    assert is_clear_error(office.admin.call("PUT", f"/api/v1/users/{made['id']}", json={"email": ADMIN_EMAIL}), 409)["code"] == "email_taken"
    for wrong in ("sem-arroba", "a@b", "", "a b@example.com"):
        names_fields(office.admin.call("PUT", f"/api/v1/users/{made['id']}", json={"email": wrong}), "email")
    is_clear_error(ana.call("PUT", f"/api/v1/users/{made['id']}", json={"email": "x@example.com"}), 403)
    # The old one is free, and a restart finds it all as it is.
    other = office.admin.create_user("antes@example.com", "Bia", "agent", "Senha#Forte2x2026")
    office.server.restart()
    assert attempt(office, "depois@example.com", "Senha#Forte1x2026").status == 200 and attempt(office, "antes@example.com", "Senha#Forte2x2026").json()["user"]["id"] == other["id"]


def test_guesses_at_once_gain_nothing_over_guesses_in_turn(offices):
    office = offices(LOGIN_MAX_FAILURES=5)
    with ThreadPoolExecutor(40) as pool:
        replies = list(pool.map(lambda n: attempt(office, ADMIN_EMAIL, ADMIN_PASSWORD if n == 39 else f"Errada#{n}x"), range(40)))
    told = [r.status for r in replies if r.status == 401]
    assert len(told) <= 5 + 2, "an attempt that ends under a lock is told nothing of what it found"
    assert attempt(office, ADMIN_EMAIL, ADMIN_PASSWORD).status == 429


def test_a_stranger_does_not_lock_the_owner_out_and_an_address_is_locked_as_a_whole(offices):
    office = offices(LOGIN_MAX_FAILURES=3, PLANTAO_TRUSTED_PROXIES="127.0.0.1")
    for _ in range(4):
        attempt(office, ADMIN_EMAIL, **{"X-Forwarded-For": "203.0.113.5"})
    assert attempt(office, ADMIN_EMAIL, ADMIN_PASSWORD, **{"X-Forwarded-For": "203.0.113.5"}).status == 429
    assert attempt(office, ADMIN_EMAIL, ADMIN_PASSWORD, **{"X-Forwarded-For": "203.0.113.6"}).status == 200
    statuses = [attempt(office, f"alguem{n}@example.com", **{"X-Forwarded-For": "203.0.113.7"}).status for n in range(34)]
    assert statuses[:30] == [401] * 30 and statuses[-1] == 429


def test_time_does_not_tell_whether_there_is_an_account(offices):
    office = offices(BCRYPT_ROUNDS=10, LOGIN_MAX_FAILURES=1000)
    times = {ADMIN_EMAIL: [], NOBODY: []}
    for _ in range(15):
        for email, taken in times.items():
            start = time.monotonic()
            assert attempt(office, email).status == 401
            taken.append(time.monotonic() - start)
    known, unknown = (statistics.median(taken) for taken in times.values())
    print(f"wrong password {known * 1000:.1f} ms, no such account {unknown * 1000:.1f} ms")
    assert 0.5 < known / unknown < 2, "a hash is computed either way, which is most of the time it takes"


def test_the_owner_sees_who_tried_and_nobody_else_does(office):
    maria = office.hire("Maria")
    attempt(office, ADMIN_EMAIL, **{"User-Agent": "curioso/1.0"})
    attempt(office, NOBODY)
    records = office.admin.get("/api/v1/auth/audit")["items"]
    assert [(r["email"], r["outcome"]) for r in records[:2]] == [(NOBODY, "unknown_account"), (ADMIN_EMAIL, "wrong_password")]
    assert (records[1]["address"], records[1]["agent"]) == ("127.0.0.1", "curioso/1.0")
    assert "success" in {r["outcome"] for r in office.admin.get("/api/v1/auth/audit", email=maria.user["email"])["items"]}
    assert "Errada" not in str(records)
    page = office.admin.get("/api/v1/auth/audit", per_page=1, page=2, outcome="success")
    assert len(page["items"]) == 1 and page["total"] >= 2 == page["page"]
    is_clear_error(maria.api.call("GET", "/api/v1/auth/audit"), 403)
    other = office.anybody.register("outra@example.com", "Nova#Firma2026")
    assert {r["email"] for r in other.get("/api/v1/auth/audit")["items"]} == {"outra@example.com"}
    office.server.restart()
    assert NOBODY in {r["email"] for r in office.admin.get("/api/v1/auth/audit")["items"]}


def test_sessions_are_shown_and_ended_with_their_sockets(office):
    here = office.anybody.login(ADMIN_EMAIL, ADMIN_PASSWORD)
    there = office.anybody.login(ADMIN_EMAIL, ADMIN_PASSWORD)
    desk = Desk(office.server, there.token)
    office._clients.append(desk)
    desk.connect()
    sessions = here.get("/api/v1/auth/sessions")["items"]
    assert [s["address"] for s in sessions] == ["127.0.0.1"] * len(sessions) and sum(s["current"] for s in sessions) == 1
    id = next(s["id"] for s in there.get("/api/v1/auth/sessions")["items"] if s["current"])
    assert here.call("DELETE", f"/api/v1/auth/sessions/{id}").status == 204
    eventually("the socket closed", lambda: desk.closed)
    assert there.call("GET", "/api/v1/auth/me").status == 401 and here.get("/api/v1/auth/me")["email"] == ADMIN_EMAIL
    is_clear_error(here.call("DELETE", f"/api/v1/auth/sessions/{id}"), 404)
    # Another's is not there.
    maria = office.hire("Maria")
    hers = maria.api.get("/api/v1/auth/sessions")["items"][0]["id"]
    is_clear_error(office.admin.call("DELETE", f"/api/v1/auth/sessions/{hers}"), 404)
    # With a new password the others end.
    others = [office.anybody.login(maria.user["email"], maria.password) for _ in range(2)]
    maria.api.post("/api/v1/auth/password", {"current_password": maria.password, "new_password": "Muito#Nova2027"})
    assert [o.call("GET", "/api/v1/auth/me").status for o in others] == [401, 401]
    assert maria.api.get("/api/v1/auth/me")["name"] == "Maria"
    assert Api(office.server).login(maria.user["email"], "Muito#Nova2027")


def test_asking_which_emails_are_taken_is_guessing_too(offices):
    office = offices(LOGIN_MAX_FAILURES=3)
    def register():
        return office.anybody.call("POST", "/api/auth/register", json={"email": ADMIN_EMAIL, "password": "Nova#Firma2026"}).status

    statuses = [register() for _ in range(5)]
    assert statuses == [409] * 3 + [429] * 2
