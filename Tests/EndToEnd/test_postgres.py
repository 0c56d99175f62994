"""The store on Postgres: what stands there is what clients were told, and what goes wrong there is nobody's loss (DESIGN section 5)."""

import json
import os
import signal
import threading
import time
from datetime import datetime, timedelta, timezone

import pytest

from fakes.whatsapp import location, status, text
from harness.api import Api, is_clear_error
from harness.audit import audit, drained, rfc3339, storage
from harness.load import Load
from harness.office import new_number
from harness.process import Server, run
from harness.slowproxy import SlowProxy
from harness.waiting import PATIENCE, eventually, never

PG_READS = int(os.environ.get("PG_READS", "2000"))

# A breaker that tries again soon, so that tests need not wait for it.
QUICK = {"DATABASE_BREAKER_FAILURES": 2, "DATABASE_BREAKER_SECONDS": 1}

# Where escaping, arrays and JSON go wrong.
AWKWARD = [
    '{"a": [1, null]}', "{a,b}", 'aspas " e \\ barra', "NULL", "null", "'; DROP TABLE messages; --", "é 👋🏽 \u200b\u2028", "a\tb\nc\r\nd",
    "$1 %s ?", "\\u0000 \\x00",
]


@pytest.fixture
def office(database, offices):
    return offices(DATABASE_URL=database.url, **QUICK)


def health(office):
    return office.anybody.call("GET", "/health")


# MARK: What stands in Postgres


def test_a_conversation_from_the_first_word_to_the_last_stands_in_postgres_as_rest_shows_it(office, database):
    maria, joao = office.hire("Maria", languages=("pt", "es")), office.hire('João "Zé" O\'Neill \\ {x,y}', online=False)
    ana = new_number()
    screen = office.desk(maria, "conversations", "queue", "consultores")
    office.says(ana, "Olá! 👋🏽 É a Ana", name='Ana "Conceição" \\ {1,2}')
    office.says(ana, "quero um atendente", name='Ana "Conceição" \\ {1,2}')
    conversation = office.conversation(ana, "offered")
    id = conversation["id"]
    assert conversation["protocol"] == "#00001"
    maria.api.claim(id)
    for n, words in enumerate(AWKWARD):
        maria.api.say(id, words, f"cliente {n} {words}"[:60])
        maria.api.note(id, words)
    labels = [words[:40] for words in AWKWARD]
    shown = maria.api.command(id, "labels", {"labels": labels})["labels"]
    office.settled(id)
    wamid = office.message(id, AWKWARD[0], direction="out")["external_id"]
    office.deliver(status(wamid, "delivered", recipient=ana), status(wamid, "failed", recipient=ana, errors=[{"code": 131026, "title": "x", "message": "y"}]))
    office.deliver(location(ana, -23.5505, -46.6333), text(ana, "ok", name="Ana"))
    office.message(id, "ok")
    joao.api.set_online(joao.id)
    maria.api.command(id, "transfer", {"consultor_id": joao.id})
    office.admin.command(id, "snooze", {"until": rfc3339(datetime.now(timezone.utc) + timedelta(days=300))})
    audit(office, database)
    office.admin.resolve(id)
    office.admin.command(id, "reopen")
    bia = office.in_line()
    audit(office, database)
    eventually("the screen", lambda: screen.agrees_with(maria.api))
    [row] = database.rows("conversations", "id = %s", id)
    assert row["labels"] == shown and isinstance(row["bot"], (dict, str, list)) and row["last_message"]["text"]
    assert row["created_at"].astimezone(timezone.utc) == datetime.fromisoformat(conversation["created_at"].replace("Z", "+00:00"))

    # And it is all found again, by a server that knows nothing but its database and its journal.
    known = [office.admin.conversation(each) for each in (id, bia["id"])], office.admin.all_messages(id)
    office.server.kill()
    office.server.start()
    assert ([office.admin.conversation(each) for each in (id, bia["id"])], office.admin.all_messages(id)) == known
    assert office.in_line()["protocol"] == "#00003"
    eventually("no job left over", lambda: database.values("SELECT count(*) FROM jobs") == [0])


def test_columns_have_the_native_types_of_postgres(office, database):
    types = {
        (table, column): kind
        for table, column, kind in database.sql("SELECT table_name, column_name, udt_name FROM information_schema.columns WHERE table_schema = 'public'")
    }
    expected = {
        "uuid": ["conversations.id", "conversations.tenant_id", "messages.id", "messages.conversation_id", "messages.author_id", "tenants.id", "users.id",
                 "consultores.user_id", "protocolos.conversation_id", "jobs.id", "marks.tenant_id", "plantao_store.store_id"],
        "timestamptz": ["conversations.created_at", "conversations.snoozed_until", "messages.provider_at", "users.last_login_at", "marks.at", "jobs.run_at",
                        "login_sessions.expires_at", "consultores.ultimo_atendimento", "set_aside_deliveries.received_at"],
        "jsonb": ["conversations.bot", "conversations.last_message", "messages.content", "jobs.payload"],
        "_text": ["conversations.labels", "consultores.idiomas"],
        "bool": ["users.is_active", "consultores.status_ativo", "consultores.status_online"],
        "int8": ["messages.seq", "messages.version", "conversations.unread", "consultores.id", "protocolos.id", "conversations.version"],
        "text": ["messages.text", "conversations.state", "users.email", "protocolos.numero"],
    }
    found = {kind: {name: types.get(tuple(name.split("."))) for name in names} for kind, names in expected.items()}
    assert found == {kind: dict.fromkeys(names, kind) for kind, names in expected.items()}
    assert not [name for name, kind in types.items() if kind in ("timestamp", "json", "varchar", "bytea")]


def test_a_list_is_searched_and_sorted_as_on_the_embedded_store(office, database, offices):
    def fill(office):
        maria = office.hire("Maria", capacity=50)
        for number, name in (("5511981110001", "Ana Conceição"), ("5511981110002", "ÁLVARO 100%"), ("5511981110003", "zé_baixo"), ("5511981110004", "Bia")):
            office.says(number, "oi", name=name)
            office.conversation(number)
        for number in ("5511981110001", "5511981110004"):
            office.says(number, "atendente")
            office.conversation(number, "offered", "queued")
        maria.api.claim(office.conversation("5511981110004")["id"])
        return office

    def answers(office):
        asked = [{"q": q} for q in ("ana", "ANA", "Conceição", "0%", "_", "8111", "#0000", "nada", "É")]
        asked += [{"state": s} for s in ("open", "bot", "active,offered", "resolved")] + [{"assignee": a} for a in ("me", "none", "1", "999")]
        asked += [{"page": p, "per_page": 3} for p in (1, 2, 3)]
        return {str(query): (a["total"], [c["contact"]["number"] for c in a["items"]]) for query in asked for a in [office.admin.conversations(**query)]}

    here, there = answers(fill(office)), answers(fill(offices(DATABASE_URL="")))
    assert here == there, [query for query in here if here[query] != there[query]]


@pytest.mark.timeout(300)
def test_a_reader_always_finds_what_was_just_written(office, database):
    clients = 8
    maria = office.hire("Maria", capacity=100)
    ids = [office.attended_by(maria)["id"] for _ in range(clients // 2)]
    agents = [office.hire(f"Agente {n}", online=False, role="admin") for n in range(clients)]
    reads, missing, faults = [0] * clients, [], []

    def converse(n):
        # Two clients to a conversation.
        id, api = ids[n // 2], agents[n].api
        for k in range(PG_READS // clients):
            said = f"{n} {k}"
            verb = "notes" if k % 2 else "messages"
            written = api.try_command(id, verb, {"text": said}, expect=201).json()
            reply = api.call("GET", f"/api/v1/conversations/{id}/messages", limit=20)
            if reply.status != 200:
                faults.append(reply)
            elif not any(m["id"] == written["id"] and m["text"] == said for m in reply.json()["items"]):
                missing.append(said)
            if k % 10 == 0:
                listed = api.conversations(state="active", per_page=100)["items"]
                if not any(c["id"] == id and c["last_message"]["seq"] >= written["seq"] for c in listed):
                    missing.append(f"{said}, in the list")
            reads[n] += 1

    began = time.monotonic()
    threads = [threading.Thread(target=converse, args=(n,)) for n in range(clients)]
    [t.start() for t in threads], [t.join(100 * PATIENCE) for t in threads]
    took = time.monotonic() - began
    print(f"{sum(reads)} written and read at once in {took:.1f} s: {sum(reads) / took:.0f} a second")
    assert sum(reads) == PG_READS // clients * clients and not missing and not faults, (sum(reads), missing[:5], faults[:3])
    office.settled(*ids)
    audit(office, database)


def test_storage_tells_an_administrator_how_the_store_is(office, offices):
    maria = office.hire("Maria")
    status = drained(office)
    assert status["store"] == "postgres" and status["quarantine"] == []
    owed = status["write_behind"]
    numbers = {
        "depth", "bytes", "max_bytes", "lag_seconds", "max_lag_seconds", "batch_size", "batches", "failed_batches", "flushed_rows", "written_images",
        "last_batch_seconds", "quarantined", "breaker_opened", "connections", "waiting_reads",
    }
    assert numbers | {"is_full", "breaker", "last_error"} == owed.keys()
    assert all(isinstance(owed[name], (int, float)) and not isinstance(owed[name], bool) for name in numbers), owed
    assert (owed["depth"], owed["bytes"], owed["is_full"], owed["breaker"], owed["lag_seconds"], owed["last_error"]) == (0, 0, False, "closed", 0, None)
    assert owed["flushed_rows"] >= owed["written_images"] > 0 and owed["batches"] > 0
    for path, method in (("/api/v1/storage", "GET"), ("/api/v1/storage/retry", "POST")):
        is_clear_error(maria.api.call(method, path), 403)
        assert office.anybody.call(method, path).status == 401
    assert office.admin.post("/api/v1/storage/retry") == {"tried": 0, "taken": 0, "quarantine": []}
    is_clear_error(office.admin.call("POST", "/api/v1/storage/retry", json={"ids": [12345]}), 404)
    is_clear_error(office.admin.call("POST", "/api/v1/storage/retry", json={"ids": "todas"}), 422)
    assert office.anybody.get("/info")["store"] == "postgres"
    assert storage(offices(DATABASE_URL="")) == {"store": "sqlite", "write_behind": None, "quarantine": []}


# MARK: Rows that Postgres will not take

CONSTRAINT = (
    "ALTER TABLE messages ADD CONSTRAINT sem_veneno CHECK (text NOT LIKE '%VENENO%') NOT VALID",
    "ALTER TABLE messages DROP CONSTRAINT sem_veneno",
    "sem_veneno",
)
TRIGGER = (
    "CREATE FUNCTION recusa() RETURNS trigger LANGUAGE plpgsql AS $$"
    " BEGIN IF NEW.text LIKE '%VENENO%' THEN RAISE EXCEPTION 'nada de peste'; END IF; RETURN NEW; END $$;"
    "CREATE TRIGGER recusa BEFORE INSERT OR UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION recusa()",
    "DROP TRIGGER recusa ON messages",
    "nada de peste",
)


@pytest.mark.parametrize("poison, antidote, word", [CONSTRAINT, TRIGGER], ids=["constraint", "trigger"])
def test_a_row_that_postgres_refuses_is_set_apart_and_the_rest_flows(office, database, seed, poison, antidote, word):
    maria = office.hire("Maria", capacity=100)
    ids = [office.attended_by(maria)["id"] for _ in range(4)]
    drained(office)
    database.sql(poison)
    secret = "VENENO-4711"
    said, poisoned = {}, {}
    for n in range(120):
        id, is_poison = seed.choice(ids), seed.random() < 0.1 or n == 60
        message = (maria.api.say if seed.random() < 0.5 else maria.api.note)(id, f"{secret} {n}" if is_poison else f"bom {n}")
        (poisoned if is_poison else said)[message["id"]] = message
    # The rest flows, and nothing is owed for ever.
    status = drained(office)
    there = {str(id) for id in database.values("SELECT id FROM messages")}
    assert set(said) <= there and not set(poisoned) & there
    assert status["write_behind"]["quarantined"] == len(status["quarantine"]) == len(poisoned)
    keys = {(m["conversation_id"], str(m["seq"])) for m in poisoned.values()}
    assert {(row["key"][1], row["key"][2]) for row in status["quarantine"]} == keys
    for row in status["quarantine"]:
        assert row["table"] == "messages" and word in row["reason"] and secret not in row["reason"] and row["attempts"] >= 1 and not row["deletion"], row
    # Agents see it all the same, as long as the server lives: what is live is complete.
    assert maria.api.conversation(ids[0])["state"] == "active"

    # Trying again before it is mended changes nothing.
    first = status["quarantine"][0]
    tried = office.admin.post("/api/v1/storage/retry", {"ids": [first["id"]]})
    assert (tried["tried"], tried["taken"], len(tried["quarantine"])) == (1, 0, len(poisoned))
    assert next(row for row in tried["quarantine"] if row["id"] == first["id"])["attempts"] > first["attempts"]

    # Afterwards each is taken, in its latest version.
    database.sql(antidote)
    tried = office.admin.post("/api/v1/storage/retry", {"ids": [first["id"]]})
    assert (tried["tried"], tried["taken"], len(tried["quarantine"])) == (1, 1, len(poisoned) - 1)
    tried = office.admin.post("/api/v1/storage/retry")
    assert (tried["tried"], tried["taken"], tried["quarantine"]) == (len(poisoned) - 1, len(poisoned) - 1, [])
    office.settled(*ids)
    for id, message in poisoned.items():
        [row] = database.rows("messages", "id = %s", id)
        assert row["text"] == message["text"] and row["version"] >= message["version"] and row["status"] in ("sent", "recorded")
    audit(office, database)
    assert secret not in office.server.logs().decode(), "no values in the logs"


def test_rows_in_quarantine_outlive_a_restart_and_are_tried_again_at_the_start(office, database):
    maria = office.hire("Maria")
    id = office.attended_by(maria)["id"]
    database.sql(CONSTRAINT[0])
    note = maria.api.note(id, "VENENO")
    drained(office)
    [row] = storage(office)["quarantine"]
    office.server.kill()
    office.server.start()
    [again] = storage(office)["quarantine"]
    assert again["id"] == row["id"] and again["attempts"] > row["attempts"]
    assert not database.rows("messages", "id = %s", note["id"])
    database.sql(CONSTRAINT[1])
    office.server.restart()
    assert storage(office)["quarantine"] == [] and storage(office)["write_behind"]["quarantined"] == 0
    assert len(database.rows("messages", "id = %s", note["id"])) == 1
    audit(office, database)


def test_a_newer_image_that_postgres_takes_ends_the_quarantine_of_the_older(office, database):
    maria = office.hire("Maria")
    id = office.attended_by(maria)["id"]
    database.sql("ALTER TABLE conversations ADD CONSTRAINT sem_veneno CHECK (NOT 'VENENO' = ANY (labels)) NOT VALID")
    maria.api.command(id, "labels", {"labels": ["VENENO"]})
    drained(office)
    assert [row["table"] for row in storage(office)["quarantine"]] == ["conversations"]
    maria.api.command(id, "labels", {"labels": ["bom"]})
    drained(office)
    eventually("out of quarantine", lambda: storage(office)["quarantine"] == [])
    audit(office, database)


def test_rows_in_quarantine_are_shown_to_their_own_tenant_and_to_no_other(office, database):
    owner = office.admin
    stranger = office.anybody.register("outra@example.com", "Unica#2026senha", business_name="Outra Empresa")
    drained(office)
    database.sql("ALTER TABLE users ADD CONSTRAINT sem_veneno CHECK (name <> 'VENENO') NOT VALID")
    database.sql("ALTER TABLE tenants ADD CONSTRAINT sem_peste CHECK (name <> 'PESTE') NOT VALID")
    stranger.create_user("veneno@example.com", "VENENO", "agent", "Senha#Forte1x2026")
    third = office.anybody.register("terceira@example.com", "Unica#2026senha", business_name="PESTE")
    drained(office)

    def shown(api):
        return [row["table"] for row in api.get("/api/v1/storage")["quarantine"]]

    assert (shown(owner), shown(stranger), shown(third)) == ([], ["users"], ["tenants"])
    assert storage(office)["write_behind"]["quarantined"] == 2
    [row] = stranger.get("/api/v1/storage")["quarantine"]
    for other in (owner, third):
        is_clear_error(other.call("POST", "/api/v1/storage/retry", json={"ids": [row["id"]]}), 404)
    database.sql("ALTER TABLE users DROP CONSTRAINT sem_veneno; ALTER TABLE tenants DROP CONSTRAINT sem_peste")
    assert owner.post("/api/v1/storage/retry")["tried"] == 0 and shown(stranger) == ["users"]
    for api in (stranger, third):
        assert api.post("/api/v1/storage/retry") == {"tried": 1, "taken": 1, "quarantine": []}
    assert {"veneno@example.com", "terceira@example.com"} <= set(database.values("SELECT email FROM users"))
    assert "PESTE" in database.values("SELECT name FROM tenants")


# MARK: Postgres at fault

FAULTS = {
    "read only": (
        "ALTER DATABASE {name} SET default_transaction_read_only = on",
        "ALTER DATABASE {name} RESET default_transaction_read_only",
    ),
    "may not write": ("REVOKE INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public FROM {user}", "GRANT ALL ON ALL TABLES IN SCHEMA public TO {user}"),
    "a table is missing": ("ALTER TABLE messages RENAME TO messages_away", "ALTER TABLE messages_away RENAME TO messages"),
    "no connections left": ("ALTER ROLE {user} CONNECTION LIMIT 0", "ALTER ROLE {user} CONNECTION LIMIT -1"),
    "may not log in": ("ALTER ROLE {user} NOLOGIN", "ALTER ROLE {user} LOGIN"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_while_postgres_takes_nothing_at_all_no_row_is_blamed_and_everything_arrives_afterwards(database, offices, fault):
    office = offices(DATABASE_URL=database.url, **QUICK)
    maria = office.hire("Maria", capacity=100)
    id = office.attended_by(maria)["id"]
    drained(office)
    broken, mended = (statement.format(name=database.name, user=database.user) for statement in FAULTS[fault])
    database.sql(broken)
    database.disconnect_everybody()
    said = [maria.api.note(id, f"nota {n}") for n in range(40)]
    status = eventually("it is noticed", lambda: (s := storage(office))["write_behind"]["failed_batches"] > 0 and s)
    said += [maria.api.note(id, f"nota {n}") for n in range(40, 50)]
    never("a row is blamed", lambda: storage(office)["quarantine"], during=1.5)
    assert status["write_behind"]["depth"] > 0 and storage(office)["write_behind"]["last_error"]
    eventually("degraded", lambda: health(office).json()["status"] == "degraded")
    database.sql(mended)
    drained(office)
    eventually("healthy", lambda: health(office).json()["status"] == "healthy")
    assert {m["id"] for m in said} <= {str(i) for i in database.values("SELECT id FROM messages")}
    audit(office, database)


def test_a_lock_on_a_table_holds_up_neither_agents_nor_for_ever(database, offices):
    office = offices(DATABASE_URL=database.url, DATABASE_STATEMENT_TIMEOUT_SECONDS=1, **QUICK)
    maria = office.hire("Maria", capacity=100)
    id = office.attended_by(maria)["id"]
    drained(office)
    with database.connect() as connection:
        connection.execute("BEGIN")
        connection.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        said = []
        while time.monotonic() - began < 2.5:
            asked = time.monotonic()
            said.append(maria.api.note(id, f"nota {len(said)}"))
            assert time.monotonic() - asked < 1 * PATIENCE
        assert is_clear_error(maria.api.call("GET", f"/api/v1/conversations/{id}/messages"), 503)
        connection.execute("COMMIT")
    drained(office)
    assert storage(office)["quarantine"] == []
    assert {m["id"] for m in said} <= {str(i) for i in database.values("SELECT id FROM messages")}
    audit(office, database)


def test_cut_connections_are_made_anew_and_lost_answers_change_nothing(database, offices):
    with SlowProxy(database.cluster.host, database.cluster.port) as proxy:
        office = offices(DATABASE_URL=database.url_with(port=proxy.port), DATABASE_BREAKER_SECONDS=1, DATABASE_BREAKER_FAILURES=1000)
        maria = office.hire("Maria", capacity=100)
        id = office.attended_by(maria)["id"]
        count = 0
        for n in range(12):
            for _ in range(8):
                maria.api.note(id, f"nota {count}")
                count += 1
            (proxy.cut, lambda: proxy.lose_answers(2), database.disconnect_everybody)[n % 3]()
        for _ in range(20):
            maria.api.note(id, f"nota {count}")
            count += 1
            # Reading asks for the write at once, so that it is one of its own.
            maria.api.call("GET", f"/api/v1/conversations/{id}/messages", expect=(200, 503))
        eventually("answers lost", lambda: maria.api.note(id, "mais uma") and proxy.answers_to_lose == 0)
        audit(office, database)
        notes = [m["text"] for m in maria.api.all_messages(id) if m["text"].startswith("nota ")]
        assert notes == [f"nota {n}" for n in range(count)]
        # It is closed through its proxy.
        office.server.stop()


def at_once(count, action):
    """Runs the same so many times at the same moment, and gives back what each gave."""
    barrier, results = threading.Barrier(count), []

    def run():
        barrier.wait(10)
        results.append(action())

    threads = [threading.Thread(target=run) for _ in range(count)]
    [t.start() for t in threads], [t.join(60) for t in threads]
    return results


@pytest.mark.parametrize("end", ["the connections are cut", "Postgres restarts"])
def test_connections_that_ended_while_nobody_used_them_are_nobodys_trouble(own_postgres, offices, end):
    database = own_postgres.create_database()
    # With the breaker as it is by itself: five failures, and a minute without history.
    office = offices(DATABASE_URL=database.url)
    api, id = office.admin, office.attended_by(office.hire())["id"]

    def read():
        return api.call("GET", f"/api/v1/conversations/{id}/messages").status

    for _ in range(5):
        assert at_once(16, read) == [200] * 16
    drained(office)
    if end == "Postgres restarts":
        # Slow as that may be, nobody looks meanwhile.
        office.server.process.send_signal(signal.SIGSTOP)
        own_postgres.restart()
        office.server.process.send_signal(signal.SIGCONT)
    else:
        database.disconnect_everybody()
    assert at_once(16, read) == [200] * 16
    assert api.note(id, "e escreve") and read() == 200
    assert storage(office)["write_behind"]["breaker_opened"] == 0
    audit(office, database)


def test_while_postgres_is_away_agents_work_on_and_history_says_when_to_come_again(own_postgres, offices):
    database = own_postgres.create_database()
    office = offices(DATABASE_URL=database.url, **QUICK)
    maria = office.hire("Maria", capacity=100)
    ana = new_number()
    id = office.attended_by(maria, ana)["id"]
    drained(office)
    assert (health(office).status, health(office).json()["status"]) == (200, "healthy")
    screen = office.desk(maria, "conversations", f"conversation:{id}", "consultores")
    own_postgres.stop()

    # Live: commands by REST and by socket, pushes, snapshots, the way out to WhatsApp and in from it.
    for n in range(5):
        maria.api.say(id, f"sem banco {n}")
        screen.rpc("conversation.notes", {"conversation_id": id, "text": f"nota {n}"})
    office.posted("sem banco 4", ana)
    office.says(ana, "e eu escrevo")
    screen.wait("all on the screen", lambda: {"sem banco 4", "nota 4", "e eu escrevo"} <= set(screen.picture(f"conversation:{id}").texts))
    assert maria.api.conversation(id)["last_message"]["text"] == "e eu escrevo"
    assert [c["id"] for c in maria.api.consultores()] == [maria.id]
    latecomer = office.desk(maria, "conversations", f"conversation:{id}", "queue")
    assert "e eu escrevo" in latecomer.picture(f"conversation:{id}").texts
    assert office.integrator.get("/consultor/da-vez", idioma="pt")["numero_protocolo"] == "#00002"

    # It is said to be degraded, and stays in service.
    eventually("degraded", lambda: (h := health(office)).status == 200 and h.json()["status"] == "degraded")
    assert health(office).json()["detail"]
    owed = eventually("the breaker open", lambda: (o := storage(office)["write_behind"])["breaker"] in ("open", "half_open") and o)
    assert owed["depth"] > 0 and owed["bytes"] > 0 and owed["lag_seconds"] > 0 and owed["last_error"] and not owed["is_full"]
    assert database.password not in json.dumps(owed)

    # History: 503, at once or within the barrier's patience, and when to come again.
    for path in ("/api/v1/conversations/", f"/api/v1/conversations/{id}/messages"):
        began = time.monotonic()
        reply = maria.api.call("GET", path)
        is_clear_error(reply, 503)
        assert int(reply.headers["retry-after"]) >= 1 and time.monotonic() - began < 4 * PATIENCE, reply.headers
    # Whoever is new is known to be: all numbers were read when the first was looked for.
    bia = new_number()
    assert office.whatsapp.deliver(text(bia, "oi, sou nova")).answers == [200]
    eventually("her conversation on the screen", lambda: any(bia in json.dumps(one) for one in screen.picture("conversations").items.values()))

    own_postgres.start()
    eventually("healthy", lambda: health(office).json()["status"] == "healthy", timeout=20)
    eventually("history", lambda: maria.api.call("GET", f"/api/v1/conversations/{id}/messages").status == 200)
    eventually("the new customer", lambda: office.admin.conversation_of(bia), timeout=30)
    eventually("the screen", lambda: screen.agrees_with(maria.api))
    audit(office, database)


def test_where_nobody_was_looked_for_yet_whoever_writes_while_postgres_is_away_is_asked_to_come_again(own_postgres, offices):
    database = own_postgres.create_database()
    office = offices(DATABASE_URL=database.url, **QUICK)
    drained(office)
    own_postgres.stop()
    eventually("degraded", lambda: health(office).json()["status"] == "degraded", timeout=30)
    # Whether they are new cannot be told now. Meta comes again.
    bia = new_number()
    delivery = office.whatsapp.deliver(text(bia, "oi, sou nova"), redeliver=True)
    assert delivery.answers[0] == 503
    own_postgres.start()
    eventually("the new customer", lambda: office.admin.conversation_of(bia), timeout=60)
    audit(office, database)


def test_a_postgres_that_falls_silent_is_given_up_and_taken_up_again(database, offices):
    with SlowProxy(database.cluster.host, database.cluster.port) as proxy:
        office = offices(DATABASE_URL=database.url_with(port=proxy.port), DATABASE_STATEMENT_TIMEOUT_SECONDS=1, **QUICK)
        maria = office.hire("Maria", capacity=100)
        id = office.attended_by(maria)["id"]
        drained(office)
        proxy.mute()
        for n in range(20):
            asked = time.monotonic()
            maria.api.note(id, f"nota {n}")
            assert time.monotonic() - asked < 1 * PATIENCE
        began = time.monotonic()
        is_clear_error(maria.api.call("GET", f"/api/v1/conversations/{id}/messages", timeout=30), 503)
        assert time.monotonic() - began < 5 * PATIENCE, "a reader is told in good time"
        eventually("degraded", lambda: health(office).json()["status"] == "degraded", timeout=30)
        proxy.speak()
        eventually("history", lambda: maria.api.call("GET", f"/api/v1/conversations/{id}/messages").status == 200, timeout=40)
        audit(office, database)
        office.server.stop()


def test_an_address_that_passed_from_user_to_user_while_postgres_was_away_is_nobodys_fault(own_postgres, offices):
    database = own_postgres.create_database()
    office = offices(DATABASE_URL=database.url, **QUICK)
    user = office.admin.create_user("passa@example.com", "Primeiro", "agent", "Senha#Forte1x2026")
    drained(office)
    own_postgres.stop()
    for n in range(6):
        office.admin.call("DELETE", f"/api/v1/users/{user['id']}", expect=204)
        user = office.admin.create_user("passa@example.com", f"Outro {n}", "agent", "Senha#Forte1x2026")
    own_postgres.start()
    assert drained(office)["quarantine"] == []
    assert database.values("SELECT name FROM users WHERE email = 'passa@example.com'") == ["Outro 5"]


def test_past_the_bound_of_the_journal_commands_are_refused_and_accepted_again_afterwards(own_postgres, offices):
    database = own_postgres.create_database()
    office = offices(DATABASE_URL=database.url, PLANTAO_JOURNAL_MAX_MB=1, **QUICK)
    maria = office.hire("Maria")
    id = office.attended_by(maria)["id"]
    drained(office)
    own_postgres.stop()
    acknowledged = []
    for n in range(2000):
        reply = maria.api.try_command(id, "notes", {"text": f"{n} " + "x" * 4000})
        if reply.status != 201:
            break
        acknowledged.append(reply.json()["id"])
    is_clear_error(reply, 503)
    assert "retry-after" in reply.headers and len(acknowledged) > 50
    assert storage(office)["write_behind"]["is_full"] is True
    assert health(office).status == 503 and health(office).json()["status"] == "unhealthy"
    assert maria.api.conversation(id)["state"] == "active"
    own_postgres.start()
    eventually("accepted again", lambda: maria.api.try_command(id, "notes", {"text": "de volta"}).status == 201, timeout=20)
    audit(office, database)
    assert set(acknowledged) <= {m["id"] for m in maria.api.all_messages(id)}


def test_sigterm_while_postgres_is_away_ends_in_time_and_the_next_start_brings_it_all_there(own_postgres, offices):
    database = own_postgres.create_database()
    office = offices(DATABASE_URL=database.url, **QUICK)
    maria = office.hire("Maria")
    id = office.attended_by(maria)["id"]
    drained(office)
    own_postgres.stop()
    note = maria.api.note(id, "guardada no diário")
    office.server.stop()
    own_postgres.start()
    office.server.start()
    assert len(database.rows("messages", "id = %s", note["id"])) == 1
    audit(office, database)


# MARK: From one store to another


def archive(path):
    """The head without its time, and the lines with JSON columns as values: jsonb keeps no spelling."""
    head, *lines = (json.loads(line) for line in path.read_text("utf-8").strip("\n").split("\n"))
    del head["exported_at"]
    for line in lines:
        for name in ("bot", "last_message", "content", "payload"):
            if line.get("row", {}).get(name) is not None:
                line["row"][name] = json.loads(line["row"][name])
    return head, lines


def moved(*arguments, **environment):
    ended = run(*arguments, **environment)
    assert ended.returncode == 0, ended
    return ended


def test_a_tenant_moves_to_the_embedded_store_and_back_unchanged(postgres, database, offices, tmp_path):
    office = offices(DATABASE_URL=database.url)
    maria = office.hire("Maria")
    ana = new_number()
    id = office.attended_by(maria, ana)["id"]
    for words in AWKWARD:
        maria.api.say(id, words)
        maria.api.note(id, words)
    maria.api.command(id, "labels", {"labels": AWKWARD[:4]})
    office.deliver(location(ana, -23.5, -46.6))
    resolved = office.attended_by(maria)["id"]
    maria.api.resolve(resolved)
    office.settled(id, resolved)
    office.in_line()
    drained(office)
    known = office.admin.all_conversations(), maria.api.all_messages(id)
    office.server.stop()

    back = postgres.create_database()
    here = {"DATABASE_URL": database.url, "PLANTAO_DATA": office.server.data}
    embedded = {"PLANTAO_DATA": tmp_path / "embedded"}
    there = {"DATABASE_URL": back.url, "PLANTAO_DATA": tmp_path / "there"}
    files = [tmp_path / name for name in ("a.jsonl", "b.jsonl", "c.jsonl")]
    assert "exported" in moved("export", "-o", files[0], **here).stderr
    assert "imported" in moved("import", files[0], **embedded).stderr
    moved("export", "-o", files[1], **embedded)
    moved("import", files[1], **there)
    moved("export", "-o", files[2], **there)
    archives = [archive(file) for file in files]
    assert archives[0] == archives[1] == archives[2]
    counts = archives[0][1][-1]["tables"]
    assert counts["messages"] > 20 and counts["conversations"] == 3 and counts["users"] == 2 and counts["marks"] > 0, counts

    # No second time, no half of it, and nothing over a file that is there.
    again = run("import", files[0], **embedded)
    assert again.returncode == 78 and "already" in again.stderr, again
    (tmp_path / "half.jsonl").write_bytes(files[0].read_bytes()[:-200])
    half = run("import", tmp_path / "half.jsonl", PLANTAO_DATA=tmp_path / "fresh")
    assert half.returncode == 78 and "Nothing was changed" in half.stderr, half
    assert run("export", "-o", files[0], **here).returncode == 78 and archive(files[0]) == archives[0]

    # Each store serves it as it was, and goes on from there.
    for environment in (embedded, there):
        server = Server(tmp_path / "serving", office.whatsapp.url, **environment)
        server.start()
        try:
            office.server, office._admin = server, None
            office.whatsapp.webhook = server.url + "/api/webhooks/whatsapp"
            assert (office.admin.all_conversations(), office.admin.all_messages(id)) == known
            assert Api(server).login(maria.user["email"], maria.password).say(id, "continua")["seq"] == known[1][-1]["seq"] + 1
            assert office.in_line()["protocol"] == "#00004"
        finally:
            server.stop()
            (tmp_path / "serving" / "stdout.log").unlink()
    back.drop()


def test_an_export_is_refused_while_a_server_runs(office, tmp_path):
    ended = run("export", "-o", tmp_path / "a.jsonl", DATABASE_URL=office.server.environment["DATABASE_URL"], PLANTAO_DATA=office.server.data)
    assert ended.returncode == 78 and "PLANTAO_DATA" in ended.stderr and not (tmp_path / "a.jsonl").exists()


# MARK: Under load


def test_under_load_the_journal_stays_short(office, database, seed):
    agents = [office.hire(name, capacity=100) for name in ("Maria", "João")]
    observer = office.desk(agents[0], "conversations", "queue", "consultores")
    load = Load(office, agents, seed.random(), observer=observer).start()
    depths = []
    began = time.monotonic()
    while time.monotonic() - began < 2.5:
        depths.append(storage(office)["write_behind"])
        time.sleep(0.05)
    load.stop()
    observer.leave()
    office.forget(observer)
    assert not observer.faults, observer.faults[:3]
    load.ledger.shown_to(observer)
    print(f"{load.ledger.acknowledged} acknowledged; owed at the most {max(d['depth'] for d in depths)} rows, {max(d['lag_seconds'] for d in depths):.2f} s")
    assert max(d["lag_seconds"] for d in depths) < 3 * PATIENCE
    wrong = load.ledger.check(office.admin)
    assert not wrong, wrong[:5]
    audit(office, database, load.ledger)
