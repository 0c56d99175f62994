"""One's account (contracts/agendazap.md "Autenticação", "Usuários"): register, profile, the proof of an e-mail, a forgotten password, the templates' services."""

import base64
import json
import re
import threading

import pytest

from harness.api import Api, names_fields
from harness.desk import ReplyError
from harness.process import ADMIN_EMAIL, ADMIN_PASSWORD
from harness.waiting import eventually

PASSWORD = "Senha123!"


def letters(office, recipient):
    """The letters that would have gone out to an address: without a mail server they stand in the log, outside of production."""
    found = []
    for line in office.server.logs().decode("utf-8", "replace").splitlines():
        if "an e-mail was not sent: SMTP_SERVER is not set" in line:
            said = json.loads(line)
            fields = said.get("metadata", said)
            if fields["to"] == recipient:
                found.append({"subject": fields["subject"], "text": fields["text"]})
    return found


def code(office, recipient, count=1, subject="código"):
    """The digits in the latest letter, once there are `count` of them."""

    def there():
        found = [letter for letter in letters(office, recipient) if subject in letter["subject"]]
        return found if len(found) >= count else None

    return re.search(r"código: (\d{6})\n", eventually(f"{count} letters to {recipient}", there)[-1]["text"]).group(1)


def wrong(digits):
    return "000001" if digits == "000000" else "000000"


@pytest.fixture
def ana(office):
    return office.anybody.register("ana@example.com", PASSWORD, template_type="service_table", whatsapp_number="+5511999999999", business_name="Salão da Ana")


def test_register_and_profile_are_those_of_the_contract(office):
    # The contract's own example.
    made = office.anybody.call("POST", "/api/auth/register", json={
        "email": "usuario@exemplo.com", "password": "Senha123!", "template_type": "service_table", "whatsapp_number": "+5511999999999",
    }, expect=201).json()
    assert made["token_type"] == "bearer" and made["refresh_token"]
    user = office.anybody.call("POST", "/api/auth/login", json={"email": "usuario@exemplo.com", "password": "Senha123!"}, expect=200).json()
    profile = Api(office.server, token=user["access_token"]).get("/api/users/profile")
    assert {name: profile[name] for name in ("email", "template_type", "whatsapp_number", "plan_type", "is_active", "is_verified")} == {
        "email": "usuario@exemplo.com", "template_type": "service_table", "whatsapp_number": "+5511999999999",
        "plan_type": "free", "is_active": True, "is_verified": False,
    }
    assert profile["id"] == made["user"]["id"] and profile["timezone"] == "America/Sao_Paulo" and profile["slug"]
    for field, value in (("template_type", "loja"), ("whatsapp_number", "abc"), ("whatsapp_number", "123"), ("template_type", 3)):
        body = {"email": "outra@exemplo.com", "password": PASSWORD, field: value}
        refused = office.anybody.call("POST", "/api/auth/register", json=body, expect=422).json()
        assert refused["detail"][0]["loc"] == ["body", field]


def test_a_profile_is_changed_in_part_and_over_a_restart(office, ana):
    changed = ana.put("/api/users/profile", {"business_name": "Ana Cabelos", "timezone": "America/Manaus"})
    assert changed["business_name"] == "Ana Cabelos" and changed["timezone"] == "America/Manaus" and changed["whatsapp_number"] == "+5511999999999"
    assert ana.get("/api/users/business-hours")["timezone"] == "America/Manaus"
    assert ana.put("/api/users/profile", {"whatsapp_number": None, "template_type": "consultation"})["whatsapp_number"] is None
    before = ana.put("/api/users/profile", {})
    office.server.restart()
    assert ana.get("/api/users/profile") == before | {"business_name": "Ana Cabelos", "template_type": "consultation"}
    for field, value in (("business_name", ""), ("timezone", "Brasil"), ("template_type", "x"), ("email", "sem-arroba"), ("name", 7)):
        refused = ana.call("PUT", "/api/users/profile", json={field: value, "name": "Não" if field != "name" else value}, expect=422).json()
        assert ["body", field] in [fault["loc"] for fault in refused["detail"]]
    assert ana.get("/api/users/profile") == before, "nothing of a wrong request is done"
    # An agent changes their own name, and nothing of the business.
    ana.create_user("bia@example.com", "Bia", "agent", "Bia#2026forte")
    bia = office.anybody.login("bia@example.com", "Bia#2026forte")
    assert bia.put("/api/users/profile", {"name": "Beatriz"})["name"] == "Beatriz"
    for body in ({"business_name": "X"}, {"template_type": "service_table"}, {"whatsapp_number": "+5511900000000"}, {"timezone": "UTC"}):
        bia.call("PUT", "/api/users/profile", json=body | {"name": "Z"}, expect=403)
    assert bia.get("/api/users/profile")["name"] == "Beatriz"
    office.anybody.call("GET", "/api/users/profile", expect=401)


def test_an_address_is_proved_by_the_code_that_was_sent_to_it(office, ana):
    digits = code(office, "ana@example.com")
    refused = ana.call("POST", "/api/users/verify-email", json={"code": wrong(digits)}, expect=400).json()
    assert refused["code"] == "code_wrong" and refused["attempts_left"] == 4
    for body, field in (({}, "code"), ({"code": "12345"}, "code"), ({"code": "abcdef"}, "code"), ({"code": 123456}, "code")):
        assert ana.call("POST", "/api/users/verify-email", json=body, expect=422).json()["detail"][0]["loc"] == ["body", field]
    too_soon = ana.call("POST", "/api/users/verify-email/resend", expect=429)
    assert 0 < int(too_soon.headers["retry-after"]) <= 60
    # The code, the attempts and the proof survive whatever ends the process.
    office.server.kill()
    office.server.start()
    refused = ana.call("POST", "/api/users/verify-email", json={"code": wrong(digits)}, expect=400).json()
    assert refused["attempts_left"] == 3
    assert ana.post("/api/users/verify-email", {"code": f" {digits[:3]} {digits[3:]}"})["is_verified"] is True
    office.server.kill()
    office.server.start()
    assert ana.get("/api/users/profile")["is_verified"] is True
    assert ana.post("/api/users/verify-email/resend")["is_verified"] is True


def test_the_fifth_wrong_code_is_the_last(office, ana):
    digits = code(office, "ana@example.com")
    answers = [ana.call("POST", "/api/users/verify-email", json={"code": wrong(digits)}, expect=400).json() for _ in range(5)]
    assert [answer.get("attempts_left") for answer in answers] == [4, 3, 2, 1, None] and answers[-1]["code"] == "code_expired"
    assert ana.call("POST", "/api/users/verify-email", json={"code": digits}, expect=400).json()["code"] == "code_expired"


def test_only_one_of_many_right_answers_at_once_is_needed_and_wrong_ones_are_all_counted(office, ana):
    digits = code(office, "ana@example.com")
    answers = []

    def attempt():
        answers.append(Api(office.server, token=ana.token).call("POST", "/api/users/verify-email", json={"code": wrong(digits)}).status)

    threads = [threading.Thread(target=attempt) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) == {400}
    assert ana.call("POST", "/api/users/verify-email", json={"code": digits}, expect=400).json()["code"] == "code_expired", "five of twenty spent it"


def test_another_address_is_proved_anew_and_the_old_one_is_told(office, ana):
    ana.post("/api/users/verify-email", {"code": code(office, "ana@example.com")})
    for said in ({}, {"current_password": "outra"}):
        names_fields(ana.call("PUT", "/api/users/profile", json={"email": "ana.nova@example.com"} | said), "current_password")
    changed = ana.put("/api/users/profile", {"email": "Ana.Nova@Example.com", "current_password": PASSWORD})
    assert changed["email"] == "ana.nova@example.com" and changed["is_verified"] is False
    ana.post("/api/users/verify-email", {"code": code(office, "ana.nova@example.com")})
    assert any("alterado" in letter["subject"] for letter in letters(office, "ana@example.com"))
    office.anybody.login("ana.nova@example.com", PASSWORD)
    office.anybody.call("POST", "/api/auth/login", json={"email": "ana@example.com", "password": PASSWORD}, expect=401)
    other = office.anybody.register("rui@example.com", "Rui#2026forte")
    assert other.call("PUT", "/api/users/profile", json={"email": "ana.nova@example.com", "current_password": "Rui#2026forte"}, expect=409).json()["code"] == "email_taken"


def test_an_own_address_or_password_takes_the_present_password_at_the_users_door_too(office, ana):
    me = f"/api/v1/users/{ana.get('/api/users/profile')['id']}"
    for change in ({"email": "ana.nova@example.com"}, {"password": "Nova#2026ok"}):
        for said in ({}, {"current_password": "outra"}):
            names_fields(ana.call("PUT", me, json=change | said), "current_password")
    assert ana.put(me, {"name": "Ana Lima", "email": "ana@example.com"})["name"] == "Ana Lima", "the same address is no other"
    assert ana.put(me, {"email": "ana.nova@example.com", "current_password": PASSWORD})["email"] == "ana.nova@example.com"
    eventually("the former address is told", lambda: any("alterado" in letter["subject"] for letter in letters(office, "ana@example.com")))
    # Of somebody else, whoever runs the business decides; they are told.
    bia = ana.post("/api/v1/users/", {"email": "bia@example.com", "name": "Bia", "role": "agent", "password": "Forte#2026senha"}, expect=201)
    ana.put(f"/api/v1/users/{bia['id']}", {"email": "bia.nova@example.com"})
    eventually("Bia's former address is told", lambda: any("alterado" in letter["subject"] for letter in letters(office, "bia@example.com")))


def test_a_changed_password_ends_the_other_logins(office, ana):
    other = office.anybody.login("ana@example.com", PASSWORD)
    path = "/api/users/change-password"
    refused = ana.call("POST", path, json={"current_password": "errada", "new_password": "Nova#2026ok"}, expect=422).json()
    assert refused["detail"][0]["loc"] == ["body", "current_password"]
    refused = ana.call("POST", path, json={"current_password": PASSWORD, "new_password": "fraca"}, expect=422).json()
    assert refused["detail"][0]["loc"] == ["body", "new_password"]
    ana.post(path, {"current_password": PASSWORD, "new_password": "Nova#2026ok"})
    ana.get("/api/users/profile")
    other.call("GET", "/api/users/profile", expect=401)
    office.server.restart()
    other.call("GET", "/api/users/profile", expect=401)
    office.anybody.login("ana@example.com", "Nova#2026ok")


def test_a_forgotten_password_is_replaced_by_the_code_and_nobody_learns_who_has_an_account(office, ana):
    forgot = lambda email: office.anybody.call("POST", "/api/auth/forgot-password", json={"email": email}, expect=202).json()  # noqa: E731
    assert forgot("ninguem@example.com") == forgot("ana@example.com") == forgot("ana@example.com")
    digits = code(office, "ana@example.com", subject="nova senha")
    reset = lambda email, digits, password="Outra#2026ok", expect=400: office.anybody.call(  # noqa: E731
        "POST", "/api/auth/reset-password", json={"email": email, "code": digits, "new_password": password}, expect=expect
    ).json()
    assert reset("ana@example.com", wrong(digits)) == reset("ninguem@example.com", digits)
    assert reset("ana@example.com", digits, "fraca", expect=422)["detail"][0]["loc"] == ["body", "new_password"]
    office.server.restart()
    reset("ana@example.com", digits, expect=200)
    reset("ana@example.com", digits)
    ana.call("GET", "/api/users/profile", expect=401)
    office.anybody.call("POST", "/api/auth/login", json={"email": "ana@example.com", "password": PASSWORD}, expect=401)
    assert office.anybody.login("ana@example.com", "Outra#2026ok").get("/api/users/profile")["is_verified"] is True
    assert len([letter for letter in letters(office, "ana@example.com") if "nova senha" in letter["subject"]]) == 1


def test_the_account_by_rpc_is_the_account_by_rest(offices):
    office = offices(EMAIL_VERIFICATION="required")
    ana = office.anybody.register("ana@example.com", PASSWORD)
    desk = office.desk(ana)
    assert desk.rpc("account.profile") == ana.get("/api/users/profile") and desk.rpc("account.usage") == ana.get("/api/users/usage")
    assert desk.rpc("account.plans") == ana.get("/api/users/plans")
    with pytest.raises(ReplyError, match="403"):
        desk.rpc("account.upgrade-plan", {"plan_type": "pro"})
    with pytest.raises(ReplyError, match="429"):
        desk.rpc("account.resend-code")
    with pytest.raises(ReplyError, match="422"):
        desk.rpc("account.verify-email", {"code": "12"})
    assert desk.rpc("account.verify-email", {"code": code(office, "ana@example.com")})["is_verified"] is True
    assert desk.rpc("account.resend-code")["is_verified"] is True
    changed = desk.rpc("account.update-profile", {"business_name": "Ana", "timezone": "America/Manaus"})
    assert (changed["business_name"], changed["timezone"]) == ("Ana", "America/Manaus") and changed == ana.get("/api/users/profile")
    with pytest.raises(ReplyError, match="409"):
        desk.rpc("account.update-profile", {"name": "Outra", "revision": changed["revision"] - 1})
    with pytest.raises(ReplyError, match="422"):
        desk.rpc("account.update-profile", {"email": "outra@example.com"})
    assert desk.rpc("account.upgrade-plan", {"plan_type": "pro"})["usage"] == ana.get("/api/users/usage")
    ana.create_user("vera@example.com", "Vera", "viewer", "Segura#2026forte")
    vera = office.desk(office.anybody.login("vera@example.com", "Segura#2026forte"))
    assert vera.rpc("account.profile")["role"] == "viewer" and vera.rpc("account.update-profile", {"name": "Vera Lima"})["name"] == "Vera Lima"
    for method, data in (("account.upgrade-plan", {"plan_type": "free"}), ("account.update-profile", {"timezone": "America/Belem"})):
        with pytest.raises(ReplyError, match="403"):
            vera.rpc(method, data)


def test_a_profile_and_its_time_zone_are_one_change(office, ana):
    def refused(expect, **body):
        before = ana.get("/api/users/profile")
        answer = ana.call("PUT", "/api/users/profile", json=body, expect=expect).json()
        assert ana.get("/api/users/profile") == before
        return answer

    seen = ana.get("/api/users/profile")
    office.anybody.register("rui@example.com", PASSWORD)
    refused(409, email="rui@example.com", current_password=PASSWORD, timezone="America/Manaus")
    refused(422, email="outra@example.com", timezone="America/Manaus")
    # What has been put back as it was changes nothing, not even for those who may not.
    ana.create_user("bia@example.com", "Bia", "agent", "Bia#2026forte")
    bia = office.anybody.login("bia@example.com", "Bia#2026forte")
    assert bia.put("/api/users/profile", bia.get("/api/users/profile") | {"name": "Bia Lima"})["name"] == "Bia Lima"
    # Another revision than was seen is refused, whoever of the two parts moved, and the answer has what there is.
    changed = ana.put("/api/users/profile", {"name": "Ana Lima", "timezone": "America/Manaus", "revision": seen["revision"]})
    assert changed["timezone"] == "America/Manaus"
    stale = refused(409, name="Não", timezone="America/Belem", revision=seen["revision"])
    assert stale["code"] == "stale_revision" and stale["current"] == ana.get("/api/users/profile")
    ana.put("/api/users/business-hours", {"capacity": 2})
    assert ana.call("PUT", "/api/users/profile", json={"name": "Não"}, headers={"If-Match": f'"{changed["revision"]}"'}, expect=409).json()["code"] == "stale_revision"
    # Killed at any moment, both are there or neither is.
    zones, last = ["America/Manaus", "America/Belem"], {}

    def change():
        mine = Api(office.server, token=ana.token)
        for number in range(10_000):
            try:
                answer = mine.call("PUT", "/api/users/profile", json={"business_name": zones[number % 2], "timezone": zones[number % 2]})
            except Exception:  # noqa: BLE001 - the server is killed under it
                return
            last["count"] = number + (answer.status == 200)

    thread = threading.Thread(target=change)
    thread.start()
    eventually("some changes", lambda: last.get("count", 0) >= 10)
    office.server.kill()
    thread.join()
    office.server.start()
    after = ana.get("/api/users/profile")
    assert after["business_name"] == after["timezone"]


def test_tokens_live_as_long_as_the_setting_says(offices):
    def lifetime(**settings):
        session = offices(**settings).admin.call("POST", "/api/auth/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}, expect=200).json()
        claims = json.loads(base64.urlsafe_b64decode(session["access_token"].split(".")[1] + "=="))
        assert claims["exp"] - claims["iat"] == session["expires_in"]
        return session["expires_in"]

    assert lifetime(ACCESS_TOKEN_EXPIRE_MINUTES=30) == 1800 and lifetime() == 86_400


def test_where_the_proof_is_asked_for_nobody_changes_anything_without_it(offices):
    office = offices(EMAIL_VERIFICATION="required")
    ana = office.anybody.register("ana@example.com", PASSWORD)
    ana.get("/api/services/")
    for method, path, body in (("POST", "/api/services/", {"name": "Corte", "duration": 30}), ("POST", "/api/users/upgrade-plan", {"plan_type": "pro"})):
        assert ana.call(method, path, json=body, expect=403).json()["code"] == "email_unverified"
    desk = office.desk(ana)
    with pytest.raises(ReplyError, match="403"):
        desk.rpc("notice.post", {"text": "olá"})
    ana.put("/api/users/profile", {"name": "Ana"})
    ana.post("/api/users/verify-email", {"code": code(office, "ana@example.com")})
    ana.post("/api/services/", {"name": "Corte", "duration": 30}, expect=201)
    desk.rpc("notice.post", {"text": "olá"})
    # Whoever the server's owner made, and whom an administrator makes, is answered for.
    office.admin.post("/api/services/", {"name": "Corte", "duration": 30}, expect=201)


def test_services_are_what_the_template_of_the_business_says(office, ana):
    cut = {"name": "Corte", "duration": 30}

    def refused(body, *fields, method="POST", path="/api/services/"):
        faults = ana.call(method, path, json=body, expect=422).json()["detail"]
        assert [fault["loc"][1] for fault in faults] == list(fields), faults

    # service_table: a price, and no credentials.
    category = ana.post("/api/services/categories", {"name": "Cabelo"}, expect=201)
    refused(cut, "price")
    refused(cut | {"price": 50, "credentials": {"registro": "1"}}, "credentials")
    made = ana.post("/api/services/", cut | {"price": 50.0, "category_id": category["id"], "promotions": [{"dia": "seg"}], "capacity": 4}, expect=201)
    place = f"/api/services/{made['id']}"
    refused({"price": None}, "price", method="PUT", path=place)
    # Another template leaves what there is as it is: it is changed in other fields, and by the new rules where they are touched.
    ana.put("/api/users/profile", {"template_type": "consultation"})
    assert ana.put(place, {"name": "Corte e barba"})["capacity"] == 4
    refused({"capacity": 5}, "capacity", method="PUT", path=place)
    assert ana.put(place, {"capacity": 1, "promotions": None, "category_id": None, "price": None})["price"] is None
    # consultation: a duration, one person at a time, credentials; no promotions and no categories.
    refused({"name": "Consulta"}, "duration")
    refused(cut | {"capacity": 2, "promotions": {}, "category_id": category["id"]}, "capacity", "promotions", "category_id")
    ana.post("/api/services/", {"name": "Consulta", "duration": 50, "credentials": {"crp": "06/12345"}}, expect=201)
    # Without a template both are taken.
    office.admin.post("/api/services/", cut | {"credentials": {"crp": "1"}, "promotions": {}, "capacity": 3}, expect=201)
