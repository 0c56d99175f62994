"""Fixtures for the tests against the real binary. `harness/` has what they are made of.

    python3 -m venv .venv && .venv/bin/pip install -r Tests/EndToEnd/requirements.txt
    swift build && .venv/bin/pytest Tests/EndToEnd

PLANTAO_BIN     another binary than .build/debug/plantao
E2E_SEED        repeats the random choices of a run
E2E_PATIENCE    multiplies all deadlines, for slow machines
E2E_STORE       `postgres`: every office keeps its rows in a Postgres database of its own, so that all tests run over that store
KILL_ROUNDS     rounds of test_kill.py (50)
CUTS            cut connections in test_realtime.py (1000)
PG_KILL_ROUNDS  rounds of test_postgres_kill.py (10)
PG_READS        reads of what was just written in test_postgres.py (2000)
PLANTAO_LONG    1: Postgres stays away for a minute in test_postgres_kill.py (8 s)
"""

import os
import pathlib
import random
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from harness.office import Office  # noqa: E402
from harness.postgres import Cluster  # noqa: E402
from harness.redis import Redis  # noqa: E402

# Kept in the environment, so that all workers of a run have the same.
SEED = int(os.environ.setdefault("E2E_SEED", str(random.SystemRandom().randrange(1 << 31))))
STORE = os.environ.get("E2E_STORE", "sqlite")
_open_now = []


def pytest_report_header():
    return f"E2E_SEED={SEED} (set it to repeat a run)"


@pytest.fixture
def seed(request):
    """A random source of the test's own, that the run's seed and the test's name decide."""
    print(f"E2E_SEED={SEED}")
    return random.Random(f"{SEED} {request.node.nodeid}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for office in _open_now:
            report.sections.append((f"server on port {office.server.port}", office.server.log_tail()))


@pytest.fixture(autouse=True)
def _threads_must_not_fail():
    """An exception in a thread of ours fails the test that it belongs to."""
    failures = []
    before = threading.excepthook
    threading.excepthook = failures.append
    yield
    threading.excepthook = before
    assert not failures, f"a thread failed: {failures[0].exc_type.__name__}: {failures[0].exc_value}"


@pytest.fixture(scope="session")
def postgres():
    """A Postgres for all tests that leave it running."""
    with Cluster(tls=True) as cluster:
        yield cluster


@pytest.fixture
def own_postgres():
    """A Postgres to be stopped and killed."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def database(postgres):
    """An empty database, whose owner the server logs in as."""
    database = postgres.create_database()
    yield database
    database.drop()


def _store(request):
    """What an office gets beside what its test says, from E2E_STORE."""
    return {"DATABASE_URL": request.getfixturevalue("postgres").create_database().url} if STORE == "postgres" else {}


def _offices(make_directory, request):
    opened = []

    def open_office(start=True, **environment):
        if "DATABASE_URL" not in environment:
            environment |= _store(request)
        office = Office(make_directory(), **environment)
        opened.append(office)
        _open_now.append(office)
        return office.open() if start else office

    yield open_office
    failures = []
    for office in opened:
        try:
            office.close()
        except AssertionError as error:
            failures.append(error)
        finally:
            _open_now.remove(office)
    if failures:
        raise failures[0]


@pytest.fixture
def offices(tmp_path_factory, request):
    """Opens servers with the environment given, for one test. With `start=False` the test starts it."""
    yield from _offices(lambda: tmp_path_factory.mktemp("office"), request)


@pytest.fixture
def office(offices):
    """A server with an empty store."""
    return offices()


@pytest.fixture(scope="module")
def shared_office(tmp_path_factory, request):
    """One server for all tests of a file, where they cannot disturb one another. An agent who had a socket in one of them is not put offline in the next."""
    opened = _offices(lambda: tmp_path_factory.mktemp("office"), request)
    yield next(opened)(PRESENCE_GRACE_SECONDS=3600)
    next(opened, None)


@pytest.fixture
def own_redis(tmp_path):
    (tmp_path / "redis").mkdir()
    with Redis(tmp_path / "redis") as redis:
        yield redis
