"""A working morning, seeded: customers write, agents claim and answer, and a ledger keeps what the server has acknowledged or shown."""

import http.client
import json
import random
import threading
import time
from collections import defaultdict

from fakes.whatsapp import text

from .desk import ReplyError
from .office import new_number
from .rawsocket import Closed

WORDS = ["oi", "atendente", "atendente", "tudo bem?", "1", "2", "obrigada 🙏", "não funciona", "quero falar com um atendente"]


class Ledger:
    """What was acknowledged (2xx) or shown to a subscriber. All of it must be there for ever after."""

    def __init__(self):
        self.lock = threading.Lock()
        # wamid -> (number, text), acknowledged deliveries
        self.inbound = {}
        # message id -> its newest image, by version; the same for conversations
        self.messages, self.conversations = {}, {}
        # protocol -> who has it: a conversation's id, or the one call that was given it
        self.holders = defaultdict(set)
        self.acknowledged = 0

    def message(self, message):
        with self.lock:
            _newest(self.messages, message)

    def conversation(self, conversation):
        with self.lock:
            _newest(self.conversations, conversation)
            if conversation["protocol"]:
                self.holders[conversation["protocol"]].add(conversation["id"])

    def shown_to(self, desk):
        """Everything a subscriber was shown, in publications and in snapshots."""
        publications, snapshots = desk.everything_shown()
        for channel, _, _, data in publications:
            for message in [data["message"]] if "message" in data else []:
                self.message(message)
            for conversation in [data["conversation"]] if "conversation" in data else []:
                self.conversation(conversation)
            if entry := data.get("entry"):
                self.holders[entry["protocol"]].add(entry["conversation_id"])
        for channel, _, _, data in snapshots:
            for conversation in data.get("conversations", []) + ([data["conversation"]] if "conversation" in data else []):
                self.conversation(conversation)
            for message in data.get("messages", []):
                self.message(message)
            for entry in data.get("waiting", []):
                self.holders[entry["protocol"]].add(entry["conversation_id"])

    def check(self, api):
        """Reads everything back. Says, in words, what is missing, older than it was, or another."""
        wrong = []
        conversations = {c["id"]: c for c in api.all_conversations()}
        by_number = defaultdict(list)
        for conversation in conversations.values():
            by_number[conversation["contact"]["number"]].append(conversation["id"])
            if conversation["protocol"]:
                self.holders[conversation["protocol"]].add(conversation["id"])

        concerned = {m["conversation_id"] for m in self.messages.values()} | set(self.conversations)
        concerned |= {id for number, _ in self.inbound.values() for id in by_number[number]}
        messages, by_external_id = {}, defaultdict(list)
        for id in concerned & set(conversations):
            there = api.all_messages(id)
            if [m["seq"] for m in there] != list(range(1, len(there) + 1)):
                wrong.append(f"the messages of {id} are not numbered without gaps: {[m['seq'] for m in there]}")
            for message in there:
                messages[message["id"]] = message
                by_external_id[message["external_id"]].append(message)

        for what, known, there in (("conversation", self.conversations, conversations), ("message", self.messages, messages)):
            for id, image in known.items():
                if id not in there:
                    wrong.append(f"a {what} is gone: {image}")
                elif there[id]["version"] < image["version"]:
                    wrong.append(f"a {what} is older than it was: {image} became {there[id]}")
                elif there[id]["version"] == image["version"] and there[id] != image:
                    wrong.append(f"a {what} is another under the same version: {image} became {there[id]}")
                elif what == "message" and any(there[id][f] != image[f] for f in ("seq", "text", "kind", "direction", "conversation_id", "created_at")):
                    wrong.append(f"a message has changed: {image} became {there[id]}")
        for wamid, (number, said) in self.inbound.items():
            found = by_external_id.get(wamid, [])
            if len(found) != 1 or found[0]["text"] != said:
                wrong.append(f"an acknowledged delivery of {number} is there {len(found)} times: {wamid} {said!r}")
        for number, open_ids in by_number.items():
            if len([id for id in open_ids if conversations[id]["state"] != "resolved"]) > 1:
                wrong.append(f"{number} has several open conversations")
        wrong += [f"{number} was used by {holders}" for number, holders in self.holders.items() if len(holders) > 1]
        return wrong

    def merge(self, other):
        self.inbound |= other.inbound
        for image in other.messages.values():
            _newest(self.messages, image)
        for image in other.conversations.values():
            _newest(self.conversations, image)
        for number, holders in other.holders.items():
            self.holders[number] |= holders


class Load:
    """Threads that keep a server busy until `stop`. A connection that fails is no fault: the server may be killed at any time."""

    def __init__(self, office, agents, seed, customers=12, pace=0.004, observer=None, opens=4):
        self.office, self.agents, self.pace = office, agents, pace
        self.integrator = office.integrator
        self.ledger = Ledger()
        self.numbers = [new_number() for _ in range(customers)]
        self.random = random.Random(seed)
        # Where conversations are found to work on, and what is checked for having been shown.
        self.observer = observer
        self.opens = opens
        self.faults = []
        self._stop = threading.Event()
        works = [self._customers, self._customers, self._turns, self._opener, *(lambda r, agent=agent: self._agent(r, agent) for agent in agents)]
        self._threads = [threading.Thread(target=self._run, args=(work, self.random.random()), daemon=True) for work in works]

    def start(self):
        for thread in self._threads:
            thread.start()
        return self

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        assert not [t for t in self._threads if t.is_alive()], "a thread of the load has not ended"
        assert not self.faults, f"answers that no client should see: {self.faults[:5]}"

    # MARK: Inside

    def _run(self, work, seed):
        chance = random.Random(seed)
        while not self._stop.is_set():
            try:
                work(chance)
            except (OSError, http.client.HTTPException, Closed, ReplyError):
                time.sleep(0.01)
            self._stop.wait(chance.uniform(0, 2 * self.pace))

    def _ours(self):
        return [c for c in self.observer.conversations.values() if c["contact"]["number"] in self.numbers]

    def _customers(self, chance):
        items = [text(chance.choice(self.numbers), f"{chance.choice(WORDS)} {chance.getrandbits(40):x}") for _ in range(chance.choice((1, 1, 2, 3)))]
        answers = self.office.whatsapp.deliver(*items, redeliver=False).answers
        if answers == [200]:
            with self.ledger.lock:
                self.ledger.acknowledged += 1
                for item in items:
                    self.ledger.inbound[item.element["id"]] = (item.element["from"], item.element["text"]["body"])
        elif answers[0] not in (0, 503, 429):
            self.faults.append(f"a delivery was answered with {answers}")

    def _turns(self, chance):
        """The contract's own way to a number: it is given away with the answer."""
        reply = self.integrator.call("GET", "/consultor/da-vez", idioma="pt")
        if self._is_fine(reply, 200, 404):
            with self.ledger.lock:
                self.ledger.acknowledged += 1
                self.ledger.holders[reply.json()["numero_protocolo"]].add(f"turn {len(self.ledger.holders)} {chance.getrandbits(64):x}")
        self._stop.wait(chance.uniform(0, 0.05))

    def _opener(self, chance):
        opened = [c for c in self.observer.following if c.startswith("conversation:")]
        new = [c["id"] for c in self._ours() if f"conversation:{c['id']}" not in opened]
        if new and len(opened) < self.opens:
            self.observer.follow(f"conversation:{chance.choice(new)}")
        self._stop.wait(0.03)

    def _agent(self, chance, agent):
        ours = self._ours()
        if not ours:
            return
        conversation = chance.choice(ours)
        id = conversation["id"]
        mine = conversation["assignee"] and conversation["assignee"]["consultor_id"] == agent.id
        if not mine:
            verb = chance.choices(["claim", "messages", "notes", "labels", "decline", "read"], [8, 3, 2, 1, 1, 1])[0]
        else:
            verb = chance.choices(["messages", "notes", "transfer", "resolve", "return-to-bot", "read", "labels"], [8, 2, 1, 1, 1, 1, 1])[0]
        said = f"{verb} {chance.getrandbits(48):x}"
        body = {
            "messages": {"text": said, "client_message_id": said}, "notes": {"text": said}, "labels": {"labels": [said]},
            "transfer": {"consultor_id": chance.choice(self.agents).id},
        }.get(verb)
        if chance.random() < 0.3 and agent is self.agents[0]:
            # The same by RPC, on the observer's socket: its user is the first agent.
            answer = self.observer.rpc(f"conversation.{verb}", {"conversation_id": id} | (body or {}))
        else:
            reply = agent.api.try_command(id, verb, body)
            if not self._is_fine(reply, 200, 201, 403, 409):
                return
            answer = reply.json()
        with self.ledger.lock:
            self.ledger.acknowledged += 1
        if verb in ("messages", "notes"):
            self.ledger.message(answer)
        else:
            self.ledger.conversation(answer)

    def _is_fine(self, reply, *expected):
        """Whether it was done. What was refused for a reason is no fault."""
        if reply.status not in expected and reply.status not in (429, 503):
            self.faults.append(repr(reply))
        return reply.status in (200, 201)


def _newest(images, image):
    known = images.get(image["id"])
    if known is None or image["version"] > known["version"]:
        images[image["id"]] = image
    elif image["version"] == known["version"]:
        assert json.dumps(image, sort_keys=True) == json.dumps(known, sort_keys=True), f"one version, two images: {known} and {image}"
