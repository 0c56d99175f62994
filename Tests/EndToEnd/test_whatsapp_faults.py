"""The whole desk against the fake of the Cloud API with everything it can do wrong, in an order that the seed decides: every message a customer sends has one
effect, and every message an agent sends reaches the customer once, in order, or says that it did not or that nobody knows."""

import threading
import time

import pytest

from fakes.whatsapp import button_reply, echo, location, media, poison, reaction, status, text, digest_of
from harness.office import new_number
from harness.waiting import PATIENCE, eventually

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8

ROUNDS = 160
#: Of errors that end in success once they stop, and of those that end a message.
TRANSIENT, FINAL = (131000, 131016, 130429, 131056), (131026, 131049, 100, 131051)


class Storm:
    def __init__(self, office, maria, seed):
        self.office, self.maria, self.seed, self.fake = office, maria, seed, office.whatsapp
        self.people = [new_number() for _ in range(6)]
        self.ids = {number: office.attended_by(maria, number)["id"] for number in self.people}
        self.said = {number: [] for number in self.people}
        self.heard = {number: [] for number in self.people}
        self.late, self.seen, self.files = [], [], {}
        self.counts = {}

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    # MARK: What people do

    def agent_writes(self, number):
        words = f"{number} para você {len(self.said[number])}"
        body = {"text": words, "client_message_id": f"k{len(self.said[number])}"}
        if self.seed.random() < 0.2:
            body["buttons"] = [{"id": "1", "title": "Sim"}]
        for _ in range(self.seed.choice((1, 1, 1, 2, 3))):
            sent = self.maria.api.command(self.ids[number], "messages", body, expect=201)
        self.said[number].append((sent["id"], words))
        self.count("written")

    def customer_writes(self, number):
        n = len(self.heard[number])
        kind = self.seed.choice(("text", "text", "image", "button", "location"))
        if kind == "image":
            content = PNG + bytes([n % 256])
            item = media(number, "image", self.fake.add_media(content, "image/png"), content={"sha256": digest_of(content), "mime_type": "image/png"})
            self.files[item.element["id"]] = content
        elif kind == "button":
            item = button_reply(number, f"b{n}", f"{number} botão {n}"[:20])
        elif kind == "location":
            item = location(number, -23.5, n / 1000)
        else:
            item = text(number, f"{number} diz {n}")
        self.heard[number].append(item.element["id"])
        batch = [item] + self.seed.sample([poison({"id": 5}), status("wamid.NOBODY", "read", recipient=number)], self.seed.randrange(3))
        self.seed.shuffle(batch)
        times = self.seed.choice((1, 1, 2, 5))
        if times == 1 and self.seed.random() < 0.3:
            self.fake.deliver_later(*batch, after=self.seed.random())
        else:
            self.fake.deliver(*batch, times=times)
        self.count(f"customer: {kind}")

    # MARK: What goes wrong

    def something_goes_wrong(self, number):
        fault = self.seed.choice(("transient", "final", "later", "before", "after", "slow", "media", "status first", "redelivered", "token", "away", "reordered", "reacts", "echo"))
        to = self.seed.choice((number, None))
        if fault == "transient":
            self.fake.fail_next(self.seed.choice(TRANSIENT), times=self.seed.choice((1, 1, 2)), to=to)
        elif fault == "final":
            self.fake.fail_next(self.seed.choice(FINAL), to=to)
        elif fault == "later":
            self.fake.fail_next(131026, to=to, by_webhook=True)
        elif fault == "before":
            self.fake.drop_before_accept(to=to)
        elif fault == "after":
            self.fake.drop_after_accept(to=to)
        elif fault == "slow":
            self.fake.slow_next(self.seed.random(), to=to)
        elif fault == "media":
            self.fake.fail_media(self.seed.choice(("expired", "cut", "altered", "error")))
        elif fault == "status first":
            self.fake.status_before_answer = not self.fake.status_before_answer
        elif fault == "redelivered" and self.fake.deliveries:
            self.fake.redeliver(self.seed.choice(self.fake.deliveries))
        elif fault == "token":
            self.fake.expire_token()
            self.late.append((time.monotonic() + 0.5, self.token_comes_back))
        elif fault == "away":
            self.fake.stop()
            time.sleep(self.seed.random() * 0.5)
            self.fake.start()
        elif fault == "reordered":
            self.fake.reorder_statuses, self.fake.duplicate_statuses = self.seed.random() < 0.5, self.seed.random() < 0.5
        elif fault == "reacts" and self.heard[number]:
            self.fake.deliver(reaction(number, self.seed.choice(self.heard[number]), self.seed.choice(("👍", "", None))))
        elif fault == "echo":
            item = echo(number, f"{number} do celular")
            self.seen.append((number, item.element["id"]))
            self.fake.deliver(item, times=2)
        self.count(fault)

    def token_comes_back(self):
        self.fake.renew_token()
        self.office.admin.post("/api/v1/whatsapp/resume")

    def what_is_due(self):
        for entry in [entry for entry in self.late if entry[0] <= time.monotonic()]:
            self.late.remove(entry)
            entry[1]()

    def blows(self):
        for _ in range(ROUNDS):
            number = self.seed.choice(self.people)
            self.seed.choice((self.agent_writes, self.agent_writes, self.customer_writes, self.something_goes_wrong, self.something_goes_wrong))(number)
            self.what_is_due()
        # The weather clears.
        self.fake.clear_faults()
        for _, act in self.late:
            act()
        self.token_comes_back()

    # MARK: What must be true afterwards

    def is_settled(self):
        def still_going():
            return [m["text"] for id in self.ids.values() for m in self.office.admin.all_messages(id) if m["status"] in ("queued", "sending")]

        eventually("everything out or refused", lambda: not still_going(), timeout=120)
        self.fake.wait_until_delivered(60 * PATIENCE)

    def outgoing_is_right(self):
        fates = {}
        for number, id in self.ids.items():
            shown = {m["id"]: m for m in self.office.admin.all_messages(id)}
            assert [m for m in self.said[number] if m[0] not in shown] == [], "every message is there"
            taken = [p.callback_data for p in self.office.posts(number) if p.accepted]
            assert len(taken) == len(set(taken)), f"a message reached {number} twice"
            order = [i for i, _ in self.said[number] if i in taken]
            assert [i for i in taken if i in order] == order, f"out of order for {number}"
            for i, words in self.said[number]:
                message = shown[i]
                fates[message["status"]] = fates.get(message["status"], 0) + 1
                if message["status"] in ("sent", "delivered", "read"):
                    assert i in taken, f"{words!r} is shown as {message['status']} and was never taken"
                elif message["status"] == "failed":
                    assert message["error"]["code"], "a failure says why"
                else:
                    assert message["status"] == "unknown" and i not in taken, f"{words!r}: what was taken is settled by its statuses, not left as {message['status']}"
            assert self.fake.max_in_flight.get(number, 0) <= 1, "one in flight for each conversation"
        return fates

    def incoming_is_right(self):
        for number, id in self.ids.items():
            kept = [m["external_id"] for m in self.office.admin.all_messages(id) if m["direction"] == "in" and m["kind"] != "reaction"]
            for wamid in self.heard[number]:
                assert kept.count(wamid) == 1, f"{wamid} of {number} is there {kept.count(wamid)} times"
            assert len(self.office.admin.conversations(q=number)["items"]) == 1
        for number, wamid in self.seen:
            echoes = [m for m in self.office.admin.all_messages(self.ids[number]) if m["external_id"] == wamid]
            assert [(m["direction"], m["author"]["kind"]) for m in echoes] == [("out", "agent")]

    def files_are_right(self):
        for number, id in self.ids.items():
            for wamid, content in self.files.items():
                found = [m for m in self.office.admin.all_messages(id) if m["external_id"] == wamid]
                if found:
                    message = eventually("fetched", lambda w=wamid: [m for m in self.office.admin.all_messages(id) if m["external_id"] == w and m["content"]["state"] == "stored"], timeout=60)[0]
                    assert self.office.admin.call("GET", f"/api/v1/conversations/{id}/messages/{message['id']}/media", expect=200).body == content


@pytest.mark.timeout(300)
def test_with_everything_going_wrong_nothing_is_lost_repeated_or_out_of_order(office, seed):
    maria = office.hire("Maria", online=False, capacity=20)
    storm = Storm(office, maria, seed)
    office.whatsapp.auto_statuses = ("sent", "delivered", "read")
    storm.blows()
    storm.is_settled()
    fates = storm.outgoing_is_right()
    storm.incoming_is_right()
    storm.files_are_right()
    print(f"{ROUNDS} rounds: {storm.counts}; messages ended as {fates}; 0 twice, 0 out of order, 0 lost")


@pytest.mark.timeout(120)
def test_exactly_one_effect_for_each_message_delivered_many_times_in_parallel(office, seed):
    """The bar of research/conversations.md §10: k deliveries of one wamid in parallel, one effect."""
    k, number = 8, new_number()
    items = [text(number, f"mensagem {n}") for n in range(12)]
    barrier = threading.Barrier(k)

    def deliver(n):
        mine = list(items)
        # As Meta repeats: the same elements in other batches.
        cut = (n * 5) % len(mine)
        barrier.wait(20)
        office.whatsapp.deliver(*mine[cut:], *mine[:cut])

    threads = [threading.Thread(target=deliver, args=(n,)) for n in range(k)]
    [t.start() for t in threads], [t.join(60) for t in threads]
    office.whatsapp.wait_until_delivered(60 * PATIENCE)
    (conversation,) = office.admin.conversations(q=number)["items"]
    office.settled(conversation["id"])
    kept = [m["external_id"] for m in office.admin.all_messages(conversation["id"]) if m["direction"] == "in"]
    assert sorted(kept) == sorted(i.element["id"] for i in items)
    print(f"{len(items)} messages x {k} parallel deliveries: {len(kept)} effects, {conversation['unread']} unread")
    assert conversation["unread"] == len(items)
