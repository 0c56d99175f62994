"""The bot: its flow as data, bursts, and the turns that Gemini takes, streamed, interrupted and failing in every way that it can (protocol/README.md "The bot")."""

import pytest
from fakes.gemini import FAULTS, FakeGemini, call, fault, say
from harness.api import is_clear_error
from harness.office import new_number
from fakes.whatsapp_payloads import button_reply, list_reply
from test_webchat import follow, visit
from harness.waiting import eventually, never

KEY = "end-to-end-gemini-key"
QUESTION = "minha tv não liga"
NOT_UNDERSTOOD = "Desculpe, não entendi."

FLOW = {
    "start": "menu",
    "greeting": "Olá, {{nome}}!",
    "nodes": {
        "menu": {
            "kind": "menu",
            "text": "Escolha:",
            "options": [
                {"key": "1", "title": "Cadastro", "keywords": ["cadastrar"], "next": "cpf"},
                {"key": "2", "title": "Uma pessoa", "next": "pessoa"},
            ],
        },
        "cpf": {"kind": "ask", "text": "Qual é o seu CPF?", "variable": "cpf", "answer": {"type": "cpf"}, "retries": 1, "next": "nascimento"},
        "nascimento": {"kind": "ask", "text": "E a data de nascimento?", "variable": "nascimento", "answer": {"type": "date"}, "next": "pronto"},
        "pronto": {"kind": "hand_off", "text": "Obrigado, {{nome}}. CPF {{cpf}} anotado.", "reason": "Cadastro"},
        "pessoa": {"kind": "hand_off"},
    },
}


@pytest.fixture
def gemini():
    with FakeGemini(key=KEY) as fake:
        yield fake


@pytest.fixture
def bureau(offices, gemini):
    """An office whose bot has Gemini beside it."""
    return offices(GEMINI_API_KEY=KEY, GEMINI_API_URL=gemini.url)


def texts(office, number):
    return [s.text for s in office.posts(number)]


def greeted(office, number=None):
    """A conversation of the bot in which the menu has been shown."""
    number = number or new_number()
    office.says(number, "oi")
    id = office.conversation(number, "bot")["id"]
    eventually("the greeting", lambda: len(texts(office, number)) == 1)
    office.settled(id)
    return number, id


def metric(office, name):
    for line in office.anybody.call("GET", "/metrics", expect=200).text.splitlines():
        if line.startswith(name + " "):
            return float(line.rsplit(" ", 1)[1])
    return None


def test_a_menu_to_be_tapped_is_buttons_and_a_long_one_a_list(offices):
    office = offices(BOT_QUIET_MILLISECONDS=0)
    menu = FLOW["nodes"]["menu"] | {"tapped": True}
    longer = menu | {"options": menu["options"] + [{"key": k, "title": f"Opção {k}", "next": "pessoa"} for k in "345"]}
    for node, kind in ((menu, "button"), (longer, "list")):
        office.admin.put("/api/v1/bot/flow", FLOW | {"nodes": FLOW["nodes"] | {"menu": node}})
        number = new_number()
        office.says(number, "oi")
        sent = eventually("the menu", lambda: next(iter(office.posts(number)), None)).body["interactive"]
        assert sent["type"] == kind and sent["body"]["text"] == "Olá, Cliente!\n\nEscolha:"
        action = sent["action"]
        shown = [b["reply"] for b in action["buttons"]] if kind == "button" else action["sections"][0]["rows"]
        assert [(one["id"], one["title"]) for one in shown] == [(option["key"], option["title"]) for option in node["options"]]
        id = office.conversation(number)["id"]
        office.deliver((button_reply if kind == "button" else list_reply)(number, "1", "Cadastro"))
        assert office.message(id, "Qual é o seu CPF?")["author"]["kind"] == "bot"


# MARK: Streaming


def test_a_visitor_sees_an_answer_as_it_comes(bureau, gemini):
    ana = visit(bureau)
    here = follow(ana).picture
    ana.api.say(ana.id, "oi")
    eventually("the menu", lambda: len(here.texts) == 2)
    gemini.then(say("Vamos ", "ver isso.", wait=True))
    ana.api.say(ana.id, QUESTION)
    gemini.wait_for(1)
    eventually("the first words", lambda: here.streaming and here.streaming[-1]["text"] == "Vamos")
    gemini.go_on()
    eventually("the message", lambda: here.texts[-1] == "Vamos ver isso.")
    # And what nothing comes of is taken back there too.
    gemini.then(say("Quem ", "sabe?", wait=True))
    ana.api.say(ana.id, QUESTION)
    gemini.wait_for(2)
    eventually("more words", lambda: here.streaming[-1]["text"] == "Quem")
    ana.api.say(ana.id, "quero um atendente")
    eventually("taken back", lambda: here.streaming[-1]["state"] == "cancelled")
    gemini.go_on()
    assert "Quem" not in str(ana.texts())




def test_an_answer_is_seen_as_it_comes_and_stored_once(bureau, gemini):
    maria = bureau.hire("Maria")
    ana, id = greeted(bureau)
    screen = bureau.desk(maria, f"conversation:{id}")
    picture = screen.picture(f"conversation:{id}")
    gemini.then(say("Vamos ", "ver isso, não é? ", "🛰️ Já!", wait=True))
    bureau.says(ana, QUESTION)
    asked = gemini.wait_for(1)
    assert "alt=sse" in asked.path and asked.key == KEY
    assert asked.contents[0] == ("user", "oi") and asked.contents[-1] == ("user", QUESTION)
    assert [f["name"] for f in asked.body["tools"][0]["functionDeclarations"]] == ["hand_off", "lookup_protocol"]

    screen.wait("the first words", lambda: picture.streaming)
    assert (picture.streaming[-1]["state"], picture.streaming[-1]["text"]) == ("writing", "Vamos")
    assert len(texts(bureau, ana)) == 1, "nothing is sent before it is whole"
    gemini.go_on()
    screen.wait("more words", lambda: picture.streaming[-1]["text"] == "Vamos ver isso, não é?")
    gemini.go_on()
    screen.wait("the message", lambda: picture.texts[-1] == "Vamos ver isso, não é? 🛰️ Já!")
    message = picture.ordered[-1]
    assert message["author"]["kind"] == "bot" and message["content"]["turn_id"] == picture.streaming[-1]["turn_id"]
    eventually("the answer on WhatsApp", lambda: texts(bureau, ana)[1:] == ["Vamos ver isso, não é? 🛰️ Já!"])
    bureau.settled(id)
    screen.agrees_with(bureau.admin)
    assert "pensando" not in str(bureau.admin.all_messages(id)), "thoughts are nobody's business"
    assert metric(bureau, 'plantao_gemini_answers_total{outcome="answered"}') == 1
    assert metric(bureau, 'plantao_gemini_tokens_total{kind="prompt"}') == 40
    assert metric(bureau, "plantao_gemini_cost_dollars_total") > 0
    assert metric(bureau, "plantao_gemini_first_token_seconds_count") == 1


@pytest.mark.parametrize("how", ["messages", "claim", "resolve"])
def test_a_person_who_takes_over_in_mid_stream_ends_it(bureau, gemini, how):
    maria = bureau.hire("Maria")
    ana, id = greeted(bureau)
    screen = bureau.desk(maria, f"conversation:{id}")
    picture = screen.picture(f"conversation:{id}")
    gemini.then(say("Vamos ", "ver ", "isso.", wait=True))
    bureau.says(ana, QUESTION)
    asked = gemini.wait_for(1)
    screen.wait("the first words", lambda: picture.streaming)
    maria.api.command(id, how, {"text": "Oi, sou a Maria."} if how == "messages" else None, expect=201 if how == "messages" else 200)
    screen.wait("the words taken back", lambda: picture.streaming[-1]["state"] == "cancelled")
    assert asked.abandoned.wait(20), "Gemini is not listened to any more"
    shown = len(picture.streaming)
    for _ in range(4):
        gemini.go_on()
    bureau.settled(id)
    never("a word of the bot over a person", lambda: len(picture.streaming) != shown or "Vamos" in str(texts(bureau, ana)), during=1)
    assert [m["text"] for m in bureau.admin.all_messages(id) if m["author"]["kind"] == "bot" and m["direction"] == "out"] == texts(bureau, ana)[:1]


def test_a_word_for_a_person_is_obeyed_while_gemini_hangs(bureau, gemini):
    ana, id = greeted(bureau)
    gemini.then(fault("hang"))
    bureau.says(ana, QUESTION)
    asked = gemini.wait_for(1)
    bureau.says(ana, "quero um ATENDENTE")
    assert bureau.conversation(ana, "queued")["protocol"] == "#00001"
    assert asked.abandoned.wait(20)


def test_who_writes_on_is_answered_once_to_all_of_it(bureau, gemini):
    ana, id = greeted(bureau)
    gemini.then(say("Velha ", "resposta", wait=True), say("Resposta a tudo."))
    bureau.says(ana, QUESTION)
    first = gemini.wait_for(1)
    bureau.says(ana, "e o controle também não")
    second = gemini.wait_for(2)
    assert first.abandoned.wait(20)
    assert second.contents[-1] == ("user", f"{QUESTION}\ne o controle também não")
    eventually("one answer", lambda: texts(bureau, ana)[1:] == ["Resposta a tudo."])
    bureau.settled(id)


# MARK: Functions


def test_gemini_calls_for_a_person_and_leaves_them_a_brief(bureau, gemini):
    ana, id = greeted(bureau)
    gemini.then(call("hand_off", {"reason": "TV", "summary": "A TV não liga.", "language": "pt"}, text="Vou chamar alguém."))
    bureau.says(ana, QUESTION)
    assert bureau.conversation(ana, "queued")["protocol"] == "#00001"
    note = bureau.message(id, kind="note")
    assert note["direction"] == "internal" and "A TV não liga." in note["text"] and "Motivo: TV" in note["text"]
    eventually("both messages", lambda: len(texts(bureau, ana)) == 3)
    assert texts(bureau, ana)[1] == "Vou chamar alguém." and "#00001" in texts(bureau, ana)[2]


def test_gemini_looks_up_the_customers_own_protocols_and_nobody_elses(bureau, gemini):
    maria = bureau.hire("Maria")
    ana, bia = new_number(), new_number()
    for number in (ana, bia):
        maria.api.resolve(bureau.attended_by(maria, number)["id"])
    before = len(texts(bureau, ana))
    bureau.says(ana, "oi")
    eventually("the greeting", lambda: len(texts(bureau, ana)) == before + 1)
    gemini.then(call("lookup_protocol", {"number": 1}), call("lookup_protocol", {"number": "#00002"}), say("Foi encerrado."))
    bureau.says(ana, "como está o meu protocolo?")
    eventually("the answer", lambda: texts(bureau, ana)[-1] == "Foi encerrado.")
    model, function = gemini.wait_for(2).body["contents"][-2:]
    assert model["parts"][0]["thoughtSignature"] == "c2lnbmF0dXJl", "a signature goes back as it came"
    own = function["parts"][0]["functionResponse"]
    assert own["name"] == "lookup_protocol" and own["response"]["found"] is True
    assert (own["response"]["protocol"], own["response"]["state"]) == ("#00001", "resolved")
    assert gemini.wait_for(3).body["contents"][-1]["parts"][0]["functionResponse"]["response"] == {"found": False}


# MARK: What goes wrong


def test_every_fault_of_gemini_leaves_the_flow_to_answer_alone(offices, gemini):
    office = offices(
        GEMINI_API_KEY=KEY, GEMINI_API_URL=gemini.url, GEMINI_BREAKER_FAILURES=1000, GEMINI_FIRST_TOKEN_MILLISECONDS=700, GEMINI_TIMEOUT_MILLISECONDS=1500
    )
    # Those after which Gemini is left alone for a while have a test of their own.
    names = [name for name in FAULTS if name not in ("quota", "quota_day")]
    asked = 0
    for name in names:
        ana, id = greeted(office)
        gemini.then(fault(name))
        office.says(ana, QUESTION)
        asked += 1
        gemini.wait_for(asked)
        eventually(f"the flow's answer after {name}", lambda: len(texts(office, ana)) == 2)
        assert texts(office, ana)[1].startswith(NOT_UNDERSTOOD), name
        office.settled(id)
        assert "Começo" not in str(office.admin.all_messages(id)), name
    assert metric(office, 'plantao_gemini_answers_total{outcome="answered"}') == 0
    failed = sum(
        float(line.rsplit(" ", 1)[1]) for line in office.anybody.call("GET", "/metrics").text.splitlines() if line.startswith("plantao_gemini_answers_total{")
    )
    assert failed == len(names)
    # And the next one gets through.
    ana, _ = greeted(office)
    gemini.then(say("Tudo certo."))
    office.says(ana, QUESTION)
    eventually("Gemini's answer", lambda: texts(office, ana)[1:] == ["Tudo certo."])


def test_an_answer_without_room_is_sent_with_its_cut_shown(bureau, gemini):
    ana, _ = greeted(bureau)
    gemini.then(say("Resposta que parece inteira.", finish="MAX_TOKENS"))
    bureau.says(ana, QUESTION)
    eventually("the answer", lambda: texts(bureau, ana)[1:] == ["Resposta que parece inteira. …"])


def test_after_three_failures_the_flow_answers_alone_until_the_breaker_lets_one_through(offices, gemini):
    office = offices(GEMINI_API_KEY=KEY, GEMINI_API_URL=gemini.url, GEMINI_BREAKER_SECONDS=3)
    for count in range(1, 4):
        ana, _ = greeted(office)
        gemini.then(fault("overloaded"))
        office.says(ana, QUESTION)
        gemini.wait_for(count)
        eventually("the flow's answer", lambda: len(texts(office, ana)) == 2)
    assert metric(office, 'plantao_circuit_breaker_open{name="gemini"}') == 1
    office.says(ana, QUESTION)
    eventually("the flow's answer, at once", lambda: len(texts(office, ana)) == 3)
    assert len(gemini.asked) == 3, "an open breaker lets nobody through"
    eventually("the breaker's time to pass", lambda: _asks_again(office, gemini), timeout=20)
    assert metric(office, 'plantao_circuit_breaker_open{name="gemini"}') == 0


def _asks_again(office, gemini):
    number, _ = greeted(office)
    office.says(number, QUESTION)
    return eventually("an answer", lambda: len(texts(office, number)) == 2 and texts(office, number))[1].startswith("Você disse")


@pytest.mark.parametrize("name", ["quota", "quota_day"])
def test_a_quota_that_is_used_up_is_believed_at_once(bureau, gemini, name):
    ana, id = greeted(bureau)
    gemini.then(fault(name))
    bureau.says(ana, QUESTION)
    eventually("the flow's answer", lambda: len(texts(bureau, ana)) == 2)
    bia, _ = greeted(bureau)
    bureau.says(bia, QUESTION)
    eventually("the flow's answer", lambda: len(texts(bureau, bia)) == 2 and texts(bureau, bia)[1].startswith(NOT_UNDERSTOOD))
    assert len(gemini.asked) == 1
    assert metric(bureau, 'plantao_circuit_breaker_open{name="gemini"}') == 1


def test_without_a_key_the_flow_answers_alone(office):
    ana, _ = greeted(office)
    for count in (2, 3):
        office.says(ana, QUESTION)
        eventually("the flow's answer", lambda: len(texts(office, ana)) == count)
        assert texts(office, ana)[-1].startswith(NOT_UNDERSTOOD)
    office.says(ana, QUESTION)
    assert office.conversation(ana, "queued")["protocol"] == "#00001", "nobody has to guess the magic word"
    assert metric(office, 'plantao_gemini_answers_total{outcome="answered"}') is None


# MARK: Bursts


def test_a_burst_is_answered_once_and_a_crash_within_it_does_not_lose_it(offices):
    office = offices(BOT_QUIET_MILLISECONDS=1500)
    ana = new_number()
    for body in ("oi", "tudo bem?", "preciso do boleto"):
        office.says(ana, body)
    eventually("one answer", lambda: len(texts(office, ana)) == 1)
    assert "segunda via da fatura" in texts(office, ana)[0]
    office.settled(office.conversation(ana)["id"])

    bia = new_number()
    office.says(bia, "oi")
    office.server.kill()
    office.server.start()
    eventually("the answer after the crash", lambda: len(texts(office, bia)) == 1, timeout=20)
    office.settled(office.conversation(bia)["id"])
    never("a second answer", lambda: len(texts(office, bia)) + len(texts(office, ana)) != 2, during=2)


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_turn_that_the_servers_end_has_cut_is_taken_again_after_the_start(bureau, gemini, end):
    ana, id = greeted(bureau)
    gemini.then(say("Vamos ", "ver ", "isso.", wait=True), say("Depois do reinício."))
    bureau.says(ana, QUESTION)
    gemini.wait_for(1)
    getattr(bureau.server, end)()
    bureau.server.start()
    eventually("one answer", lambda: texts(bureau, ana)[1:] == ["Depois do reinício."], timeout=20)
    bureau.settled(id)


def test_the_deadline_of_a_hand_off_is_kept(office):
    office.admin.put("/api/v1/bot/flow", FLOW | {"hand_off": {"deadline_seconds": 1, "deadline_text": "Ainda não, {{nome}}.", "then": "bot"}})
    ana = new_number()
    office.says(ana, "atendente", name="Ana")
    office.conversation(ana, "queued")
    conversation = office.conversation(ana, "bot")
    eventually("the words", lambda: texts(office, ana)[-1:] == ["Ainda não, Ana."])
    assert conversation["protocol"] == "#00001"


# MARK: The flow as data


def test_a_flow_of_ones_own_asks_validates_and_hands_over_what_it_learnt(office):
    saved = office.admin.put("/api/v1/bot/flow", FLOW)
    assert (saved["version"], saved["active"], saved["flow"]) == (1, True, FLOW)
    ana = new_number()
    for body, answer in [
        ("cadastrar", "Qual é o seu CPF?"),
        ("111.111.111-11", "Este CPF não confere."),
        ("529.982.247-25", "E a data de nascimento?"),
        ("31/02/1990", "Não reconheci a data."),
        ("28/02/1990", "Obrigado, "),
    ]:
        count = len(texts(office, ana))
        office.says(ana, body, name="Ana")
        eventually(f"the answer to {body}", lambda: len(texts(office, ana)) > count and texts(office, ana)[count].startswith(answer))
    conversation = office.conversation(ana, "queued")
    assert texts(office, ana)[4] == "Obrigado, Ana. CPF 52998224725 anotado."
    note = office.message(conversation["id"], kind="note")
    assert "cpf: 52998224725" in note["text"] and "nascimento: 1990-02-28" in note["text"] and "Motivo: Cadastro" in note["text"]


def test_a_conversation_finishes_on_the_version_that_it_began_with(office):
    office.admin.put("/api/v1/bot/flow", FLOW)
    ana, bia = new_number(), new_number()
    office.says(ana, "cadastrar")
    eventually("the question", lambda: texts(office, ana) == ["Qual é o seu CPF?"])
    other = FLOW | {"greeting": "Versão dois."}
    other["nodes"] = FLOW["nodes"] | {"cpf": FLOW["nodes"]["cpf"] | {"text": "CPF, por favor?", "next": "pessoa"}}
    other["nodes"] = {name: node for name, node in other["nodes"].items() if name not in ("nascimento", "pronto")}
    assert office.admin.put("/api/v1/bot/flow", other)["version"] == 2
    office.server.restart()
    office.says(ana, "529.982.247-25")
    eventually("the old version's next question", lambda: texts(office, ana)[1:] == ["E a data de nascimento?"])
    office.says(bia, "oi")
    eventually("the new greeting", lambda: texts(office, bia) and texts(office, bia)[0].startswith("Versão dois."))

    versions = office.admin.get("/api/v1/bot/flow/versions")
    assert [(v["version"], v["active"]) for v in versions["items"]] == [(2, True), (1, False)] and versions["total"] == 2
    assert office.admin.get("/api/v1/bot/flow/versions/1")["flow"] == FLOW
    assert office.admin.post("/api/v1/bot/flow/versions/1/activate")["active"] is True
    assert office.admin.get("/api/v1/bot/flow")["version"] == 1
    carla = new_number()
    office.says(carla, "oi", name="Carla")
    eventually("the old greeting", lambda: texts(office, carla) and texts(office, carla)[0].startswith("Olá, Carla!"))
    assert is_clear_error(office.admin.call("POST", "/api/v1/bot/flow/versions/99/activate"), 404)


def test_a_flow_with_faults_is_refused_with_all_of_them(office):
    wrong = {
        "start": "menu",
        "nodes": {
            "menu": {"kind": "menu", "text": "{{quem}}?", "options": [{"key": "1", "title": "A", "next": "nada"}, {"key": "2", "title": "B", "next": "volta"}]},
            "volta": {"kind": "say", "text": "a", "next": "outra"},
            "outra": {"kind": "say", "text": "b", "next": "volta"},
            "ilha": {"kind": "say", "text": "c"},
        },
    }
    reply = office.admin.call("PUT", "/api/v1/bot/flow", wrong, expect=422)
    found = {(".".join(str(step) for step in fault["loc"]), fault["type"]) for fault in reply.json()["detail"]}
    assert {
        ("body.nodes.menu.options.0.next", "missing_target"),
        ("body.nodes.ilha", "unreachable_node"),
        ("body.nodes.menu", "no_way_to_a_person"),
        ("body.nodes.volta", "loop_without_input"),
        ("body.nodes.menu.text", "unknown_variable"),
    } <= found
    assert office.admin.get("/api/v1/bot/flow")["version"] == 0, "nothing was stored"
    assert office.admin.get("/api/v1/bot/flow/versions")["items"] == []
    agent = office.hire("Maria").api
    assert agent.get("/api/v1/bot/flow")["flow"]["start"] == "menu"
    assert is_clear_error(agent.call("PUT", "/api/v1/bot/flow", FLOW), 403)


def test_a_preview_answers_and_touches_nothing(office):
    steps = office.admin.post("/api/v1/bot/flow/preview", {"flow": FLOW, "inputs": ["oi", {"choice": "1"}, "52998224725", "1/2/1990", "nunca"], "name": "Ana"})["steps"]
    assert [step["texts"][0] for step in steps] == [
        "Olá, Ana!\n\nEscolha:\n1 - Cadastro\n2 - Uma pessoa", "Qual é o seu CPF?", "E a data de nascimento?", "Obrigado, Ana. CPF 52998224725 anotado.",
    ]
    assert [step["node"] for step in steps[:3]] == ["menu", "cpf", "nascimento"] and steps[3]["hands_off"] and steps[3]["reason"] == "Cadastro"
    assert steps[3]["variables"] == {"cpf": "52998224725", "nascimento": "1990-02-01"}
    consulted = office.admin.post("/api/v1/bot/flow/preview", {"inputs": ["oi", QUESTION], "assistant": True})["steps"]
    assert consulted[1]["consults"] is True and consulted[1]["texts"] == []
    reply = office.admin.call("POST", "/api/v1/bot/flow/preview", {"flow": {"start": "x", "nodes": {}}, "inputs": ["oi"]}, expect=422)
    assert ["body", "flow", "nodes"] in [fault["loc"] for fault in reply.json()["detail"]]
    assert office.admin.conversations()["total"] == 0 and office.posts() == [] and office.admin.get("/api/v1/bot/flow")["version"] == 0
