"""Clients that are not ours on the realtime doors: `websockets`, `aiohttp`, `curl` and Chromium. What RFC 6455 and 7692 promise, each finds kept, with compression
and without; and the session protocol by hand (protocol/README.md "Channels")."""

import asyncio
import json
import random
import re
import subprocess
import threading

import aiohttp
import pytest
import websockets

from conftest import _offices
from harness.chromium import Chromium
from harness.waiting import PATIENCE, eventually

LARGEST = 16 << 20
DEFLATE = [True, False]


@pytest.fixture(scope="module")
def servers(tmp_path_factory, request):
    """A server with the echo open for each: compressing, and not."""
    opened = _offices(lambda: tmp_path_factory.mktemp("office"), request)
    open_office = next(opened)
    yield {deflate: open_office(PLANTAO_ECHO=1, PLANTAO_WEBSOCKET_COMPRESSION=int(deflate)) for deflate in DEFLATE}
    next(opened, None)


@pytest.fixture(params=DEFLATE, ids=["deflate", "plain"])
def office(request, servers):
    servers[request.param].deflates = request.param
    return servers[request.param]


def ws_url(office, path):
    return f"ws://{office.server.host}:{office.server.port}{path}"


def messages(seed):
    """Texts and bytes of all the lengths at which a frame's header changes, and up to the largest message there may be."""
    source = random.Random(seed)
    for length in (0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537, 1 << 20):
        yield ("aé€😀" * (length // 10 + 1)).encode()[: length - length % 10].decode() + "x" * (length % 10)
        yield source.randbytes(length)
    yield "x" * LARGEST
    yield source.randbytes(LARGEST)


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 110 * PATIENCE))


# MARK: websockets


def test_websockets_gets_back_what_it_sends(office):
    async def scene():
        async with websockets.connect(ws_url(office, "/connection/echo"), max_size=None, proxy=None, open_timeout=60 * PATIENCE) as ws:
            assert [type(e).__name__ for e in ws.protocol.extensions] == (["PerMessageDeflate"] if office.deflates else [])
            for message in messages(1):
                await ws.send(message)
                assert await ws.recv() == message
            # In pieces, with control frames between them.
            for pieces in (["frag", "", "ment", "ed"], [b"\x00", b"\xff" * 70_000, b""]):
                await ws.send(pieces)
                assert await ws.recv() == type(pieces[0])().join(pieces)
            waiter = await ws.ping(b"p" * 125)
            await waiter
            await ws.close(4321, "até logo")
            return ws.close_code, ws.close_reason

    assert run(scene())[0] == 4321


# MARK: aiohttp


@pytest.mark.parametrize("offers", [15, 9, 0])
def test_aiohttp_gets_back_what_it_sends(office, offers):
    async def scene():
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(ws_url(office, "/connection/echo"), compress=offers, max_msg_size=0, autoping=False, timeout=aiohttp.ClientWSTimeout(ws_close=60 * PATIENCE)) as ws:
                assert bool(ws.compress) == (office.deflates and offers > 0)
                for message in messages(2):
                    await (ws.send_str(message) if isinstance(message, str) else ws.send_bytes(message))
                    answer = await ws.receive()
                    assert answer.type == (aiohttp.WSMsgType.TEXT if isinstance(message, str) else aiohttp.WSMsgType.BINARY)
                    assert answer.data == message
                await ws.ping(b"como vai")
                answer = await ws.receive()
                assert (answer.type, bytes(answer.data)) == (aiohttp.WSMsgType.PONG, b"como vai")
                await ws.close(code=4001, message=b"fim")
                return ws.close_code

    # The code that it sent itself: the server answers with the same (RFC 6455 section 5.5.1).
    assert run(scene()) == 4001


def test_aiohttp_speaks_the_session_protocol_by_hand(office):
    async def scene():
        async with aiohttp.ClientSession() as session:
            url = ws_url(office, "/connection/websocket")
            async with session.ws_connect(url, compress=15, protocols=["something", "centrifuge-json"]) as ws:
                assert ws.protocol == "centrifuge-json"
                found = {}

                async def until(name, send=None):
                    if send:
                        await ws.send_str("\n".join(map(json.dumps, send)))
                    while name not in found:
                        message = await ws.receive(timeout=60 * PATIENCE)
                        assert message.type == aiohttp.WSMsgType.TEXT, message
                        for line in message.data.splitlines():
                            reply = json.loads(line)
                            found[reply["push"]["channel"] if "push" in reply else reply.get("id", "ping")] = reply
                    return found[name]

                first = {"id": 1, "connect": {"token": office.admin.token}}
                assert (await until(1, [first, {"id": 2, "subscribe": {"channel": "notices"}}]))["connect"]["client"]
                assert (await until(2))["subscribe"]["recoverable"]
                notice = await asyncio.to_thread(office.admin.post, "/api/v1/notices", {"text": "é comprido " * 200}, 201)
                assert (await until("notices"))["push"]["pub"]["data"]["notice"] == notice
                # Text is what it speaks.
                await ws.send_bytes(b"{}")
                while (message := await ws.receive(timeout=60 * PATIENCE)).type == aiohttp.WSMsgType.TEXT:
                    pass
                return ws.close_code

    assert run(scene()) == 1003


# MARK: curl


def curl(office, path, *arguments, seconds=20):
    """Its exit code, the status, the headers and the body."""
    command = ["curl", "--silent", "--include", "--no-buffer", "--noproxy", "*", "--http1.1", "--max-time", str(seconds), *arguments, office.server.url + path]
    ended = subprocess.run(command, capture_output=True, timeout=(seconds + 60) * PATIENCE, stdin=subprocess.DEVNULL)
    head, _, body = ended.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 "), ended
    status, *fields = head.decode().split("\r\n")
    return ended.returncode, int(status.split()[1]), {name.lower(): value for name, value in (f.split(": ", 1) for f in fields)}, body


def handshake(**changes):
    """curl's arguments for the example of RFC 6455 section 1.3, with other headers in place of its own."""
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    return [argument for name, value in headers.items() if value is not None for argument in ("-H", f"{name}: {value}")]


def test_curl_is_given_the_handshake_of_the_rfc(office):
    offer = "permessage-deflate; client_max_window_bits"
    _, status, headers, body = curl(office, "/connection/websocket", *handshake(Sec_WebSocket_Extensions=offer), seconds=2)
    assert status == 101 and headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" and body == b""
    assert headers["upgrade"].lower() == "websocket" and headers["connection"].lower() == "upgrade"
    assert ("permessage-deflate" in headers.get("sec-websocket-extensions", "")) == office.deflates


@pytest.mark.parametrize(
    "path, arguments, status",
    [
        ("/connection/websocket", handshake(Sec_WebSocket_Version="8"), 426),
        ("/connection/websocket", handshake(Sec_WebSocket_Version=None), 426),
        ("/connection/websocket", handshake(Sec_WebSocket_Key="short"), 400),
        ("/connection/websocket", handshake(Sec_WebSocket_Key=None), 400),
        ("/connection/websocket", handshake(Origin="https://evil.example"), 403),
        ("/connection/websocket", [*handshake(), "-X", "POST"], 405),
        ("/connection/nowhere", handshake(), 404),
        ("/connection/websocket", handshake(Sec_WebSocket_Extensions="permessage-deflate; server_max_window_bits=\"unfinished"), 400),
        ("/connection/websocket", [], 400),
    ],
    ids=["version", "no version", "key", "no key", "origin", "method", "path", "extensions", "no upgrade"],
)
def test_curl_is_told_what_is_wrong_with_a_handshake(office, path, arguments, status):
    if status == 400 and not office.deflates and any("Extensions" in a for a in arguments):
        status = 101  # Nobody reads what is not going to be used.
    _, answered, headers, body = curl(office, path, *arguments, seconds=2 if status == 101 else 20)
    assert answered == status
    if status != 101:
        assert json.loads(body)["detail"]
    if status == 426:
        assert headers["sec-websocket-version"] == "13"


class Curl:
    """A curl that goes on reading."""

    def __init__(self, office, path, *arguments):
        command = ["curl", "--silent", "--show-error", "--no-buffer", "--noproxy", "*", *arguments, office.server.url + path]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.lines = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            if line.strip():
                self.lines.append(line.decode().strip())

    def find(self, what, condition):
        def found():
            replies = [json.loads(line.removeprefix("data: ")) for line in self.lines if not line.startswith(("retry:", "id:", ":"))]
            return next((reply for reply in replies if condition(reply)), None)

        return eventually(what, found, timeout=30)

    def end(self):
        self.process.kill()
        self.process.wait()


@pytest.mark.parametrize("way", ["sse", "http_stream"])
def test_curl_follows_a_stream_and_speaks_through_the_emulation(office, way):
    command = json.dumps({"id": 1, "connect": {"token": office.admin.token}})
    if way == "sse":
        live = Curl(office, "/connection/sse", "--get", "--data-urlencode", f"cf_connect={command}")
    else:
        live = Curl(office, "/connection/http_stream", "--data", command)
    try:
        session = live.find("the connect reply", lambda reply: reply.get("id") == 1)["connect"]["session"]
        body = json.dumps({"session": session, "node": "", "data": json.dumps({"id": 2, "subscribe": {"channel": "notices"}})})
        assert curl(office, "/emulation", "-H", "Content-Type: application/json", "--data", body)[1] == 204
        live.find("the subscribe reply", lambda reply: "subscribe" in reply and reply["id"] == 2)
        notice = office.admin.post("/api/v1/notices", {"text": "para o curl"}, expect=201)
        live.find("the notice", lambda reply: reply.get("push", {}).get("pub", {}).get("data", {}).get("notice") == notice)
    finally:
        live.end()


def test_curl_polls(office):
    bearer = ["-H", f"Authorization: Bearer {office.admin.token}"]
    _, status, _, body = curl(office, "/api/v1/realtime/notices?wait=0", *bearer)
    first = json.loads(body)
    assert status == 200 and first["epoch"]
    waiting = Curl(office, f"/api/v1/realtime/notices?wait=50&epoch={first['epoch']}&offset={first['offset']}", *bearer)
    try:
        notice = office.admin.post("/api/v1/notices", {"text": "para quem espera"}, expect=201)
        answer = waiting.find("the answer", lambda reply: "publications" in reply)
        assert answer["publications"][0]["data"]["notice"] == notice and answer["offset"] == first["offset"] + 1
        assert waiting.process.wait(30 * PATIENCE) == 0
    finally:
        waiting.end()


# MARK: Chromium


@pytest.fixture(scope="module")
def browser():
    with Chromium() as browser:
        yield browser


@pytest.fixture
def page(browser, office):
    """A page of the server's own origin."""
    page = browser.page(office.server.url + "/info")
    yield page
    page.close()


# A socket whose messages can be awaited.
SOCKET = """
function open(url, protocols) {
  const ws = new WebSocket(url, protocols), arrived = [], waiting = [];
  ws.binaryType = 'arraybuffer';
  ws.ended = new Promise(done => { ws.onclose = e => { done({code: e.code, reason: e.reason, clean: e.wasClean}); waiting.forEach(w => w(null)); } });
  ws.onmessage = e => { const w = waiting.shift(); if (w) w(e.data); else arrived.push(e.data); };
  ws.next = () => arrived.length ? Promise.resolve(arrived.shift()) : new Promise(done => waiting.push(done));
  ws.ready = new Promise((done, failed) => { ws.onopen = done; ws.onerror = () => failed(new Error('the socket could not be opened')); });
  return ws;
}
"""


def test_chromium_gets_back_what_it_sends(office, page):
    seen = page.run(
        "async (url, largest) => {" + SOCKET + """
        const ws = open(url);
        await ws.ready;
        const lengths = [0, 1, 125, 126, 127, 65535, 65536, 131073, 1 << 20];
        const same = (a, b) => {
          if (typeof a === 'string') return a === b;
          const [x, y] = [new Uint8Array(a), new Uint8Array(b)];
          return x.length === y.length && x.every((byte, n) => byte === y[n]);
        };
        const noise = length => {
          const bytes = new Uint8Array(length);
          for (let n = 0; n < length; n += 65536) crypto.getRandomValues(bytes.subarray(n, Math.min(length, n + 65536)));
          return bytes.buffer;
        };
        const differing = [];
        for (const [n, message] of [
          ...lengths.map(l => [...'é😀'.repeat(l)].slice(0, l).join('')), ...lengths.map(noise), 'x'.repeat(largest), noise(largest)].entries()) {
          ws.send(message);
          const answer = await ws.next();
          if (answer === null || !same(message, answer)) { differing.push(n); if (answer === null) break; }
        }
        // Many without waiting: in order.
        for (let n = 0; n < 2000; n++) ws.send('n' + n);
        for (let n = 0; n < 2000; n++) if (await ws.next() !== 'n' + n) { differing.push('order ' + n); break; }
        const extensions = ws.extensions;
        ws.close(3456, 'até logo');
        return {differing, extensions, ended: await ws.ended};
        }""",
        ws_url(office, "/connection/echo"), LARGEST,
    )
    assert seen["differing"] == []
    assert ("permessage-deflate" in seen["extensions"]) == office.deflates
    assert seen["ended"]["code"] == 3456 and seen["ended"]["clean"]


def test_chromium_is_told_why_when_a_message_is_too_large(office, page):
    ended = page.run(
        "async (url, length) => {" + SOCKET + "const ws = open(url); await ws.ready; ws.send(new Uint8Array(length)); return await ws.ended; }",
        ws_url(office, "/connection/echo"), LARGEST + 1,
    )
    assert ended["code"] == 1009 and ended["clean"]


def test_chromium_speaks_the_session_protocol_by_hand(office, page):
    seen = page.run(
        "async (url, token) => {" + SOCKET + """
        const ws = open(url, ['centrifuge-json']);
        await ws.ready;
        const replies = [];
        const until = async condition => {
          for (;;) {
            const found = replies.find(condition);
            if (found) return found;
            const frame = await ws.next();
            if (frame === null) throw new Error('closed: ' + JSON.stringify(await ws.ended));
            for (const line of frame.split('\\n')) {
              const reply = JSON.parse(line);
              if (!Object.keys(reply).length) ws.send('{}');
              replies.push(reply);
            }
          }
        };
        ws.send(JSON.stringify({id: 1, connect: {token}}) + '\\n' + JSON.stringify({id: 2, subscribe: {channel: 'notices'}}));
        const connected = await until(r => r.id === 1), subscribed = await until(r => r.id === 2);
        const posted = await (await fetch('/api/v1/notices', {method: 'POST', body: JSON.stringify({text: 'do navegador'}),
          headers: {'authorization': 'Bearer ' + token, 'content-type': 'application/json'}})).json();
        const push = await until(r => r.push && r.push.pub && r.push.pub.data.notice && r.push.pub.data.notice.id === posted.id);
        ws.send(JSON.stringify({id: 3, rpc: {method: 'echo', data: {n: 1}}}));
        const echoed = await until(r => r.id === 3);
        ws.send('this is no JSON');
        return {protocol: ws.protocol, connected, subscribed, posted, push, echoed, ended: await ws.ended};
        }""",
        ws_url(office, "/connection/websocket"), office.admin.token,
    )
    assert seen["protocol"] == "centrifuge-json" and seen["connected"]["connect"]["client"]
    assert seen["subscribed"]["subscribe"]["positioned"] and seen["echoed"]["rpc"]["data"] == {"n": 1}
    assert seen["push"]["push"]["pub"]["data"]["notice"] == seen["posted"] and seen["posted"]["text"] == "do navegador"
    assert seen["ended"] == {"code": 3501, "reason": "bad request", "clean": True}


def test_a_page_of_another_origin_gets_no_socket(office, browser):
    # The same machine under another name is another origin.
    page = browser.page(office.server.url.replace("127.0.0.1", "localhost") + "/info")
    try:
        with pytest.raises(AssertionError, match="could not be opened"):
            page.run("async url => {" + SOCKET + "await open(url).ready; }", ws_url(office, "/connection/websocket"))
    finally:
        page.close()


def test_chromiums_event_source_hears_what_is_published(office, page):
    seen = page.run(
        """async (token) => {
        const command = JSON.stringify({id: 1, connect: {token}});
        const source = new EventSource('/connection/sse?cf_connect=' + encodeURIComponent(command));
        const arrived = [], waiting = [];
        source.onmessage = e => { arrived.push(JSON.parse(e.data)); waiting.splice(0).forEach(w => w()); };
        const until = async condition => {
          for (;;) {
            const found = arrived.find(condition);
            if (found) return found;
            await new Promise(done => waiting.push(done));
          }
        };
        const json = {'content-type': 'application/json'};
        const connected = await until(r => r.id === 1);
        const emulated = await fetch('/emulation', {method: 'POST', headers: json,
          body: JSON.stringify({session: connected.connect.session, node: '', data: JSON.stringify({id: 2, subscribe: {channel: 'notices'}})})});
        await until(r => r.id === 2);
        const posted = await (await fetch('/api/v1/notices', {method: 'POST', body: JSON.stringify({text: 'por eventos'}),
          headers: {...json, 'authorization': 'Bearer ' + token}})).json();
        const push = await until(r => r.push && r.push.pub && r.push.pub.data.notice && r.push.pub.data.notice.id === posted.id);
        source.close();
        return {status: emulated.status, posted, push};
        }""",
        office.admin.token,
    )
    assert seen["status"] == 204
    assert seen["push"]["push"]["pub"]["data"]["notice"] == seen["posted"] and re.match("por eventos", seen["posted"]["text"])
