"""What stops a start on Postgres, and what the commands beside `serve` say of it (docs/configuration.md, docs/operating.md)."""

import re
import threading
import time

import pytest

from fakes.whatsapp import text
from harness.audit import drained, storage
from harness.office import new_number
from harness.mail import MailServer
from harness.pipedrive import ME, FakePipedrive
from harness.process import Server, free_port, run
from harness.slowproxy import SlowProxy
from harness.waiting import PATIENCE, eventually

PASSWORD = "Segredo-5b1e7a90"
ALL_TABLES = [
    "conversations", "consultores", "contacts", "jobs", "login_sessions", "marks", "messages", "protocolos", "set_aside_deliveries", "tenants", "users",
]


@pytest.fixture
def database(postgres):
    database = postgres.create_database(PASSWORD)
    yield database
    database.drop()


def refused(data, start_timeout=1, **environment):
    """Starts with these settings, expects a refusal, gives its sentence."""
    if start_timeout is not None:
        environment = {"DATABASE_START_TIMEOUT_SECONDS": start_timeout} | environment
    ended = run("serve", PLANTAO_DATA=data, PORT=free_port(), **environment)
    return refusal(ended.returncode, ended.stdout + ended.stderr)


def refusal(code, said):
    assert code == 78, (code, said[-800:])
    assert not re.search(r"Fatal|crashed|Stack dump", said), said
    assert PASSWORD not in said, said
    return said


def tables(database):
    return sorted(database.values("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"))


# MARK: Bad settings


@pytest.mark.parametrize(
    "url, named",
    [
        (f"dono:{PASSWORD}@localhost/plantao", "not a URL"),
        ("localhost", "not a URL"),
        (f"mysql://dono:{PASSWORD}@localhost/plantao", "mysql"),
        (f"sqlite+aiosqlite:///{PASSWORD}.db", "sqlite"),
        (f"postgresql://dono:{PASSWORD}@localhost:cinco/plantao", "DATABASE_URL"),
        (f"postgresql://dono:{PASSWORD}@localhost:70000/plantao", "DATABASE_URL"),
        (f"postgresql://dono:{PASSWORD}%zz@localhost/plantao", "%40"),
        (f"postgresql://dono:{PASSWORD}@[::1/plantao", "DATABASE_URL"),
        (f"postgresql://dono:{PASSWORD}@localhost/plantao?sslmode=talvez", "sslmode"),
        (f"postgresql://dono:{PASSWORD}@localhost/plantao?nunca=1", "query parameter"),
        (f"postgresql://dono:{PASSWORD}@nao-existe.invalid/plantao", "nao-existe.invalid"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_what_is_allowed(tmp_path, url, named):
    said = refused(tmp_path / "data", DATABASE_URL=url)
    assert "DATABASE_URL" in said and named in said


@pytest.mark.parametrize(
    "name, value",
    [
        ("DATABASE_POOL_SIZE", "0"), ("DATABASE_POOL_SIZE", "muitas"), ("DATABASE_MAX_OVERFLOW", "-1"), ("DATABASE_BREAKER_FAILURES", "0"),
        ("DATABASE_BREAKER_SECONDS", "1.5"), ("DATABASE_STATEMENT_TIMEOUT_SECONDS", "0"), ("DATABASE_START_TIMEOUT_SECONDS", "logo"),
        ("PLANTAO_JOURNAL_MAX_MB", "0"), ("PLANTAO_BARRIER_MILLISECONDS", "0"), ("PLANTAO_JOURNAL_MAX_AGE_SECONDS", "-5"),
    ],
)
def test_a_bad_setting_of_the_store_is_named_with_what_is_allowed(tmp_path, database, name, value):
    said = refused(tmp_path / "data", None, **{"DATABASE_URL": database.url, name: value})
    assert f"{name}: '{value}'" in said and re.search(r"\d+ to \d+", said), said
    assert tables(database) == [], "nothing was begun"


def test_a_wrong_password_a_missing_role_and_a_missing_database_are_refused_at_once(tmp_path, database):
    began = time.monotonic()
    wrong = {
        "password": database.url_with(password="Errada-" + PASSWORD[::-1]), "role": database.url_with(user="ninguem"),
        "database": database.url_with(name="nenhum"), "no password": database.url_with(password=None),
    }
    # With the patience that a start has by itself: no waiting mends these.
    said = {what: refused(tmp_path / "data", None, DATABASE_URL=url) for what, url in wrong.items()}
    assert time.monotonic() - began < 20 * PATIENCE, "refused at once"
    assert all("DATABASE_URL" in sentence for sentence in said.values()), said
    assert "password" in said["password"] and "Errada" not in said["password"]
    assert "ninguem" in said["role"] and "password" in said["role"]
    assert "nenhum" in said["database"] and "does not exist" in said["database"]
    assert "password" in said["no password"]


def test_a_database_that_refuses_connections_is_waited_for_and_then_refused(tmp_path, database):
    url = database.url_with(port=free_port())
    began = time.monotonic()
    said = refused(tmp_path / "data", 1, DATABASE_URL=url)
    assert 0.9 < time.monotonic() - began < 15 * PATIENCE
    assert "DATABASE_URL" in said and "127.0.0.1" in said and re.search(r"refused|cannot be reached|not reached", said), said


def test_a_database_that_comes_up_late_is_waited_for(tmp_path, own_postgres):
    database = own_postgres.create_database(PASSWORD)
    own_postgres.stop()
    server = Server(tmp_path, "http://127.0.0.1:9", DATABASE_URL=database.url, DATABASE_START_TIMEOUT_SECONDS=30)
    try:
        server.start(ready=False)
        time.sleep(1)
        assert server.is_running, server.log_tail()
        own_postgres.start()
        server.wait_until_healthy()
        server.stop()
    finally:
        if server.is_running:
            server.kill()


def test_a_database_that_takes_connections_and_says_nothing_does_not_hang_the_start(tmp_path, database):
    with SlowProxy(database.cluster.host, database.cluster.port) as proxy:
        proxy.mute()
        began = time.monotonic()
        said = refused(tmp_path / "data", 1, DATABASE_URL=database.url_with(port=proxy.port))
        assert time.monotonic() - began < 20 * PATIENCE
        assert "DATABASE_URL" in said


def test_tls_is_spoken_as_the_url_says(tmp_path, database):
    certificate = database.cluster.certificate
    good = {"sslmode": "require"}, {"sslmode": "verify-full", "sslrootcert": certificate, "host": "localhost"}, {"sslmode": "disable"}, {"ssl": "require"}
    for parameters in good:
        ended = run("migrate", "--check", PLANTAO_DATA=tmp_path, DATABASE_URL=database.url_with(**parameters))
        assert ended.returncode == 1 and "CREATE TABLE" in ended.stdout, (parameters, ended)
    # The certificate is localhost's.
    said = refused(tmp_path / "data", DATABASE_URL=database.url_with(sslmode="verify-full", sslrootcert=certificate))
    assert "127.0.0.1" in said and re.search(r"certificate|does not match", said), said
    with SlowProxy(database.cluster.host, database.cluster.port) as plain:
        said = refused(tmp_path / "data", DATABASE_URL=database.url_with(port=plain.port, sslmode="require"))
        assert re.search(r"SSL|TLS", said), said


@pytest.mark.parametrize("password", ["a@b:c/d?e#f%g&h=i", "çãõ 😀", "'\" \\"])
def test_a_password_of_any_characters_and_every_spelling_of_the_scheme_are_understood(tmp_path, postgres, password):
    database = postgres.create_database(password.replace("'", "''"))
    for scheme in ("postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg2"):
        ended = run("migrate", "--check", PLANTAO_DATA=tmp_path, DATABASE_URL=database.url_with(password=password, scheme=scheme))
        assert ended.returncode == 1 and "CREATE TABLE" in ended.stdout, (scheme, ended)
        assert password not in ended.stdout + ended.stderr
    database.drop()


def test_a_unix_socket_is_a_way_too(tmp_path, postgres, database):
    url = f"postgresql://{database.user}@/{database.name}?host={postgres.directory}&port={postgres.port}"
    ended = run("migrate", PLANTAO_DATA=tmp_path, DATABASE_URL=url)
    assert ended.returncode == 0 and set(ALL_TABLES) <= set(tables(database)), ended


# MARK: The database's and the journal's past


def test_a_schema_that_is_newer_than_the_program_is_refused_and_left_alone(tmp_path, database):
    assert run("migrate", PLANTAO_DATA=tmp_path, DATABASE_URL=database.url).returncode == 0
    database.sql("UPDATE plantao_store SET schema_version = 99")
    before = tables(database)
    for command in (["serve"], ["migrate"], ["migrate", "--check"]):
        ended = run(*command, PLANTAO_DATA=tmp_path, PORT=free_port(), DATABASE_URL=database.url)
        assert "99" in refusal(ended.returncode, ended.stderr)
    assert tables(database) == before and database.values("SELECT schema_version FROM plantao_store") == [99]
    ended = run("doctor", PLANTAO_DATA=tmp_path, DATABASE_URL=database.url)
    assert ended.returncode == 1 and re.search(r"FAIL +schema .*99", ended.stdout), ended.stdout


def test_a_role_that_may_not_make_tables_is_refused(tmp_path, postgres, database):
    postgres.sql("CREATE ROLE leitor LOGIN PASSWORD 'Leitor-1'")
    try:
        said = refused(tmp_path / "data", DATABASE_URL=database.url_with(user="leitor", password="Leitor-1"))
        assert "DATABASE_URL" in said and re.search(r"permission|may not", said), said
    finally:
        postgres.sql("DROP ROLE leitor")


def test_a_journal_of_another_database_is_refused(tmp_path, postgres, database):
    other = postgres.create_database(PASSWORD)
    server = Server(tmp_path, "http://127.0.0.1:9", DATABASE_URL=database.url)
    server.start().stop()
    said = refused(server.data, DATABASE_URL=other.url)
    assert "DATABASE_URL" in said and "PLANTAO_DATA" in said, said
    assert tables(other) == [], "nothing was begun there"
    # And the same database, emptied, is another one.
    database.sql(f"DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION {database.user}")
    assert "PLANTAO_DATA" in refused(server.data, DATABASE_URL=database.url)
    other.drop()


def test_without_its_url_a_journal_that_owes_rows_is_refused_and_with_it_everything_goes_there(own_postgres, offices):
    database = own_postgres.create_database(PASSWORD)
    office = offices(DATABASE_URL=database.url, DATABASE_BREAKER_SECONDS=1)
    office.hire("Maria")
    drained(office)
    own_postgres.stop()
    rita = office.hire("Rita")
    assert storage(office)["write_behind"]["depth"] > 0
    office.server.kill()
    said = refused(office.server.data)
    assert "DATABASE_URL" in said and re.search(r"owes .*\d+ changed rows", said), said
    # Nor does a start while Postgres is still away take it for empty.
    assert "127.0.0.1" in refused(office.server.data, 1, DATABASE_URL=database.url)
    own_postgres.start()
    office.server.start()
    assert rita.user["email"] in database.values("SELECT email FROM users"), "owed rows are there before the server serves"
    assert rita.name in [c["nome"] for c in office.admin.consultores()]


def test_a_lost_data_directory_is_made_anew_from_the_database(database, offices, tmp_path):
    office = offices(DATABASE_URL=database.url)
    maria = office.hire("Maria")
    number = new_number()
    wamid = office.says(number, "atendente")
    id = office.conversation(number)["id"]
    maria.api.claim(id)
    office.settled(id)
    drained(office)
    office.server.stop()
    office.server.data = tmp_path / "another"
    office.server.data.mkdir()
    office.server.start()
    assert office.admin.conversation(id)["assignee"]["consultor_id"] == maria.id
    office.deliver(text(number, "atendente", wamid=wamid))
    assert [m["external_id"] for m in office.admin.all_messages(id)].count(wamid) == 1, "deliveries are remembered"
    assert office.in_line()["protocol"] == "#00002"


# MARK: One writer


@pytest.mark.parametrize("round", range(3))
def test_of_two_servers_that_start_at_once_on_an_empty_database_one_serves(tmp_path, database, round):
    servers = [
        Server(tmp_path / name, "http://127.0.0.1:9", DATABASE_URL=database.url, DATABASE_START_TIMEOUT_SECONDS=2) for name in ("one", "other")
    ]
    try:
        for server in servers:
            server.start(ready=False)
        loser = eventually("one has given up", lambda: next((s for s in servers if not s.is_running), None), timeout=30)
        winner = servers[1 - servers.index(loser)]
        winner.wait_until_healthy()
        said = refusal(loser.process.returncode, loser.logs().decode())
        assert "DATABASE_URL" in said and re.search(r"another|one server", said), said
        assert database.values("SELECT count(*) FROM tenants") == [1] and database.values("SELECT count(*) FROM plantao_store") == [1]
        assert set(ALL_TABLES) <= set(tables(database))
        # The one who was refused serves as soon as the other has stopped in order, owing nothing.
        winner.stop()
        loser.start()
        # After a crash the other's journal may owe rows: only it goes on, or an operator gives it up.
        loser.kill()
        winner.start(ready=False)
        said = refusal(winner.wait(15), winner.logs().decode())
        assert "may still owe" in said and "DATABASE_TAKE_OVER=1" in said, said
        winner.environment["DATABASE_TAKE_OVER"] = "1"
        winner.start()
        loser.start(ready=False)
        said = refusal(loser.wait(15), loser.logs().decode())
        assert "another" in said, said
        winner.stop()
    finally:
        for server in servers:
            if server.is_running:
                server.kill()


def test_a_second_server_is_kept_off_also_after_the_connections_of_the_first_were_cut(tmp_path, database, offices):
    office = offices(DATABASE_URL=database.url, DATABASE_BREAKER_SECONDS=1)
    second = Server(tmp_path / "second", "http://127.0.0.1:9", DATABASE_URL=database.url, DATABASE_START_TIMEOUT_SECONDS=1)
    names = ["Maria"]
    office.hire("Maria")
    try:
        for n in range(2):
            drained(office)
            assert database.disconnect_everybody() > 0
            # The first has nothing to do meanwhile.
            time.sleep(0.2)
            second.start(ready=False)
            code = second.wait(15)
            assert re.search(r"another|one server", refusal(code, second.logs().decode())), second.log_tail()
            names.append(f"Rita {n}")
            office.hire(names[-1])
        drained(office)
        assert database.values("SELECT nome FROM consultores ORDER BY id") == names
    finally:
        if second.is_running:
            second.kill()


# MARK: migrate


def test_migrate_check_lists_what_is_to_do_and_changes_nothing(tmp_path, database):
    def migrate(*options):
        return run("migrate", *options, PLANTAO_DATA=tmp_path / "data", DATABASE_URL=database.url)

    check = migrate("--check")
    assert check.returncode == 1 and "schema version none" in check.stdout, check
    assert all(re.search(rf'CREATE TABLE "{table}"', check.stdout) for table in ALL_TABLES), check.stdout
    assert "CREATE UNIQUE INDEX" in check.stdout
    assert tables(database) == [] and not (tmp_path / "data").exists()
    done = migrate()
    assert done.returncode == 0 and "up to date" in done.stdout, done
    assert set(ALL_TABLES) <= set(tables(database))
    for again in (migrate(), migrate("--check")):
        assert again.returncode == 0 and "up to date" in again.stdout, again
        assert "CREATE" not in again.stdout


@pytest.mark.parametrize(
    "statement, named",
    [
        ("DROP INDEX messages_by_external_id", "messages_by_external_id"),
        ("ALTER TABLE conversations DROP COLUMN labels", "conversations.labels"),
        ("ALTER TABLE users ALTER COLUMN is_active TYPE text USING is_active::text", "users.is_active"),
        ("ALTER TABLE contacts ALTER COLUMN name DROP NOT NULL", "contacts.name"),
        ("DROP TABLE protocolos", "protocolos"),
        ("DROP INDEX users_by_email; CREATE INDEX users_by_email ON users (email)", "users_by_email"),
        ("DROP INDEX messages_by_id; CREATE UNIQUE INDEX messages_by_id ON messages (id)", "messages_by_id"),
        ("ALTER TABLE marks DROP CONSTRAINT marks_pkey", "marks"),
    ],
)
def test_migrate_check_names_what_was_altered_by_hand(tmp_path, database, statement, named):
    environment = {"PLANTAO_DATA": tmp_path / "data", "DATABASE_URL": database.url}
    assert run("migrate", **environment).returncode == 0
    database.sql(statement)
    for command in (["migrate", "--check"], ["migrate"], ["doctor"]):
        ended = run(*command, **environment)
        assert ended.returncode == 1 and named in ended.stdout, (command, ended)


def test_migrations_at_once_do_not_collide(tmp_path, database):
    ended = []

    def migrate(n):
        ended.append(run("migrate", PLANTAO_DATA=tmp_path / str(n), DATABASE_URL=database.url))

    threads = [threading.Thread(target=migrate, args=(n,)) for n in range(6)]
    [t.start() for t in threads], [t.join(60) for t in threads]
    assert [e.returncode for e in ended] == [0] * 6, ended
    assert database.values("SELECT count(*) FROM plantao_store") == [1]


def test_migrate_check_of_the_embedded_store(tmp_path):
    check = run("migrate", "--check", PLANTAO_DATA=tmp_path / "data")
    assert check.returncode == 1 and "CREATE TABLE" in check.stdout and not (tmp_path / "data").exists()
    assert run("migrate", PLANTAO_DATA=tmp_path / "data").returncode == 0
    assert run("migrate", "--check", PLANTAO_DATA=tmp_path / "data").returncode == 0


# MARK: doctor


def doctor(**environment):
    ended = run("doctor", **environment)
    assert PASSWORD not in ended.stdout + ended.stderr
    assert ended.stderr == "", ended.stderr
    lines = [re.fullmatch(r"(ok|warn|FAIL) +(\S+) +(\S.*)", line) for line in ended.stdout.splitlines()]
    assert all(lines[:-1]) and lines[-1] is None, ended.stdout
    found = {}
    for line in lines[:-1]:
        found.setdefault((line[1], line[2]), []).append(line[3])
    assert (ended.returncode == 1) == any(mark == "FAIL" for mark, _ in found) and ended.returncode in (0, 1), ended
    return ended.returncode, found


def test_doctor_finds_nothing_wrong_where_nothing_is(tmp_path, database, own_redis):
    server = Server(tmp_path, "http://127.0.0.1:9", DATABASE_URL=database.url)
    environment = {"PLANTAO_DATA": server.data, "DATABASE_URL": database.url, "REDIS_URL": own_redis.url, "SECRET_KEY": "x" * 40}
    code, found = doctor(**environment)
    assert code == 0 and "first start" in found["ok", "schema"][0], found
    server.start()
    try:
        code, found = doctor(**environment)
    finally:
        server.stop()
    assert code == 0, found
    assert database.name in found["ok", "store"][0] and "PostgreSQL" in found["ok", "store"][0] and "encrypted" in found["ok", "store"][0]
    assert found["ok", "writer"] and found["ok", "schema"] and found["ok", "journal"] and found["ok", "disk"] and found["ok", "clock"]
    assert "version" in found["ok", "redis"][0]
    code, found = doctor(**environment)
    assert code == 0 and ("ok", "writer") not in found


def test_doctor_says_what_to_do_where_something_is_wrong(tmp_path, own_postgres):
    database = own_postgres.create_database(PASSWORD)
    environment = {"PLANTAO_DATA": tmp_path / "data", "DATABASE_URL": database.url, "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    code, found = doctor(**environment)
    assert code == 1 and "REDIS_URL" in found["FAIL", "redis"][0] and ("FAIL", "store") not in found, found
    own_postgres.sql("ALTER SYSTEM SET fsync = off")
    own_postgres.sql("SELECT pg_reload_conf()")
    eventually("fsync off", lambda: own_postgres.sql("SHOW fsync") == [("off",)])
    assert any("fsync" in said for said in doctor(**environment)[1]["warn", "store"])
    own_postgres.stop()
    began = time.monotonic()
    code, found = doctor(**environment)
    assert time.monotonic() - began < 15 * PATIENCE
    assert code == 1 and "DATABASE_URL" in found["FAIL", "store"][0] and "127.0.0.1" in found["FAIL", "store"][0], found
    code, found = doctor(**environment | {"DATABASE_URL": "mysql://localhost/x"})
    assert code == 1 and "DATABASE_URL" in found["FAIL", "configuration"][0], found


def test_doctor_of_the_embedded_store(tmp_path):
    server = Server(tmp_path, "http://127.0.0.1:9")
    server.start()
    try:
        code, found = doctor(PLANTAO_DATA=server.data)
    finally:
        server.stop()
    assert code == 0 and "SQLite" in found["ok", "store"][0] and "version" in found["ok", "schema"][0] and "not set" in found["ok", "redis"][0], found


def test_doctor_tries_pipedrive(tmp_path):
    data = {"PLANTAO_DATA": tmp_path / "data"}
    assert "PIPEDRIVE_API_TOKEN" in doctor(**data)[1]["ok", "pipedrive"][0]
    with FakePipedrive() as fake:
        code, found = doctor(**data, PIPEDRIVE_API_URL=fake.url, PIPEDRIVE_API_TOKEN=fake.token)
        assert code == 0 and f"user {ME}" in found["ok", "pipedrive"][0] and "closed" in found["ok", "pipedrive"][0]
        code, found = doctor(**data, PIPEDRIVE_API_URL=fake.url, PIPEDRIVE_API_TOKEN="another-token")
        assert code == 1 and "refused" in found["FAIL", "pipedrive"][0] and "another-token" not in str(found)
    code, found = doctor(**data, PIPEDRIVE_API_URL=fake.url, PIPEDRIVE_API_TOKEN=fake.token)
    assert code == 1 and "cannot be reached" in found["FAIL", "pipedrive"][0]


def test_doctor_tries_the_mail_server(tmp_path):
    data = {"PLANTAO_DATA": tmp_path / "data"}
    assert "SMTP_SERVER" in doctor(**data)[1]["ok", "email"][0]
    with MailServer(tmp_path) as mail:
        code, found = doctor(**data, **mail.settings)
        assert code == 0 and f"localhost:{mail.port}" in found["ok", "email"][0] and mail.mails == []
        code, found = doctor(**data, **(mail.settings | {"SMTP_PASSWORD": "outra-senha"}))
        assert code == 1 and "SMTP_PASSWORD" in found["FAIL", "email"][0] and "outra-senha" not in str(found)
        code, found = doctor(**data, **(mail.settings | {"SMTP_CA_FILE": ""}))
        assert code == 1 and "SMTP_TLS" in found["FAIL", "email"][0], "its certificate is nobody's"
    code, found = doctor(**data, **mail.settings)
    assert code == 1 and "SMTP_SERVER" in found["FAIL", "email"][0]
