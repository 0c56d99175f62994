"""An outage of WhatsApp as the desk lives through it: nothing listens where the Cloud API was, and people go on writing, asking for somebody and being answered."""

import pytest

from fakes.whatsapp import digest_of, media
from harness.office import new_number
from harness.waiting import eventually

pytestmark = pytest.mark.timeout(120)

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


def test_while_nothing_listens_the_desk_goes_on_and_all_of_it_goes_out_once_in_order(offices, seed):
    office = offices(WHATSAPP_BREAKER_SECONDS=1)
    agents = [office.hire(f"Agente {n}", capacity=10) for n in range(2)]
    ids = {office.attended_by(agents[n % 2])["id"]: agents[n % 2] for n in range(6)}
    watcher = office.desk(office.admin, "breakers", "queue")
    states = lambda: [data["circuit_breakers"]["whatsapp"]["state"] for channel, _, _, data in watcher.shown if channel == "breakers"]

    office.whatsapp.stop()
    said = {id: [] for id in ids}
    for n in range(30):
        id = seed.choice(list(ids))
        said[id].append(ids[id].api.say(id, f"{id} {n}")["id"])
    eventually("it opens", lambda: "open" in states())
    watcher.agrees_with(office.admin)
    office.server.kill()
    office.server.start()
    office._admin = None
    assert all(m["status"] in ("queued", "sending") for id in ids for m in office.admin.all_messages(id) if m["id"] in said[id])

    office.whatsapp.start()
    eventually("all out", lambda: all(m["status"] == "sent" for id in ids for m in office.admin.all_messages(id) if m["id"] in said[id]), timeout=60)
    for id in ids:
        assert [s.callback_data for s in office.posts() if s.accepted and s.callback_data in said[id]] == said[id], "each once, in its order"
    print(f"{sum(map(len, said.values()))} messages through an outage and a kill -9: 0 lost, 0 twice, 0 out of order")


def test_a_conversation_that_is_too_fast_waits_for_itself_alone(office):
    maria = office.hire(capacity=5)
    fast, other = office.attended_by(maria)["id"], office.attended_by(maria)["id"]
    office.whatsapp.limit_pair_rate(4, 6)
    office.whatsapp.advance_clock(600)
    for n in range(6):
        maria.api.say(fast, f"p{n}")
    eventually("it is parked", lambda: [s for s in office.posts() if s.error == 131056])
    maria.api.say(other, "esta passa")
    office.message(other, "esta passa", status="sent")
    office.whatsapp.advance_clock(600)
    office.message(fast, "p5", status="sent", timeout=30)
    assert [s.text for s in office.posts() if s.accepted and s.text and s.text.startswith("p")] == [f"p{n}" for n in range(6)]


def test_a_window_that_closes_at_metas_is_closed_here(office):
    maria = office.hire()
    id = office.attended_by(maria)["id"]
    office.whatsapp.enforce_window()
    office.whatsapp.advance_clock(25 * 3600)
    maria.api.say(id, "tarde demais")
    assert office.message(id, "tarde demais", status="failed")["error"]["code"] == "131047"
    assert maria.api.try_command(id, "messages", {"text": "de novo"}).json()["code"] == "outside_window"
    maria.api.command(id, "messages", {"template": {"name": "retomada"}}, expect=201)
    office.message(id, "[Modelo retomada]", status="sent")


def test_an_address_of_a_file_that_has_run_out_is_asked_for_again(office):
    maria = office.hire()
    conversation = office.attended_by(maria)
    office.whatsapp.media_url_life = 0
    item = media(conversation["contact"]["number"], "image", office.whatsapp.add_media(PNG, "image/png"), content={"sha256": digest_of(PNG), "mime_type": "image/png"})
    office.deliver(item)
    office.message(conversation["id"], external_id=item.element["id"])
    office.whatsapp.media_url_life = 300
    eventually("fetched", lambda: office.message(conversation["id"], external_id=item.element["id"])["content"]["state"] == "stored", timeout=30)
