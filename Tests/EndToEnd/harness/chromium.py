"""Chromium, headless, as Debian ships it, driven over the DevTools protocol: a browser's own WebSocket and EventSource."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

from websockets.sync.client import connect

from .waiting import PATIENCE

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


class Chromium:
    """One browser. `page` opens an address in it, whose origin is then that of what `run` does."""

    def __init__(self):
        program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
        assert program, "chromium is missing: make deps-test installs it"
        self._profile = tempfile.mkdtemp(prefix="plantao-chromium-")
        self._log = open(os.path.join(self._profile, "stderr.log"), "wb")
        self._process = subprocess.Popen(
            [
                program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--no-first-run",
                "--no-default-browser-check", "--disable-background-networking", "--disable-sync", "--mute-audio", "--no-proxy-server",
                "--remote-debugging-port=0", f"--user-data-dir={self._profile}", "about:blank",
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._log, start_new_session=True,
        )
        self._ids = itertools.count(1)
        try:
            port, path = self._devtools()
            self._ws = connect(f"ws://127.0.0.1:{port}{path}", proxy=None, max_size=None, open_timeout=60 * PATIENCE, ping_interval=None).__enter__()
        except BaseException:
            self.close()
            raise

    def _devtools(self):
        """The port that it has chosen, and the address of the browser behind it."""
        file = os.path.join(self._profile, "DevToolsActivePort")
        deadline = time.monotonic() + 90 * PATIENCE
        while time.monotonic() < deadline:
            assert self._process.poll() is None, f"chromium has ended with {self._process.returncode}: {self._said()}"
            if os.path.exists(file):
                lines = open(file).read().split("\n")
                if len(lines) >= 2 and lines[1]:
                    return int(lines[0]), lines[1]
            time.sleep(0.05)
        raise AssertionError(f"chromium does not open its DevTools: {self._said()}")

    def _said(self):
        return open(os.path.join(self._profile, "stderr.log"), errors="replace").read()[-2000:]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        try:
            self._send("Browser.close")
            self._process.wait(10 * PATIENCE)
        except Exception:
            pass
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()
        shutil.rmtree(self._profile, ignore_errors=True)

    # MARK: DevTools

    def _send(self, method, session=None, **parameters):
        id = next(self._ids)
        self._ws.send(json.dumps({"id": id, "method": method, "params": parameters} | ({"sessionId": session} if session else {})))
        return id

    def call(self, method, session=None, timeout=60.0, **parameters):
        id = self._send(method, session, **parameters)
        deadline = time.monotonic() + timeout * PATIENCE
        while True:
            message = json.loads(self._ws.recv(timeout=max(0.1, deadline - time.monotonic())))
            if message.get("id") == id:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]

    def page(self, url):
        target = self.call("Target.createTarget", url=url)["targetId"]
        page = Page(self, target, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        deadline = time.monotonic() + 60 * PATIENCE
        while page.run("() => document.readyState + ' ' + location.href") != f"complete {url}":
            assert time.monotonic() < deadline, f"{url} is not loaded"
            time.sleep(0.05)
        return page


class Page:
    def __init__(self, browser, target, session):
        self._browser, self._target, self._session = browser, target, session

    def run(self, function, *arguments, timeout=120.0):
        """Calls a JavaScript function in the page, waits for its promise, and gives what it gave. AssertionError for what it threw."""
        expression = f"({function})({', '.join(json.dumps(argument) for argument in arguments)})"
        result = self._browser.call(
            "Runtime.evaluate", self._session, timeout, expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if failure := result.get("exceptionDetails"):
            raise AssertionError(f"in the page: {failure.get('exception', {}).get('description') or failure}")
        return result["result"].get("value")

    def close(self):
        self._browser.call("Target.closeTarget", targetId=self._target)
