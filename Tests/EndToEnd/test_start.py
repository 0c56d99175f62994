"""A bad setting stops the start with its name and what is allowed; a good one starts (docs/configuration.md)."""

import json
import os
import sqlite3
import subprocess
import urllib.request

import pytest

from harness.process import BINARY, Server

SECRET = "0123456789abcdef0123456789abcdef"


def refused(tmp_path, **env):
    """Starts with these settings only, expects a refusal, gives its sentence."""
    env = {"PATH": os.environ["PATH"], "PLANTAO_DATA": str(tmp_path / "data"), "PORT": "1", "BCRYPT_ROUNDS": "4", **env}
    ended = subprocess.run([BINARY, "serve"], env=env, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert ended.returncode == 78, (ended.returncode, ended.stderr[-500:])
    assert "Fatal" not in ended.stderr
    return ended.stderr


@pytest.mark.parametrize(
    "env, named",
    [
        ({"PORT": "eighty"}, "PORT: 'eighty'"),
        ({"PORT": "70000"}, "1 to 65535"),
        ({"ENVIRONMENT": "prod"}, "development, test, production"),
        ({"BCRYPT_ROUNDS": "3"}, "BCRYPT_ROUNDS"),
        ({"OFFER_TIMEOUT_SECONDS": "0"}, "OFFER_TIMEOUT_SECONDS"),
        ({"ALLOWED_ORIGINS": "[1]"}, "ALLOWED_ORIGINS"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL"),
        ({"WHATSAPP_API_TOKEN": "t"}, "WHATSAPP_PHONE_NUMBER_ID"),
        ({"WHATSAPP_PHONE_NUMBER_ID": "110"}, "WHATSAPP_API_TOKEN"),
        ({"WHATSAPP_API_TOKEN": "t", "WHATSAPP_PHONE_NUMBER_ID": "110", "WHATSAPP_API_URL": "graph"}, "WHATSAPP_API_URL"),
        ({"ADMIN_EMAIL": "nobody"}, "ADMIN_EMAIL"),
        ({"PLANTAO_DATA": "/proc/nowhere"}, "PLANTAO_DATA"),
    ],
)
def test_a_bad_setting_is_named_with_what_is_allowed(tmp_path, env, named):
    assert named in refused(tmp_path, **env)


@pytest.mark.parametrize(
    "env, named",
    [
        ({}, "SECRET_KEY"),
        ({"SECRET_KEY": "your-super-secret-key-change-in-production"}, "SECRET_KEY"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY"),
        ({"SECRET_KEY": SECRET}, "BCRYPT_ROUNDS"),
        ({"SECRET_KEY": SECRET, "BCRYPT_ROUNDS": "12", "ADMIN_PASSWORD": "admin"}, "ADMIN_PASSWORD"),
    ],
)
def test_production_refuses_what_is_good_enough_for_a_try(tmp_path, env, named):
    said = refused(tmp_path, ENVIRONMENT="production", **env)
    assert named in said and SECRET not in said and "'admin'" not in said


def test_a_plain_admin_password_is_taken_in_development_and_warned_of(tmp_path):
    server = Server(tmp_path, "http://127.0.0.1:9", ADMIN_PASSWORD="admin", ADMIN_EMAIL="admin@localhost")
    server.start()
    try:
        body = json.dumps({"email": "admin@localhost", "password": "admin"}).encode()
        with urllib.request.urlopen(server.url + "/api/v1/auth/login", data=body, timeout=10) as answer:
            assert answer.status == 200 and json.load(answer)["user"]["role"] == "owner"
        logged = "".join(path.read_text() for path in tmp_path.glob("*.log"))
        assert "ADMIN_PASSWORD is weak" in logged
        kept = [path for path in server.data.iterdir() if path.is_file()]
        assert kept and all(path.stat().st_mode & 0o077 == 0 for path in kept), "what is stored is nobody else's to read"
    finally:
        server.kill()


def test_a_store_that_cannot_be_read_late_in_the_start_is_told_and_not_a_crash(tmp_path):
    server = Server(tmp_path, "http://127.0.0.1:9").start()
    server.stop()
    with sqlite3.connect(server.data / "plantao.sqlite") as store:
        store.execute('ALTER TABLE queue_controls RENAME TO elsewhere')
    store.close()
    env = {"PATH": os.environ["PATH"], "PLANTAO_DATA": str(server.data), "PORT": "1", "BCRYPT_ROUNDS": "4", "SECRET_KEY": SECRET}
    ended = subprocess.run([BINARY, "serve"], env=env, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert ended.returncode == 78 and "the store cannot be read" in ended.stderr and "Fatal" not in ended.stderr, (ended.returncode, ended.stderr[-800:])
