"""The disk is full: 503, nothing half-applied, nobody shown anything, and the service returns by itself (DESIGN section 1, invariant 1)."""

import os
import resource
import subprocess

import pytest

from fakes.whatsapp import text
from harness.api import is_clear_error
from harness.desk import ReplyError
from harness.office import new_number
from harness.waiting import eventually, never
from test_calendar import PublicPage, Salon, at, weekday

pytestmark = pytest.mark.timeout(180)

LONG = "x" * 4000


class SmallDisk:
    """A file system of a few megabytes in memory, filled with a ballast file."""

    def __init__(self, path):
        self.path = path
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", path], check=True, capture_output=True)

    def fill(self, server):
        with open(self.path / "ballast", "ab", buffering=0) as ballast:
            try:
                while True:
                    # Page by page at the end, so that nothing is left.
                    ballast.write(b"\0" * 4096)
            except OSError:
                pass

    def free(self, server):
        os.unlink(self.path / "ballast")

    def close(self):
        subprocess.run(["umount", "-l", self.path], check=False)


class LimitedFiles:
    """Where nothing can be mounted: the process may not make any file longer than it is."""

    def __init__(self, path):
        self.path = path
        path.mkdir()

    def fill(self, server):
        longest = max(f.stat().st_size for f in self.path.iterdir() if f.is_file())
        # The log must still fit under the same limit.
        limit = max(longest, server.stdout_path.stat().st_size + (1 << 20), server.stderr_path.stat().st_size + (1 << 20))
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    def free(self, server):
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def close(self):
        pass


@pytest.fixture
def disk(tmp_path):
    try:
        disk = SmallDisk(tmp_path / "small")
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"no mount here ({error}): the length of files is limited instead")
        disk = LimitedFiles(tmp_path / "limited")
    yield disk
    disk.close()


def fill_until_refused(office, disk, agent, id, other, idle):
    """The acknowledged notes' texts, up to the first refusal; its reply. `other` and `idle` are changed for as long as they can be."""
    disk.fill(office.server)
    acknowledged = []
    for n in range(6000):
        said = f"cheio {n} {LONG}"
        refused = agent.api.try_command(id, "notes", {"text": said})
        if refused.status != 201:
            break
        acknowledged.append(said)
    assert refused.status != 201, "the disk does not fill"
    # What was too long for the last gap may have left room for something short, down to a single row.
    in_a_row = 0
    for n in range(500):
        replies = [
            agent.api.try_command(other, "labels", {"labels": [str(n)]}),
            office.admin.call("PUT", f"/consultor/{idle.id}", json={"capacity": 10 + n}),
        ]
        in_a_row = in_a_row + 1 if {r.status for r in replies} == {503} else 0
        if in_a_row == 5:
            return acknowledged, refused
    raise AssertionError("the disk does not fill")


def test_while_the_disk_is_full_commands_are_refused_whole_and_afterwards_all_goes_on(offices, disk):
    office = offices(start=False, PLANTAO_DATA=disk.path)
    # What SQLite does when a limit is met must reach it as an error, not as a signal (Python ignores SIGXFSZ, and the server inherits that).
    office.server.before_exec = lambda: None
    office.open()
    maria, joao = office.hire("Maria"), office.hire("João", online=False)
    ana, bia = new_number(), new_number()
    id = office.attended_by(maria, ana)["id"]
    other = office.attended_by(maria, bia)["id"]
    maria.api.say(id, "antes")
    office.settled(id, other)
    joao.api.set_online(joao.id)
    screen = office.desk(maria, "conversations", f"conversation:{id}", f"conversation:{other}", "consultores", keeps_on=True)
    watcher = office.official(joao).connect()
    seen = watcher.follow(f"conversation:{other}")

    acknowledged, refused = fill_until_refused(office, disk, maria, id, other, joao)
    print(f"refused after {len(acknowledged)} more commands")

    # Every command is refused, clearly, and none of it is half there.
    body = is_clear_error(refused, 503)
    print("the answer:", body, "Retry-After:", refused.headers.get("retry-after"))
    assert int(refused.headers["retry-after"]) >= 1
    eventually("the screen as it is", lambda: seen.picture.conversation == maria.api.conversation(other))
    before, shown, posts = maria.api.conversation(other), len(seen.publications), len(office.whatsapp.sent)
    attempts = {
        "messages": {"text": f"recusada {LONG}", "client_message_id": "cheio-1"},
        "notes": {"text": f"recusada {LONG}"},
        "labels": {"labels": [f"recusada {n} " + "y" * 40 for n in range(10)]},
        "transfer": {"consultor_id": joao.id},
        "resolve": {},
    }
    for verb, data in attempts.items():
        reply = maria.api.try_command(other, verb, data)
        is_clear_error(reply, 503)
        assert "retry-after" in reply.headers
        with pytest.raises(ReplyError) as error:
            eventually("a connection", lambda: screen.closed is None)
            screen.rpc(f"conversation.{verb}", {"conversation_id": other} | data)
        assert error.value.code in (503, 100), error.value
    stranger = new_number()
    for number in (bia, stranger):
        delivery = office.whatsapp.deliver(text(number, f"recusada {LONG}"), redeliver=False)
        assert delivery.answers[0] >= 500, "not acknowledged, so that Meta comes again"
    is_clear_error(office.admin.call("POST", "/consultor", json={"nome": "Recusada", "idiomas": ["pt"]}), 503)
    assert office.anybody.call("POST", "/api/auth/register", json={"email": "r@example.com", "password": "Negada#2026xyz"}).status == 503

    # Live state is read as before, and nobody was shown anything.
    assert maria.api.conversation(other) == before
    assert "recusada" not in str(maria.api.messages(other, limit=100))
    assert office.admin.conversation_of(stranger) is None
    assert [c["nome"] for c in office.admin.consultores()] == ["Maria", "João"]
    assert office.anybody.call("GET", "/health").status in (200, 503), "it may say that it is unwell, but it answers"
    never("shown to a subscriber", lambda: [p for p in seen.publications[shown:]] or "recusada" in str(screen.everything_shown()), during=0.5)
    assert not [s for s in office.whatsapp.sent[posts:] if "recusada" in (s.text or "")], "sent to a customer"

    # There is space again: the service returns by itself.
    disk.free(office.server)
    message = eventually("the service back", lambda: (r := maria.api.try_command(other, "messages", attempts["messages"])).status == 201 and r.json(), timeout=20)
    assert maria.api.say(other, attempts["messages"]["text"], "cheio-1", expect=(200, 201))["id"] == message["id"]
    delivery = office.whatsapp.deliver(text(bia, "de novo"), redeliver=False)
    assert delivery.answers == [200]
    office.posted(attempts["messages"]["text"], bia)
    office.settled(id, other)
    eventually("the screen back", lambda: screen.agrees_with(maria.api), timeout=20)
    eventually("the other screen back", lambda: seen.is_live and not seen.picture.differences(joao.api), timeout=20)

    # And what was acknowledged, no more and no less, is there after a restart.
    def check():
        texts = [m["text"] for m in maria.api.all_messages(id)]
        assert [t for t in texts if t.startswith("cheio ")] == acknowledged
        for each in (id, other):
            messages = maria.api.all_messages(each)
            assert [m["seq"] for m in messages] == list(range(1, len(messages) + 1))
        assert len([m for m in maria.api.all_messages(other) if m["text"].startswith("recusada")]) == 1

    check()
    known = {each: (maria.api.conversation(each), maria.api.all_messages(each)) for each in (id, other)}
    office.server.kill()
    office.server.start()
    check()
    assert {each: (maria.api.conversation(each), maria.api.all_messages(each)) for each in (id, other)} == known
    assert office.in_line()["protocol"] == "#00003", "no number was lost or used twice"


def test_whoever_looks_at_a_public_page_goes_on_being_told_after_the_disk_was_full(offices, disk):
    office = offices(start=False, PLANTAO_DATA=disk.path)
    office.server.before_exec = lambda: None
    office.open()
    salon, day = Salon(office), weekday(2)
    made = salon.book(at(day, 9))
    page = PublicPage(salon)
    disk.fill(office.server)
    for n in range(6000):
        refused = office.admin.call("PUT", f"/api/appointments/{made['id']}", json={"notes": f"{n} {LONG}"})
        if refused.status != 200:
            break
    is_clear_error(refused, 503)
    disk.free(office.server)
    # Its live state was dropped and read anew; nobody's subscription was ended.
    eventually("the service back", lambda: office.admin.call("POST", "/api/appointments/", json=salon.body(at(day, 10))).status == 201, timeout=20)
    before = page.seen["epoch"]
    page.follow()
    assert page.seen["epoch"] == before and at(day, 10) not in page.slots and at(day, 11) in page.slots
