"""A Postgres cluster of our own in a temporary folder, and databases in it.

Connections over TCP need their password (scram-sha-256), as in production; the unix socket in the folder lets us in as the superuser. The cluster's
time zone and date style are none that a program may take for granted.
"""

import atexit
import ctypes
import functools
import glob
import itertools
import os
import pathlib
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from urllib.parse import quote, urlencode

import psycopg
from psycopg.rows import dict_row

from .process import PR_SET_PDEATHSIG, free_port
from .waiting import PATIENCE

SUPERUSER = "postgres"

# How each of `pg_ctl stop`'s modes is asked for.
_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count(1)


def _program(name):
    """Where a program of the newest Postgres here is: Debian keeps the server's out of PATH."""

    def version(path):
        return [int(part) for part in pathlib.Path(path).parts[-3].split(".") if part.isdigit()]

    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), key=version)
    path = found[-1] if found else shutil.which(name)
    assert path, f"{name} is missing: install postgresql (15 or newer)"
    return path


def _account():
    """Who runs it: ourselves, or `postgres` where we are root, as whom it does not run."""
    return {} if os.geteuid() != 0 else {"user": SUPERUSER, "group": SUPERUSER, "extra_groups": []}


def _folder():
    """A new one of the server's. Not in pytest's folders: those are closed to other users, and a socket's path must be short."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="plantao-pg-"))
    if os.geteuid() == 0:
        account = pwd.getpwnam(SUPERUSER)
        os.chown(directory, account.pw_uid, account.pw_gid)
    return directory


@functools.cache
def _template():
    directory = _folder()
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    # `--no-sync`: what is lost in a power cut is a test.
    command = [_program("initdb"), "-D", directory / "data", "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
    done = subprocess.run([*command, "--no-instructions"], capture_output=True, text=True, cwd="/", **_account())
    assert done.returncode == 0, f"initdb failed: {done.stdout}\n{done.stderr}"
    return directory / "data"


class Cluster:
    """`settings` stand in its configuration. `tls`: it offers TLS too, with a certificate for localhost (`certificate`)."""

    def __init__(self, tls=False, **settings):
        self.directory = _folder()
        self.data = self.directory / "data"
        self.certificate = self.directory / "server.crt"
        self.host, self.port = "127.0.0.1", free_port()
        self.process = None
        self._make_data()
        (self.data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        if tls:
            self._make_certificate()
            settings |= {"ssl": "on", "ssl_cert_file": f"'{self.certificate}'", "ssl_key_file": f"'{self.directory / 'server.key'}'"}
        settings = {
            "listen_addresses": f"'{self.host}'", "port": self.port, "unix_socket_directories": f"'{self.directory}'", "max_connections": 100,
            "timezone": "'America/Sao_Paulo'", "datestyle": "'SQL, DMY'", "log_min_messages": "warning", "log_min_error_statement": "panic",
            "autovacuum_naptime": "10s", **settings,
        }
        with open(self.data / "postgresql.conf", "a") as configuration:
            configuration.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    # MARK: Life

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def start(self, timeout=30.0):
        assert not self.is_running, "the cluster is running already"
        with open(self.log_path, "ab") as log:
            # Called from the main thread only: the death signal below comes when the thread that started the process ends.
            self.process = subprocess.Popen(
                [_program("postgres"), "-D", self.data], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", preexec_fn=_dies_with_us, **_account()
            )
        deadline = time.monotonic() + timeout * PATIENCE
        while True:
            assert self.is_running, f"Postgres ended with {self.process.poll()}\n{self.log_tail()}"
            try:
                self.sql("SELECT 1")
                return self
            except psycopg.OperationalError as error:
                assert time.monotonic() < deadline, f"Postgres is not ready within {timeout} s: {error}\n{self.log_tail()}"
            time.sleep(0.02)

    def stop(self, mode="fast", timeout=30.0):
        """As `pg_ctl stop -m`: `smart`, `fast` or `immediate`."""
        self.process.send_signal(_SIGNALS[mode])
        self.process.wait(timeout * PATIENCE)

    def kill(self):
        """`pg_ctl stop -m immediate`: everything ends where it stands, and the next start recovers from the log."""
        self.stop("immediate")

    def restart(self, mode="fast"):
        self.stop(mode)
        return self.start()

    def close(self):
        if self.is_running:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    # MARK: Databases

    def create_database(self, password=None):
        """An empty database, owned by a role of its own."""
        name = f"plantao_{next(_numbers)}"
        database = Database(self, name, f"{name}_dono", password or f"Pg-{secrets.token_hex(8)}")
        self.sql(f"CREATE ROLE {database.user} LOGIN PASSWORD '{database.password}'")
        self.sql(f"CREATE DATABASE {name} OWNER {database.user}")
        return database

    def sql(self, text, *arguments, database="postgres"):
        """Runs a statement as the superuser; its rows, if it has any."""
        with self.connect(database) as connection:
            cursor = connection.execute(text, arguments or None)
            return cursor.fetchall() if cursor.description else []

    def connect(self, database="postgres", **options):
        """A connection as the superuser, to hold something open. Whatever the database's own settings are, it may write."""
        settings = "-c timezone=UTC -c datestyle=ISO -c default_transaction_read_only=off"
        return psycopg.connect(
            host=str(self.directory), port=self.port, user=SUPERUSER, dbname=database, autocommit=True, connect_timeout=10, options=settings, **options
        )

    def url(self, database, user, password, scheme="postgresql", host=None, port=None, **parameters):
        login = quote(user, safe="") + (":" + quote(password, safe="") if password is not None else "")
        query = "?" + urlencode(parameters) if parameters else ""
        return f"{scheme}://{login}@{host or self.host}:{port or self.port}/{database}{query}"

    # MARK: Inside

    @property
    def log_path(self):
        return self.directory / "postgres.log"

    def log_tail(self, lines=30):
        return "\n".join(self.log_path.read_text("utf-8", "replace").splitlines()[-lines:]) if self.log_path.exists() else ""

    def _make_data(self):
        """A copy of what `initdb` made for the first cluster of this process: that takes as long as a whole test."""
        template = _template()
        done = subprocess.run(["cp", "-a", "--reflink=auto", template, self.data], capture_output=True, text=True, cwd="/", **_account())
        assert done.returncode == 0, done.stderr

    def _make_certificate(self):
        key = self.directory / "server.key"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        done = subprocess.run([*command, "-keyout", key, "-out", self.certificate], capture_output=True, text=True, **_account())
        assert done.returncode == 0, done.stderr
        key.chmod(0o600)


class Database:
    def __init__(self, cluster, name, user, password):
        self.cluster, self.name, self.user, self.password = cluster, name, user, password

    @property
    def url(self):
        return self.url_with()

    def url_with(self, **options):
        """The URL with another scheme, host, port, user or password, or with parameters."""
        return self.cluster.url(options.pop("name", self.name), options.pop("user", self.user), options.pop("password", self.password), **options)

    def sql(self, text, *arguments):
        return self.cluster.sql(text, *arguments, database=self.name)

    def values(self, text, *arguments):
        """The first column."""
        return [row[0] for row in self.sql(text, *arguments)]

    def rows(self, table, where="true", *arguments):
        """Whole rows, by the names of their columns."""
        with self.connect(row_factory=dict_row) as connection:
            return connection.execute(f"SELECT * FROM {table} WHERE {where}", arguments or None).fetchall()

    def connect(self, **options):
        return self.cluster.connect(self.name, **options)

    def disconnect_everybody(self):
        """Ends all connections but our own, as an administrator may at any time. How many there were."""
        return len(self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()", self.name))

    def drop(self):
        if self.cluster.is_running:
            self.cluster.sql(f"DROP DATABASE {self.name} WITH (FORCE)")
            self.cluster.sql(f"DROP ROLE {self.user}")


def _dies_with_us():
    # It must not outlive a test run that is killed.
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)
