"""How a business runs its desk, through REST and live: rules, lines, promises, hours, what people tell each other, and the record of it all."""

import pytest

from harness.api import Api, is_clear_error, names_fields
from harness.office import new_number
from harness.waiting import eventually


@pytest.fixture
def office(offices):
    return offices()


def _set(office, **settings):
    return office.admin.put("/api/v1/desk/settings", settings)


def _audit(api, id=None, **query):
    return api.get(f"/api/v1/conversations/{id}/audit" if id else "/api/v1/audit", **query)


# MARK: Settings


def test_settings_are_changed_by_who_may_and_everybody_sees_them(office):
    maria = office.hire()
    with office.desk(maria, "desk") as desk:
        assert desk.picture("desk").settings == office.admin.get("/api/v1/desk/settings")
        changed = _set(office, policy="least_loaded", weekly_hours={"mon": [["09:00", "12:00"], ["13:00", "24:00"]]}, holidays=["2026-12-25"], wrap_up_seconds=30)
        assert changed["weekly_hours"]["mon"] == [["09:00", "12:00"], ["13:00", "24:00"]] and changed["weekly_hours"]["tue"] == []
        desk.wait("the settings", lambda: desk.picture("desk").settings == changed)
    is_clear_error(maria.api.call("PUT", "/api/v1/desk/settings", json={"policy": "longest_idle"}), 403)
    names_fields(office.admin.call("PUT", "/api/v1/desk/settings", json={"policy": "luck", "timezone": "Mars/Base"}), "policy", "timezone")
    office.server.restart()
    office._admin = None
    assert office.admin.get("/api/v1/desk/settings") == changed
    assert _audit(office.admin, limit=1)["items"][0]["cause"] == "settings_changed"


# MARK: Assignment


def test_after_a_conversation_there_is_a_pause_that_its_consultor_may_end(office):
    _set(office, wrap_up_seconds=600)
    maria = office.hire()
    first = office.attended_by(maria)["id"]
    maria.api.resolve(first)
    assert maria.api.consultor(maria.id)["wrap_up_until"]
    waiting = office.in_line()
    assert waiting["state"] == "queued"
    assert maria.api.post(f"/consultor/{maria.id}/wrapped-up", expect=200)["wrap_up_until"] is None
    assert office.conversation(waiting["contact"]["number"], "offered")["offer"]["consultor_id"] == maria.id


def test_a_pause_ends_by_itself(office):
    _set(office, wrap_up_seconds=1)
    maria = office.hire()
    maria.api.resolve(office.attended_by(maria)["id"])
    office.conversation(office.in_line()["contact"]["number"], "offered")
    assert maria.api.consultor(maria.id)["wrap_up_until"] is None


def test_a_conversation_goes_back_to_the_line_ahead_of_who_came_later(office):
    maria = office.hire(capacity=1)
    first = office.attended_by(maria)
    second = office.in_line()
    desk = office.desk(maria, "queue")
    back = maria.api.command(first["id"], "transfer", {"queue": True})
    assert (back["state"], back["assignee"]) == ("queued", None) and back["queued_at"] < second["created_at"]
    desk.wait("both in line", lambda: len(desk.picture("queue").waiting) == 2)
    assert [e["conversation_id"] for e in desk.picture("queue").waiting] == [first["id"], second["id"]]
    # To another language, with the same time; there it waits for who speaks it.
    maria.api.command(second["id"], "decline")
    maria.api.claim(first["id"])
    english = maria.api.command(first["id"], "transfer", {"language": "en"})
    assert (english["language"], english["queued_at"], english["state"]) == ("en", back["queued_at"], "queued")
    john = office.hire("John", languages=("en",))
    assert office.conversation(first["contact"]["number"], "offered")["offer"]["consultor_id"] == john.id
    names_fields(john.api.try_command(first["id"], "transfer", {}), "consultor_id")


def test_nobody_is_given_more_than_fits_but_by_an_admin(office):
    maria, joao = office.hire("Maria"), office.hire("João", capacity=0)
    id = office.attended_by(maria)["id"]
    assert is_clear_error(maria.api.try_command(id, "transfer", {"consultor_id": joao.id}), 409)["code"] == "consultor_full"
    assert office.admin.command(id, "transfer", {"consultor_id": joao.id})["assignee"]["consultor_id"] == joao.id


def test_who_attended_a_customer_last_is_preferred(office):
    _set(office, policy="preferred_first")
    maria, joao = office.hire("Maria"), office.hire("João")
    number = new_number()
    joao.api.resolve(office.attended_by(joao, number)["id"])
    office.says(number, "atendente")
    assert office.conversation(number, "offered")["offer"]["consultor_id"] == joao.id, "though Maria is idle for longer"


# MARK: The line


def test_those_in_line_see_where_they_stand_and_nobody_online_is_told(office):
    admin = office.desk(office.admin, "queue")
    first, second = office.in_line(), office.in_line()
    admin.wait("both estimates", lambda: len(admin.picture("queue").estimates) == 2)
    told = admin.picture("queue").estimates
    assert [(told[c["id"]]["position"], told[c["id"]]["online"], told[c["id"]]["wait"]) for c in (first, second)] == [(1, 0, None), (2, 0, None)]
    assert any("ninguém on-line" in m["text"] for m in office.admin.all_messages(first["id"]))
    customer = office.desk(office.admin, f"conversation:{second['id']}")
    assert customer.picture(f"conversation:{second['id']}").queue["position"] == 2
    maria = office.hire(capacity=1)
    admin.wait("a range", lambda: admin.picture("queue").estimates[second["id"]]["wait"])
    maria.api.claim(first["id"])
    customer.wait("moved up", lambda: customer.picture(f"conversation:{second['id']}").queue["position"] == 1)
    assert not admin.faults and admin.agrees_with(office.admin)


# MARK: Promises, silence, hours, and how it was


def test_a_promise_is_warned_of_and_its_breach_told(office):
    _set(office, first_answer_seconds=2, warn_before_seconds=1)
    maria = office.hire()
    own = f"user:{maria.user['id']}"
    desk, supervisor = office.desk(maria, own), office.desk(office.admin, "supervision")
    number = new_number()
    office.says(number, "oi")
    id = maria.api.claim(office.conversation(number, "bot")["id"])["id"]
    desk.wait("the breach", lambda: [p["type"] for p in desk.picture(own).promises] == ["sla.warned", "sla.breached"])
    assert all(p["conversation_id"] == id and p["metric"] == "first_answer" for p in desk.picture(own).promises)
    supervisor.wait("the breach", lambda: len(supervisor.picture("supervision").promises) == 2)
    assert maria.api.conversation(id)["sla"]["breaches"] == ["first_answer"]
    maria.api.say(id, "Bom dia!")
    assert maria.api.conversation(id)["sla"] == {"clocks": [], "breaches": ["first_answer"]}


def test_a_silent_conversation_of_the_bot_is_closed_also_over_a_restart(office):
    _set(office, bot_inactivity_seconds=3, inactivity_message="Até logo!")
    number = new_number()
    office.says(number, "oi")
    id = office.conversation(number, "bot")["id"]
    office.server.restart()
    office._admin = None
    office.conversation(number, "resolved")
    assert "Até logo!" in [m["text"] for m in office.admin.all_messages(id)]
    assert _audit(office.admin, id, limit=1)["items"][0]["cause"] == "inactivity"


def test_out_of_hours_the_customer_is_told_and_waits(office):
    _set(office, weekly_hours={}, out_of_hours_message="Abrimos amanhã.")
    waiting = office.in_line()
    assert waiting["state"] == "queued"
    office.message(waiting["id"], kind="text", direction="out")
    assert any(m["text"].endswith("Abrimos amanhã.") for m in office.admin.all_messages(waiting["id"]))


def test_a_number_after_the_end_tells_how_it_was(office):
    _set(office, asks_satisfaction=True, satisfaction_question="De 1 a 5?")
    maria = office.hire()
    conversation = office.attended_by(maria)
    number = conversation["contact"]["number"]
    maria.api.resolve(conversation["id"])
    office.posted("De 1 a 5?", number)
    office.says(number, "4")
    told = eventually("the answer", lambda: (c := maria.api.conversation(conversation["id"]))["satisfaction"]["score"] and c)
    assert (told["state"], told["satisfaction"]["score"]) == ("resolved", 4)
    assert maria.api.conversation_of(number)["id"] == conversation["id"], "it opens nothing"
    office.says(number, "obrigada, e a minha fatura?")
    eventually("a new one", lambda: maria.api.conversation_of(number)["id"] != conversation["id"])


# MARK: What people tell each other


def test_unread_is_counted_for_who_has_it(office):
    maria = office.hire()
    own = f"user:{maria.user['id']}"
    conversation = office.attended_by(maria)
    maria.api.command(conversation["id"], "read")
    desk = office.desk(maria, own)
    assert desk.picture(own).unread == {"messages": 0, "conversations": 0}
    for text in ("alô?", "tem alguém?"):
        office.says(conversation["contact"]["number"], text)
    desk.wait("two", lambda: desk.picture(own).unread == {"messages": 2, "conversations": 1})
    maria.api.command(conversation["id"], "read")
    desk.wait("none", lambda: desk.picture(own).unread == {"messages": 0, "conversations": 0})
    assert desk.agrees_with(maria.api)


def test_a_note_tells_whom_it_names_also_over_a_restart(office):
    maria, joao = office.hire("Maria"), office.hire("João Lima")
    own = f"user:{joao.user['id']}"
    id = office.attended_by(maria)["id"]
    desk = office.desk(joao, own, keeps_on=True)
    note = maria.api.note(id, "@joão lima, pode ver isto?")
    desk.wait("the mention", lambda: [m["message_id"] for m in desk.picture(own).mentions] == [note["id"]])
    office.server.restart()
    again = office.desk(joao, own)
    assert [m["message_id"] for m in again.picture(own).mentions] == [note["id"]]
    joao.api.command(id, "read")
    again.wait("read", lambda: again.picture(own).mentions == [])


def test_prepared_replies(office):
    maria, viewer = office.hire(), None
    desk = office.desk(maria, "desk")
    reply = maria.api.post("/api/v1/canned-replies", {"shortcut": "Oi", "text": "Olá, {{contact}}! Protocolo {{protocol}}. {{agent}}"}, expect=201)
    path = f"/api/v1/canned-replies/{reply['id']}"
    assert reply["shortcut"] == "oi" and maria.api.get(path) == reply
    assert is_clear_error(maria.api.call("POST", "/api/v1/canned-replies", json={"shortcut": "OI", "text": "x"}), 409)["code"] == "shortcut_taken"
    names_fields(maria.api.call("POST", "/api/v1/canned-replies", json={"shortcut": "dois nomes"}), "shortcut", "text")
    conversation = office.attended_by(maria)
    said = maria.api.command(conversation["id"], "messages", {"shortcut": "oi", "client_message_id": "k"}, expect=201)
    assert said["text"] == f"Olá, {conversation['contact']['name']}! Protocolo {conversation['protocol']}. {maria.api.user['name']}"
    assert maria.api.command(conversation["id"], "messages", {"shortcut": "oi", "client_message_id": "k"}, expect=201)["id"] == said["id"]
    names_fields(maria.api.try_command(conversation["id"], "messages", {"shortcut": "tchau"}), "shortcut")
    maria.api.put(path, {"text": "Oi!"})
    desk.wait("the change", lambda: desk.picture("desk").replies[reply["id"]]["text"] == "Oi!")
    assert desk.agrees_with(maria.api)
    maria.api.call("DELETE", path, expect=204)
    desk.wait("gone", lambda: not desk.picture("desk").replies)
    maria.api.call("GET", path, expect=404)


# MARK: Who sees what


def test_supervisors_see_who_does_what_and_agents_only_their_own(office):
    maria, joao = office.hire("Maria"), office.hire("João")
    supervisor = office.desk(office.admin, "supervision")
    conversation = office.attended_by(maria)
    supervisor.wait("Maria's", lambda: supervisor.picture("supervision").work[maria.id]["conversations"])
    maria.api.command(conversation["id"], "transfer", {"consultor_id": joao.id})
    supervisor.wait("João's", lambda: supervisor.picture("supervision").work.keys() == {joao.id})
    assert supervisor.agrees_with(office.admin)
    for channel in ("supervision", f"user:{joao.user['id']}"):
        is_clear_error(maria.api.call("GET", f"/api/v1/realtime/{channel}"), 403)


def test_a_note_may_name_whoever_has_an_account(office):
    maria = office.hire()
    user = office.admin.create_user("ada@example.com", "Ada Chefe", "admin", "Senha#Forte2026x")
    ada = Api(office.server).login(user["email"], "Senha#Forte2026x")
    id = office.attended_by(maria)["id"]
    inbox = office.desk(ada, f"user:{user['id']}")
    maria.api.note(id, "@ada chefe, pode olhar?")
    inbox.wait("the mention", lambda: any(data["type"] == "mention.created" for _, _, _, data in inbox.shown))


def test_every_transition_leaves_its_record(office):
    maria = office.hire()
    conversation = office.attended_by(maria)
    maria.api.claim(conversation["id"])
    maria.api.resolve(conversation["id"])
    items = _audit(maria.api, conversation["id"])["items"]
    assert [(i["actor"]["kind"], i["cause"], i["from"], i["to"]) for i in reversed(items)] == [
        ("customer", "customer_wrote", None, "bot"),
        ("customer", "person_asked_for", "bot", "queued"),
        ("system", "offer", "queued", "offered"),
        ("agent", "claim", "offered", "active"),
        ("agent", "resolve", "active", "resolved"),
    ]
    assert items[0]["actor"]["name"] == maria.api.user["name"] and items[0]["from_consultor_id"] == maria.id
    page = _audit(office.admin, limit=2)
    # Of the desk as a whole there is one more: that Maria came.
    last = len(items) + 1
    assert page["has_more"] and [i["seq"] for i in page["items"]] == [last, last - 1]
    earlier = _audit(office.admin, before=page["items"][-1]["seq"])["items"]
    assert [i["seq"] for i in earlier] == list(range(last - 2, 0, -1))
    assert [(i["cause"], i["to"], i["to_consultor_id"]) for i in earlier if i["conversation_id"] is None] == [("came_online", "online", maria.id)]
    is_clear_error(maria.api.call("GET", "/api/v1/audit"), 403)
    names_fields(office.admin.call("GET", "/api/v1/audit", before="x"), "before")
