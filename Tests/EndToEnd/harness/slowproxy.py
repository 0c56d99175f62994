"""A way to Postgres that can be slow, mute, cut, or gone: a TCP proxy that reads along what the client asks (protocol 3.0, "Message Formats")."""

import socket
import struct
import threading
import time

from .cable import _reset

SSL_REQUEST, GSS_REQUEST = 80877103, 80877104
QUERY, EXECUTE = b"Q", b"E"


class SlowProxy:
    """Offers no TLS: what is encrypted cannot be read along.

    `delay`: seconds that each statement takes longer.
    """

    def __init__(self, host, port):
        self._to = (host, port)
        self.host, self.port = "127.0.0.1", None
        self.delay = 0.0
        # Statements that have gone through.
        self.statements = 0
        self._answers_to_lose = 0
        self._flows = threading.Event()
        self._flows.set()
        self._pairs = set()
        self._lock = threading.Lock()
        self._listener = None
        self.listen()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # MARK: What can go wrong

    def cut(self):
        """Resets all connections. New ones are taken."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            _reset(*pair)

    def refuse(self):
        """Nobody listens any more: resets all connections, and new ones are refused, until `listen`."""
        listener, self._listener = self._listener, None
        if listener is not None:
            # Wakes the thread that accepts; closing alone leaves it waiting, and the port open.
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()

    def listen(self):
        self._listener = socket.create_server(("127.0.0.1", self.port or 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def mute(self):
        """Connections are taken and stand, and nothing comes through any more, until `speak`: as when packets are lost on the way."""
        self._flows.clear()

    def speak(self):
        self._flows.set()

    def lose_answers(self, times):
        """So many times a write is carried out, and the connection is cut before its answer is through."""
        with self._lock:
            self._answers_to_lose = times

    @property
    def answers_to_lose(self):
        with self._lock:
            return self._answers_to_lose

    def close(self):
        self.refuse()
        self._flows.set()

    # MARK: Inside

    def _accept(self, listener):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._to, timeout=5)
            except OSError:
                _reset(near)
                continue
            far.settimeout(None)
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs.add((near, far))
            for carry in (self._ask, self._answer):
                threading.Thread(target=self._run, args=(carry, near, far), daemon=True).start()

    def _run(self, carry, near, far):
        try:
            carry(near, far)
        except (OSError, ValueError):
            pass
        finally:
            with self._lock:
                self._pairs.discard((near, far))
            for end in (near, far):
                try:
                    # Closing alone does not wake the other direction's thread.
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                end.close()

    def _ask(self, near, far):
        """Client to server, message by message."""
        unread = bytearray()
        is_started = False
        while chunk := near.recv(65536):
            unread += chunk
            ready = bytearray()
            while True:
                head = 1 if is_started else 0
                if len(unread) < head + 4:
                    break
                length = head + struct.unpack_from(">I", unread, head)[0]
                if len(unread) < length:
                    break
                message = bytes(unread[:length])
                del unread[:length]
                if not is_started:
                    if length == 8 and struct.unpack_from(">I", message, 4)[0] in (SSL_REQUEST, GSS_REQUEST):
                        self._flows.wait()
                        near.sendall(b"N")
                        continue
                    is_started = True
                elif message[:1] in (QUERY, EXECUTE):
                    self.statements += 1
                    if self.delay:
                        self._send(far, ready)
                        time.sleep(self.delay)
                ready += message
            self._send(far, ready)

    def _answer(self, near, far):
        while chunk := far.recv(65536):
            self._flows.wait()
            if b"INSERT 0 " in chunk and self._loses_this():
                # The commit is behind the insert on the same way: it has its time.
                time.sleep(0.05)
                return
            near.sendall(chunk)

    def _send(self, far, ready):
        self._flows.wait()
        if ready:
            far.sendall(ready)
            ready.clear()

    def _loses_this(self):
        with self._lock:
            if self._answers_to_lose == 0:
                return False
            self._answers_to_lose -= 1
            return True
