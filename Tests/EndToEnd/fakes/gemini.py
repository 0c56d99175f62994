#!/usr/bin/env python3
"""A stand-in for the Gemini API, for tests and for trying things by hand. Standard library only.

It answers ``POST /v1beta/models/{model}:streamGenerateContent?alt=sse`` (without ``alt=sse`` with one JSON array, as the original does) with what a test has
put on its list, one script for each request, and with a short echo when the list is empty.

In a test::

    with FakeGemini(key="k") as gemini:
        gemini.then(say("Olá, ", "tudo bem?"))
        gemini.then(call("lookup_protocol", {"number": 42}), say("Está em atendimento."))
        gemini.then(say("Um momento…", pause=0.2, wait=True))     # goes on when the test calls gemini.go_on()
        gemini.then(fault("quota_day"))
        gemini.wait_for(1).contents

By hand (what the server asks is printed; ``--fault`` makes every answer go wrong)::

    python3 gemini.py --port 9100
    GEMINI_API_KEY=k GEMINI_API_URL=http://127.0.0.1:9100 plantao serve

What is deliberately as awkward as the original: frames are cut anywhere, also inside a character; a frame may have content without parts; thoughts come among the
parts; there is no ``[DONE]``; an error in mid-stream has no ``data:`` before it; errors of a body that is no event stream stand in an array.
"""

from __future__ import annotations

import argparse
import json
import socket
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# --- What an answer is made of --------------------------------------------------------------------------------------------------------


@dataclass
class Step:
    """Bytes to send, after a pause, or after the test says so."""

    data: bytes = b""
    pause: float = 0.0
    wait: bool = False
    hang: bool = False
    drop: bool = False


@dataclass
class Script:
    """One answer."""

    steps: list[Step] = field(default_factory=list)
    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


def frame(candidate: dict | None, **more: Any) -> bytes:
    body: dict[str, Any] = {} if candidate is None else {"candidates": [candidate]}
    body |= more | {"modelVersion": "gemini-2.5-flash", "responseId": "fake"}
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\r\n\r\n"


def content(*parts: dict, finish: str | None = None) -> dict:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return candidate


def usage(prompt: int = 40, answer: int = 12, thoughts: int = 5) -> dict:
    return {
        "promptTokenCount": prompt, "candidatesTokenCount": answer, "thoughtsTokenCount": thoughts, "totalTokenCount": prompt + answer + thoughts,
    }


def say(*texts: str, pause: float = 0.0, wait: bool = False, finish: str = "STOP", thought: str | None = "pensando") -> Script:
    """An answer in as many frames as texts. ``wait``: after the first frame only when the test calls ``go_on``."""
    steps = []
    if thought:
        steps.append(Step(frame(content({"text": thought, "thought": True}))))
    for index, text in enumerate(texts):
        steps.append(Step(frame(content({"text": text})), pause if index else 0.0, wait and index > 0))
    steps.append(Step(frame({"content": {"role": "model"}, "finishReason": finish}, usageMetadata=usage()), pause, wait and len(texts) < 2))
    return Script(steps)


def call(name: str, arguments: dict | None = None, *, text: str | None = None, signature: str = "c2lnbmF0dXJl") -> Script:
    """An answer that calls a function, with the signature that has to come back."""
    parts: list[dict] = [{"text": text}] if text else []
    parts.append({"functionCall": {"name": name, "args": arguments or {}}, "thoughtSignature": signature})
    return Script([Step(frame(content(*parts, finish="STOP"), usageMetadata=usage()))])


def error(code: int, status: str, message: str, *details: dict) -> bytes:
    return json.dumps({"error": {"code": code, "message": message, "status": status, "details": list(details)}}).encode()


def _info(kind: str, **members: Any) -> dict:
    return {"@type": f"type.googleapis.com/google.rpc.{kind}"} | members


def _beginning() -> Step:
    return Step(frame(content({"text": "Começo de resposta que não vai "})))


FAULTS = {
    "empty": lambda: Script([Step(frame(None, usageMetadata=usage(answer=0)))]),
    "no_candidates": lambda: Script([Step(b'data: {"candidates":[]}\n\n')]),
    "blocked_prompt": lambda: Script([Step(frame(None, promptFeedback={"blockReason": "SAFETY"}))]),
    "blocked_answer": lambda: Script([_beginning(), Step(frame({"finishReason": "SAFETY"}))]),
    "no_content": lambda: Script([Step(frame({"finishReason": "STOP"}))]),
    "max_tokens_without_text": lambda: Script(
        [Step(frame(content({"text": "penso", "thought": True}))), Step(frame({"finishReason": "MAX_TOKENS"}, usageMetadata=usage(answer=0, thoughts=1024)))]
    ),
    "unknown_reason": lambda: Script([Step(frame({"finishReason": "WHO_KNOWS"}))]),
    "error_mid_stream": lambda: Script([_beginning(), Step(error(503, "UNAVAILABLE", "The model is overloaded.") + b"\n")]),
    "cancelled_mid_stream": lambda: Script([_beginning(), Step(error(499, "CANCELLED", "The operation was cancelled."))]),
    "malformed": lambda: Script([Step(b"data: {\"candidates\": [\n\n")]),
    "no_end": lambda: Script([_beginning()]),
    "drop": lambda: Script([_beginning(), Step(b'data: {"candidates":[{"conte', drop=True)]),
    "hang": lambda: Script([Step(hang=True)]),
    "hang_mid_stream": lambda: Script([_beginning(), Step(hang=True)]),
    "invalid_key": lambda: Script(
        status=400, body=error(400, "INVALID_ARGUMENT", "API key not valid.", _info("ErrorInfo", reason="API_KEY_INVALID", domain="googleapis.com"))
    ),
    "location": lambda: Script(status=400, body=error(400, "FAILED_PRECONDITION", "User location is not supported for the API use.")),
    "model_not_found": lambda: Script(status=404, body=b"[" + error(404, "NOT_FOUND", "models/x is not found") + b"]"),
    "quota": lambda: Script(
        status=429,
        body=error(
            429, "RESOURCE_EXHAUSTED", "Quota exceeded.",
            _info("QuotaFailure", violations=[{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel"}]), _info("RetryInfo", retryDelay="37s"),
        ),
    ),
    "quota_day": lambda: Script(
        status=429,
        body=b"[" + error(
            429, "RESOURCE_EXHAUSTED", "Quota exceeded.",
            _info("QuotaFailure", violations=[{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]),
        ) + b"]",
    ),
    "quota_without_details": lambda: Script(status=429, body=error(429, "RESOURCE_EXHAUSTED", "Quota exceeded.")),
    "overloaded": lambda: Script(status=503, body=error(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")),
    "server_error": lambda: Script(status=500, body=error(500, "INTERNAL", "An internal error has occurred.")),
    "deadline": lambda: Script(status=504, body=b"<html>504</html>"),
}


def fault(name: str) -> Script:
    """An answer that goes wrong in one of the ways of ``FAULTS``."""
    return FAULTS[name]()


# --- The server -----------------------------------------------------------------------------------------------------------------------


@dataclass
class Asked:
    """One request, as it came."""

    path: str
    key: str | None
    body: dict
    at: float
    #: Set when the client hung up before the answer was over.
    abandoned: threading.Event = field(default_factory=threading.Event)

    @property
    def contents(self) -> list[tuple[str, str]]:
        return [(c["role"], "\n".join(p.get("text", "") for p in c["parts"])) for c in self.body["contents"]]

    @property
    def instructions(self) -> str:
        return self.body["systemInstruction"]["parts"][0]["text"]


class FakeGemini:
    def __init__(self, key: str | None = None, port: int = 0, cut: int | None = 7):
        """``cut``: sends at most so many bytes at a time, so that characters are cut."""
        self.key, self.cut = key, cut
        self.asked: list[Asked] = []
        self._scripts: list[Script] = []
        self.always: str | None = None
        self._changed = threading.Condition()
        self._permits = threading.Semaphore(0)
        self._stopping = threading.Event()
        handler = type("Handler", (_Handler,), {"gemini": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> FakeGemini:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        self._stopping.set()
        self._permits.release(1000)
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> FakeGemini:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def then(self, *scripts: Script) -> None:
        """The next requests are answered so, one after the other."""
        with self._changed:
            self._scripts += scripts

    def go_on(self) -> None:
        """Lets one step go that waits."""
        self._permits.release()

    def wait_for(self, count: int, timeout: float = 20.0) -> Asked:
        """The ``count``-th request, once it has come."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self.asked) >= count, timeout)
            assert came, f"Gemini was asked {len(self.asked)} times, not {count}, within {timeout} s"
            return self.asked[count - 1]

    # Called by the handler.

    def take(self, asked: Asked) -> Script:
        with self._changed:
            self.asked.append(asked)
            self._changed.notify_all()
            if self.key is not None and asked.key != self.key:
                return fault("invalid_key")
            if self._scripts:
                return self._scripts.pop(0)
        if self.always:
            return fault(self.always)
        last = asked.contents[-1][1].splitlines()[-1:] or [""]
        return say("Você disse: ", *(word + " " for word in last[0].split()))

    def wait_step(self, asked: Asked, step: Step, connection: socket.socket) -> bool:
        """Pauses before a step. ``False``: the client has gone, or the fake stops."""
        until = time.monotonic() + step.pause
        waiting = step.wait or step.hang
        while not self._stopping.is_set():
            if not waiting and time.monotonic() >= until:
                return True
            if step.wait and self._permits.acquire(timeout=0.01):
                waiting = False
            try:
                connection.settimeout(0.01)
                if connection.recv(1, socket.MSG_PEEK) == b"":
                    asked.abandoned.set()
                    return False
            except TimeoutError:
                pass
            except OSError:
                asked.abandoned.set()
                return False
            finally:
                connection.settimeout(None)
        return False


class _Handler(BaseHTTPRequestHandler):
    gemini: FakeGemini
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urllib.parse.urlsplit(self.path)
        if not url.path.endswith(":streamGenerateContent"):
            return self._whole(404, error(404, "NOT_FOUND", "no such method"))
        try:
            asked = Asked(self.path, self.headers.get("x-goog-api-key"), json.loads(body), time.time())
        except ValueError:
            return self._whole(400, error(400, "INVALID_ARGUMENT", "Invalid JSON payload received."))
        script = self.gemini.take(asked)
        if script.body is not None:
            return self._whole(script.status, script.body)
        self._stream(asked, script, "alt=sse" in url.query)

    def _whole(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, asked: Asked, script: Script, is_sse: bool) -> None:
        self.close_connection = True
        self.send_response(script.status)
        self.send_header("Content-Type", "text/event-stream" if is_sse else "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for index, step in enumerate(script.steps):
                if not self.gemini.wait_step(asked, step, self.connection):
                    return self.connection.close()
                data = step.data
                if not is_sse:
                    data = (b"," if index else b"[") + data.removeprefix(b"data: ").strip()
                cut = self.gemini.cut or len(data)
                for start in range(0, len(data), max(cut, 1)):
                    self._chunk(data[start : start + cut])
                if step.drop:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
            if not is_sse:
                self._chunk(b"]")
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            asked.abandoned.set()

    def _chunk(self, data: bytes) -> None:
        if data:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: what matters is recorded."""


# --- By hand --------------------------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for the Gemini API: echoes what it is told, in a stream.")
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--key", help="the only API key accepted (any when left out)")
    parser.add_argument("--fault", choices=sorted(FAULTS), help="every answer goes wrong in this way")
    parser.add_argument("--cut", type=int, default=7, help="bytes sent at a time (0: whole frames)")
    options = parser.parse_args()
    gemini = FakeGemini(options.key, options.port, options.cut or None)
    gemini.always = options.fault
    gemini.start()
    print(f"listening on {gemini.url}; set GEMINI_API_URL to it", flush=True)
    shown = 0
    try:
        while True:
            asked = gemini.wait_for(shown + 1, timeout=1e9)
            shown += 1
            print(f"<- {asked.contents[-1] if asked.body.get('contents') else asked.body}", flush=True)
    except KeyboardInterrupt:
        gemini.stop()


if __name__ == "__main__":
    main()
