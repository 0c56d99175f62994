"""What is sealed is Fernet, as Python's `cryptography` speaks it, and keys can be changed (docs/operating.md "Sealed columns")."""

import base64
import json
import os
import sqlite3
import stat

import pytest
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fakes.whatsapp import text
from harness.office import new_number
from harness.process import ADMIN_EMAIL, SECRET_KEY, WHATSAPP_TOKEN, run
from harness.waiting import eventually

# The file is looked into: these are about the embedded store, whatever the others run over.
EMBEDDED = {"DATABASE_URL": ""}
TOKENS = {"whatsapp_numbers": ("sealed_token",)}
COLUMNS = {"login_audit": ("address", "agent"), "login_sessions": ("address", "agent"), "set_aside_deliveries": ("body",)}
SECRET = "segredo que uma pessoa escreveu"


def stored(office, columns=COLUMNS):
    """Every sealed value, from the file of a server that is stopped."""
    (path,) = [p for p in office.server.data.iterdir() if p.suffix in (".sqlite", ".db", ".sqlite3")]
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        return {
            (table, column): [row[0] for row in database.execute(f'SELECT "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL')]
            for table, names in columns.items()
            for column in names
        }


def something_to_seal(office):
    office.anybody.call("POST", "/api/v1/auth/login", json={"email": ADMIN_EMAIL, "password": "no"}, headers={"User-Agent": "navegador/7"})
    assert office.admin.user
    # Of a number that is nobody's.
    body = {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [{"field": "messages", "value": {"messages": [{"x": SECRET}], "metadata": {"phone_number_id": "9"}}}]}]}
    office.whatsapp.deliver(raw=json.dumps(body).encode(), redeliver=False)
    assert office.admin.get("/api/v1/whatsapp/status")["deliveries_set_aside"] == 1


def command(office, name, **environment):
    done = run(name, PLANTAO_DATA=office.server.data, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_python_opens_what_was_sealed_and_keys_are_changed_without_loss(offices):
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    office = offices(FERNET_KEYS=old, **EMBEDDED)
    something_to_seal(office)
    before = office.admin.get("/api/v1/auth/audit")["items"]
    assert {(r["address"], r["agent"]) for r in before if r["outcome"] == "wrong_password"} == {("127.0.0.1", "navegador/7")}
    office.server.stop()
    plain = {place: [Fernet(old).decrypt(value.encode()).decode() for value in values] for place, values in stored(office).items()}
    assert "navegador/7" in plain["login_audit", "agent"] and SECRET in json.loads(plain["set_aside_deliveries", "body"][0])["entry"][0]["changes"][0]["value"]["messages"][0]["x"]

    # A new key in front: both are read, and after rotate-keys the old one is not needed.
    assert "anew" in command(office, "rotate-keys", FERNET_KEYS=f"{new},{old}")
    for place, values in stored(office).items():
        assert [Fernet(new).decrypt(value.encode()).decode() for value in values] == plain[place]
        for value in values:
            with pytest.raises(InvalidToken):
                Fernet(old).decrypt(value.encode())
    assert command(office, "rotate-keys", FERNET_KEYS=new).startswith("encrypted 0 values")
    assert SECRET in command(office, "set-aside", FERNET_KEYS=new)
    office.server.environment["FERNET_KEYS"] = new
    office.server.start()
    office._admin = None
    after = office.admin.get("/api/v1/auth/audit", per_page=200)["items"]
    assert [r for r in after if r["id"] in {b["id"] for b in before}] == before
    assert office.admin.get("/api/v1/auth/sessions")["items"][0]["address"] == "127.0.0.1"

    # With a key that opens nothing the server lives, and says that it does not know.
    office.server.stop()
    lost = run("rotate-keys", PLANTAO_DATA=office.server.data, FERNET_KEYS=Fernet.generate_key().decode())
    assert lost.returncode == 78 and "FERNET_KEYS" in lost.stderr and SECRET not in lost.stderr
    office.server.environment["FERNET_KEYS"] = Fernet.generate_key().decode()
    office.server.start()
    office._admin = None
    assert {r["address"] for r in office.admin.get("/api/v1/auth/audit", outcome="wrong_password")["items"]} == {None}


def test_what_python_sealed_is_opened(offices):
    key = Fernet.generate_key()
    office = offices(FERNET_KEYS=key.decode(), **EMBEDDED)
    something_to_seal(office)
    office.server.stop()
    (path,) = [p for p in office.server.data.iterdir() if p.suffix in (".sqlite", ".db", ".sqlite3")]
    with sqlite3.connect(path) as database:
        database.execute("UPDATE login_audit SET agent = ?", [Fernet(key).encrypt("escrito em Python 🐍".encode()).decode()])
    office.server.start()
    office._admin = None
    assert "escrito em Python 🐍" in {r["agent"] for r in office.admin.get("/api/v1/auth/audit")["items"]}


def test_without_a_key_one_is_made_up_for_its_owner_alone_and_kept(offices):
    office = offices(**EMBEDDED)
    something_to_seal(office)
    path = office.server.data / "fernet.key"
    key = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    office.server.restart()
    assert path.read_text() == key
    office.server.stop()
    assert all(Fernet(key).decrypt(v.encode()) for values in stored(office).values() for v in values)
    # A key that is damaged is not replaced: another would open nothing of what is there.
    path.write_text("damaged")
    done = run("serve", PLANTAO_DATA=office.server.data, PORT=office.server.port)
    assert done.returncode == 78 and "fernet.key" in done.stderr and path.read_text() == "damaged"
    path.write_text(key)
    office.server.start()


def old_token(text):
    """As tokens were sealed before: AES-256-GCM under a key made of SECRET_KEY."""
    key = HKDF(hashes.SHA256(), 32, None, b"plantao whatsapp access token").derive(SECRET_KEY.encode())
    nonce = os.urandom(12)
    return "g1." + base64.b64encode(nonce + AESGCM(key).encrypt(nonce, text.encode(), None)).decode()


def test_access_tokens_are_sealed_as_well_and_those_of_before_are_read_and_rotated(offices):
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    theirs = "330000000000009"
    office = offices(FERNET_KEYS=old, **EMBEDDED)
    office.whatsapp.numbers |= {theirs: "990000000000009"}
    other = office.anybody.register("vizinha@example.com", "Nova#Firma2026", business_name="Vizinha")
    other.post("/api/v1/whatsapp/numbers", {"phone_number_id": theirs, "access_token": WHATSAPP_TOKEN}, expect=201)

    def tokens():
        (values,) = stored(office, TOKENS).values()
        return values

    def answers(number):
        office.deliver(text(number, "oi", number=theirs))
        return eventually("the bot's answer", lambda: office.posts(number))[0]

    assert answers(new_number()).accepted
    office.server.stop()
    assert [Fernet(old).decrypt(value.encode()).decode() for value in tokens()] == [WHATSAPP_TOKEN]

    # As an earlier program left it.
    (path,) = [p for p in office.server.data.iterdir() if p.suffix in (".sqlite", ".db", ".sqlite3")]
    with sqlite3.connect(path) as database:
        database.execute("UPDATE whatsapp_numbers SET sealed_token = ?", [old_token(WHATSAPP_TOKEN)])
    office.server.start()
    assert answers(new_number()).accepted, "a token of before opens"
    office.server.stop()
    assert tokens()[0].startswith("g1.")
    command(office, "rotate-keys", FERNET_KEYS=f"{new},{old}", SECRET_KEY=SECRET_KEY)
    assert [Fernet(new).decrypt(value.encode()).decode() for value in tokens()] == [WHATSAPP_TOKEN]
    office.server.environment["FERNET_KEYS"] = new
    office.server.start()
    assert answers(new_number()).accepted, "under the new key"

    # A secret that is gone loses its token, and nothing else.
    office.server.stop()
    lost = old_token(WHATSAPP_TOKEN)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE whatsapp_numbers SET sealed_token = ?", [lost])
    said = command(office, "rotate-keys", FERNET_KEYS=new, SECRET_KEY="x" * 40)
    assert "Register those numbers again" in said and WHATSAPP_TOKEN not in said and tokens() == [lost]


def test_what_is_no_key_stops_the_start():
    done = run("routes", FERNET_KEYS=f"{Fernet.generate_key().decode()},no-key")
    assert done.returncode == 78 and "FERNET_KEYS: key 2" in done.stderr and "no-key" not in done.stderr
