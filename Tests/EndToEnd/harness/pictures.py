"""What a subscriber knows: a snapshot, with publications applied to it as protocol/README.md ("Channels") says."""


def picture_of(channel):
    if channel == "conversations":
        return Conversations()
    if channel == "queue":
        return Queue()
    if channel == "consultores":
        return Consultores()
    if channel.startswith("conversation:"):
        return OneConversation()
    if channel == "notices":
        return Notices()
    if channel == "breakers":
        return Breakers()
    if channel == "jobs":
        return Jobs()
    if channel == "desk":
        return DeskSettings()
    if channel == "supervision":
        return Supervision()
    if channel.startswith("user:"):
        return Inbox()
    if channel == "usage":
        return Usage()
    # Nothing is known of it; it is there to be refused.
    return None


class Jobs:
    def __init__(self):
        self.queues, self.failed, self.paused = {}, {}, {}

    def replace(self, data):
        self.queues = data["queues"]

    def apply(self, event):
        match event["type"]:
            case "jobs.stats":
                self.queues |= event["queues"]
            case "jobs.failed":
                self.failed[event["message"]["id"]] = event["message"]
            case "jobs.control":
                self.paused[event["queue"]] = event
            case _:
                raise AssertionError(f"unknown type on `jobs`: {event}")


class Notices:
    def __init__(self):
        self.items = []

    def replace(self, data):
        self.items = data["notices"]

    def apply(self, event):
        assert event["type"] == "notice.created", f"unknown type on `notices`: {event}"
        self.items = (self.items + [event["notice"]])[-20:]

    def differences(self, api):
        return _differences(dict(enumerate(self.items)), dict(enumerate(reversed(api.get("/api/v1/notices", limit=20)["items"]))))


class Usage:
    def __init__(self):
        self.usage, self.alerts = None, []

    def replace(self, data):
        self.usage = data

    def apply(self, event):
        if event["type"] == "usage.alert":
            self.alerts.append((event["resource"], event["threshold"]))
        elif event["type"] in ("usage.changed", "plan.changed"):
            usage = event["usage"]
            self.usage = usage | {"resources": self.usage["resources"] | usage["resources"]}
        else:
            raise AssertionError(f"unknown type on `usage`: {event}")

    def differences(self, api):
        truth = api.get("/api/users/usage")
        return [] if self.usage == truth else [f"seen {self.usage}, true {truth}"]


class Breakers:
    def __init__(self):
        self.items = {}

    def replace(self, data):
        self.items = data["circuit_breakers"]

    def apply(self, event):
        assert event["type"] == "breakers.changed", f"unknown type on `breakers`: {event}"
        self.items = event["circuit_breakers"]

    def differences(self, api):
        return _differences(self.items, api.get("/circuit-breakers")["circuit_breakers"])


class Conversations:
    def __init__(self):
        self.items = {}

    def replace(self, data):
        self.items = {c["id"]: c for c in data["conversations"]}
        assert len(self.items) == len(data["conversations"]), "a conversation is twice in a snapshot"
        assert not [c for c in self.items.values() if c["state"] == "resolved"], "a snapshot of `conversations` holds none that is resolved"

    def apply(self, event):
        assert event["type"] == "conversation.changed", f"unknown type on `conversations`: {event}"
        conversation = event["conversation"]
        known = self.items.get(conversation["id"])
        assert known is None or conversation["version"] > known["version"], f"`version` only grows: {known} then {conversation}"
        if conversation["state"] == "resolved":
            self.items.pop(conversation["id"], None)
        else:
            self.items[conversation["id"]] = conversation

    def differences(self, api):
        return _differences(self.items, {c["id"]: c for c in api.all_conversations(state="open")})


class OneConversation:
    def __init__(self, is_whole=True):
        # A visitor does not see all of them.
        self.is_whole = is_whole
        self.conversation = None
        self.messages = {}
        self.typing = []
        # What the bot's assistant was shown to say, in the order of its coming.
        self.streaming = []
        self.queue = None

    @property
    def ordered(self):
        return sorted(self.messages.values(), key=lambda m: m["seq"])

    @property
    def texts(self):
        return [m["text"] for m in self.ordered]

    def replace(self, data):
        self.conversation = data["conversation"]
        self.queue = data["queue"]
        self.messages = {m["id"]: m for m in data["messages"]}
        seqs = [m["seq"] for m in data["messages"]]
        assert not seqs or not self.is_whole or seqs == list(range(seqs[0], seqs[0] + len(seqs))), f"a snapshot's messages are in order and without gaps: {seqs}"
        assert len(seqs) <= 50, "a snapshot holds the last 50 messages"
        assert not seqs or not self.is_whole or data["has_more"] == (seqs[0] > 1), f"has_more tells whether there are older ones: {seqs[:1]}, {data['has_more']}"

    def apply(self, event):
        kind = event["type"]
        if kind == "message.created":
            message = event["message"]
            assert message["id"] not in self.messages, f"a message is created twice: {message}"
            last = max((m["seq"] for m in self.messages.values()), default=0)
            assert message["seq"] == last + 1 or (not self.is_whole and message["seq"] > last), f"`seq` has no gaps: {message['seq']} after {last}"
            self.messages[message["id"]] = message
        elif kind == "message.changed":
            message = event["message"]
            known = self.messages.get(message["id"])
            # One older than the snapshot's last 50 is not on this screen.
            if known is not None:
                assert message["version"] > known["version"], f"`version` only grows: {known} then {message}"
                self.messages[message["id"]] = message
        elif kind == "conversation.changed":
            assert event["conversation"]["version"] > self.conversation["version"], "`version` only grows"
            self.conversation = event["conversation"]
        elif kind == "typing":
            self.typing.append(event)
        elif kind == "visitor.presence":
            assert self.conversation["channel"] == "web", event
        elif kind == "message.streaming":
            self.streaming.append(event)
        elif kind == "queue.position":
            self.queue = event["queue"]
        else:
            raise AssertionError(f"unknown type on `conversation:<id>`: {event}")

    def differences(self, api):
        id = self.conversation["id"]
        truth = api.all_messages(id)[-len(self.messages) :] if self.messages else []
        return _differences({"conversation": self.conversation, **self.messages}, {"conversation": api.conversation(id), **{m["id"]: m for m in truth}})


class Queue:
    def __init__(self):
        self.items = {}
        self.estimates = {}

    @property
    def waiting(self):
        """The entries in the order in which they are attended."""
        return sorted(self.items.values(), key=_place)

    def replace(self, data):
        self.items = {entry["conversation_id"]: entry for entry in data["waiting"]}
        self.estimates = {estimate["conversation_id"]: estimate for estimate in data["estimates"]}
        assert self.estimates.keys() <= self.items.keys(), "an estimate for somebody who does not wait"
        assert [_place(e) for e in data["waiting"]] == sorted(_place(e) for e in data["waiting"]), "a snapshot of `queue` is in order"

    def apply(self, event):
        if event["type"] == "queue.changed":
            self.items[event["entry"]["conversation_id"]] = event["entry"]
        elif event["type"] == "queue.left":
            self.items.pop(event["conversation_id"], None)
            self.estimates.pop(event["conversation_id"], None)
        elif event["type"] == "queue.estimated":
            for estimate in event["estimates"]:
                assert estimate["conversation_id"] in self.items, f"an estimate for somebody who does not wait: {estimate}"
                told = self.estimates.get(estimate["conversation_id"])
                if told and told["wait"] and estimate["wait"]:
                    assert all(estimate["wait"][bound] <= told["wait"][bound] for bound in told["wait"]), f"a wait never rises: {told}, {estimate}"
                self.estimates[estimate["conversation_id"]] = estimate
        else:
            raise AssertionError(f"unknown type on `queue`: {event}")

    def differences(self, api):
        truth = {
            c["id"]: {
                "conversation_id": c["id"], "protocol": c["protocol"], "contact": c["contact"], "language": c["language"], "since": c["queued_at"],
                "offer": c["offer"],
            }
            for c in api.all_conversations(state="queued,offered")
        }
        return _differences(self.items, truth)


class Consultores:
    def __init__(self):
        self.items = {}

    def replace(self, data):
        self.items = {c["id"]: c for c in data["consultores"]}

    def apply(self, event):
        if event["type"] == "consultor.changed":
            self.items[event["consultor"]["id"]] = event["consultor"]
        elif event["type"] == "consultor.removed":
            self.items.pop(event["id"], None)
        else:
            raise AssertionError(f"unknown type on `consultores`: {event}")

    def differences(self, api):
        return _differences(self.items, {c["id"]: c for c in api.consultores()})


class DeskSettings:
    def __init__(self):
        self.settings, self.replies = None, {}

    def replace(self, data):
        self.settings, self.replies = data["settings"], {reply["id"]: reply for reply in data["canned_replies"]}

    def apply(self, event):
        if event["type"] == "settings.changed":
            self.settings = event["settings"]
        elif event["type"] == "canned.changed":
            self.replies[event["canned_reply"]["id"]] = event["canned_reply"]
        elif event["type"] == "canned.removed":
            self.replies.pop(event["id"], None)
        else:
            raise AssertionError(f"unknown type on `desk`: {event}")

    def differences(self, api):
        truth = {reply["id"]: reply for reply in api.get("/api/v1/canned-replies", per_page=200)["items"]}
        return _differences({"settings": self.settings, **self.replies}, {"settings": api.get("/api/v1/desk/settings"), **truth})


class Supervision:
    def __init__(self):
        self.work, self.promises = {}, []

    def replace(self, data):
        self.work = {work["consultor_id"]: work for work in data["work"]}

    def apply(self, event):
        if event["type"] == "work.changed":
            work = event["work"]
            self.work[work["consultor_id"]] = work
            if not work["conversations"]:
                del self.work[work["consultor_id"]]
        elif event["type"] in ("sla.warned", "sla.breached"):
            self.promises.append(event)
        else:
            raise AssertionError(f"unknown type on `supervision`: {event}")

    def differences(self, api):
        seen = {c["conversation_id"]: (id, c["state"], c["since"], c["unread"]) for id, work in self.work.items() for c in work["conversations"]}
        truth = {
            c["id"]: (c["assignee"]["consultor_id"], c["state"], c["state_since"], c["unread"]) for c in api.all_conversations(state="active,snoozed")
        }
        return [] if seen == truth else [f"seen {seen}, true {truth}"]


class Inbox:
    def __init__(self):
        self.unread, self.mentions, self.promises, self.actions = None, [], [], {}

    def replace(self, data):
        self.unread, self.mentions = data["unread"], data["mentions"]
        self.actions = {item["acao"]["id"]: item for item in data["acoes"]}

    def apply(self, event):
        if event["type"] == "unread.counted":
            self.unread = event["unread"]
        elif event["type"] == "mention.created":
            self.mentions.append(event["mention"])
        elif event["type"] == "mentions.read":
            self.mentions = [m for m in self.mentions if m["conversation_id"] != event["conversation_id"]]
        elif event["type"] in ("sla.warned", "sla.breached"):
            self.promises.append(event)
        elif event["type"] == "health.action":
            self.actions[event["acao"]["id"]] = {"nome": event["nome"], "acao": event["acao"]}
        elif event["type"] == "health.action_done":
            self.actions.pop(event["acao"]["id"], None)
        else:
            raise AssertionError(f"unknown type on `user:<id>`: {event}")

    def differences(self, api):
        unread = [c["unread"] for c in api.all_conversations(state="active,snoozed", assignee="me") if c["unread"]]
        truth = {"messages": sum(unread), "conversations": len(unread)}
        return [] if self.unread == truth else [f"seen {self.unread}, true {truth}"]


def _place(entry):
    # Protocols grow past five digits: by length first.
    return entry["since"], len(entry["protocol"]), entry["protocol"]


def _differences(seen, truth):
    """What is not the same, in words; empty when all is."""
    found = []
    for key in seen.keys() | truth.keys():
        a, b = seen.get(key), truth.get(key)
        if a != b:
            if a is None or b is None:
                found.append(f"{key}: {'not seen' if a is None else 'seen, but not there'}")
            else:
                fields = {f: (a.get(f), b.get(f)) for f in a.keys() | b.keys() if a.get(f) != b.get(f)}
                found.append(f"{key}: seen and true differ in {fields}")
    return found
