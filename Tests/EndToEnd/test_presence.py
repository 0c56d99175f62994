"""Who is there after the server is not: leases of connections outlive a crash (docs/operating.md "Crash")."""

import time

import pytest

from harness.office import new_number
from harness.schema import set_back
from harness.waiting import eventually, never

GRACE = 4


@pytest.fixture
def office(offices):
    return offices(PRESENCE_GRACE_SECONDS=GRACE)


def online(office, who):
    return office.admin.get(f"/consultor/{who.id}")["status_online"]


def by_rest_before(office, maria):
    office.admin.set_online(maria.id)
    return office.desk(maria, "conversations")


def by_rest_while_connected(office, maria):
    screen = office.desk(maria, "conversations")
    maria.api.put(f"/consultor/{maria.id}/connection", {"status_online": True})
    return screen


def by_rpc(office, maria):
    screen = office.desk(maria, "conversations")
    screen.command("rpc", {"method": "consultor.connection", "data": {"status_online": True}})
    return screen


def lose(office, how):
    # What came with a connection is noted within a moment.
    time.sleep(1)
    if how == "kill":
        office.server.kill()
    else:
        office.server.stop()
    office.server.start()


@pytest.mark.parametrize("how", ["kill", "stop"])
@pytest.mark.parametrize("way", [by_rest_before, by_rest_while_connected, by_rpc])
def test_who_was_online_by_a_connection_and_does_not_come_back_goes_offline_after_the_grace(office, way, how):
    maria = office.hire("Maria", online=False)
    by_hand = office.integrator.create_consultor("João", ["pt"], status_online=True)
    put_online = office.hire("Bia", online=False)
    office.integrator.set_online(put_online.id)
    way(office, maria)
    assert online(office, maria)
    lose(office, how)
    started = time.monotonic()
    assert online(office, maria), "not before the grace is over"
    eventually("Maria is offline", lambda: not online(office, maria), timeout=GRACE + 20)
    assert time.monotonic() - started > GRACE / 2
    # Nobody who was put online by hand and never connected is.
    never("offline", lambda: not office.admin.get(f"/consultor/{by_hand['id']}")["status_online"] or not online(office, put_online), during=2)


def test_what_was_on_offer_to_them_goes_on(office):
    maria, joao = office.hire("Maria"), office.hire("João", online=False)
    office.desk(maria, "conversations")
    ana = new_number()
    office.says(ana, "quero um atendente")
    assert office.conversation(ana, "offered")["offer"]["consultor_id"] == maria.id
    lose(office, "kill")
    office.integrator.set_online(joao.id)
    eventually("João is asked", lambda: (office.conversation(ana)["offer"] or {}).get("consultor_id") == joao.id, timeout=GRACE + 20)
    assert not online(office, maria)


def test_who_is_back_within_the_grace_never_left(office):
    maria = office.hire("Maria")
    office.desk(maria, "conversations")
    lose(office, "kill")
    screen = office.desk(maria, "conversations")
    never("offline", lambda: not online(office, maria), during=GRACE + 2)
    # And is still held by the connection, through another crash.
    assert screen.closed is None
    lose(office, "kill")
    eventually("Maria is offline", lambda: not online(office, maria), timeout=GRACE + 20)


def test_who_went_offline_and_was_put_online_by_hand_stays(office):
    maria = office.hire("Maria")
    screen = office.desk(maria, "conversations")
    time.sleep(1)
    screen.leave()
    eventually("Maria is offline", lambda: not online(office, maria), timeout=GRACE + 20)
    office.integrator.set_online(maria.id)
    lose(office, "kill")
    never("offline", lambda: not online(office, maria), during=GRACE + 2)


def test_a_store_from_before_there_were_leases_is_brought_up_to_date(offices):
    office = offices(PRESENCE_GRACE_SECONDS=GRACE, DATABASE_URL="")
    maria = office.hire("Maria")
    office.server.stop()
    set_back(office.server.data, 2)
    office.server.start()
    assert online(office, maria), "nobody knows of a connection, so it was by hand"
    office.desk(maria, "conversations")
    lose(office, "kill")
    eventually("Maria is offline", lambda: not online(office, maria), timeout=GRACE + 20)
