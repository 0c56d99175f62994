"""A TCP cable between a client and the server that can be cut, to take the network away from a client that is not ours to change."""

import select
import socket
import struct
import threading


class Cable:
    def __init__(self, host, port):
        self._to = (host, port)
        self._pairs = set()
        self._lock = threading.Lock()
        self._is_broken = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def break_(self):
        """Resets what is connected and refuses what wants to be, until `mend`."""
        self._is_broken = True
        self.cut()

    def mend(self):
        self._is_broken = False

    def cut(self):
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            _reset(*pair)

    def close(self):
        self._listener.close()
        self.cut()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._is_broken:
                _reset(near)
                continue
            try:
                far = socket.create_connection(self._to, timeout=5)
            except OSError:
                _reset(near)
                continue
            with self._lock:
                self._pairs.add((near, far))
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near, far):
        other = {near: far, far: near}
        try:
            while True:
                for source in select.select([near, far], [], [], 1.0)[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    other[source].sendall(data)
        except (OSError, ValueError):
            pass
        finally:
            with self._lock:
                self._pairs.discard((near, far))
            near.close()
            far.close()


def _reset(*sockets):
    for end in sockets:
        try:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.shutdown(socket.SHUT_RD)
        except OSError:
            pass
        end.close()
