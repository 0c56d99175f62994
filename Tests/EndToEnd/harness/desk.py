"""A client of the live protocol, on the bare socket: it keeps a picture of every channel it follows, and notes whatever contradicts the contract."""

import contextlib
import itertools
import json
import threading
import time

from .pictures import picture_of
from .rawsocket import Closed, HandshakeRefused, RawSocket
from .waiting import PATIENCE


class ReplyError(Exception):
    def __init__(self, error):
        super().__init__(f"{error.get('code')}: {error.get('message')}")
        self.code, self.message, self.temporary = error.get("code"), error.get("message", ""), error.get("temporary", False)


class Following:
    """One channel as the client stands in it."""

    def __init__(self, channel):
        self.channel = channel
        self.picture = picture_of(channel)
        self.epoch, self.offset = None, None
        self.is_live = False
        self.error = None
        # The subscribe replies, without their contents: [(was_recovering, recovered, number of publications)].
        self.replies = []


class Desk:
    """`keeps_on`: comes back by itself when the connection is lost, as SDKs do. `pongs`: answers the server's pings."""

    def __init__(self, server, token, keeps_on=False, pongs=True, remembers=True):
        self.server, self.token = server, token
        self.keeps_on, self.pongs = keeps_on, pongs
        self.following = {}
        # Contradictions to the contract, in words.
        self.faults = []
        # All that was ever shown: publications (channel, epoch, offset, data) and snapshots (channel, epoch, offset, data).
        self.remembers = remembers
        self.shown, self.snapshots = [], []
        self.connect_result = None
        self.closed = None
        self.socket = None
        self._changed = threading.Condition(threading.RLock())
        self._ids = itertools.count(1)
        self._waiting = {}
        self._thread = None
        self._is_leaving = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.leave()

    # MARK: Connection

    def connect(self, timeout=10.0):
        """Also the reconnect after `cut`: what was followed is subscribed to again, with recovery."""
        self._is_leaving = False
        self._open()
        self._thread = threading.Thread(target=self._read, args=(self.socket,), daemon=True)
        self._thread.start()
        self.wait("the connect reply", lambda: self.connect_result is not None or self.closed is not None, timeout)
        if self.closed:
            raise self.closed
        if isinstance(self.connect_result, ReplyError):
            raise self.connect_result
        return self

    def cut(self):
        """Loses the connection as a dead network does."""
        self._is_leaving = True
        self.socket.abort()
        if self._thread is not threading.current_thread():
            self._thread.join(10)
            assert not self._thread.is_alive(), "the reader has not ended"
        with self._changed:
            self._disconnected(Closed(None, "cut"))

    @contextlib.contextmanager
    def paused(self):
        """Reads no more for a while, as a client whose machine has fallen asleep."""
        with self._changed:
            yield

    def leave(self):
        self._is_leaving = True
        if self.socket is not None:
            self.socket.abort()
            self._thread.join(10)

    # MARK: Commands

    def follow(self, channel, since=None, timeout=10.0, picture=None):
        """Subscribes, and waits for the snapshot. `since`: a position (epoch, offset) to recover from, in place of none. Gives the `Following`."""
        with self._changed:
            following = self.following[channel] = Following(channel)
            following.picture = picture or following.picture
            if since:
                following.epoch, following.offset = since
            self._subscribe(following)
        self.wait(f"the subscribe reply of {channel}", lambda: following.is_live or following.error or self.closed, timeout)
        if following.error:
            del self.following[channel]
            raise following.error
        if not following.is_live:
            raise self.closed
        return following

    def unfollow(self, channel):
        self.command("unsubscribe", {"channel": channel})
        with self._changed:
            return self.following.pop(channel)

    def command(self, name, body, timeout=10.0):
        """Sends one command and waits for its reply's member of the same name. ReplyError when it is an error."""
        answered = []
        with self._changed:
            self._send(name, body, answered.append)
        self.wait(f"the reply to {name}", lambda: answered or self.closed, timeout)
        if not answered:
            raise self.closed
        if "error" in answered[0]:
            raise ReplyError(answered[0]["error"])
        return answered[0][name]

    def rpc(self, method, data=None, timeout=10.0):
        return self.command("rpc", {"method": method, "data": {} if data is None else data}, timeout).get("data")

    # MARK: Looking

    def picture(self, channel):
        return self.following[channel].picture

    def wait(self, what, condition, timeout=10.0):
        """Waits until something the server said makes `condition` true. What is not there yet may be a KeyError."""

        def holds():
            try:
                return condition()
            except KeyError:
                return None

        deadline = time.monotonic() + timeout * PATIENCE
        with self._changed:
            while not (found := holds()):
                left = deadline - time.monotonic()
                assert left > 0, f"not within {timeout * PATIENCE:.1f} s: {what}; closed: {self.closed}; faults: {self.faults[:3]}"
                self._changed.wait(min(left, 0.25))
            return found

    @property
    def conversations(self):
        """The open conversations, by id, as they are shown now."""
        with self._changed:
            return dict(self.picture("conversations").items)

    def everything_shown(self):
        with self._changed:
            return list(self.shown), list(self.snapshots)

    def agrees_with(self, api):
        """Whether every picture equals what REST tells; an AssertionError says what does not."""
        with self._changed:
            assert not self.faults, self.faults[:5]
            followed = list(self.following.values())
        for following in followed:
            assert following.is_live, f"{following.channel} is not subscribed to"
            differences = following.picture.differences(api)
            assert not differences, f"{following.channel}: {differences[:3]}"
        return True

    # MARK: The reader

    def _open(self):
        socket = RawSocket(self.server.host, self.server.port)
        with self._changed:
            self.socket = socket
            self.closed, self.connect_result = None, None
            self._waiting.clear()
            self._send("connect", {"token": self.token, "name": "e2e"}, self._connected)

    def _read(self, socket):
        while True:
            try:
                text = socket.receive(timeout=1.0)
                if text is None:
                    if self._is_leaving:
                        return
                    continue
                with self._changed:
                    for line in text.strip().split("\n"):
                        self._took(json.loads(line))
                    self._changed.notify_all()
            except (Closed, OSError) as error:
                closed = error if isinstance(error, Closed) else Closed(None, str(error))
                with self._changed:
                    self._disconnected(closed)
                if not self.keeps_on or self._is_leaving or _is_final(closed.code):
                    return
                socket = self._reopened()
                if socket is None:
                    return
            except Exception as error:  # A fault of ours must not look like silence of the server's.
                with self._changed:
                    self.faults.append(f"the reader failed: {error!r}")
                    self._disconnected(Closed(None, repr(error)))
                return

    def _reopened(self):
        deadline = time.monotonic() + 30 * PATIENCE
        while time.monotonic() < deadline and not self._is_leaving:
            try:
                self._open()
                return self.socket
            except (OSError, Closed, HandshakeRefused):
                time.sleep(0.05)
        return None

    def _disconnected(self, closed):
        self.closed = closed
        for following in self.following.values():
            following.is_live = False
        self._changed.notify_all()

    def _took(self, reply):
        if not reply:
            if self.pongs:
                self.socket.send("{}")
        elif push := reply.get("push"):
            self._pushed(push)
        else:
            answer = self._waiting.pop(reply.get("id"), None)
            if answer is None:
                self.faults.append(f"a reply to nothing that was asked: {str(reply)[:300]}")
            else:
                answer(reply)

    def _connected(self, reply):
        if "error" in reply:
            self.connect_result = ReplyError(reply["error"])
            return
        self.connect_result = reply["connect"]
        for following in self.following.values():
            self._subscribe(following)

    def _subscribe(self, following):
        body = {"channel": following.channel}
        if following.epoch is not None:
            body |= {"recover": True, "epoch": following.epoch, "offset": following.offset}
        self._send("subscribe", body, lambda reply: self._subscribed(following, reply))

    def _subscribed(self, following, reply):
        if "error" in reply:
            following.error = ReplyError(reply["error"])
            return
        result = reply["subscribe"]
        publications = result.get("publications", [])
        was_recovering = following.epoch is not None
        recovered = result.get("recovered", False)
        following.replies.append((was_recovering, recovered, len(publications)))
        epoch, offset = result.get("epoch", ""), result.get("offset", 0)
        if recovered:
            if not was_recovering:
                self._fault(following, "recovered, though nothing was to be recovered")
            if epoch != following.epoch:
                self._fault(following, f"recovered into another epoch: {following.epoch} to {epoch}")
            for publication in publications:
                self._published(following, publication)
            if following.offset != offset:
                self._fault(following, f"recovered up to {following.offset}, but the position is {offset}")
        else:
            if publications:
                self._fault(following, "publications without having recovered")
            following.epoch, following.offset = epoch, offset
            if "data" not in result:
                self._fault(following, "neither recovered nor a snapshot")
            else:
                self._try(following, following.picture.replace, result["data"])
                if self.remembers:
                    self.snapshots.append((following.channel, epoch, offset, result["data"]))
        following.is_live = True

    def _pushed(self, push):
        channel = push.get("channel")
        following = self.following.get(channel)
        if "pub" in push:
            if following is None or not following.is_live:
                # Also what was on its way when we unsubscribed. What the server has subscribed us to itself comes before the reply to our own command.
                if following is not None and channel not in self.connect_result.get("subs", {}):
                    self._fault(following, "a publication before the subscribe reply")
            else:
                self._published(following, push["pub"])
        elif "unsubscribe" in push:
            if following:
                following.is_live = False
                if push["unsubscribe"]["code"] >= 2500:
                    self._subscribe(following)
        elif "disconnect" in push:
            self.closed = Closed(push["disconnect"]["code"], push["disconnect"].get("reason", ""))

    def _published(self, following, publication):
        offset = publication.get("offset")
        data = publication["data"]
        if offset:
            if offset != following.offset + 1:
                self._fault(following, f"offset {offset} after {following.offset}: {str(data)[:200]}")
            following.offset = offset
            if self.remembers:
                self.shown.append((following.channel, following.epoch, offset, data))
        self._try(following, following.picture.apply, data)

    def _try(self, following, change, data):
        try:
            change(data)
        except (AssertionError, KeyError, TypeError) as error:
            self._fault(following, f"{error!r} in {str(data)[:300]}")

    def _fault(self, following, what):
        self.faults.append(f"{following.channel}: {what}"[:900])

    def _send(self, name, body, answer):
        id = next(self._ids)
        self._waiting[id] = answer
        try:
            self.socket.send(json.dumps({"id": id, name: body}))
        except OSError:
            # The reader finds out by itself.
            pass


def _is_final(code):
    return code is not None and (3500 <= code < 4000 or 4500 <= code < 5000)
