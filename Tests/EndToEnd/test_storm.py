"""Everything at once: the bot with a Gemini that fails in every way, several agents and the line, promises, web chats and a second business, against a Cloud API
that does everything wrong it can, with a `kill -9` in the middle. Afterwards what was acknowledged is there, nothing went out twice or out of order, and whatever
did not go out says so."""

import random
import threading
import time

import pytest
from fakes.gemini import FAULTS, FakeGemini, call, fault, say
from fakes.whatsapp import reaction, text
from harness.api import Api
from harness.office import new_number
from harness.waiting import PATIENCE, eventually

KEY = "end-to-end-gemini-key"
SECONDS = 16
WORDS = ("oi", "planos", "minha tv não liga", "quero um atendente", "obrigado", "2", "e agora?")
pytestmark = pytest.mark.timeout(300)


class Town:
    """Customers, visitors and agents, each in a thread, who go on whatever happens, and remember what was acknowledged."""

    def __init__(self, office, gemini, agents, seed):
        self.office, self.gemini, self.agents, self.fake, self.seed = office, gemini, agents, office.whatsapp, seed
        self.people = [new_number() for _ in range(8)]
        self.heard, self.said, self.visits = [], [], []
        self.failures, self.ends, self.lock = [], time.monotonic() + SECONDS, threading.Lock()

    def goes_on(self, act, pause):
        first = self.seed.random()

        def run():
            chance = random.Random(first)
            while time.monotonic() < self.ends:
                try:
                    act(chance)
                except (OSError, AssertionError):
                    # The server is away, or has refused: nothing was acknowledged.
                    pass
                except Exception as error:
                    self.failures.append(repr(error))
                time.sleep(chance.random() * pause)

        return threading.Thread(target=run, daemon=True)

    def customer(self, chance):
        number = chance.choice(self.people)
        item = text(number, chance.choice(WORDS))
        with self.lock:
            self.heard.append((number, item.element["id"]))
        self.fake.deliver(item, times=chance.choice((1, 1, 2, 4)))
        if chance.random() < 0.1:
            self.fake.deliver(reaction(number, item.element["id"], "👍"))

    def visitor(self, chance):
        if not self.visits or chance.random() < 0.1 and len(self.visits) < 6:
            session = self.office.anybody.post("/api/v1/chat/sessions", {"slug": "minha-empresa", "name": f"Visita {len(self.visits)}"}, expect=201)
            self.visits.append((session["conversation_id"], session["token"], []))
        id, token, acknowledged = chance.choice(self.visits)
        key = f"v{chance.random()}"
        if Api(self.office.server, token=token).try_command(id, "messages", {"text": chance.choice(WORDS), "client_message_id": key}).status == 201:
            acknowledged.append(key)

    def agent(self, who):
        def act(chance):
            mine = who.api.conversations(state="offered,active,queued", per_page=50)["items"]
            if not mine:
                return
            id = chance.choice(mine)["id"]
            verb = chance.choice(("claim", "messages", "messages", "messages", "read", "transfer", "return-to-bot", "resolve", "decline"))
            body = {"transfer": {"queue": True}}.get(verb)
            if verb == "messages":
                body = {"text": f"{who.name} {chance.random()}", "client_message_id": f"a{chance.random()}"}
            reply = who.api.try_command(id, verb, body)
            if verb == "messages" and reply.status == 201:
                with self.lock:
                    self.said.append((id, reply.json()["id"]))

        return act

    def weather(self, chance):
        to = chance.choice((chance.choice(self.people), None))
        what = chance.randrange(9)
        if what == 0:
            self.fake.fail_next(chance.choice((131000, 131016, 130429, 131056)), to=to)
        elif what == 1:
            self.fake.fail_next(chance.choice((131026, 131051, 100)), to=to)
        elif what == 2:
            self.fake.drop_before_accept(to=to)
        elif what == 3:
            self.fake.drop_after_accept(to=to)
        elif what == 4:
            self.fake.slow_next(chance.random(), to=to)
        elif what == 5:
            self.fake.duplicate_statuses, self.fake.reorder_statuses = chance.random() < 0.5, chance.random() < 0.5
        elif what == 6:
            self.fake.fail_next(None, 503, times=2)
        elif what == 7:
            self.fake.status_before_answer = not self.fake.status_before_answer
        self.gemini.then(chance.choice((fault(chance.choice(sorted(FAULTS))), say("Vamos ", "ver isso."), call("hand_off", {"reason": "pediu"}))))

    def lives(self):
        lives = [self.goes_on(self.customer, 0.1), self.goes_on(self.customer, 0.1), self.goes_on(self.visitor, 0.3), self.goes_on(self.weather, 0.4)]
        lives += [self.goes_on(self.agent(who), 0.2) for who in self.agents]
        [life.start() for life in lives]
        time.sleep(SECONDS / 2)
        self.office.server.kill()
        self.office.server.start()
        [life.join(60 * PATIENCE) for life in lives]
        assert not self.failures, self.failures[:3]


def test_the_whole_desk_in_every_weather_at_once(offices, seed):
    with FakeGemini(key=KEY) as gemini:
        office = offices(
            GEMINI_API_KEY=KEY, GEMINI_API_URL=gemini.url, BOT_QUIET_MILLISECONDS=200, OFFER_TIMEOUT_SECONDS=2, WHATSAPP_BREAKER_SECONDS=1,
            GEMINI_BREAKER_SECONDS=1, RATE_LIMIT_ENABLED="false", CHAT_SESSIONS_PER_ADDRESS=0,
        )
        office.whatsapp.auto_statuses = ("sent", "delivered", "read")
        office.admin.put("/api/v1/desk/settings", {"first_answer_seconds": 2, "next_answer_seconds": 3, "away_after_missed": 50, "requeues_when_lost": True})
        agents = [office.hire(name, capacity=4) for name in ("Maria", "João", "Bia")]
        owner = office.anybody.register("vizinha@example.com", "Nova#Firma2026", business_name="Vizinha")
        neighbour = office.anybody.post("/api/v1/chat/sessions", {"tenant_id": owner.user["tenant_id"], "name": "Léo"}, expect=201)
        screens = [office.desk(who, "conversations", "queue", "consultores", keeps_on=True) for who in agents]
        town = Town(office, gemini, agents, seed)
        town.lives()
        office.whatsapp.clear_faults()
        office.whatsapp.wait_until_delivered(60 * PATIENCE)
        office.admin.post("/api/v1/whatsapp/resume")

        # What was on its way has gone, or says that it has not.
        conversations = {c["id"]: c for c in office.admin.all_conversations()}
        waiting = lambda: [m["text"] for id in conversations for m in office.admin.all_messages(id) if m["status"] in ("queued", "sending")]
        eventually("everything out or refused", lambda: not waiting(), timeout=90)
        messages = {id: office.admin.all_messages(id) for id in conversations}
        every = {m["id"]: m for kept in messages.values() for m in kept}

        taken = {}
        for post in office.posts():
            if post.accepted:
                taken.setdefault(post.recipient, []).append(post.callback_data)
        for number, ids in taken.items():
            assert len(ids) == len(set(ids)), f"a message reached {number} twice"
            own = [i for i in ids if i in every]
            assert own == ids, "what went out is there"
            by_conversation = {}
            for i in own:
                by_conversation.setdefault(every[i]["conversation_id"], []).append(every[i]["seq"])
            assert all(seqs == sorted(seqs) for seqs in by_conversation.values()), f"out of order for {number}: {by_conversation}"
        lost = [i for _, i in town.said if i not in every]
        assert not lost, f"acknowledged and gone: {lost}"
        fates = {}
        for m in every.values():
            if m["direction"] == "out":
                fates[m["status"]] = fates.get(m["status"], 0) + 1
                assert m["status"] in ("sent", "delivered", "read", "unknown") or m["error"]["code"], m

        wamids = [m["external_id"] for m in every.values() if m["direction"] == "in"]
        assert [w for _, w in town.heard if wamids.count(w) != 1] == [], "each delivery has one effect"
        for id, token, acknowledged in town.visits:
            keys = [m["client_message_id"] for m in messages[id]] if id in messages else []
            assert [k for k in acknowledged if keys.count(k) != 1] == []
        for id, kept in messages.items():
            assert [m["seq"] for m in kept] == list(range(1, len(kept) + 1)), id

        # One open conversation for each customer, nobody over their capacity, and screens that show what is so.
        numbers = [c["contact"]["number"] for c in conversations.values() if c["state"] != "resolved" and c["contact"]["number"]]
        assert len(numbers) == len(set(numbers))

        def load_is_right():
            # Offers come and go meanwhile.
            load = {}
            for c in office.admin.all_conversations(state="open"):
                who = (c["assignee"] or c["offer"] or {}).get("consultor_id")
                load[who] = load.get(who, 0) + 1
            assert all(load.get(who.id, 0) <= 4 for who in agents), load
            return all(office.admin.consultor(who.id)["em_atendimento"] == load.get(who.id, 0) for who in agents)

        eventually("everybody's load as it is", load_is_right)
        for screen in screens:
            eventually("screens that show what is so", lambda: screen.agrees_with(office.admin))

        # The neighbours have noticed nothing.
        leo = Api(office.server, token=neighbour["token"])
        leo.say(neighbour["conversation_id"], "oi", client_message_id="k")
        eventually("the neighbours' bot", lambda: len(leo.all_messages(neighbour["conversation_id"])) == 2)
        assert owner.all_conversations()[0]["contact"]["name"] == "Léo" and len(owner.all_conversations()) == 1
        print(f"storm of {SECONDS} s with a kill: {len(town.heard)} inbound, {len(town.said)} of agents, {len(gemini.asked)} asked of Gemini, fates {fates}; 0 lost, 0 twice, 0 out of order, 0 over capacity")
