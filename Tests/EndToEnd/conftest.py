"""Fixtures for the tests against the real binary. `harness/` has what they are made of.

    python3 -m venv .venv && .venv/bin/pip install -r Tests/EndToEnd/requirements.txt
    swift build && .venv/bin/pytest Tests/EndToEnd

PLANTAO_BIN     another binary than .build/debug/plantao
E2E_SEED        repeats the random choices of a run
E2E_PATIENCE    multiplies all deadlines, for slow machines
KILL_ROUNDS     rounds of test_kill.py (50)
CUTS            cut connections in test_realtime.py (1000)
"""

import os
import pathlib
import random
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from harness.office import Office  # noqa: E402

SEED = int(os.environ.get("E2E_SEED", random.SystemRandom().randrange(1 << 31)))
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


def _offices(make_directory):
    opened = []

    def open_office(start=True, **environment):
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
def offices(tmp_path_factory):
    """Opens servers with the environment given, for one test. With `start=False` the test starts it."""
    yield from _offices(lambda: tmp_path_factory.mktemp("office"))


@pytest.fixture
def office(offices):
    """A server with an empty store."""
    return offices()


@pytest.fixture(scope="module")
def shared_office(tmp_path_factory):
    """One server for all tests of a file, where they cannot disturb one another."""
    opened = _offices(lambda: tmp_path_factory.mktemp("office"))
    yield next(opened)()
    next(opened, None)
