"""A Redis of our own, in a temporary folder."""

import ctypes
import shutil
import signal
import socket
import subprocess
import time

from .process import PR_SET_PDEATHSIG, free_port
from .waiting import PATIENCE

_libc = ctypes.CDLL(None, use_errno=True)


class Redis:
    def __init__(self, directory, *options):
        self.directory, self.options = directory, options
        self.host, self.port = "127.0.0.1", free_port()
        self.process = None

    @property
    def url(self):
        return f"redis://{self.host}:{self.port}/0"

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self):
        program = shutil.which("redis-server")
        assert program, "redis-server is missing: install it"
        command = [program, "--bind", self.host, "--port", str(self.port), "--save", "", "--appendonly", "no", "--dir", self.directory, *self.options]
        # Called from the main thread only, as in `Server`.
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=_dies_with_us)
        deadline = time.monotonic() + 10 * PATIENCE
        while True:
            try:
                with socket.create_connection((self.host, self.port), timeout=1) as probe:
                    probe.sendall(b"PING\r\n")
                    if probe.recv(100).startswith(b"+PONG"):
                        return self
            except OSError:
                pass
            assert self.process.poll() is None, "redis-server has ended"
            assert time.monotonic() < deadline, "redis-server is not ready"
            time.sleep(0.01)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)


def _dies_with_us():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
