"""The real binary, as one process of ours."""

import ctypes
import os
import pathlib
import random
import signal
import socket
import subprocess
import time
import urllib.request

from .waiting import PATIENCE

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
BINARY = os.environ.get("PLANTAO_BIN", str(REPOSITORY / ".build" / "debug" / "plantao"))

ADMIN_EMAIL = "dono@example.com"
ADMIN_PASSWORD = "Plantao#2026ok"
SECRET_KEY = "end-to-end-secret-key-0123456789abcdef0123456789abcdef"
API_KEY = "end-to-end-api-key-3f9c2a71"
WHATSAPP_TOKEN = "end-to-end-graph-token-7a1d"
PHONE_NUMBER_ID = "110200300400500"
APP_SECRET = "end-to-end-app-secret-5c0ffee5"
VERIFY_TOKEN = "end-to-end-verify-token-91"

PR_SET_PDEATHSIG = 1
_random = random.SystemRandom()
_libc = ctypes.CDLL(None, use_errno=True)


def free_port():
    """One below those that the system gives to connections: between our look and the server's bind one of them would take it."""
    while True:
        port = _random.randrange(10_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def run(*arguments, timeout=60.0, **environment):
    """The binary's other commands, with these settings and no others. What it gave back, and said."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    environment = kept | {"BCRYPT_ROUNDS": "4"} | {name: str(value) for name, value in environment.items()}
    command = [BINARY, *(str(argument) for argument in arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout * PATIENCE, stdin=subprocess.DEVNULL)


class Server:
    """`plantao serve` on its own port and data directory. Ends only the processes it has started, by their pid."""

    def __init__(self, directory, whatsapp_url, **environment):
        self.directory = pathlib.Path(directory)
        self.data = pathlib.Path(environment.pop("PLANTAO_DATA", self.directory / "data"))
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data.mkdir(parents=True, exist_ok=True)
        self.host, self.port = "127.0.0.1", free_port()
        self.whatsapp_url = whatsapp_url
        self.environment = {name: str(value) for name, value in environment.items()}
        self.process = None
        self.starts = 0
        # Extra limits for the process; see test_disk_full.py.
        self.before_exec = None

    @property
    def url(self):
        return f"http://{self.host}:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    def resident_bytes(self):
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS:"))

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def start(self, ready=True):
        assert not self.is_running, "the server is running already"
        assert os.path.exists(BINARY), f"{BINARY} is missing: build it first, or name another with PLANTAO_BIN"
        self.starts += 1
        with open(self.stdout_path, "ab") as out, open(self.stderr_path, "ab") as err:
            # Called from the main thread only: the death signal below comes when the thread that started the process ends.
            self.process = subprocess.Popen(
                [BINARY, "serve"], stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=self._environment(), cwd=self.directory,
                preexec_fn=self._before_exec, restore_signals=self.before_exec is None,
            )
        if ready:
            self.wait_until_healthy()
        return self

    def wait_until_healthy(self, timeout=30.0):
        deadline = time.monotonic() + timeout * PATIENCE
        while True:
            code = self.process.poll()
            assert code is None, f"the server ended with {code} before it was healthy\n{self.log_tail()}"
            try:
                with urllib.request.urlopen(self.url + "/health", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                pass
            assert time.monotonic() < deadline, f"GET /health did not answer 200 within {timeout} s\n{self.log_tail()}"
            time.sleep(0.01)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout):
        """The exit code; the process is killed and the test fails when it does not come."""
        try:
            return self.process.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not end within {timeout} s\n{self.log_tail()}") from None

    def stop(self, timeout=15.0):
        self.terminate()
        code = self.wait(timeout)
        assert code == 0, f"SIGTERM must end the server with 0, not {code}\n{self.log_tail()}"

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def restart(self):
        if self.is_running:
            self.stop()
        return self.start()

    # MARK: What it wrote

    @property
    def stdout_path(self):
        return self.directory / "stdout.log"

    @property
    def stderr_path(self):
        return self.directory / "stderr.log"

    def logs(self):
        return b"".join(path.read_bytes() for path in (self.stdout_path, self.stderr_path) if path.exists())

    def log_tail(self, lines=40):
        tails = []
        for path in (self.stdout_path, self.stderr_path):
            text = path.read_text("utf-8", "replace") if path.exists() else ""
            tails.append(f"--- {path.name} ---\n" + "\n".join(line[:400] for line in text.splitlines()[-lines:]))
        return "\n".join(tails)

    # MARK: Inside

    def _before_exec(self):
        # The server must not outlive a test run that is killed.
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if self.before_exec:
            self.before_exec()

    def _environment(self):
        # Of the caller's environment only what programs need to run: a DATABASE_URL of some other project stays out.
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
        environment |= {
            "HOST": self.host,
            "PORT": str(self.port),
            "PLANTAO_DATA": str(self.data),
            "ADMIN_EMAIL": ADMIN_EMAIL,
            "ADMIN_PASSWORD": ADMIN_PASSWORD,
            "SECRET_KEY": SECRET_KEY,
            "AUTHENTICATION_API_KEY": API_KEY,
            "WHATSAPP_API_URL": self.whatsapp_url + "/v23.0",
            "WHATSAPP_API_TOKEN": WHATSAPP_TOKEN,
            "WHATSAPP_PHONE_NUMBER_ID": PHONE_NUMBER_ID,
            "WHATSAPP_APP_SECRET": APP_SECRET,
            "WHATSAPP_VERIFY_TOKEN": VERIFY_TOKEN,
            "BCRYPT_ROUNDS": "4",
            "OFFER_TIMEOUT_SECONDS": "30",
            # The bot answers every message as it comes.
            "BOT_QUIET_MILLISECONDS": "0",
        }
        return environment | self.environment
