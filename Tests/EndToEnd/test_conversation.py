"""The main job: a customer writes on WhatsApp, a bot answers, a person is asked for, picked, and answers (protocol/README.md)."""

import threading
from datetime import datetime, timedelta, timezone

from fakes.whatsapp import batch, meta_json, status, text
from harness.api import is_clear_error
from harness.office import new_number
from harness.process import PHONE_NUMBER_ID, WHATSAPP_TOKEN
from harness.waiting import eventually, never

RANK = {"queued": 0, "sending": 1, "unknown": 2, "sent": 3, "delivered": 4, "read": 5, "failed": 6}
UNDELIVERABLE = {"code": 131026, "title": "Message undeliverable", "message": "Message undeliverable", "error_data": {"details": "…"}}


def rfc3339(when):
    return when.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"


def in_seconds(seconds):
    return datetime.now(timezone.utc) + timedelta(seconds=seconds)


def parsed(time):
    return datetime.strptime(time, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)


def test_a_customer_reaches_a_person_over_whatsapp_and_gets_an_answer(office):
    maria = office.hire("Maria")
    ana, bia = new_number(), new_number()
    screen = office.official(maria).connect()
    inbox, line, team = screen.follow("conversations"), screen.follow("queue"), screen.follow("consultores")
    assert (inbox.picture.items, line.picture.items) == ({}, {})
    assert team.picture.items[maria.id]["status_online"] is True

    # A delivery as Meta makes it: several customers and a stray status in one batch, with escaped letters, an emoji and slashes, signed as bytes.
    greeting = 'Olá! É a Ana, de São João 👋🏽 — "bom dia" https://example.com/á?b=1'
    items = [text(ana, greeting, name="Ana Conceição 🌻"), status("wamid.STRAY", "delivered"), text(bia, "bom dia", name="Bia")]
    body = meta_json(batch(items, office.whatsapp.numbers))
    assert b"\\u00e1" in body and b"\\ud83d" in body and b"\\/" in body
    assert office.whatsapp.deliver(raw=body, redeliver=False).answers == [200]

    # The bot has it, and answers with its menu.
    conversation = office.conversation(ana, "bot")
    id = conversation["id"]
    assert (conversation["owner"], conversation["channel"], conversation["protocol"], conversation["assignee"]) == ("bot", "whatsapp", None, None)
    assert (conversation["contact"]["name"], conversation["contact"]["number"], conversation["unread"]) == ("Ana Conceição 🌻", ana, 1)
    first = office.message(id, greeting)
    assert (first["seq"], first["kind"], first["direction"], first["status"]) == (1, "text", "in", "received")
    assert (first["author"]["kind"], first["author"]["name"]) == ("customer", "Ana Conceição 🌻")
    assert first["external_id"].startswith("wamid.") and first["provider_timestamp"]
    menu = eventually("the bot's answer", lambda: office.posts(ana))[0]
    assert "atendente" in menu.text.lower(), "the menu names the way to a person"
    assert office.message(id, menu.text)["author"]["kind"] == "bot"
    eventually("Ana on the screen", lambda: inbox.picture.items.get(id, {}).get("state") == "bot")
    office.conversation(bia, "bot")

    # She asks for a person: she is put in line with the first number, and offered to Maria.
    office.says(ana, "quero falar com um ATENDENTE, por favor", name="Ana Conceição 🌻")
    offered = eventually("the offer on the screen", lambda: (c := inbox.picture.items[id])["state"] == "offered" and c)
    assert (offered["owner"], offered["protocol"], offered["assignee"]) == ("queue", "#00001", None)
    assert (offered["offer"]["consultor_id"], offered["offer"]["user_id"], offered["offer"]["name"]) == (maria.id, maria.user["id"], "Maria")
    assert parsed(offered["offer"]["expires_at"]) > datetime.now(timezone.utc)
    entry = eventually("the entry in line", lambda: (e := line.picture.items.get(id)) and e["offer"] and e)
    assert (entry["protocol"], entry["contact"]["number"], entry["language"]) == ("#00001", ana, "pt")
    assert entry["since"] == offered["queued_at"]

    # Maria opens it, takes it and answers, all over the socket.
    talk = screen.follow(f"conversation:{id}")
    assert talk.picture.texts[0] == greeting and talk.picture.conversation["state"] == "offered"
    claimed = screen.run(screen.client.rpc("conversation.claim", {"conversation_id": id})).data
    assert (claimed["state"], claimed["owner"], claimed["offer"]) == ("active", "consultor", None)
    assert claimed["assignee"] == {"consultor_id": maria.id, "user_id": maria.user["id"], "name": "Maria"}
    eventually("the line empty on the screen", lambda: not line.picture.items)
    eventually("Maria shown busy", lambda: team.picture.items[maria.id]["em_atendimento"] == 1)
    answer = 'Oi, Ana! Aqui é a Maria 😊 "tudo" certo? R$ 99,90 / mês\n\tAté já.'
    written = screen.run(
        screen.client.rpc("conversation.messages", {"conversation_id": id, "text": answer, "client_message_id": "resposta-1"})
    ).data
    assert (written["kind"], written["direction"], written["text"], written["client_message_id"]) == ("text", "out", answer, "resposta-1")
    assert written["author"] == {"kind": "agent", "id": maria.user["id"], "name": "Maria"}

    # It goes out as the Cloud API wants it.
    post = office.posted(answer, ana)
    assert (post.body["messaging_product"], post.body["to"], post.body["type"]) == ("whatsapp", ana, "text")
    assert (post.path, post.headers["authorization"]) == (f"/v23.0/{PHONE_NUMBER_ID}/messages", f"Bearer {WHATSAPP_TOKEN}")
    assert post.callback_data, "without it a lost answer could not be told from a lost message"
    sent = office.message(id, answer, status="sent")
    assert sent["external_id"] == post.wamid, "the id that WhatsApp gave"

    # What becomes of it is shown live, and only ever climbs.
    report = dict(recipient=ana, callback_data=post.callback_data)
    for step in ("delivered", "read"):
        office.deliver(status(post.wamid, step, **report))
        eventually(f"{step} on the screen", lambda: talk.picture.messages[sent["id"]]["status"] == step)
    office.deliver(status(post.wamid, "sent", **report), status(post.wamid, "delivered", **report))
    office.says(ana, "recebi", name="Ana Conceição 🌻")
    eventually("what came after", lambda: talk.picture.texts[-1] == "recebi")
    assert office.message(id, answer)["status"] == "read"
    shown = [p.data["message"]["status"] for p in talk.publications if p.data.get("message", {}).get("id") == sent["id"]]
    assert shown == sorted(shown, key=RANK.get) and shown[-1] == "read" and "sent" in shown, shown

    # The screen is what the server has.
    for channel in (inbox, line, talk):
        assert not channel.faults, channel.faults
        eventually(f"{channel.name} equal to REST", lambda: not channel.picture.differences(maria.api))
    assert len(office.posts(bia)) == 1, "one menu for Bia"


def test_a_failure_reported_later_is_shown_with_its_code_and_stays(office):
    maria = office.hire()
    ana = new_number()
    id = office.attended_by(maria, ana)["id"]
    screen = office.desk(maria, f"conversation:{id}")
    message = maria.api.say(id, "esta não chega")
    sent = office.message(id, "esta não chega", status="sent")
    office.deliver(status(sent["external_id"], "failed", recipient=ana, errors=[UNDELIVERABLE]))
    failed = screen.wait("failed on the screen", lambda: (m := screen.picture(f"conversation:{id}").messages[message["id"]])["status"] == "failed" and m)
    assert str(failed["error"]["code"]) == "131026" and failed["error"]["message"]
    office.deliver(*(status(sent["external_id"], s, recipient=ana) for s in ("sent", "delivered", "read")))
    office.says(ana, "depois")
    screen.wait("what came after", lambda: screen.picture(f"conversation:{id}").texts[-1] == "depois")
    assert office.message(id, "esta não chega")["status"] == "failed"


def test_statuses_that_overtake_the_answer_to_our_own_send_are_not_lost(office):
    maria = office.hire()
    ana = new_number()
    id = office.attended_by(maria, ana)["id"]
    office.whatsapp.slow_next(1.5, to=ana)
    maria.api.say(id, "devagar")
    post = office.posted("devagar", ana)
    eventually("accepted", lambda: post.wamid)
    office.deliver(status(post.wamid, "delivered", recipient=ana, callback_data=post.callback_data))
    assert office.message(id, "devagar", status="delivered")["external_id"] == post.wamid
    # Our own answer says "sent" only now.
    never("the status goes back", lambda: office.message(id, "devagar")["status"] != "delivered", during=2.0)


# MARK: What agents do


def test_a_transfer_gives_the_conversation_to_another_consultor(office):
    maria, joao = office.hire("Maria"), office.hire("João")
    screen = office.desk(joao, "conversations", "consultores")
    conversation = office.attended_by(maria)
    id = conversation["id"]
    moved = maria.api.command(id, "transfer", {"consultor_id": joao.id})
    assert (moved["state"], moved["owner"], moved["protocol"]) == ("active", "consultor", conversation["protocol"])
    assert moved["assignee"] == {"consultor_id": joao.id, "user_id": joao.user["id"], "name": "João"}
    screen.wait("João sees that it is his", lambda: screen.conversations[id]["assignee"]["consultor_id"] == joao.id)
    screen.wait("how busy they are", lambda: [screen.picture("consultores").items[a.id]["em_atendimento"] for a in (maria, joao)] == [0, 1])
    joao.api.say(id, "agora é o João")
    assert maria.api.try_command(id, "transfer", {"consultor_id": maria.id}).status in (403, 409), "it is no longer hers to give"
    assert office.admin.command(id, "transfer", {"consultor_id": maria.id})["assignee"]["consultor_id"] == maria.id, "an admin may"
    names = [("consultor_id", 999_999), ("consultor_id", "João")]
    for field, wrong in names:
        assert maria.api.try_command(id, "transfer", {field: wrong}).status in (404, 422)
    screen.agrees_with(joao.api)


def test_a_note_is_seen_by_agents_and_never_sent_to_the_customer(office):
    maria = office.hire()
    ana = new_number()
    id = office.attended_by(maria, ana)["id"]
    screen = office.desk(maria, f"conversation:{id}")
    note = maria.api.note(id, "cliente irritada, cuidado")
    assert (note["kind"], note["direction"]) == ("note", "internal")
    screen.wait("the note on the screen", lambda: "cliente irritada, cuidado" in screen.picture(f"conversation:{id}").texts)
    maria.api.say(id, "depois da nota")
    office.posted("depois da nota", ana)
    assert not [s for s in office.posts() if "irritada" in str(s.body)]


def test_a_snoozed_conversation_wakes_when_the_customer_writes(office):
    maria = office.hire()
    ana = new_number()
    id = office.attended_by(maria, ana)["id"]
    screen = office.desk(maria, "conversations")
    until = rfc3339(in_seconds(3600))
    asleep = maria.api.command(id, "snooze", {"until": until})
    assert (asleep["state"], asleep["owner"], asleep["snoozed_until"]) == ("snoozed", "consultor", until)
    assert asleep["assignee"]["consultor_id"] == maria.id
    posts = len(office.posts(ana))
    office.says(ana, "voltei")
    awake = screen.wait("awake on the screen", lambda: (c := screen.conversations[id])["state"] == "active" and c)
    assert (awake["assignee"]["consultor_id"], awake["snoozed_until"]) == (maria.id, None)
    assert len(office.posts(ana)) == posts, "the bot keeps quiet: she is with a person"


def test_a_snooze_ends_at_its_time_also_when_the_server_restarts_meanwhile(office):
    maria = office.hire()
    soon, later = office.attended_by(maria)["id"], office.attended_by(maria)["id"]
    assert is_clear_error(maria.api.try_command(soon, "snooze", {"until": rfc3339(in_seconds(-60))}), 422)
    maria.api.command(soon, "snooze", {"until": rfc3339(in_seconds(1))})
    maria.api.command(later, "snooze", {"until": rfc3339(in_seconds(2.5))})
    eventually("the first awake", lambda: maria.api.conversation(soon)["state"] == "active")
    office.server.restart()
    eventually("the second awake", lambda: maria.api.conversation(later)["state"] == "active")


def test_labels_are_replaced_and_shown(office):
    maria = office.hire()
    id = office.attended_by(maria)["id"]
    screen = office.desk(maria, "conversations")
    assert maria.api.command(id, "labels", {"labels": ["vip", "São Paulo 🚀"]})["labels"] == ["vip", "São Paulo 🚀"]
    assert maria.api.command(id, "labels", {"labels": ["novo"]})["labels"] == ["novo"]
    screen.wait("the labels on the screen", lambda: screen.conversations[id]["labels"] == ["novo"])
    assert maria.api.command(id, "labels", {"labels": []})["labels"] == []


def test_unread_counts_what_the_customer_wrote_until_somebody_reads_it(office):
    maria = office.hire()
    ana = new_number()
    id = office.attended_by(maria, ana)["id"]
    screen = office.desk(maria, "conversations")
    assert maria.api.command(id, "read")["unread"] == 0
    office.deliver(*(text(ana, f"mensagem {n}") for n in range(3)))
    screen.wait("three unread", lambda: screen.conversations[id]["unread"] == 3)
    assert screen.conversations[id]["last_message"]["text"] == "mensagem 2"
    maria.api.command(id, "read")
    screen.wait("none unread", lambda: screen.conversations[id]["unread"] == 0)


def test_typing_is_shown_to_others_and_not_stored(office):
    maria, joao = office.hire("Maria"), office.hire("João", online=False)
    id = office.attended_by(maria)["id"]
    screen = office.desk(joao, f"conversation:{id}")
    picture, offset = screen.picture(f"conversation:{id}"), screen.following[f"conversation:{id}"].offset
    assert maria.api.command(id, "typing")["id"] == id
    screen.wait("typing on the screen", lambda: picture.typing)
    assert (picture.typing[0]["user_id"], picture.typing[0]["name"], picture.typing[0]["typing"]) == (maria.user["id"], "Maria", True)
    maria.api.command(id, "typing", {"typing": False})
    screen.wait("typing ended", lambda: picture.typing[-1]["typing"] is False)
    assert screen.following[f"conversation:{id}"].offset == offset, "what is not stored has no place in the stream"
    history = screen.command("history", {"channel": f"conversation:{id}", "limit": 100})
    assert not [p for p in history["publications"] if p["data"]["type"] == "typing"]


def test_a_conversation_given_back_to_the_bot_is_answered_by_it_again(office):
    maria = office.hire()
    ana = new_number()
    id = office.attended_by(maria, ana)["id"]
    back = maria.api.command(id, "return-to-bot")
    assert (back["state"], back["owner"], back["assignee"]) == ("bot", "bot", None)
    assert maria.api.consultor(maria.id)["em_atendimento"] == 0
    before = len(office.posts(ana))
    office.says(ana, "oi de novo")
    eventually("the bot's answer", lambda: len(office.posts(ana)) > before)
    office.says(ana, "atendente")
    assert office.conversation(ana, "offered")["id"] == id


def test_the_bot_keeps_quiet_while_a_person_has_the_conversation(office):
    maria = office.hire()
    ana = new_number()
    id = office.attended_by(maria, ana)["id"]
    maria.api.say(id, "pode falar")
    office.posted("pode falar", ana)
    posts = len(office.posts(ana))
    office.deliver(text(ana, "menu"), text(ana, "oi"), text(ana, "1"), text(ana, "atendente"))
    eventually("her messages", lambda: maria.api.conversation(id)["last_message"]["text"] == "atendente")
    maria.api.say(id, "entendi")
    office.posted("entendi", ana)
    assert len(office.posts(ana)) == posts + 1


def test_a_persons_message_takes_a_conversation_over_from_the_bot(office):
    maria = office.hire()
    ana = new_number()
    office.says(ana, "oi")
    id = office.conversation(ana, "bot")["id"]
    maria.api.say(id, "deixa comigo")
    conversation = maria.api.conversation(id)
    assert (conversation["state"], conversation["assignee"]["consultor_id"]) == ("active", maria.id)
    office.posted("deixa comigo", ana)


def test_after_a_resolved_conversation_the_customer_begins_a_new_one(office):
    maria = office.hire()
    ana = new_number()
    old = office.attended_by(maria, ana)
    screen = office.desk(maria, "conversations")
    done = maria.api.resolve(old["id"])
    assert (done["state"], done["owner"], done["protocol"]) == ("resolved", "none", old["protocol"]) and done["resolved_at"]
    screen.wait("gone from the screen", lambda: old["id"] not in screen.conversations)
    assert maria.api.consultor(maria.id)["em_atendimento"] == 0
    assert maria.api.try_command(old["id"], "messages", {"text": "tarde demais"}).status == 409
    office.says(ana, "oi outra vez")
    new = eventually("a new conversation", lambda: (c := office.admin.conversation_of(ana))["id"] != old["id"] and c)
    assert (new["state"], new["contact"]["id"], new["unread"]) == ("bot", old["contact"]["id"], 1)
    screen.wait("the new one on the screen", lambda: new["id"] in screen.conversations)
    assert {c["id"] for c in maria.api.conversations(q=ana)["items"]} == {old["id"], new["id"]}
    assert maria.api.all_messages(new["id"])[0]["text"] == "oi outra vez"


def test_a_resolved_conversation_can_be_reopened_unless_the_contact_has_another(office):
    maria, joao = office.hire("Maria"), office.hire("João", online=False)
    ana = new_number()
    id = office.attended_by(maria, ana)["id"]
    assert joao.api.try_command(id, "reopen").status == 409, "it is open"
    maria.api.resolve(id)
    screen = office.desk(maria, "conversations")
    again = joao.api.command(id, "reopen")
    assert (again["state"], again["assignee"]["consultor_id"], again["resolved_at"]) == ("active", joao.id, None)
    screen.wait("back on the screen", lambda: id in screen.conversations)
    office.says(ana, "ainda eu")
    eventually("her message in the same one", lambda: joao.api.conversation(id)["last_message"]["text"] == "ainda eu")
    joao.api.resolve(id)
    office.says(ana, "nova")
    eventually("a new one", lambda: office.admin.conversation_of(ana)["id"] != id)
    is_clear_error(joao.api.try_command(id, "reopen"), 409)


def test_everything_is_there_after_a_restart(office):
    maria = office.hire("Maria")
    ana, bia, caio = new_number(), new_number(), new_number()
    active = office.attended_by(maria, ana)["id"]
    maria.api.say(active, "guardada?")
    maria.api.note(active, "nota guardada")
    maria.api.command(active, "labels", {"labels": ["um", "dois"]})
    office.message(active, "guardada?", status="sent")
    resolved = office.attended_by(maria, bia)["id"]
    maria.api.resolve(resolved)
    waiting = office.in_line(caio)["id"]
    office.settled(active, resolved, waiting)

    def everything():
        return {id: (maria.api.conversation(id), maria.api.all_messages(id)) for id in (active, resolved, waiting)}

    before, consultor, users = everything(), maria.api.consultor(maria.id), office.admin.users()["items"]
    office.server.restart()
    assert everything() == before
    assert maria.api.consultor(maria.id) == consultor
    assert {u["id"] for u in office.admin.users()["items"]} == {u["id"] for u in users}
    assert office.in_line()["protocol"] == "#00004", "the numbers go on"
    assert len(office.posts(ana, "guardada?")) == 1, "nothing is sent again"


def test_lists_can_be_narrowed_by_state_assignee_and_words_and_are_paged(office):
    maria, joao = office.hire("Maria", capacity=10), office.hire("João", online=False)
    numbers = [new_number() for _ in range(5)]
    for n, number in enumerate(numbers):
        office.says(number, "oi", name=f"Cliente Teste {n}")
    ids = [office.conversation(number, "bot")["id"] for number in numbers]
    maria.api.claim(ids[0]), joao.api.claim(ids[1]), maria.api.claim(ids[2]), maria.api.resolve(ids[2])

    def found(**query):
        return {c["id"] for c in maria.api.conversations(**query)["items"]}

    assert found(state="active") == {ids[0], ids[1]}
    assert found(state="bot,resolved") == {ids[2], ids[3], ids[4]}
    assert found(state="open") == set(ids) - {ids[2]}
    assert found(assignee="me", state="open") == {ids[0]}
    assert found(assignee=joao.id) == {ids[1]}
    assert found(assignee="none", state="open") == {ids[3], ids[4]}
    assert found(q="Teste 3") == {ids[3]}
    assert found(q=numbers[4]) == {ids[4]}
    assert found(q=maria.api.conversation(ids[0])["protocol"]) >= {ids[0]}
    pages = [maria.api.conversations(page=page, per_page=2) for page in (1, 2, 3)]
    assert [len(p["items"]) for p in pages] == [2, 2, 1]
    assert {(p["total"], p["total_pages"], p["per_page"]) for p in pages} == {(5, 3, 2)}
    assert {c["id"] for p in pages for c in p["items"]} == set(ids)
    listed = [c for p in pages for c in p["items"]]
    times = [[c["updated_at"] for c in listed], [c["last_message"]["at"] for c in listed], [c["created_at"] for c in listed]]
    assert any(t == sorted(t, reverse=True) for t in times), f"the latest first: {times}"


def test_history_is_read_backwards_page_by_page(office):
    maria = office.hire()
    id = office.attended_by(maria)["id"]
    for n in range(60):
        maria.api.note(id, f"nota {n}")
    whole = maria.api.all_messages(id)
    assert [m["seq"] for m in whole] == list(range(1, len(whole) + 1))
    page = maria.api.messages(id, limit=10)
    assert [m["text"] for m in page["items"]] == [f"nota {n}" for n in range(50, 60)] and page["has_more"] is True
    older = maria.api.messages(id, limit=10, before=page["items"][0]["id"])
    assert [m["text"] for m in older["items"]] == [f"nota {n}" for n in range(40, 50)]
    assert maria.api.messages(id, limit=10, before=whole[3]["id"])["has_more"] is False


# MARK: Whom a conversation is offered to


def test_an_offer_that_nobody_takes_passes_to_the_next_consultor(offices):
    office = offices(OFFER_TIMEOUT_SECONDS=1)
    maria, joao = office.hire("Maria"), office.hire("João")
    screen = office.desk(maria, "conversations", "queue")
    number = new_number()
    office.says(number, "atendente")
    id = office.conversation(number, "offered")["id"]

    def offered_to():
        return {data["conversation"]["offer"]["consultor_id"] for channel, _, _, data in screen.everything_shown()[0]
                if channel == "conversations" and data["conversation"]["id"] == id and data["conversation"]["offer"]}

    screen.wait("both were offered it", lambda: offered_to() == {maria.id, joao.id}, timeout=6)
    queued = [data["conversation"]["queued_at"] for channel, _, _, data in screen.everything_shown()[0]
              if channel == "conversations" and data["conversation"]["state"] in ("queued", "offered")]
    assert len(set(queued)) == 1, "who waits keeps the place in line"
    joao.api.claim(id)
    screen.wait("the line empty", lambda: not screen.picture("queue").items)


def test_a_declined_offer_passes_on_at_once(office):
    maria, joao = office.hire("Maria"), office.hire("João")
    conversation = office.in_line()
    id = conversation["id"]
    first, second = (maria, joao) if office.conversation(conversation["contact"]["number"], "offered")["offer"]["consultor_id"] == maria.id else (joao, maria)
    assert second.api.try_command(id, "decline").status in (403, 409), "only who was offered it can give it back"
    first.api.command(id, "decline")
    offer = eventually("the next offer", lambda: office.admin.conversation(id)["offer"])
    assert offer["consultor_id"] == second.id


def test_nobody_is_offered_more_than_their_capacity(office):
    maria = office.hire("Maria", capacity=2)
    numbers = [new_number() for _ in range(4)]
    ids = [office.in_line(number)["id"] for number in numbers]

    def states():
        return [maria.api.conversation(id)["state"] for id in ids]

    eventually("two offers", lambda: states() == ["offered", "offered", "queued", "queued"])
    maria.api.claim(ids[0]), maria.api.claim(ids[1])
    never("a third offer", lambda: states() != ["active", "active", "queued", "queued"], during=0.5)
    maria.api.resolve(ids[0])
    eventually("the one who waited longest is next", lambda: states() == ["resolved", "active", "offered", "queued"])


def test_a_conversation_is_offered_only_to_who_speaks_its_language(office):
    john, maria = office.hire("John", languages=("en",)), office.hire("Maria", languages=("pt", "es"), online=False)
    portuguese, english = new_number(), new_number()
    office.says(english, "english")
    office.conversation(english, "bot")
    office.says(english, "human")
    waiting = office.in_line(portuguese)
    conversation = office.conversation(english, "offered")
    assert (conversation["language"], conversation["offer"]["consultor_id"]) == ("en", john.id)
    never("offered across languages", lambda: maria.api.conversation(waiting["id"])["state"] != "queued", during=0.5)
    office.admin.set_online(maria.id)
    assert office.conversation(portuguese, "offered")["offer"]["consultor_id"] == maria.id


def test_who_has_waited_longest_for_work_is_offered_the_next(office):
    team = [office.hire(name) for name in ("Maria", "João", "Rita")]
    order = []
    for _ in range(6):
        conversation = office.in_line()
        offered = office.conversation(conversation["contact"]["number"], "offered")["offer"]["consultor_id"]
        next(a for a in team if a.id == offered).api.claim(conversation["id"])
        order.append(offered)
    assert order == [a.id for a in team] * 2


def test_who_is_offline_or_inactive_is_offered_nothing(office):
    offline = office.hire("Maria", online=False)
    inactive = office.hire("João")
    office.admin.put(f"/consultor/{inactive.id}", {"status_ativo": False})
    resting = office.hire("Rita")
    office.admin.put(f"/consultor/{resting.id}", {"status_ativo_sequencial": False})
    id = office.in_line()["id"]
    never("an offer", lambda: offline.api.conversation(id)["state"] != "queued", during=0.5)
    office.desk(offline).rpc("consultor.connection", {"status_online": True})
    eventually("an offer", lambda: (c := offline.api.conversation(id))["offer"] and c["offer"]["consultor_id"] == offline.id)


# MARK: Going out


def test_past_the_24_hour_window_a_message_is_refused(office):
    maria = office.hire()
    ana = new_number()
    yesterday = datetime.now(timezone.utc) - timedelta(hours=25)
    office.says(ana, "escrevi ontem", timestamp=yesterday.timestamp())
    conversation = office.conversation(ana)
    assert abs((parsed(conversation["window_expires_at"]) - yesterday).total_seconds() - 24 * 3600) < 2
    reply = maria.api.try_command(conversation["id"], "messages", {"text": "ainda está aí?"})
    assert is_clear_error(reply, 409)["code"] == "outside_window"
    maria.api.note(conversation["id"], "uma nota pode")
    office.says(ana, "voltei")
    eventually("the window open again", lambda: parsed(maria.api.conversation(conversation["id"])["window_expires_at"]) > in_seconds(23 * 3600))
    maria.api.say(conversation["id"], "que bom")
    office.posted("que bom", ana)
    assert not office.posts(ana, "ainda está aí?")


def test_a_message_posted_again_with_its_client_message_id_is_made_once(office):
    maria = office.hire()
    ana = new_number()
    id = office.attended_by(maria, ana)["id"]
    other = office.attended_by(maria)["id"]
    desk = office.desk(maria)
    answers, barrier = [], threading.Barrier(8)

    def post(n):
        barrier.wait(10)
        body = {"conversation_id": id, "text": "só uma vez", "client_message_id": "c-1"}
        answers.append(desk.rpc("conversation.messages", body) if n % 2 else maria.api.say(id, "só uma vez", "c-1", expect=(200, 201)))

    threads = [threading.Thread(target=post, args=(n,)) for n in range(8)]
    [t.start() for t in threads], [t.join(20) for t in threads]
    assert len(answers) == 8 and len({a["id"] for a in answers}) == 1
    office.posted("só uma vez", ana)
    office.server.restart()
    assert maria.api.say(id, "só uma vez", "c-1", expect=(200, 201))["id"] == answers[0]["id"], "also after a restart"
    assert maria.api.say(other, "outra conversa", "c-1")["id"] != answers[0]["id"], "unique within its conversation"
    maria.api.say(id, "fim")
    office.posted("fim", ana)
    assert len(office.posts(ana, "só uma vez")) == 1
    assert [m["text"] for m in maria.api.all_messages(id)].count("só uma vez") == 1


def test_a_conversation_has_one_send_in_flight_and_keeps_its_order(office):
    maria = office.hire(capacity=10)
    ana, bia = new_number(), new_number()
    hers, other = office.attended_by(maria, ana)["id"], office.attended_by(maria, bia)["id"]
    office.whatsapp.slow_next(0.4, times=5, to=ana)
    said = [f"linha {n}" for n in range(5)]
    for line in said:
        maria.api.say(hers, line)
    maria.api.say(other, "para a Bia")
    office.posted("para a Bia", bia)
    assert not office.posts(ana, said[-1]), "one slow conversation does not hold up another"
    office.posted(said[-1], ana)
    assert [s.text for s in office.posts(ana) if s.text in said] == said
    assert office.whatsapp.max_in_flight[ana] == 1
    eventually("all sent", lambda: [m["status"] for m in maria.api.all_messages(hers) if m["text"] in said] == ["sent"] * 5)


def test_a_message_that_whatsapp_refuses_for_good_fails_with_the_code_and_the_next_goes_out(office):
    maria = office.hire()
    ana = new_number()
    id = office.attended_by(maria, ana)["id"]
    office.whatsapp.fail_next(131026, to=ana)
    maria.api.say(id, "impossível")
    failed = office.message(id, "impossível", status="failed")
    assert str(failed["error"]["code"]) == "131026" and failed["error"]["message"]
    maria.api.say(id, "possível")
    office.message(id, "possível", status="sent")
    assert len(office.posts(ana, "impossível")) == 1, "it is not tried again"


def test_a_message_accepted_and_refused_later_by_webhook_fails(office):
    maria = office.hire()
    ana = new_number()
    id = office.attended_by(maria, ana)["id"]
    office.whatsapp.fail_next(131047, to=ana, by_webhook=True)
    maria.api.say(id, "fora da janela")
    assert str(office.message(id, "fora da janela", status="failed")["error"]["code"]) == "131047"


def test_a_transient_refusal_is_retried_and_the_message_is_sent_once(office):
    maria = office.hire()
    ana = new_number()
    id = office.attended_by(maria, ana)["id"]
    screen = office.desk(maria, f"conversation:{id}")
    office.whatsapp.fail_next(131016, to=ana)
    message = maria.api.say(id, "insistente")
    maria.api.say(id, "seguinte")
    office.message(id, "seguinte", status="sent", timeout=30)
    office.message(id, "insistente", status="sent")
    texts = [s.text for s in office.posts(ana) if s.text in ("insistente", "seguinte")]
    assert texts == ["insistente", "insistente", "seguinte"], "tried again, and the order is kept"
    assert len([s for s in office.posts(ana, "insistente") if s.accepted]) == 1
    shown = [d["message"]["status"] for _, _, _, d in screen.everything_shown()[0] if d.get("message", {}).get("id") == message["id"]]
    assert "failed" not in shown and "unknown" not in shown, shown


def test_a_send_whose_answer_is_lost_is_unknown_and_never_repeated_until_a_status_resolves_it(office):
    maria = office.hire()
    ana = new_number()
    id = office.attended_by(maria, ana)["id"]
    office.whatsapp.drop_after_accept(to=ana)
    maria.api.say(id, "perdida")
    unknown = office.message(id, "perdida", status="unknown")
    maria.api.say(id, "a vida continua")
    office.message(id, "a vida continua", status="sent")
    office.server.restart()
    never("sent again", lambda: len(office.posts(ana, "perdida")) > 1, during=1.5)
    assert office.message(id, "perdida")["status"] == "unknown"
    post = office.posted("perdida", ana)
    office.deliver(status(post.wamid, "delivered", recipient=ana, callback_data=post.callback_data))
    resolved = office.message(id, "perdida", status="delivered")
    assert (resolved["id"], resolved["external_id"]) == (unknown["id"], post.wamid)


def test_while_whatsapp_is_away_messages_wait_and_go_out_afterwards(office):
    maria = office.hire()
    ana = new_number()
    id = office.attended_by(maria, ana)["id"]
    office.whatsapp.stop()
    # Whatever connections the server had to it are gone too.
    office.server.restart()
    maria.api.say(id, "esperando")
    never("failed", lambda: office.message(id, "esperando")["status"] in ("failed", "unknown"), during=0.5)
    office.whatsapp.start()
    office.message(id, "esperando", status="sent", timeout=45)
    assert len(office.posts(ana, "esperando")) == 1
