"""contracts/consultores.md line by line, at its own doors: consultores, turns, protocols, keys, logs, and the list that comes in by the command line."""

import json
import re

import pytest

from harness.api import Api, is_clear_error, names_fields
from harness.office import new_number
from harness.process import API_KEY, run
from harness.waiting import eventually
from test_logs import entries

pytestmark = pytest.mark.timeout(180)

CONSULTOR = {"id": int, "nome": str, "idiomas": list, "status_ativo": bool, "status_ativo_sequencial": bool, "status_online": bool}
PROTOCOLO = {"id": int, "numero": str, "created_at": str}


def team(api, *languages, online=True):
    return [api.create_consultor(f"Consultor {n}", list(l), status_online=online) for n, l in enumerate(languages, 1)]


def turn(api, idioma="pt", **more):
    return api.call("GET", "/consultor/da-vez", idioma=idioma, expect=200, **more).json()


def number(text):
    assert re.fullmatch(r"#\d{5,}", text), text
    return int(text[1:])


# MARK: Consultores


def test_a_consultor_is_made_read_changed_put_online_and_removed(office):
    api = office.integrator
    made = api.post("/consultor", {"nome": "Ana", "idiomas": ["pt", "en"], "id_pipedrive": 7}, expect=201)
    for name, kind in CONSULTOR.items():
        assert isinstance(made[name], kind), name
    assert (made["id"], made["ultimo_atendimento"], made["id_pipedrive"], made["status_online"], made["status_ativo"]) == (1, None, 7, False, True)
    assert api.get("/consultores/") == [made] == [api.get("/consultor/1")]
    changed = api.put("/consultor/1", {"nome": "Ana Maria", "idiomas": ["es"], "status_ativo_sequencial": False, "id_pipedrive": None})
    assert (changed["nome"], changed["idiomas"], changed["status_ativo_sequencial"], changed["id_pipedrive"]) == ("Ana Maria", ["es"], False, None)
    for how in ({"json": {"status_online": True}}, {"status_online": "false"}, {"status_online": "true"}):
        assert api.put("/consultor/1/connection", **how)["status_online"] is (how != {"status_online": "false"})
    assert api.call("DELETE", "/consultor/1").status == 204
    is_clear_error(api.call("GET", "/consultor/1"), 404)
    is_clear_error(api.call("DELETE", "/consultor/1"), 404)
    assert api.create_consultor("Outra")["id"] == 2, "an id is never given twice"


def test_without_a_key_and_with_a_wrong_one_nothing_opens(office):
    for method, path in (
        ("GET", "/consultores"), ("GET", "/consultor/da-vez?idioma=pt"), ("POST", "/consultor/da-vez"), ("GET", "/protocolos"), ("GET", "/protocolo/1"),
        ("PUT", "/protocolo/1"), ("GET", "/gerar-protocolo"), ("POST", "/gerar-protocolo"), ("POST", "/consultores/import"),
    ):
        is_clear_error(office.anybody.call(method, path), 401)
        for key in ("errada", "", "plk_" + "0" * 64, API_KEY + "x", "é" * 300):
            is_clear_error(office.anybody.call(method, path, headers={"api-key": key.encode().decode("latin-1")}), 401)


# MARK: Turns


def test_turns_go_round_among_those_who_are_active_in_turn_online_and_speak_the_language(office):
    api = office.integrator
    a, b, c, d = team(api, ["pt"], ["pt", "en"], ["en"], ["pt"])
    api.put(f"/consultor/{d['id']}", {"status_ativo": False})
    assert [turn(api)["consultor_id"] for _ in range(4)] == [1, 2, 1, 2]
    assert [turn(api, "EN")["consultor_id"] for _ in range(3)] == [3, 2, 3]
    api.set_online(a["id"], False)
    assert [turn(api)["consultor_id"] for _ in range(2)] == [2, 2]
    api.put(f"/consultor/{b['id']}", {"status_ativo_sequencial": False})
    body = is_clear_error(api.call("GET", "/consultor/da-vez", idioma="pt"), 404)
    assert body["detail"] == "Consultor não encontrado"
    api.set_online(a["id"])
    assert turn(api) == {"consultor_id": 1, "numero_protocolo": "#00010"}, "refusals use no number up"
    names_fields(api.call("GET", "/consultor/da-vez"), "idioma")
    names_fields(api.call("GET", "/consultor/da-vez", idioma="x" * 17), "idioma")
    assert api.call("GET", "/consultor/da-vez", idioma="pt").headers["cache-control"] == "no-store"


def test_the_twins_and_the_gets_heed_an_idempotency_key(office):
    api = office.integrator
    team(api, ["pt"], ["pt"])
    for method, path, query, body in (
        ("GET", "/consultor/da-vez", {"idioma": "pt"}, None), ("POST", "/consultor/da-vez", {}, {"idioma": "pt"}),
        ("GET", "/gerar-protocolo", {}, None), ("POST", "/gerar-protocolo", {}, {"consultor_id": 1}),
    ):
        key = {"Idempotency-Key": f"{method} {path}"}
        first = api.call(method, path, json=body, headers=key, expect=200, **query)
        assert "idempotent-replayed" not in first.headers
        again = [api.call(method, path, json=body, headers=key, expect=200, **query) for _ in range(2)]
        office.server.kill()
        office.server.start()
        again.append(api.call(method, path, json=body, headers=key, expect=200, **query))
        assert [(r.text, r.headers["idempotent-replayed"]) for r in again] == [(first.text, "true")] * 3, "also after a crash"
    assert [p["numero"] for p in api.get("/protocolos")] == ["#00001", "#00002", "#00003", "#00004"]
    names_fields(api.call("GET", "/consultor/da-vez", headers={"Idempotency-Key": "GET /consultor/da-vez"}, idioma="en"), "Idempotency-Key")
    names_fields(api.call("GET", "/consultor/da-vez", headers={"Idempotency-Key": "x" * 256}, idioma="pt"), "Idempotency-Key")
    missing = {"Idempotency-Key": "nobody yet"}
    api.call("GET", "/consultor/da-vez", headers=missing, idioma="fr", expect=404)
    api.create_consultor("Chloé", ["fr"], status_online=True)
    assert api.call("GET", "/consultor/da-vez", headers=missing, idioma="fr", expect=200).json()["consultor_id"] == 3


def test_the_contract_the_desk_and_presence_move_one_line_that_is_pushed(offices):
    office = offices(PRESENCE_GRACE_SECONDS=1)
    maria, joao = office.hire("Maria", languages=("pt", "en")), office.hire("João")
    screen = office.desk(office.admin, "consultores")

    def shown():
        publications, snapshots = screen.everything_shown()
        last = publications[-1][3] if publications else snapshots[-1][3]
        return last["ordem"], last["proximos"]

    assert shown() == ([maria.id, joao.id], {"en": maria.id, "pt": maria.id})
    assert turn(office.integrator)["consultor_id"] == maria.id
    screen.wait("the turn", lambda: shown() == ([joao.id, maria.id], {"en": maria.id, "pt": joao.id}))
    conversation = office.in_line()
    assert office.conversation(conversation["contact"]["number"], "offered")["offer"]["consultor_id"] == joao.id, "the desk's offers go by the same line"
    joao.api.claim(conversation["id"])
    screen.wait("the claim", lambda: shown()[0] == [maria.id, joao.id])
    client = office.desk(maria)
    client.rpc("consultor.connection", {"status_online": True})
    client.leave()
    screen.wait("she is gone", lambda: shown() == ([joao.id], {"pt": joao.id}), timeout=20)
    assert turn(office.integrator)["consultor_id"] == joao.id
    office.admin.set_online(maria.id)
    screen.wait("she is back, where she was", lambda: shown()[0] == [maria.id, joao.id])
    screen.agrees_with(office.admin)


# MARK: Protocols


def test_protocols_are_listed_filtered_and_paged(office):
    api = office.integrator
    team(api, ["pt"], ["pt"])
    for _ in range(6):
        turn(api)
    api.call("GET", "/gerar-protocolo", expect=200)
    everything = api.get("/protocolos")
    assert [p["numero"] for p in everything] == [f"#0000{n}" for n in range(1, 8)]
    for name, kind in PROTOCOLO.items():
        assert isinstance(everything[0][name], kind), name
    assert [p["consultor_id"] for p in everything] == [1, 2, 1, 2, 1, 2, None]
    reply = api.call("GET", "/protocolos", consultor_id=1, skip=1, limit=1, expect=200)
    assert ([p["id"] for p in reply.json()], reply.headers["x-total-count"]) == ([3], "3")
    assert api.get("/protocolos", ordem="desc", limit=2) == everything[:-3:-1]
    assert api.get("/protocolos", numero="#00004") == api.get("/protocolos", numero="4") == [everything[3]] == [api.get("/protocolo/4")]
    assert api.get("/protocolo/%2300004") == api.get("/protocolo/00004") == everything[3]
    day = everything[0]["created_at"][:10]
    assert len(api.get("/protocolos", de=day, ate=day)) == 7 and api.get("/protocolos", ate="2020-01-01") == []
    assert api.get("/protocolos", skip=100) == [] and api.get("/protocolos", consultor_id="") == everything
    for wrong in ({"skip": -1}, {"limit": 0}, {"limit": 1001}, {"consultor_id": "x"}, {"de": "ontem"}, {"ordem": "x"}, {"conversation_id": 1}, {"numero": "#"}):
        names_fields(api.call("GET", "/protocolos", **wrong), *wrong)
    for missing in ("/protocolo/99", "/protocolo/x", "/protocolo/-1", "/protocolo/0", "/protocolo/99999999999999999999"):
        is_clear_error(api.call("GET", missing), 404)


def test_a_protocol_changes_hands_with_a_history_and_outlives_its_consultor(office):
    api = office.integrator
    team(api, ["pt"], ["pt"])
    turn(api)
    path = "/protocolo/1"
    before = api.get(path)
    assert api.put(path, before) == before, "what was given, sent back, changes nothing"
    assert api.put(path, {"consultor_id": 2, "observacao": "Retornar 100% amanhã_"})["consultor_id"] == 2
    assert api.put(path, {"observacao": None})["observacao"] is None
    assert api.put(path, {"observacao": "Retornar 100% amanhã_"})["consultor_id"] == 2
    history = api.get(f"{path}/historico")["items"]
    assert [(h["acao"], h["de_consultor_id"], h["para_consultor_id"]) for h in history] == [("gerado", None, 1), ("atribuido", 1, 2), ("alterado", 2, 2), ("alterado", 2, 2)]
    assert {h["por"] for h in history[1:]} == {"AUTHENTICATION_API_KEY"}
    assert [p["id"] for p in api.get("/protocolos", q="100% AMANHã_")] == [1] and api.get("/protocolos", q="100_") == []
    for field, value in (("consultor_id", 99), ("consultor_id", "x"), ("observacao", "x" * 2001), ("numero", "#00002"), ("id", 2)):
        names_fields(api.call("PUT", path, json={field: value}), field)
    is_clear_error(api.call("PUT", "/protocolo/99", json={"observacao": "x"}), 404)
    # Gone, with all that was theirs still there.
    api.call("DELETE", "/consultor/2", expect=204)
    assert [p["id"] for p in api.get("/protocolos", consultor_id=2)] == [1]
    assert api.put(path, {"observacao": "depois"})["consultor_id"] == 2
    api.put(path, {"consultor_id": 2})
    office.server.kill()
    office.server.start()
    assert api.get(path)["observacao"] == "depois" and len(api.get(f"{path}/historico")["items"]) == 5
    assert number(api.call("GET", "/gerar-protocolo", expect=200).json()["numero_protocolo"]) == 2


def test_a_conversations_protocol_is_linked_to_it_and_to_whoever_has_it(office):
    maria, joao = office.hire("Maria"), office.hire("João", online=False)
    conversation = office.attended_by(maria, new_number())
    [protocolo] = office.integrator.get("/protocolos", conversation_id=conversation["id"])
    assert (protocolo["numero"], protocolo["consultor_id"]) == (conversation["protocol"], maria.id)
    joao.api.set_online(joao.id)
    maria.api.command(conversation["id"], "transfer", {"consultor_id": joao.id})
    history = maria.api.get(f"/protocolo/{protocolo['id']}/historico")["items"]
    assert [(h["acao"], h["para_consultor_id"], h["por"]) for h in history] == [("gerado", None, None), ("atribuido", maria.id, "atendimento"), ("atribuido", joao.id, "atendimento")]
    joao.api.resolve(conversation["id"])
    assert joao.api.put(f"/protocolo/{protocolo['id']}", {"observacao": "resolvido"})["consultor_id"] == joao.id
    assert office.integrator.get(f"/protocolo/{protocolo['id']}/historico")["items"][-1]["por"] == "João"
    # Reopened by another, with what is in memory and with what is only in the store.
    for who, wakes in ((maria, False), (joao, True)):
        if wakes:
            office.server.restart()
        assert who.api.command(conversation["id"], "reopen")["protocol"] == protocolo["numero"]
        assert office.integrator.get(f"/protocolo/{protocolo['id']}")["consultor_id"] == who.id
        who.api.resolve(conversation["id"])


# MARK: Keys


def test_keys_are_several_scoped_rotated_revoked_and_hashed_at_rest(office):
    admin, path = office.admin, "/api/v1/api-keys"
    api = lambda key: Api(office.server, api_key=key)
    team(office.integrator, ["pt"])
    whole = admin.post(path, {"name": "Site"}, expect=201)
    bot = admin.post(path, {"name": "Robô", "scopes": ["da-vez", "protocolos:read"]}, expect=201)
    assert whole["key"] != bot["key"] and whole["key"].startswith(whole["prefix"]) and len(whole["scopes"]) == 5
    assert [k["name"] for k in admin.get(path)["items"]] == ["AUTHENTICATION_API_KEY", "Site", "Robô"]
    assert "key" not in json.dumps([list(k) for k in admin.get(path)["items"]]) and bot["key"] not in json.dumps(admin.get(path))
    assert turn(api(bot["key"]))["consultor_id"] == 1 == turn(api(whole["key"]))["consultor_id"] == turn(office.integrator)["consultor_id"]
    assert len(api(bot["key"]).get("/protocolos")) == 3
    for method, address, scope in (
        ("GET", "/consultores", "consultores:read"), ("POST", "/consultor", "consultores:write"), ("GET", "/gerar-protocolo", "protocolos:write"),
        ("PUT", "/protocolo/1", "protocolos:write"), ("DELETE", "/consultor/1", "consultores:write"),
    ):
        assert is_clear_error(api(bot["key"]).call(method, address, json={}), 403)["scope"] == scope
    # Rotated: both open for a while, and then one.
    new = admin.post(f"{path}/{bot['id']}/rotate")["key"]
    turn(api(bot["key"])), turn(api(new))
    newer = admin.post(f"{path}/{bot['id']}/rotate", {"grace_seconds": 0})["key"]
    for old in (bot["key"], new):
        is_clear_error(api(old).call("GET", "/protocolos"), 401)
    turn(api(newer))
    # When each was used last, also over a restart.
    eventually("the last use", lambda: all(k["last_used_at"] for k in admin.get(path)["items"][1:]))
    office.server.restart()
    turn(api(newer))
    keys = {k["name"]: k for k in admin.get(path)["items"]}
    assert keys["Robô"]["last_used_at"] and keys["Robô"]["rotated_at"]
    admin.call("DELETE", f"{path}/{whole['id']}", expect=204)
    is_clear_error(api(whole["key"]).call("GET", "/consultores"), 401)
    is_clear_error(admin.call("DELETE", f"{path}/{whole['id']}"), 404)
    # At rest there are only hashes, and the log has none of them.
    office.server.stop()
    stored = b"".join(p.read_bytes() for p in office.server.data.rglob("*") if p.is_file()) + office.server.logs()
    for key in (whole["key"], bot["key"], new, newer):
        assert key.encode() not in stored
    office.server.start()


def test_keys_are_the_owners_to_make_and_a_business_sees_its_own_alone(office):
    path, agent = "/api/v1/api-keys", office.hire("Maria")
    for method, address in (("GET", path), ("POST", path), ("POST", f"{path}/{agent.user['id']}/rotate"), ("DELETE", f"{path}/{agent.user['id']}")):
        is_clear_error(agent.api.call(method, address, json={"name": "x"} if method == "POST" else None), 403)
        is_clear_error(office.integrator.call(method, address), 401)
    other = office.anybody.register("dona-de-outra@example.com", "Senha#Forte9x2026", name="Dono", business_name="Outra")
    key = other.post(path, {"name": "Deles"}, expect=201)
    theirs = Api(office.server, api_key=key["key"])
    theirs.create_consultor("Deles", status_online=True)
    assert [c["nome"] for c in theirs.consultores()] == ["Deles"] and "Deles" not in [c["nome"] for c in office.integrator.consultores()]
    assert turn(theirs)["numero_protocolo"] == "#00001", "each business counts for itself"
    assert [k["name"] for k in other.get(path)["items"]] == ["Deles"]
    is_clear_error(office.admin.call("DELETE", f"{path}/{key['id']}"), 404)
    for wrong in ({}, {"name": ""}, {"name": "x" * 81}, {"name": "a", "scopes": []}, {"name": "a", "scopes": ["tudo"]}, {"name": "a", "expires_at": "2020-01-01T00:00:00Z"}):
        is_clear_error(office.admin.call("POST", path, json=wrong), 422)
    assert is_clear_error(other.call("POST", path, json={"name": "Deles"}), 409)["code"] == "api_key_name_taken"
    is_clear_error(other.call("POST", f"{path}/{key['id']}/rotate", json={"grace_seconds": -1}), 422)


# MARK: Logs


def test_the_log_has_the_contracts_three_shapes_under_one_id(office):
    api = office.integrator
    team(api, ["pt"])
    reply = api.call("GET", "/consultor/da-vez", idioma="pt", expect=200)
    id = reply.headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{8}", id)
    assert entries(office, "request", id) == [{"id": id, "method": "GET", "path": "/consultor/da-vez", "params": {"idioma": "pt"}}]
    [response] = entries(office, "response", id)
    assert set(response) == {"id", "status", "time", "data"} and response["status"] == 200 and re.fullmatch(r"\d+\.\d+s", response["time"])
    assert response["data"].items() >= {"consultor_id": 1, "numero_protocolo": "#00001"}.items()
    id = api.call("GET", "/consultor/da-vez", idioma="xx", expect=404).headers["x-request-id"]
    assert entries(office, "error", id) == [{"id": id, "method": "GET", "path": "/consultor/da-vez", "error": "Consultor não encontrado"}]
    assert [r["status"] for r in entries(office, "response", id)] == [404]


# MARK: The list from elsewhere

LIST = """nome;idiomas;status_ativo;id_pipedrive;email;id;ultimo_atendimento
Ana Souza;pt,en;sim;11;;17;2026-01-02 10:00:00
"Rui ""Bá"" Lima";"{pt,es}";true;12;;4;2026-01-01 10:00:00+00
Sem idioma;;sim;;;;
Torta;pt;talvez;x;;;
Maria;pt;;;atendente@example.com;;
Ninguém;pt;;;ninguem@example.com;;
"""


def store_of(office):
    """The settings by which another program finds an office's store."""
    return {"PLANTAO_DATA": office.server.data} | {k: v for k, v in office.server.environment.items() if k == "DATABASE_URL"}


@pytest.fixture
def listed(office, tmp_path):
    office.admin.create_user("atendente@example.com", "Maria", "agent", "Senha#Forte1x2026")
    path = tmp_path / "equipe.csv"
    path.write_text("\ufeff" + LIST.replace("\n", "\r\n"), "utf-8")
    return path


@pytest.mark.parametrize("way", ["a running server", "the store alone"])
def test_a_csv_file_comes_in_once_however_often_and_says_which_lines_are_wrong(office, listed, way):
    def bring(path):
        if way == "a running server":
            return run("consultor", "import", path, "--url", office.server.url, AUTHENTICATION_API_KEY=API_KEY)
        office.server.stop()
        done = run("consultor", "import", path, **store_of(office))
        office.server.start()
        return done

    done = bring(listed)
    assert done.returncode == 1, done.stderr
    assert "6 lines: 3 created, 0 updated, 0 unchanged, 3 refused" in done.stderr
    said = {line.split(":")[0]: line for line in done.stdout.splitlines()}
    assert sorted(said) == ["line 4", "line 5", "line 7"]
    assert "idiomas" in said["line 4"] and "status_ativo" in said["line 5"] and "id_pipedrive" in said["line 5"] and "email" in said["line 7"]
    present = {c["id"]: c for c in office.integrator.consultores()}
    assert {id: (c["nome"], c["idiomas"], c["id_pipedrive"]) for id, c in present.items()} == {
        17: ("Ana Souza", ["pt", "en"], 11), 4: ('Rui "Bá" Lima', ["pt", "es"], 12), 18: ("Maria", ["pt"], None),
    }
    assert present[17]["ultimo_atendimento"] == "2026-01-02T10:00:00.000Z" and present[18]["user_id"]
    for id in present:
        office.integrator.set_online(id)
    assert [turn(office.integrator)["consultor_id"] for _ in range(3)] == [18, 4, 17], "their places in line have come along"
    again = bring(listed)
    assert "0 created, 0 updated, 3 unchanged, 3 refused" in again.stderr, again.stderr
    listed.write_text("nome,idiomas,id\nAna Lima,pt,17\n", "utf-8")
    better = bring(listed)
    assert better.returncode == 0 and "0 created, 1 updated, 0 unchanged, 0 refused" in better.stderr
    assert office.integrator.consultor(17)["nome"] == "Ana Lima" and office.integrator.consultor(17)["id_pipedrive"] == 11


def test_a_file_that_is_none_changes_nothing(office, tmp_path):
    path = tmp_path / "x.csv"
    for contents, word in ((b"", "empty"), (b"nome\nAna\n", "idiomas"), (b"nome,idiomas,cor\n", "cor"), (b'nome,idiomas\n"Ana,pt\n', "quote"), (b"nome,idiomas\n\xff,pt\n", "UTF-8"),
                           (b"nome,idiomas,nome\n", "twice")):
        path.write_bytes(contents)
        done = run("consultor", "import", path, "--url", office.server.url, "--api-key", API_KEY)
        assert done.returncode == 78 and word in done.stderr, (contents, done.stderr)
    path.write_text("nome,idiomas\nAna,pt\n")
    for more, word in (([], "using"), (["--url", office.server.url, "--api-key", "errada"], "api-key"), (["--url", "http://127.0.0.1:1", "--api-key", "x"], "does not answer"),
                       (["--url", office.server.url], "--api-key")):
        done = run("consultor", "import", path, *more, **store_of(office))
        assert done.returncode == 78 and word in done.stderr, (more, done.stderr)
    assert run("consultor", "import", tmp_path / "nowhere.csv").returncode == 78
    assert office.integrator.consultores() == []


def test_a_long_list_comes_in_in_parts(office, tmp_path):
    path = tmp_path / "longa.csv"
    path.write_text("nome,idiomas\n" + "".join(f"Pessoa {n},pt;en\n" for n in range(450)))
    done = run("consultor", "import", path, "--url", office.server.url + "/", "--api-key", API_KEY)
    assert done.returncode == 0 and "450 lines: 450 created" in done.stderr, done.stderr
    assert len(office.integrator.consultores()) == 450
    is_clear_error(office.integrator.call("POST", "/consultores/import", json=[{}] * 501), 422)
    is_clear_error(office.integrator.call("POST", "/consultores/import", json={}), 422)
    screen = office.desk(office.admin, "consultores")
    office.integrator.set_online(1)
    screen.wait("the line", lambda: any(data["ordem"] == [1] for _, _, _, data in screen.everything_shown()[0]))
