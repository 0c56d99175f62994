"""Bad input at every door: a clear error each, nothing changed, nothing shown of the inside, and the server goes on."""

import base64
import hashlib
import hmac
import json
import socket
import time
import uuid

import pytest

from conftest import _offices
from fakes.whatsapp import text
from harness.api import LEAKS, Api, is_clear_error, names_fields
from harness.desk import Desk, ReplyError
from harness.http import raw_exchange, status_of
from harness.office import WEBHOOK, new_number
from harness.process import ADMIN_EMAIL, ADMIN_PASSWORD, API_KEY, SECRET_KEY
from harness.rawsocket import BINARY, CLOSE, PING, TEXT, Closed, HandshakeRefused, RawSocket
from harness.waiting import eventually

pytestmark = pytest.mark.timeout(90)

SOMEBODY = str(uuid.UUID(int=7))
FUTURE = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() + 7200))

# Every command on a conversation, with a body that would be right.
COMMANDS = {
    "messages": {"text": "oi"}, "notes": {"text": "oi"}, "claim": {}, "decline": {}, "transfer": {"consultor_id": 1}, "return-to-bot": {}, "resolve": {},
    "reopen": {}, "snooze": {"until": FUTURE}, "read": {}, "typing": {}, "labels": {"labels": ["x"]},
}
NOT_JSON = [b"{", b"{]", b'{"text": "a"', b'{"text": "a"} x', b"{'text': 'a'}", b'{"text": "\xff\xfe"}', b'{"text": "\xed\xa0\x80"}', b'\xef\xbb\xbf\x00', b"nul",
            b'{"text": "a",}', b'{"text": "\\x"}', b'{"text": 01}', b'{"text": "line\nbreak"}', b"\x00" * 64]


class Stage:
    """A tenant with one of everything, to be tried and found unchanged."""

    def __init__(self, office):
        self.office = office
        self.maria = office.hire("Maria", capacity=50)
        self.viewer = Api(office.server).login(
            office.admin.create_user("so-olha@example.com", "Só Olha", "viewer", "Olhar#2026seguro")["email"], "Olhar#2026seguro"
        )
        self.number = new_number()
        self.id = office.attended_by(self.maria, self.number)["id"]
        self.maria.api.say(self.id, "tudo em ordem")
        self.bot_id = None
        office.settled(self.id)
        number = new_number()
        office.says(number, "oi")
        self.bot_id = office.conversation(number, "bot")["id"]
        office.settled(self.bot_id)

    def everything(self):
        admin = self.office.admin
        users = [{k: v for k, v in u.items() if k != "last_login_at"} for u in admin.users(per_page=100)["items"]]
        ids = sorted(c["id"] for c in admin.all_conversations())
        consultores = [{k: v for k, v in c.items() if k != "status_since"} for c in admin.consultores()]
        return users, consultores, [(admin.conversation(id), admin.all_messages(id)) for id in ids]


@pytest.fixture(scope="module")
def stage(shared_office):
    return Stage(shared_office)


@pytest.fixture(scope="module")
def shared_office(tmp_path_factory, request):
    """As the one for all, where a token is good for once and no second time."""
    opened = _offices(lambda: tmp_path_factory.mktemp("office"), request)
    yield next(opened)(PRESENCE_GRACE_SECONDS=3600, REFRESH_GRACE_SECONDS=0)
    next(opened, None)


@pytest.fixture(autouse=True)
def _nothing_changed_and_the_server_goes_on(stage):
    before, pid = stage.everything(), stage.office.server.pid
    yield
    assert stage.office.server.is_running and stage.office.server.pid == pid
    assert stage.office.anybody.call("GET", "/health").status == 200
    assert stage.everything() == before, "bad input has changed something"


# MARK: Bodies


def doors(stage):
    """Every call that takes a body: (method, path, token)."""
    base = f"/api/v1/conversations/{stage.id}"
    admin, maria = stage.office.admin.token, stage.maria.token
    with_body = [v for v, body in COMMANDS.items() if body]
    return [
        ("POST", "/api/v1/auth/login", None), ("POST", "/api/v1/auth/refresh", None), ("POST", "/api/auth/register", None), ("POST", "/api/v1/users/", admin),
        ("PUT", f"/api/v1/users/{stage.maria.user['id']}", admin), ("POST", "/consultor", admin), ("PUT", f"/consultor/{stage.maria.id}", admin),
        ("PUT", f"/consultor/{stage.maria.id}/connection", admin), *(("POST", f"{base}/{verb}", maria) for verb in with_body),
    ]


def test_a_body_that_is_not_json_is_refused_at_every_door(stage):
    for method, path, token in doors(stage):
        for body in NOT_JSON:
            reply = Api(stage.office.server, token).call(method, path, body=body, headers={"Content-Type": "application/json"})
            is_clear_error(reply, 400, 422)


def test_a_body_that_is_no_object_is_refused_at_every_door(stage):
    for method, path, token in doors(stage):
        # Nothing at all is an object without members, and all of a PUT's members may be left out.
        nothing = [] if method == "PUT" and not path.endswith("/connection") or path.endswith("/typing") else [b"null", b""]
        for body in [b"[]", b"[1,2]", b'"text"', b"7", b"true", *nothing]:
            reply = Api(stage.office.server, token).call(method, path, body=body, headers={"Content-Type": "application/json"})
            is_clear_error(reply, 400, 422)


def test_deep_nesting_is_refused_at_every_door(stage):
    deep = [b"[" * 100_000, b'{"text":' + b"[" * 5_000 + b"]" * 5_000 + b"}", b'{"text":' * 20_000 + b"1" + b"}" * 20_000]
    for method, path, token in doors(stage):
        for body in deep:
            reply = Api(stage.office.server, token).call(method, path, body=body, headers={"Content-Type": "application/json"})
            is_clear_error(reply, 400, 413, 422)


def test_an_oversized_body_is_refused_with_413_at_every_door(stage):
    server, size = stage.office.server, 16 << 20
    for method, path, token in doors(stage):
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer {token}\r\n"
        announced = raw_exchange(server.host, server.port, f"{head}Content-Length: {size}\r\n\r\n".encode() + b" " * size)
        assert status_of(announced) == 413, (path, announced[:300])
        chunks = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        chunked = raw_exchange(server.host, server.port, f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks * (size >> 16) + b"0\r\n\r\n")
        assert status_of(chunked) == 413, (path, chunked[:300])
        assert not LEAKS.search((announced + chunked).partition(b"\r\n\r\n")[2].decode("latin-1"))


WRONG_FIELDS = [
    ("messages", {}, "text"), ("messages", {"text": None}, "text"), ("messages", {"text": 5}, "text"), ("messages", {"text": ["a"]}, "text"),
    ("messages", {"text": {"a": 1}}, "text"), ("messages", {"text": ""}, "text"), ("messages", {"text": "   \n "}, "text"),
    ("messages", {"text": "x" * 5000}, "text"), ("messages", {"text": "oi", "client_message_id": 7}, "client_message_id"),
    ("messages", {"text": "oi", "client_message_id": "c" * 5000}, "client_message_id"), ("notes", {"text": True}, "text"), ("notes", {}, "text"),
    ("transfer", {}, "consultor_id"), ("transfer", {"consultor_id": "Maria"}, "consultor_id"), ("transfer", {"consultor_id": 1.5}, "consultor_id"),
    ("transfer", {"consultor_id": None}, "consultor_id"), ("transfer", {"consultor_id": 10**30}, "consultor_id"), ("snooze", {}, "until"),
    ("snooze", {"until": "amanhã"}, "until"), ("snooze", {"until": 1790000000}, "until"), ("snooze", {"until": "2020-01-01T00:00:00Z"}, "until"),
    ("snooze", {"until": "2099-13-45T99:00:00Z"}, "until"), ("typing", {"typing": "sim"}, "typing"), ("labels", {}, "labels"), ("labels", {"labels": "x"}, "labels"),
    ("labels", {"labels": [1]}, "labels"), ("labels", {"labels": {"a": 1}}, "labels"), ("labels", {"labels": ["x" * 5000]}, "labels"),
    ("labels", {"labels": [str(n) for n in range(5000)]}, "labels"),
]


@pytest.mark.parametrize("verb, body, field", WRONG_FIELDS, ids=lambda x: repr(x)[:40])
def test_a_wrong_field_of_a_command_is_named_by_rest_and_refused_by_rpc(stage, verb, body, field):
    names_fields(stage.maria.api.try_command(stage.id, verb, body), field)
    with stage.office.desk(stage.maria) as desk, pytest.raises(ReplyError) as refused:
        desk.rpc(f"conversation.{verb}", {"conversation_id": stage.id} | body)
    assert refused.value.code == 422 and refused.value.message and not LEAKS.search(refused.value.message)


@pytest.mark.parametrize(
    "method, path, body, field",
    [
        ("POST", "/api/v1/users/", {"name": "A", "role": "agent", "password": "Forte#2026senha"}, "email"),
        ("POST", "/api/v1/users/", {"email": "not an address", "name": "A", "role": "agent", "password": "Forte#2026senha"}, "email"),
        ("POST", "/api/v1/users/", {"email": 5, "name": "A", "role": "agent", "password": "Forte#2026senha"}, "email"),
        ("POST", "/api/v1/users/", {"email": "a@example.com", "name": "A", "role": "god", "password": "Forte#2026senha"}, "role"),
        ("POST", "/api/v1/users/", {"email": "a@example.com", "name": "A", "role": ["agent"], "password": "Forte#2026senha"}, "role"),
        ("POST", "/api/v1/users/", {"email": "a@example.com", "name": "A", "role": "agent", "password": "123"}, "password"),
        ("POST", "/api/v1/users/", {"email": "a@example.com", "name": "A", "role": "agent"}, "password"),
        ("POST", "/api/v1/users/", {"email": "a@example.com", "name": 5, "role": "agent", "password": "Forte#2026senha"}, "name"),
        ("POST", "/api/auth/register", {"email": "b@example.com", "password": "fraca"}, "password"),
        ("POST", "/api/auth/register", {"email": "b@example.com"}, "password"),
        ("POST", "/api/auth/register", {"password": "Forte#2026senha"}, "email"),
        ("POST", "/api/v1/auth/login", {"email": ADMIN_EMAIL}, "password"),
        ("POST", "/api/v1/auth/login", {"email": ADMIN_EMAIL, "password": 5}, "password"),
        ("POST", "/api/v1/auth/login", {"email": ADMIN_EMAIL, "password": None}, "password"),
        ("POST", "/api/v1/auth/refresh", {}, "refresh_token"),
        ("POST", "/api/v1/auth/refresh", {"refresh_token": 5}, "refresh_token"),
        ("POST", "/consultor", {"idiomas": ["pt"]}, "nome"),
        ("POST", "/consultor", {"nome": "A"}, "idiomas"),
        ("POST", "/consultor", {"nome": "A", "idiomas": "pt"}, "idiomas"),
        ("POST", "/consultor", {"nome": "A", "idiomas": [5]}, "idiomas"),
        ("POST", "/consultor", {"nome": 5, "idiomas": ["pt"]}, "nome"),
        ("POST", "/consultor", {"nome": "A", "idiomas": ["pt"], "capacity": "muitas"}, "capacity"),
        ("POST", "/consultor", {"nome": "A", "idiomas": ["pt"], "capacity": -1}, "capacity"),
        ("POST", "/consultor", {"nome": "A", "idiomas": ["pt"], "status_online": "sim"}, "status_online"),
        ("POST", "/consultor", {"nome": "A", "idiomas": ["pt"], "user_id": "x"}, "user_id"),
        ("POST", "/consultor", {"nome": "A", "idiomas": ["pt"], "user_id": SOMEBODY}, "user_id"),
        ("PUT", "/consultor/{maria}", {"capacity": 2.5}, "capacity"),
        ("PUT", "/consultor/{maria}", {"idiomas": {"pt": True}}, "idiomas"),
        ("PUT", "/consultor/{maria}/connection", {"status_online": 1}, "status_online"),
        ("PUT", "/consultor/{maria}/connection", {}, "status_online"),
    ],
    ids=lambda x: repr(x)[:50],
)
def test_a_wrong_field_is_named(stage, method, path, body, field):
    path = path.replace("{maria}", str(stage.maria.id))
    names_fields(stage.office.admin.call(method, path, json=body), field)


@pytest.mark.parametrize("query", ["page=0", "page=-1", "page=x", "per_page=0", "per_page=x", "per_page=1000000", "page=99999999999999999999", "state=asleep",
                                   "assignee=somebody", "page=1&page=x", "q=" + "x" * 5000, "q=%ff%fe", "q=%00", "page=%", "state=%27%20OR%201=1--"])
def test_a_wrong_query_is_refused_or_bounded(stage, query):
    reply = stage.office.admin.call("GET", "/api/v1/conversations/?" + query)
    if reply.status == 200:
        assert len(reply.json()["items"]) <= 500
    else:
        is_clear_error(reply, 400, 414, 422)


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=-5", "limit=100000000", "before=x", f"before={SOMEBODY}", "before="])
def test_a_wrong_page_of_messages_is_refused_or_bounded(stage, query):
    reply = stage.office.admin.call("GET", f"/api/v1/conversations/{stage.id}/messages?{query}")
    if reply.status == 200:
        assert len(reply.json()["items"]) <= 500
    else:
        is_clear_error(reply, 400, 404, 422)


def test_what_looks_like_sql_is_just_text(stage):
    words = "'; DROP TABLE conversations; --"
    assert stage.office.admin.conversations(q=words)["total"] == 0
    assert stage.office.admin.conversations(q="%")["total"] == 0, "a wildcard is a character like any other"
    is_clear_error(stage.office.anybody.call("POST", "/api/v1/auth/login", json={"email": "x' OR '1'='1", "password": "x' OR '1'='1"}), 401, 422)


# MARK: Ids


def routes(id, user_id, consultor_id):
    """Every call that names something by its id: (method, path, body)."""
    base = f"/api/v1/conversations/{id}"
    return [
        ("GET", base, None), ("GET", f"{base}/messages", None), *(("POST", f"{base}/{verb}", body) for verb, body in COMMANDS.items()),
        ("GET", f"/api/v1/users/{user_id}", None), ("PUT", f"/api/v1/users/{user_id}", {"name": "Outro"}), ("DELETE", f"/api/v1/users/{user_id}", None),
        ("GET", f"/consultor/{consultor_id}", None), ("PUT", f"/consultor/{consultor_id}", {"nome": "Outro"}),
        ("PUT", f"/consultor/{consultor_id}/connection", {"status_online": True}), ("DELETE", f"/consultor/{consultor_id}", None),
    ]


def test_what_does_not_exist_is_not_found_at_every_route(stage):
    for method, path, body in routes(SOMEBODY, SOMEBODY, 999_999):
        is_clear_error(stage.office.admin.call(method, path, json=body), 404)


@pytest.mark.parametrize("id", ["abc", "0", "-1", "%00", "%ff", "..%2f..%2fetc%2fpasswd", "x" * 3000, "99999999999999999999999", "%F0%9F%98%80", SOMEBODY + "0", "1e3"])
def test_an_id_that_is_none_is_not_found_or_refused_at_every_route(stage, id):
    for method, path, body in routes(id, id, id):
        is_clear_error(stage.office.admin.call(method, path, json=body), 400, 404, 414, 422)


def test_unknown_paths_and_methods_are_refused(stage):
    admin = stage.office.admin
    for path in ("/nope", "/api/v1/nope", f"/api/v1/conversations/{stage.id}/explode", "/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd"):
        for method in ("GET", "POST", "DELETE"):
            reply = admin.call(method, path)
            # The first three are nowhere; the last two may be refused as what they are before.
            assert reply.status == 404 or path.startswith("/..") or path.startswith("/%2e"), reply
            assert reply.status in (400, 404), reply
            assert not LEAKS.search(reply.text.replace(path, "")), reply
    for method, path in (("DELETE", "/api/v1/conversations/"), ("GET", f"/api/v1/conversations/{stage.id}/claim"), ("PATCH", "/consultores"), ("BREW", "/health")):
        reply = admin.call(method, path)
        if method == "BREW":
            assert reply.status in (400, 405, 501), reply
        else:
            assert is_clear_error(reply, 405)["code"] == "method_not_allowed" and method not in reply.headers["allow"].split(", "), reply


# MARK: Credentials


def parts_of(token):
    decode = lambda part: json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))  # noqa: E731
    head, claims, _ = token.split(".")
    return decode(head), decode(claims)


def signed(head, claims, secret=SECRET_KEY, digest=hashlib.sha256):
    encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()  # noqa: E731
    text = ".".join(encode(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims))
    return text + "." + (encode(hmac.new(secret.encode(), text.encode(), digest).digest()) if digest else "")


def bad_tokens(stage):
    good = stage.maria.token
    head, claims = parts_of(good)
    past = int(time.time()) - 7200
    refresh = stage.maria.api.session["refresh_token"]
    return {
        "expired": signed(head, claims | {"exp": past, "iat": past - 900, **({"nbf": past - 900} if "nbf" in claims else {})}),
        "foreign signature": signed(head, claims, secret="not the secret of this server, but as long as it is"),
        "alg none": signed({**head, "alg": "none"}, claims, digest=None),
        "alg None": signed({**head, "alg": "None"}, claims, digest=None),
        "alg none, signature kept": signed({**head, "alg": "none"}, claims, digest=None) + good.split(".")[2],
        "another algorithm": signed({**head, "alg": "HS512"}, claims, digest=hashlib.sha512),
        "another algorithm named": ".".join([signed({**head, "alg": "RS256"}, claims).rsplit(".", 1)[0], good.split(".")[2]]),
        "without exp": signed(head, {k: v for k, v in claims.items() if k != "exp"}),
        "another audience": signed(head, claims | {"aud": "elsewhere"}),
        "another issuer": signed(head, claims | {"iss": "elsewhere"}),
        "refresh token": refresh,
        "no signature": good.rsplit(".", 1)[0] + ".",
        "two parts": good.rsplit(".", 1)[0],
        "cut": good[:-3],
        "altered": good[:-2] + ("AA" if good[-2:] != "AA" else "BB"),
        "claims of an admin": ".".join([good.split(".")[0], stage.office.admin.token.split(".")[1], good.split(".")[2]]),
        "claims that are text": signed(head, "text"),
        "claims that are wrong": signed(head, {k: 5 if isinstance(v, str) else "x" for k, v in claims.items()}),
        "empty": "",
        "not one at all": "abc",
        "dots": "..",
        "long": "x" * 7000,
    }


def test_a_token_made_with_the_secret_is_like_one_issued_so_the_bad_ones_are_bad_for_their_own_reason(stage):
    assert Api(stage.office.server, signed(*parts_of(stage.maria.token))).conversation(stage.id)["id"] == stage.id


def test_a_bad_token_is_refused_by_rest(stage):
    for name, token in bad_tokens(stage).items():
        for method, path in (("GET", "/api/v1/conversations/"), ("POST", f"/api/v1/conversations/{stage.id}/resolve"), ("GET", "/consultores")):
            reply = Api(stage.office.server, token).call(method, path)
            assert reply.status == 401, f"{name}: {reply}"
            is_clear_error(reply, 401)


def test_a_bad_token_does_not_connect(stage):
    for name, token in bad_tokens(stage).items():
        desk = Desk(stage.office.server, token)
        with pytest.raises((ReplyError, Closed)) as refused:
            desk.connect()
        assert refused.value.code in (101, 107, 109, 3500, 3501, 3503, 3507), f"{name}: {refused.value}"
        if name == "expired":
            assert refused.value.code in (109, 3500), "SDKs get a new token for 109"
        desk.leave()


def test_no_credential_no_entry(stage):
    id, user, consultor = stage.id, stage.maria.user["id"], stage.maria.id
    for method, path, body in [("GET", "/api/v1/conversations/", None), ("GET", "/api/v1/users/", None), ("POST", "/api/v1/users/", {}),
                               ("POST", "/api/v1/auth/logout", None), ("GET", "/consultores", None), ("POST", "/consultor", {}),
                               ("GET", "/consultor/da-vez?idioma=pt", None), *routes(id, user, consultor)]:
        is_clear_error(stage.office.anybody.call(method, path, json=body), 401)


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic ZG9ubzpzZW5oYQ==", "Token abc", "bearer\tabc", "Bearer a b c", "ç"])
def test_another_scheme_is_no_credential(stage, value):
    reply = stage.office.anybody.call("GET", "/api/v1/conversations/", headers={"Authorization": value})
    is_clear_error(reply, 401)


def test_a_wrong_api_key_is_refused_and_a_right_one_opens_only_the_consultores(stage):
    server = stage.office.server
    for key in ("wrong", API_KEY + "x", API_KEY[:-1], "", API_KEY.upper()):
        is_clear_error(Api(server, api_key=key).call("GET", "/consultores"), 401, 403)
    assert [c["id"] for c in stage.office.integrator.consultores()] == [c["id"] for c in stage.office.admin.consultores()]
    for method, path, body in routes(stage.id, stage.maria.user["id"], stage.maria.id):
        if not path.startswith("/consultor"):
            is_clear_error(stage.office.integrator.call(method, path, json=body), 401, 403)


def test_a_wrong_password_or_unknown_user_is_refused_alike(stage):
    wrong = is_clear_error(stage.office.anybody.call("POST", "/api/v1/auth/login", json={"email": ADMIN_EMAIL, "password": "Errada#2026x"}), 401)
    unknown = is_clear_error(stage.office.anybody.call("POST", "/api/v1/auth/login", json={"email": "ninguem@example.com", "password": "Errada#2026x"}), 401)
    assert wrong == unknown, "who does not know the password does not learn who has an account"


def test_login_takes_a_form_and_the_other_contracts_name_too(stage):
    form = f"username={ADMIN_EMAIL.replace('@', '%40')}&password={ADMIN_PASSWORD.replace('#', '%23')}&grant_type=password".encode()
    for path in ("/api/v1/auth/login", "/api/auth/login", "/api/v1/auth/login/"):
        reply = stage.office.anybody.call("POST", path, body=form, headers={"Content-Type": "application/x-www-form-urlencoded"}, expect=200)
        answer = reply.json()
        assert answer["token_type"] == "bearer" and answer["expires_in"] > 0 and answer["user"]["email"] == ADMIN_EMAIL and answer["user"]["role"] == "owner"
        assert "password" not in json.dumps(answer["user"])
    bad = stage.office.anybody.call("POST", "/api/v1/auth/login", body=b"username=%ff%fe&password", headers={"Content-Type": "application/x-www-form-urlencoded"})
    is_clear_error(bad, 400, 401, 422)


# MARK: Sessions. Each with a user of its own.


@pytest.fixture(scope="module")
def visitor(stage):
    """A user for whose sessions nobody else cares."""
    user = stage.office.admin.create_user("sessoes@example.com", "Sessões", "agent", "Sessao#2026forte")
    return lambda: Api(stage.office.server).login(user["email"], "Sessao#2026forte")


def test_a_session_that_was_logged_out_is_over(visitor):
    session, other = visitor(), visitor()
    session.logout()
    is_clear_error(session.call("GET", "/api/v1/conversations/"), 401)
    is_clear_error(session.call("POST", "/api/v1/auth/refresh", json={"refresh_token": session.session["refresh_token"]}), 401)
    with pytest.raises((ReplyError, Closed)):
        Desk(session.server, session.token).connect()
    other.conversations()


def test_a_refresh_token_is_good_once_and_used_again_ends_the_session(visitor):
    first = visitor()
    second = first.refresh()
    second.conversations()
    is_clear_error(first.call("POST", "/api/v1/auth/refresh", json={"refresh_token": first.session["refresh_token"]}), 401)
    is_clear_error(second.call("GET", "/api/v1/conversations/"), 401)
    is_clear_error(second.call("POST", "/api/v1/auth/refresh", json={"refresh_token": second.session["refresh_token"]}), 401)


def test_an_access_token_is_no_refresh_token(visitor):
    session = visitor()
    for token in (session.token, "", "x", session.session["refresh_token"] + "x"):
        is_clear_error(session.call("POST", "/api/v1/auth/refresh", json={"refresh_token": token}), 401, 422)
    session.conversations()


# MARK: Roles


def test_a_viewer_sees_and_changes_nothing(stage):
    viewer = stage.viewer
    assert viewer.conversation(stage.id)["id"] == stage.id and viewer.all_messages(stage.id)
    for verb, body in COMMANDS.items():
        is_clear_error(viewer.try_command(stage.id, verb, body), 403)
    for method, path, body in (("POST", "/consultor", {"nome": "A", "idiomas": ["pt"]}), ("DELETE", f"/consultor/{stage.maria.id}", None),
                               ("PUT", f"/consultor/{stage.maria.id}/connection", {"status_online": False})):
        is_clear_error(viewer.call(method, path, json=body), 403)
    with stage.office.desk(viewer, "conversations") as desk:
        for verb, body in COMMANDS.items():
            with pytest.raises(ReplyError) as refused:
                desk.rpc(f"conversation.{verb}", {"conversation_id": stage.id} | body)
            assert refused.value.code == 403


def test_an_agent_does_not_administer(stage):
    maria, other = stage.maria.api, stage.office.admin.user["id"]
    for method, path, body in (
        ("POST", "/api/v1/users/", {"email": "c@example.com", "name": "C", "role": "owner", "password": "Forte#2026senha"}),
        ("PUT", f"/api/v1/users/{other}", {"role": "viewer"}), ("DELETE", f"/api/v1/users/{other}", None),
        ("PUT", f"/api/v1/users/{stage.maria.user['id']}", {"role": "owner"}), ("POST", "/consultor", {"nome": "A", "idiomas": ["pt"]}),
    ):
        is_clear_error(maria.call(method, path, json=body), 403)


def test_an_agent_moves_only_their_own_consultor(stage):
    consultor = stage.office.admin.create_consultor("Alheio")
    try:
        for method, path, body in (("PUT", f"/consultor/{consultor['id']}/connection", {"status_online": True}), ("PUT", f"/consultor/{consultor['id']}", {"nome": "X"}),
                                   ("DELETE", f"/consultor/{consultor['id']}", None)):
            is_clear_error(stage.maria.api.call(method, path, json=body), 403)
        assert stage.office.admin.consultor(consultor["id"]) == consultor
    finally:
        stage.office.admin.call("DELETE", f"/consultor/{consultor['id']}", expect=(200, 204))


def test_what_belongs_to_another_agent_is_not_touched(stage, visitor):
    other = visitor()
    for verb in ("transfer", "return-to-bot", "resolve", "snooze", "decline", "claim"):
        is_clear_error(other.try_command(stage.id, verb, COMMANDS[verb]), 403, 409)


# MARK: Another tenant


@pytest.fixture(scope="module")
def stranger(stage):
    """The owner of another business on the same server."""
    return stage.office.anybody.register("estranho@example.com", "Forasteiro#2026ok", business_name="Outra Empresa", name="Estranho")


def test_a_second_tenant_sees_nothing_of_the_first(stage, stranger):
    assert stranger.conversations()["items"] == [] and stranger.conversations()["total"] == 0
    assert stranger.consultores() == []
    assert [u["email"] for u in stranger.users()["items"]] == ["estranho@example.com"]
    assert stranger.user["tenant_id"] != stage.office.admin.user["tenant_id"] and stranger.user["role"] == "owner"
    assert stranger.conversations(q=stage.number)["total"] == 0
    with stage.office.desk(stranger, "conversations", "queue", "consultores") as desk:
        assert [desk.picture(c).items for c in ("conversations", "queue", "consultores")] == [{}, {}, {}]


def test_another_tenants_ids_are_not_found_at_every_route_and_rpc(stage, stranger):
    for method, path, body in routes(stage.id, stage.maria.user["id"], stage.maria.id):
        is_clear_error(stranger.call(method, path, json=body), 404)
    with stage.office.desk(stranger) as desk:
        for verb, body in COMMANDS.items():
            with pytest.raises(ReplyError) as refused:
                desk.rpc(f"conversation.{verb}", {"conversation_id": stage.id} | body)
            assert refused.value.code == 404, verb


def test_another_tenants_conversation_is_not_subscribed_to_nor_asked_about(stage, stranger):
    with stage.office.desk(stranger) as desk:
        for channel in (f"conversation:{stage.id}", f"conversation:{stage.bot_id}", f"conversation:{SOMEBODY}"):
            with pytest.raises(ReplyError) as refused:
                desk.follow(channel)
            assert 100 <= refused.value.code < 200
            for name in ("history", "presence", "presence_stats"):
                with pytest.raises(ReplyError):
                    desk.command(name, {"channel": channel})
        assert desk.rpc("echo", {"still": "here"}) == {"still": "here"}


def test_another_tenant_cannot_link_a_foreign_user_or_transfer_to_a_foreign_consultor(stage, stranger):
    is_clear_error(stranger.call("POST", "/consultor", json={"nome": "A", "idiomas": ["pt"], "user_id": stage.maria.user["id"]}), 404, 422)
    is_clear_error(stranger.call("POST", "/api/auth/register", json={"email": ADMIN_EMAIL, "password": "Outra#2026senha"}), 409, 422)
    reply = stranger.call("GET", "/api/v1/conversations/", headers={"X-Tenant-ID": stage.office.admin.user["tenant_id"]},
                          tenant_id=stage.office.admin.user["tenant_id"])
    assert reply.json()["items"] == [], "the tenant comes from the credential, never from a parameter"


def test_another_tenants_changes_are_not_shown(stage, stranger):
    with stage.office.desk(stranger, "conversations", "consultores") as desk:
        stage.maria.api.command(stage.id, "typing")
        stage.office.admin.set_online(stage.maria.id, False), stage.office.admin.set_online(stage.maria.id, True)
        assert desk.rpc("echo", 1) == 1
        assert desk.everything_shown()[0] == []


# MARK: Raw WebSocket


def connected(stage):
    socket = RawSocket(stage.office.server.host, stage.office.server.port)
    socket.send(json.dumps({"id": 1, "connect": {"token": stage.maria.token}}))
    assert "connect" in json.loads(socket.receive())
    return socket


def test_frames_that_rfc_6455_forbids_end_the_connection_with_1002(stage):
    bad = {
        "unmasked": dict(opcode=TEXT, payload=b"{}", masked=False),
        "reserved opcode": dict(opcode=0x3, payload=b"{}"),
        "reserved control opcode": dict(opcode=0xB, payload=b""),
        "reserved bit": dict(opcode=TEXT, payload=b"{}", rsv=0b010),
        "compressed though not agreed": dict(opcode=TEXT, payload=b"{}", rsv=0b100),
        "fragmented control": dict(opcode=PING, payload=b"x", fin=False),
        "long control": dict(opcode=PING, payload=b"x" * 126),
        "continuation of nothing": dict(opcode=0x0, payload=b"{}"),
        "one-byte close": dict(opcode=CLOSE, payload=b"\x03"),
        "forbidden close code": dict(opcode=CLOSE, payload=b"\x03\xed"),
    }
    for name, frame in bad.items():
        socket = connected(stage)
        socket.send_frame(**frame)
        code = socket.close_code()
        assert code == 1002, f"{name}: {code}"
        socket.abort()


def test_a_new_text_inside_a_fragmented_one_ends_the_connection_with_1002(stage):
    socket = connected(stage)
    socket.send_frame(TEXT, b'{"id": 2,', fin=False)
    socket.send_frame(TEXT, b"{}")
    assert socket.close_code() == 1002


def test_text_that_is_not_utf8_ends_the_connection_with_1007(stage):
    for payload in (b'{"id": 2, "rpc": {"method": "\xff"}}', b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80", b"\xe2\x82"):
        socket = connected(stage)
        socket.send_frame(TEXT, payload)
        assert socket.close_code() == 1007, payload


def test_an_oversized_frame_ends_the_connection_with_1009(stage):
    for announced in (4 << 20, 1 << 40, (1 << 63) - 1):
        socket = connected(stage)
        try:
            socket.send_frame(TEXT, b"x" * (4 << 20), announced=announced)
        except OSError:
            pass  # It was refused before its end.
        # None: the reset for what we were still sending overtook the close frame.
        assert socket.close_code() in (1009, None), announced
        socket.abort()


def test_an_oversized_message_in_fragments_ends_the_connection_with_1009(stage):
    socket = connected(stage)
    try:
        socket.send_frame(TEXT, b" " * 30_000, fin=False)
        for _ in range(200):
            socket.send_frame(0x0, b" " * 30_000, fin=False)
    except OSError:
        pass
    assert socket.close_code() in (1009, None)


def test_an_oversized_header_alone_is_refused_at_once(stage):
    socket = connected(stage)
    socket.send_frame(TEXT, b"", announced=1 << 30)
    assert socket.close_code() == 1009


def test_a_binary_frame_ends_the_connection(stage):
    socket = connected(stage)
    socket.send_frame(BINARY, b"\x08\x01\x12\x00")
    assert socket.close_code() in (1003, 3501, 3506)


@pytest.mark.parametrize("frame", ['{"id": 2, "subscribe": {"channel": "conversations"}}', '{"id": 2, "rpc": {"method": "echo", "data": 1}}', '{"id": 2, "ping": {}}'])
def test_a_command_before_connect_ends_the_connection(stage, frame):
    socket = RawSocket(stage.office.server.host, stage.office.server.port)
    socket.send(frame)
    assert socket.close_code() in (3501, 3502, 3503)


def test_subscribing_again_right_after_unsubscribing_is_answered_in_order(stage):
    socket = connected(stage)
    commands = [{"id": 2, "subscribe": {"channel": "queue"}}, {"id": 3, "unsubscribe": {"channel": "queue"}}, {"id": 4, "subscribe": {"channel": "queue"}}]
    for n in range(20):
        socket.send("\n".join(json.dumps(c | {"id": c["id"] + 4 * n}) for c in commands))
        replies = []
        while len(replies) < 3:
            received = socket.receive()
            assert received is not None, replies
            replies += [r for r in map(json.loads, received.splitlines()) if "id" in r]
        assert [(r["id"] - 4 * n, "error" in r) for r in replies] == [(2, False), (3, False), (4, False)], replies
        socket.send(json.dumps({"id": 900 + n, "unsubscribe": {"channel": "queue"}}))
        assert json.loads(socket.receive())["id"] == 900 + n
    socket.close()


def test_a_connect_with_thousands_of_headers_ends_the_connection_at_once(stage):
    socket = RawSocket(stage.office.server.host, stage.office.server.port)
    socket.send(json.dumps({"id": 1, "connect": {"token": stage.maria.token, "headers": {f"h{n}": "x" for n in range(4000)}}}))
    assert socket.close_code() == 3501


def test_a_text_that_looks_short_and_is_not_is_refused(stage):
    is_clear_error(stage.maria.api.try_command(stage.id, "notes", {"text": "a" + "\u0301" * 5000}), 422)


def test_a_viewer_is_not_put_on_duty_by_rpc(stage):
    with stage.office.desk(stage.viewer) as desk, pytest.raises(ReplyError) as refused:
        desk.rpc("consultor.connection", {"status_online": True})
    assert refused.value.code == 403


def test_a_second_connect_is_refused(stage):
    socket = connected(stage)
    socket.send(json.dumps({"id": 2, "connect": {"token": stage.maria.token}}))
    try:
        assert "error" in json.loads(socket.receive())
    except Closed as closed:
        assert 3500 <= closed.code < 3600


@pytest.mark.parametrize(
    "frame",
    ["{", "nonsense", "[]", "7", '"text"', '{"id": "two", "rpc": {}}', '{"id": -1, "rpc": {}}', '{"id": 5000000000, "rpc": {}}', '{"id": 2, "rpc": 5}',
     '{"id": 2, "subscribe": {}}', '{"id": 2, "subscribe": {"channel": 5}}', '{"id": 2, "subscribe": {"channel": ""}}', '{"id": 2, "nothing": {}}',
     '{"id": 2, "rpc": {"method": 5}}', '{"id": 2, "rpc": {}, "subscribe": {"channel": "queue"}}', "[" * 30_000, '{"id":2,"rpc":{"method":"echo","data":' + "[" * 9_000,
     '{"id": 2, "rpc": {"method": "echo"}}\n{', "\n".join(["{}"] * 5_000)],
    ids=lambda f: f[:40],
)
def test_a_frame_that_is_no_command_is_refused_or_ends_the_connection(stage, frame):
    socket = connected(stage)
    socket.send(frame)
    deadline = time.monotonic() + 5
    try:
        while time.monotonic() < deadline:
            said = socket.receive(0.5)
            if said is None:
                # Neither an error nor an end: allowed only for what may be read as pongs.
                assert set(frame.split("\n")) == {"{}"}, "neither refused nor ended"
                break
            if "error" in said:
                break
    except Closed as closed:
        assert closed.code in (1007, 1009, 3501, 3508, 3013), closed
        assert not LEAKS.search(closed.reason)
    socket.abort()


@pytest.mark.parametrize("method", ["", "nope", "conversation", "conversation.", "conversation.explode", "CONVERSATION.claim", "x" * 5000, "echo\x00"])
def test_an_unknown_rpc_method_is_an_error_and_the_socket_stays(stage, method):
    with stage.office.desk(stage.maria) as desk:
        with pytest.raises(ReplyError) as refused:
            desk.rpc(method, {"conversation_id": stage.id})
        assert refused.value.code in (104, 107, 404)
        assert desk.rpc("echo", {"ok": True}) == {"ok": True}


@pytest.mark.parametrize("data", [None, [], 5, "x", {}, {"conversation_id": None}, {"conversation_id": 5}, {"conversation_id": "x"}, {"conversation_id": SOMEBODY},
                                  {"conversation_id": [SOMEBODY]}], ids=repr)
def test_an_rpc_without_a_conversation_is_an_error_and_the_socket_stays(stage, data):
    with stage.office.desk(stage.maria) as desk:
        for verb, body in COMMANDS.items():
            with pytest.raises(ReplyError) as refused:
                desk.command("rpc", {"method": f"conversation.{verb}", "data": data | body if isinstance(data, dict) else data})
            assert refused.value.code in (107, 400, 404, 422), (verb, refused.value)
            assert not LEAKS.search(refused.value.message)
        assert desk.rpc("echo", 1) == 1


def test_a_huge_batch_of_commands_is_answered_in_order_or_ends_the_connection(stage):
    socket = connected(stage)
    fine = "\n".join(json.dumps({"id": n, "rpc": {"method": "echo", "data": n}}) for n in range(2, 202))
    socket.send(fine)
    answered = []
    while len(answered) < 200:
        said = socket.receive(5)
        assert said is not None, f"{len(answered)} of 200 were answered"
        answered += [json.loads(line) for line in said.split("\n") if line != "{}"]
    assert [(a["id"], a["rpc"]["data"]) for a in answered] == [(n, n) for n in range(2, 202)]
    socket.send("\n".join(json.dumps({"id": n, "ping": {}}) for n in range(300, 3_000)))
    seen = 0
    try:
        while said := socket.receive(2):
            seen += len(said.split("\n"))
    except Closed as closed:
        assert closed.code in (1009, 3501, 3013), closed
    else:
        assert seen >= 2_700


def test_refused_upgrades_get_an_answer(stage):
    server = stage.office.server
    upgrade = b"GET /connection/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    key, version = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"Sec-WebSocket-Version: 13\r\n"
    for request in (b"GET /connection/websocket HTTP/1.1\r\nHost: x\r\n\r\n", upgrade + b"\r\n", upgrade + key + b"\r\n", upgrade + version + b"\r\n",
                    upgrade + key + b"Sec-WebSocket-Version: 12\r\n\r\n", upgrade + b"Sec-WebSocket-Key: short\r\n" + version + b"\r\n",
                    upgrade.replace(b"GET", b"POST") + key + version + b"\r\n"):
        answer = raw_exchange(server.host, server.port, request, timeout=3)
        assert status_of(answer) in (400, 401, 403, 404, 405, 426, 501), (request, answer[:200])
        assert not LEAKS.search(answer.decode("latin-1").partition("\r\n\r\n")[2])
    with pytest.raises(HandshakeRefused):
        RawSocket(server.host, server.port, "/connection/nothing")


def test_a_socket_that_says_nothing_is_closed(stage):
    """Whoever does not connect is stale after a while (Centrifuge: 10 s)."""
    silent = RawSocket(stage.office.server.host, stage.office.server.port)
    assert silent.close_code(timeout=20) in (3502, 3501, 3503, 1000, None)


# MARK: The bare port


GARBAGE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), b"hello\r\n\r\n", b"\r\n" * 1000, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n", b"\x00" * 4096, b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 400_000 + b"\r\n\r\n", b"GET /health HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)) + b"\r\n",
    b"GET /health HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bytes(range(256)) * 16,
    b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
]


@pytest.mark.parametrize("data", GARBAGE, ids=lambda d: repr(d[:30]))
def test_garbage_on_the_port_is_refused_or_dropped(stage, data):
    answer = raw_exchange(stage.office.server.host, stage.office.server.port, data, timeout=0.8)
    status = status_of(answer)
    assert status is None or status == 200 or 400 <= status < 600, answer[:200]
    assert not LEAKS.search(answer.decode("latin-1").partition("\r\n\r\n")[2]), answer[:600]
    assert stage.office.anybody.call("GET", "/health", timeout=5).status == 200


def test_half_requests_hold_nobody_up(stage):
    server = stage.office.server
    halves = []
    try:
        for n in range(200):
            half = socket.create_connection((server.host, server.port), timeout=5)
            half.sendall([b"", b"G", b"GET /health HTTP/1.1\r\nHost:", b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
                          b"GET /connection/websocket HTTP/1.1\r\nUpgrade: websocket\r\n"][n % 5])
            halves.append(half)
        for _ in range(20):
            began = time.monotonic()
            assert stage.office.anybody.call("GET", "/health", timeout=5).status == 200
            assert time.monotonic() - began < 2
        assert stage.maria.api.conversation(stage.id)["id"] == stage.id
    finally:
        for half in halves:
            half.close()


# MARK: What only looks odd. The webhook's own door is tried in test_webhook.py.


def test_messages_with_control_characters_and_odd_letters_come_back_as_they_went_in(office):
    """A tenant of its own: this one does change something."""
    maria = office.hire()
    id = office.attended_by(maria)["id"]
    for odd in ("tab\tnova\nlinha", "aspas \" e \\ barras / </script>", "👩‍👩‍👧‍👦 🇧🇷 e\u0301", "\u200e\u202edireita", "<b>não é html</b>", "\U0001f600" * 1000, "a" * 4096):
        assert maria.api.say(id, odd)["text"] == odd
        assert office.posted(odd).text == odd
    assert maria.api.messages(id, limit=1)["items"][0]["text"] == "a" * 4096
    eventually("sent", lambda: maria.api.messages(id, limit=1)["items"][0]["status"] == "sent")
    assert office.whatsapp.deliver(text(new_number(), "nulo \x00 aqui"), redeliver=False).answers == [200]


def test_the_webhook_path_of_the_contract_is_the_only_one_open_without_a_login(stage):
    assert stage.office.anybody.call("POST", WEBHOOK, body=b"{}").status == 401
    for path in ("/", "/health"):
        assert stage.office.anybody.call("GET", path).status == 200
