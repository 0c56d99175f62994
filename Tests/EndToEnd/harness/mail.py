"""A mail server of ours, with a certificate of its own and faults to order (aiosmtpd), and what stands in the mails that it gets."""

import asyncio
import base64
import collections
import email
import email.policy
import hashlib
import hmac
import subprocess
import threading
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
import ssl

from .process import SECRET_KEY, free_port
from .waiting import eventually

USER, PASSWORD = "agenda", "senha-do-correio-7f"


class MailServer:
    """`faults`: what happens to the next mails, in order: `451`, `550`, `cut` (the connection ends after the dot), `slow`, `hold` (a second and a half before the recipient is taken), or nothing (`None`)."""

    def __init__(self, directory, starttls=True, auth=True):
        self.certificate, key = directory / "mail.pem", directory / "mail.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-keyout", str(key), "-out", str(self.certificate)],
            check=True, capture_output=True,
        )
        self.port = free_port()
        self.mails, self.faults, self.recipients = [], collections.deque(), []
        # Recipients that are being held now, and the most at once.
        self.held, self.most_held = 0, 0
        self._lock = threading.Lock()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        options = {"require_starttls": True, "tls_context": context} if starttls else {}
        if auth:
            options |= {"authenticator": self._authenticated, "auth_required": starttls, "auth_require_tls": True}
        self._options, self._controller = options, None

    def start(self):
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **self._options)
        self._controller.start()
        return self

    def stop(self):
        if self._controller:
            self._controller.stop()
            self._controller = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    @property
    def settings(self):
        """What a server of ours needs to send through this one."""
        return {
            "SMTP_SERVER": "localhost", "SMTP_PORT": self.port, "SMTP_USERNAME": USER, "SMTP_PASSWORD": PASSWORD, "FROM_EMAIL": "agenda@example.com",
            "SMTP_CA_FILE": str(self.certificate), "SMTP_TIMEOUT_SECONDS": 2, "PUBLIC_URL": "https://agenda.example.com",
        }

    def _authenticated(self, server, session, envelope, mechanism, data):
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=good, handled=good)

    async def handle_RCPT(self, server, session, envelope, address, options):
        with self._lock:
            self.recipients.append(address)
            fault = self.faults[0] if self.faults else None
            if fault in ("451", "550"):
                self.faults.popleft()
                return {"451": "451 4.7.1 try again later", "550": "550 5.1.1 no such user"}[fault]
            if fault == "hold":
                self.faults.popleft()
        if fault == "hold":
            self.held += 1
            self.most_held = max(self.most_held, self.held)
            await asyncio.sleep(1.5)
            self.held -= 1
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        with self._lock:
            fault = self.faults.popleft() if self.faults else None
            mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
            mail.hello = session.host_name
            mail.is_over_tls, mail.user, mail.received = session.ssl is not None, session.authenticated, time.time()
            if fault != "slow":
                self.mails.append(mail)
        if fault == "cut":
            server.transport.abort()
        if fault == "slow":
            # Taken into account by nobody: the client has long gone.
            await asyncio.sleep(15)
            return "451 too late"
        return "250 OK queued"

    # MARK: What came

    def to(self, address, subject=""):
        return [mail for mail in list(self.mails) if address in mail["To"] and subject in mail["Subject"]]

    def one(self, address, subject="", timeout=15.0):
        """Waits for a mail, and for no second one."""
        eventually(f"a mail to {address} about {subject!r}", lambda: self.to(address, subject), timeout)
        time.sleep(0.3)
        (mail,) = self.to(address, subject)
        return mail


def part(mail, kind):
    """The text of a mail's part of this type."""
    (found,) = [part for part in mail.walk() if part.get_content_type() == kind]
    return found.get_content() if kind.startswith("text/") else found.get_payload(decode=True).decode()


def calendar(mail):
    """The fields of a mail's invitation, and how it is announced."""
    (found,) = [part for part in mail.walk() if part.get_content_type() == "text/calendar"]
    lines = found.get_payload(decode=True).decode().replace("\r\n ", "").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line) | {"method": found.get_param("method")}


def unsubscribe_token(tenant, recipient, channel="email", secret=SECRET_KEY):
    """The token that a mail to somebody carries."""
    def encoded(data):
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    key = hmac.new(secret.encode(), b"unsubscribe", hashlib.sha256).digest()
    text = f"{tenant}/{channel}/{recipient}".encode()
    return f"{encoded(text)}.{encoded(hmac.new(key, text, hashlib.sha256).digest()[:16])}"
