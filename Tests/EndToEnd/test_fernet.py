"""What is sealed is Fernet, as Python's `cryptography` speaks it, and keys can be changed (docs/operating.md "Sealed columns")."""

import json
import sqlite3
import stat

import pytest
from cryptography.fernet import Fernet, InvalidToken

from harness.process import ADMIN_EMAIL, run

# The file is looked into: these are about the embedded store, whatever the others run over.
EMBEDDED = {"DATABASE_URL": ""}
COLUMNS = {"login_audit": ("address", "agent"), "login_sessions": ("address", "agent"), "set_aside_deliveries": ("body",)}
SECRET = "segredo que uma pessoa escreveu"


def stored(office):
    """Every sealed value, from the file of a server that is stopped."""
    (path,) = [p for p in office.server.data.iterdir() if p.suffix in (".sqlite", ".db", ".sqlite3")]
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        return {
            (table, column): [row[0] for row in database.execute(f'SELECT "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL')]
            for table, columns in COLUMNS.items()
            for column in columns
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


def test_what_is_no_key_stops_the_start():
    done = run("routes", FERNET_KEYS=f"{Fernet.generate_key().decode()},no-key")
    assert done.returncode == 78 and "FERNET_KEYS: key 2" in done.stderr and "no-key" not in done.stderr
