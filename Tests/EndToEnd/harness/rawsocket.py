"""A WebSocket client that does what it is told, also what RFC 6455 forbids. Used by `Desk`, and bare for malformed frames and cut connections."""

import base64
import os
import select
import socket
import struct
import time

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


class Closed(Exception):
    """The connection is over. `code` is None when it ended without a close frame."""

    def __init__(self, code=None, reason=""):
        super().__init__(f"closed: {code} {reason}")
        self.code, self.reason = code, reason


class HandshakeRefused(Exception):
    def __init__(self, status, head):
        super().__init__(f"the handshake was answered with {status}: {head[:300]!r}")
        self.status = status


class RawSocket:
    def __init__(self, host, port, path="/connection/websocket", headers=(), timeout=5.0):
        self.sock = socket.create_connection((host, port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = bytearray()
        self._fragments = bytearray()
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1", f"Host: {host}:{port}", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13", *headers,
        ]
        try:
            self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            while b"\r\n\r\n" not in self._received:
                self._read_some(time.monotonic() + timeout)
            head, _, rest = bytes(self._received).partition(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            if status != 101:
                raise HandshakeRefused(status, head + b"\r\n\r\n" + rest)
        except BaseException:
            self.sock.close()
            raise
        self._received = bytearray(rest)

    # MARK: Sending

    def send(self, text):
        self.send_frame(TEXT, text.encode())

    def send_frame(self, opcode, payload, fin=True, masked=True, rsv=0, announced=None):
        """`announced`: the length written in the header, where it is to differ from the payload's."""
        length = len(payload) if announced is None else announced
        header = bytearray([(0x80 if fin else 0) | rsv << 4 | opcode])
        mask_bit = 0x80 if masked else 0
        if length < 126:
            header.append(mask_bit | length)
        elif length < 1 << 16:
            header += bytes([mask_bit | 126]) + struct.pack(">H", length)
        else:
            header += bytes([mask_bit | 127]) + struct.pack(">Q", length)
        if masked:
            mask = os.urandom(4)
            header += mask
            payload = _masked(payload, mask)
        self.sock.sendall(bytes(header) + payload)

    # MARK: Receiving

    def receive(self, timeout=5.0):
        """The next text; answers pings on the way. None when nothing whole came in time. `Closed` when it is over."""
        deadline = time.monotonic() + timeout
        while True:
            frame = self._next_frame()
            if frame is None:
                if not self._read_some(deadline):
                    return None
                continue
            fin, opcode, payload = frame
            if opcode == PING:
                self.send_frame(PONG, payload)
            elif opcode == CLOSE:
                code = struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 1005
                raise Closed(code, payload[2:].decode("utf-8", "replace"))
            elif opcode != PONG:
                self._fragments += payload
                if fin:
                    text, self._fragments = bytes(self._fragments), bytearray()
                    return text.decode("utf-8")

    def close_code(self, timeout=5.0):
        """Reads on until the server closes, and gives back the code: None for a plain end. An AssertionError when it does not close."""
        deadline = time.monotonic() + timeout
        try:
            while time.monotonic() < deadline:
                self.receive(deadline - time.monotonic())
        except Closed as closed:
            return closed.code
        except OSError:
            return None
        raise AssertionError(f"the server has not closed the connection within {timeout} s")

    # MARK: Ending

    def close(self, code=1000):
        try:
            self.send_frame(CLOSE, struct.pack(">H", code))
        except OSError:
            pass
        self.sock.close()

    def abort(self):
        """Cuts the connection as a lost network does: no close frame, and a reset in place of TCP's goodbye."""
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # Wakes a thread that is reading.
            self.sock.shutdown(socket.SHUT_RD)
        except OSError:
            pass
        self.sock.close()

    # MARK: Inside

    def _read_some(self, deadline):
        wait = deadline - time.monotonic()
        try:
            if wait <= 0 or not select.select([self.sock], [], [], wait)[0]:
                return False
            chunk = self.sock.recv(262144)
        except (OSError, ValueError):
            raise Closed(None, "the connection was reset") from None
        if not chunk:
            raise Closed(None, "the connection ended without a close frame")
        self._received += chunk
        return True

    def _next_frame(self):
        data = self._received
        if len(data) < 2:
            return None
        length, start = data[1] & 0x7F, 2
        assert not data[1] & 0x80, "a server's frames are not masked (RFC 6455 section 5.1)"
        if length == 126:
            if len(data) < 4:
                return None
            length, start = struct.unpack_from(">H", data, 2)[0], 4
        elif length == 127:
            if len(data) < 10:
                return None
            length, start = struct.unpack_from(">Q", data, 2)[0], 10
        if len(data) < start + length:
            return None
        frame = (bool(data[0] & 0x80), data[0] & 0x0F, bytes(data[start : start + length]))
        del data[: start + length]
        return frame


def _masked(payload, mask):
    if not payload:
        return b""
    repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(payload), "big")
