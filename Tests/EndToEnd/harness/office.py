"""One server, the fake of the Cloud API beside it, and everybody who deals with them."""

import itertools

from fakes.whatsapp import FakeWhatsApp, text

from .api import Api, hire
from .desk import Desk
from .official import OfficialClient
from .process import ADMIN_EMAIL, ADMIN_PASSWORD, API_KEY, APP_SECRET, PHONE_NUMBER_ID, WHATSAPP_TOKEN, Server
from .waiting import PATIENCE, eventually

WEBHOOK = "/api/webhooks/whatsapp"

_numbers = itertools.count(1)


def new_number():
    """The number of a customer who has not written before."""
    return f"551190{next(_numbers):07d}"


class Office:
    def __init__(self, directory, **environment):
        self.whatsapp = FakeWhatsApp(app_secret=APP_SECRET, token=WHATSAPP_TOKEN, numbers={PHONE_NUMBER_ID: "990011223344"})
        # A test says itself what becomes of a message.
        self.whatsapp.auto_statuses = ()
        self.whatsapp.start()
        self.server = Server(directory, self.whatsapp.url, **environment)
        self.whatsapp.webhook = self.server.url + WEBHOOK
        self._clients = []
        self._admin = None

    def open(self):
        self.server.start()
        return self

    # MARK: Who

    @property
    def admin(self):
        """The owner that the server has made from ADMIN_EMAIL."""
        if self._admin is None:
            self._admin = self.anybody.login(ADMIN_EMAIL, ADMIN_PASSWORD)
        return self._admin

    @property
    def anybody(self):
        return Api(self.server)

    @property
    def integrator(self):
        return Api(self.server, api_key=API_KEY)

    def hire(self, name="Maria", **more):
        return hire(self.admin, name, **more)

    def desk(self, who, *channels, **options):
        """Somebody's live client, connected and following `channels`."""
        desk = Desk(self.server, who.token, **options)
        self._clients.append(desk)
        desk.connect()
        for channel in channels:
            desk.follow(channel)
        return desk

    def official(self, who):
        """The same person's client, when it is centrifuge-python. Not yet connected."""
        client = OfficialClient(self.server, who.token)
        self._clients.append(client)
        return client

    def forget(self, client):
        self._clients.remove(client)

    # MARK: Scenes that most tests begin with

    def deliver(self, *items):
        """Messages and statuses, in one batch. The server must take them at once."""
        delivery = self.whatsapp.deliver(*items, redeliver=False)
        assert delivery.answers == [200], f"a delivery was answered with {delivery.answers}"

    def says(self, number, body, **options):
        """A customer writes. Gives back the wamid."""
        item = text(number, body, **options)
        self.deliver(item)
        return item.element["id"]

    def conversation(self, number, *states, timeout=10.0):
        """The latest conversation of a customer, once it is in one of `states` (or exists, when none is given)."""

        def there():
            conversation = self.admin.conversation_of(number)
            return conversation if conversation and (not states or conversation["state"] in states) else None

        return eventually(f"a conversation of {number} that is {' or '.join(states) or 'there'}", there, timeout)

    def in_line(self, number=None):
        """A customer has asked for a person."""
        number = number or new_number()
        self.says(number, "atendente")
        return self.conversation(number, "queued", "offered")

    def attended_by(self, agent, number=None):
        """A conversation that an agent has taken, once the bot's last words have gone out."""
        conversation = agent.api.claim(self.in_line(number)["id"])
        assert (conversation["state"], conversation["assignee"]["consultor_id"]) == ("active", agent.id)
        self.settled(conversation["id"])
        return conversation

    def settled(self, *ids):
        """Waits until nothing of these conversations is on its way out."""

        def still_going():
            return [m for id in ids for m in self.admin.all_messages(id) if m["status"] in ("queued", "sending")]

        eventually("everything sent", lambda: not still_going())

    def message(self, conversation_id, text=None, timeout=10.0, **fields):
        """Waits for a message of a conversation, with this text and with these fields, as REST tells it."""

        def there():
            for message in self.admin.all_messages(conversation_id):
                if (text is None or message["text"] == text) and all(message[name] == value for name, value in fields.items()):
                    return message

        return eventually(f"a message {text!r} {fields}", there, timeout)

    # MARK: What the Cloud API was asked to send

    def posts(self, number=None, text=None):
        """The sends, in the order in which they were decided, also those that were refused."""
        return [s for s in list(self.whatsapp.sent) if (number is None or s.recipient == number) and (text is None or s.text == text)]

    def posted(self, text, number=None, timeout=10.0):
        """Waits for a send with this text."""
        return self.whatsapp.wait_for(lambda s: s.text == text and (number is None or s.recipient == number), timeout * PATIENCE)

    # MARK: The end

    def close(self):
        """Lets everybody go and stops the server, which must end with 0 unless a test has ended it."""
        try:
            for client in self._clients:
                client.__exit__(None, None, None)
            if self.server.process is not None:
                code = self.server.process.poll()
                assert code is None or code in (0, -9), f"the server has crashed with {code}\n{self.server.log_tail()}"
                if code is None:
                    self.server.stop()
        finally:
            if self.server.is_running:
                self.server.kill()
            self.whatsapp.stop()
