"""An embedded store as an earlier version of the program left it."""

import re
import sqlite3

from .process import run

_ADDED = re.compile(r'^(CREATE TABLE|CREATE(?: UNIQUE)? INDEX|ALTER TABLE) "(\w+)"(?: ADD COLUMN "(\w+)")?', re.MULTILINE)


def set_back(data, version):
    """Takes away what came after that schema version: what the program itself says it would add."""
    path = data / "plantao.sqlite"
    _execute(path, f"PRAGMA user_version = {version}")
    plan = run("migrate", "--check", PLANTAO_DATA=data)
    added = _ADDED.findall(plan.stdout)
    assert plan.returncode == 1 and added, (plan.stdout, plan.stderr)
    tables = {name for what, name, _ in added if what == "CREATE TABLE"}
    for what, name, column in sorted(added, key=lambda one: "INDEX" not in one[0]):
        if column and name in tables:
            continue  # It goes with its table.
        if column:
            _execute(path, f'ALTER TABLE "{name}" DROP COLUMN "{column}"')
        else:
            _execute(path, f'DROP {what.split()[-1]} "{name}"')


def _execute(path, statement):
    with sqlite3.connect(path) as store:
        store.execute(statement)
    store.close()
