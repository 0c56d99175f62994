"""A small HTTP client over kept-alive connections, one for each thread, that never repeats a request by itself."""

import gzip
import http.client
import json as jsonlib
import select
import socket
import threading
import time


class Reply:
    def __init__(self, method, path, status, headers, body):
        self.request = f"{method} {path}"
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        self.body = body

    @property
    def content(self):
        """The body, unpacked."""
        return gzip.decompress(self.body) if self.body and self.headers.get("content-encoding") == "gzip" else self.body

    @property
    def text(self):
        return self.content.decode("utf-8", "replace")

    def json(self):
        return jsonlib.loads(self.content)

    def __repr__(self):
        return f"<{self.request} -> {self.status} {self.text[:600]}>"


class Http:
    def __init__(self, host, port):
        self.host, self.port = host, port
        self._local = threading.local()

    def request(self, method, path, headers=None, body=None, timeout=15.0):
        connection = self._connection(timeout)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            reply = Reply(method, path, response.status, response.getheaders(), response.read())
        except BaseException:
            self.forget()
            raise
        if response.will_close:
            self.forget()
        return reply

    def forget(self):
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
        self._local.connection = None

    def _connection(self, timeout):
        connection = getattr(self._local, "connection", None)
        if connection is not None and (connection.sock is None or _is_readable(connection.sock)):
            # The server has closed it, or said something nobody asked for.
            self.forget()
            connection = None
        if connection is None:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._local.connection = connection
        connection.sock.settimeout(timeout)
        return connection


def _is_readable(sock):
    return bool(select.select([sock], [], [], 0)[0])


def raw_exchange(host, port, data, timeout=10.0):
    """Sends bytes as they are, and reads until the server closes, has said enough for one answer, or time is up. An answer ends the sending."""
    deadline = time.monotonic() + timeout
    received, unsent = b"", memoryview(data)
    with socket.create_connection((host, port), timeout=timeout) as sock:
        sock.setblocking(False)
        while (left := deadline - time.monotonic()) > 0:
            readable, writable, _ = select.select([sock], [sock] if unsent else [], [], left)
            try:
                if readable:
                    chunk = sock.recv(65536)
                    received += chunk
                    head, separator, rest = received.partition(b"\r\n\r\n")
                    if not chunk or separator and len(rest) >= _content_length(head):
                        break
                elif writable:
                    unsent = unsent[sock.send(unsent[:65536]) :]
            except OSError:
                break
    return received


def status_of(received):
    """The status of a raw answer; None when the server closed without one."""
    parts = received.split(b" ", 2)
    return int(parts[1]) if len(parts) > 2 and parts[0].startswith(b"HTTP/") else None


def _content_length(head):
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 1 << 62
