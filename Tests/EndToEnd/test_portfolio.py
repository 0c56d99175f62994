"""Customers and sales (contracts/ecosys-ms.md, contracts/vendas.md): fed and read through the contracts' own paths, live, and after a crash."""

import base64
import csv
import gzip
import io
import json
from datetime import datetime, timedelta, timezone
from urllib.parse import unquote, urlsplit

import pytest

from harness.api import Api, is_clear_error, names_fields
from harness.contract import Contract
from harness.golden import Socket
from harness.process import run
from harness.waiting import eventually

CREDENTIALS = "ana:segredo,bia:com:dois"


class Basic(Api):
    def __init__(self, server, user="ana:segredo"):
        super().__init__(server)
        self.header = "Basic " + base64.b64encode(user.encode()).decode()

    def call(self, method, path, **more):
        headers = {"Authorization": self.header} | (more.pop("headers", None) or {})
        return super().call(method, path, headers=headers, **more)


@pytest.fixture
def office(offices):
    return offices(BASIC_AUTH_USERS=CREDENTIALS)


@pytest.fixture
def api(office):
    return Basic(office.server)


def ago(**more):
    return (datetime.now(timezone.utc) - timedelta(**more)).isoformat()


def acts(id, tipo, times=1, **more):
    return [{"tenant_id": id, "tipo": tipo, **more}] * times


def test_only_who_is_named_is_let_in(office, api):
    assert api.get("/clientes") == {} and Basic(office.server, "bia:com:dois").get("/clientes") == {}
    for wrong in ("ana:x", "ana", "outra:segredo", ":", "ana:segredo "):
        reply = Basic(office.server, wrong).call("GET", "/clientes", expect=401)
        assert reply.json()["detail"] == "Acesso negado." and reply.headers["www-authenticate"] == "Basic"
    assert Api(office.server).call("GET", "/vendas/ranking", expect=401).json()["detail"] == "Acesso negado."
    viewer = office.hire("Vera", role="agent").api
    assert viewer.get("/dashboard")["clientes_ativos"] == 0
    is_clear_error(viewer.call("POST", "/clientes", json={"client_id": 1}), 403)


def test_the_contracts_worked_example_through_the_doors(api):
    api.post("/clientes", {"client_id": 1234, "nome": "Empresa XYZ Ltda", "cnpj": "12.345.678/0001-90", "valor": 1500.0, "pipeline": "CS | ONGOING"})
    for batch in (
        acts(1234, "login", 44, ocorrido_em=ago(days=9), usuario_email="a@x.com") + acts(1234, "login", 1, ocorrido_em=ago(days=2, minutes=1), usuario_email="b@x.com"),
        acts(1234, "entrada", 120, ocorrido_em=ago(days=1, minutes=1)), acts(1234, "saida", 110, ocorrido_em=ago(days=1, minutes=1)),
        acts(1234, "lead", 25, ocorrido_em=ago(days=3, minutes=1)) + acts(1234, "econversa"), acts(1234, "integrador", 3, nome="ERP") + acts(1234, "integrador", 1, nome="Site"),
    ):
        assert api.post("/atividades", batch) == {"aceitas": len(batch), "recusadas": 0, "erros": []}
    assert api.get("/health-scores") == {
        "1234": {
            "tenant_id": 1234, "slug": "empresa-xyz-ltda", "name": "Empresa XYZ Ltda", "cnpj": 12345678000190, "qntd_acessos_30d": 45,
            "dias_desde_ultimo_acesso": 2, "score_engajamento": 1.0, "qntd_entradas_30d": 120, "dias_desde_ultima_entrada": 1, "qntd_saidas_30d": 110,
            "dias_desde_ultima_saida": 1, "score_movimentacao_estoque": 1.0, "qntd_leads_30d": 25, "dias_desde_ultimo_lead": 3, "score_crm": 0.9,
            "econversa_ativo": True, "integradores_conectados": 2, "score_adoption": 1.0, "score_total": 0.98, "categoria": "Campeão",
        }
    }
    logins = api.call("GET", "/logins", json={"tenant_id": "1234"}, expect=200).json()
    assert (logins["total_logins"], logins["usuarios_unicos"], logins["dias_com_acesso"]) == (45, 2, 2) and logins["periodo"] == "últimos 30 dias"
    assert logins["logins"][0]["usuario_email"] == "b@x.com" and logins["logins"][0]["data_login"] == "T".join((logins["logins"][0]["data"], logins["logins"][0]["hora"]))
    assert api.get("/logins", tenant_id=1234) == logins
    api.call("GET", "/logins", tenant_id=9, expect=404)
    api.post("/atividades", acts(1234, "integrador", nome="ERP", ativo=False)[0])
    assert api.get("/health-scores")["1234"]["score_adoption"] == 0.75


def test_filters_empty_defaults_and_wrong_dates(api):
    api.post("/clientes", [
        {"client_id": 1, "data_adesao": "2024-01-01", "valor": 100, "data_start_onboarding": "2024-01-01", "data_end_onboarding": "2024-02-12"},
        {"client_id": 2, "data_adesao": "2024-12-31T23:59:59", "valor": "50.10", "pipeline": "CS | ONBOARDING"},
        {"client_id": 3, "data_adesao": "2025-01-01", "valor": 7, "pipeline": "Churns & Cancelamentos", "data_start_onboarding": "2024-01-01", "data_end_onboarding": "2024-02-13"},
        {"client_id": 4},
    ])
    assert set(api.get("/clientes", data_adesao_inicio="2024-01-01", data_adesao_fim="2024-12-31")) == {"1", "2"}
    assert set(api.get("/clientes", data_adesao_inicio="", data_adesao_fim="")) == {"1", "2", "3", "4"}
    assert set(api.get("/health-scores", data_adesao_fim="2025-12-31")) == {"1", "2"}
    assert api.get("/health-scores")["4"]["dias_desde_ultimo_acesso"] == 9999 and api.get("/clientes")["4"]["valor"] == 0.0
    assert api.get("/dashboard") == {
        "clientes_ativos": 3, "clientes_pagantes": 2, "clientes_onboarding": 1, "mrr_value": 150.1, "churn_value": 7.0, "tmo_dias": 42.5,
        "clientes_health": {"Crítico": 3, "Normal": 0, "Saudável": 0, "Campeão": 0},
    }
    assert api.get("/dashboard", data_adesao_inicio="2024-06-01")["mrr_value"] == 50.1
    for path in ("/clientes", "/health-scores", "/dashboard"):
        names_fields(api.call("GET", path, data_adesao_inicio="2024/01/01"), "data_adesao_inicio")
        names_fields(api.call("GET", path, data_adesao_fim="2024-02-30"), "data_adesao_fim")


def test_what_is_wrong_refuses_a_whole_list_and_says_where(api):
    reply = api.call("POST", "/clientes", json=[{"client_id": 1}, {"client_id": "x", "valor": "mil"}, {"nome": 5}])
    names_fields(reply, 1, 2, "client_id", "valor", "nome")
    assert api.get("/clientes") == {}
    api.post("/clientes", {"client_id": 1, "nome": "Um", "valor": 10})
    assert api.post("/clientes", [{"client_id": 1, "valor": 20}, {"client_id": 1, "valor": 20}])["atualizados"] == 1
    assert api.get("/clientes")["1"]["nome"] == "Um", "what is left out stays"
    names_fields(api.call("POST", "/atividades", json=acts(1, "lead") + acts(2, "lead") + acts(1, "dança")), 2, "tipo")
    names_fields(api.call("POST", "/atividades", json=acts(1, "lead") + acts(2, "lead")), 1, "tenant_id")
    assert api.get("/health-scores")["1"]["qntd_leads_30d"] == 0
    body = "\n".join(["", json.dumps(acts(1, "lead")[0]), "{", json.dumps(acts(9, "lead")[0]), json.dumps(acts(1, "lead", ocorrido_em=ago(days=-9))[0])])
    told = api.call("POST", "/atividades", body=body.encode(), headers={"Content-Type": "application/x-ndjson"}, expect=200).json()
    assert (told["aceitas"], told["recusadas"], [e["linha"] for e in told["erros"]]) == (1, 3, [3, 4, 5])


def test_what_is_sent_twice_under_a_key_counts_once(office, api):
    api.post("/clientes", {"client_id": 1})
    for _ in range(2):
        told = api.call("POST", "/atividades", json=acts(1, "lead", 3), headers={"Idempotency-Key": "k"}, expect=200).json()
        assert told["aceitas"] == 3
    stream = "\n".join(json.dumps(a) for a in acts(1, "saida", 2500)).encode()
    for _ in range(2):
        told = api.call("POST", "/atividades", body=stream, headers={"Idempotency-Key": "s", "Content-Type": "application/x-ndjson"}, expect=200).json()
        assert told["aceitas"] == 2500
        office.server.kill()
        office.server.start()
    scores = api.get("/health-scores")["1"]
    assert (scores["qntd_leads_30d"], scores["qntd_saidas_30d"]) == (3, 2500)


def test_sales_the_tiers_and_a_month_that_is_over(office, api):
    today = datetime.now(timezone(timedelta(hours=-3))).date()
    last = today.replace(day=1) - timedelta(days=1)
    api.post("/vendas/vendedores", [{"id": 7, "name": "Amanda", "email": "a@x.com"}, {"id": 8, "name": "Bruno"}, {"id": 9, "name": "Saiu", "ativo": False}])
    assert [v["id"] for v in api.get("/vendas/vendedores")] == [7, 8]
    api.post("/clientes", [{"client_id": n, "nome": f"C{n}", "valor": 100.05, "setup_value": 50.1, "vendedor_id": 7, "data_adesao": str(today.replace(day=1))} for n in range(1, 7)])
    api.post("/clientes", [
        {"client_id": 10, "valor": 333.33, "vendedor": "bruno", "data_adesao": str(last)}, {"client_id": 11, "valor": 40, "data_adesao": "2020-02-29", "parcelas_atrasadas": 2},
        {"client_id": 12, "valor": 900, "vendedor_id": 8, "data_adesao": "2024-01-31", "data_cancelamento": "2024-03-15"}, {"client_id": 13, "valor": 0, "vendedor_id": 8},
    ])
    amanda, bruno, old = api.get("/vendas/resumo-comissoes")
    assert (amanda["tier"], amanda["novosMes"], amanda["percentualMrr"], amanda["percentualSetup"], amanda["comissaoTotal"]) == ("prata", 6, 10.0, 25.0, 135.24)
    assert (bruno["comissaoRecorrente"], bruno["clientesCancelados"], old["vendedor"]["name"], old["clientesInadimplentes"]) == (100.0, 1, "Vendas Antigas", 1)
    ranking = api.get("/vendas/ranking")
    assert [(r["posicao"], r["vendedor"]["id"], r["mrrAtivo"]) for r in ranking] == [(1, 7, 600.3), (2, 8, 333.33), (3, 99999999, 0.0)]
    dashboard = api.get("/vendas/dashboard")
    assert dashboard["comissaoTotal"] == 235.24 and dashboard["ticketMedio"] == 133.38 and dashboard["novosMesAtual"] == 6 and dashboard["totalClientes"] == 9
    assert api.get("/vendas/dashboard", month="2024-02")["ltvTotal"] == 0.0 and api.get("/vendas/dashboard", month="2024-02")["clientesAtivos"] == 1
    assert [c["id"] for c in api.get("/vendas/clientes/churns", month="2024-03")] == ["12"] and api.get("/vendas/clientes/churns") == []
    assert [c["id"] for c in api.get("/vendas/clientes/inadimplentes")] == ["11"] and len(api.get("/vendas/clientes/novos")) == 6
    assert len(api.get("/vendas/clientes/novos", month=str(last)[:7])) == 3
    assert [c["id"] for c in api.get("/vendas/clientes/vendedor/99999999")] == ["11"] and api.get("/vendas/clientes/vendedor/1") == []
    names_fields(api.call("GET", "/vendas/ranking", month="2024-13"), "month")
    # What is changed holds from this month on.
    config = api.put("/vendas/commission-config", {"sales_goal": 6, "mrr_tier3": 25.0, "mrr_recurrence": [50.0]})
    assert config["mrr_tier1"] == 5.0 and config["mrr_recurrence"] == [50.0] and api.get("/vendas/commission-config") == config
    names_fields(api.call("PUT", "/vendas/commission-config", json={"sales_goal": 0, "setup_tier1": 101, "mrr_recurrence": [1, "x"]}), "sales_goal", "setup_tier1", "mrr_recurrence")
    assert api.get("/vendas/ranking")[0]["tier"] == "ouro" and api.get("/vendas/clientes/vendedor/8")[0]["valorComissao"] == 166.67
    assert api.get("/vendas/commission-config", month=str(last)[:7])["sales_goal"] == 10
    statement = api.get("/vendas/extrato/7")
    assert statement["total"] == api.get("/vendas/ranking")[0]["comissaoTotal"] and len(statement["linhas"]) == 12
    assert "TOTAL" in api.call("GET", "/vendas/extrato/7", formato="csv", expect=200).text and "<table>" in api.call("GET", "/vendas/extrato/7", formato="html", expect=200).text
    api.post("/clientes", [{"client_id": 1, "valor": 200.05}, {"client_id": 2, "valor": 50.05}, {"client_id": 3, "data_cancelamento": str(today)}, {"client_id": 12, "data_cancelamento": None}])
    movements = api.get("/vendas/mrr")
    assert {k: v["quantidade"] for k, v in movements.items() if isinstance(v, dict)} == {"new": 6, "expansion": 1, "contraction": 1, "churn": 1, "reactivation": 1}
    assert movements["churn"]["valor"] == -100.05 and movements["liquido"] == round(600.30 + 100 - 50 - 100.05 + 900, 2)
    before = [api.get(f"/vendas/{path}") for path in ("resumo-comissoes", "ranking", "dashboard", "clientes", "commission-config")]
    assert api.post("/vendas/cache/clear")["keys_deleted"] > 0
    office.server.kill()
    office.server.start()
    assert before == [api.get(f"/vendas/{path}") for path in ("resumo-comissoes", "ranking", "dashboard", "clientes", "commission-config")]


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_a_month_that_is_over_stays_as_it_was(store, offices, request):
    extra = {"DATABASE_URL": request.getfixturevalue("database").url} if store == "postgres" else {}
    office = offices(BASIC_AUTH_USERS=CREDENTIALS, **extra)
    api = Basic(office.server)
    today = datetime.now(timezone(timedelta(hours=-3))).date()
    last = today.replace(day=1) - timedelta(days=1)
    older = last.replace(day=1) - timedelta(days=1)
    closed, before = str(last)[:7], str(older)[:7]
    api.post("/vendas/vendedores", [{"id": 1, "name": "Ana"}, {"id": 2, "name": "Bia"}])
    api.post("/clientes", [{"client_id": n, "valor": 100, "setup_value": 50, "vendedor_id": 1, "data_adesao": str(older.replace(day=10))} for n in (1, 2, 3)])
    api.post("/clientes", {"client_id": 3, "data_cancelamento": str(last)})

    def said():
        paths = ("dashboard", "resumo-comissoes", "ranking", "clientes", "clientes/churns", "extrato/1", "mrr")
        return [api.get(f"/vendas/{path}", month=month) for path in paths for month in (closed, before)]

    was = said()
    assert api.get("/vendas/extrato/1", month=closed)["total"] == 60.0 and api.get("/vendas/mrr", month=closed)["churn"] == {"quantidade": 1, "valor": -100.0}
    api.post("/clientes", [{"client_id": 1, "valor": 900, "parcelas_atrasadas": 2}, {"client_id": 2, "vendedor_id": 2}, {"client_id": 3, "data_cancelamento": None}])
    assert said() == was
    now = {c["id"]: c for c in api.get("/vendas/clientes")}
    assert (now["1"]["mrr"], now["1"]["status"], now["2"]["sellerId"], now["3"]["status"], now["3"]["mesesAtivo"]) == (900.0, "inadimplente", "2", "ativo", 1)
    assert api.get("/vendas/mrr")["reactivation"] == {"quantidade": 1, "valor": 100.0} and api.get("/vendas/mrr")["expansion"]["valor"] == 800.0
    after = [api.get(f"/vendas/{path}") for path in ("dashboard", "resumo-comissoes", "clientes", "mrr")]
    office.server.kill()
    office.server.start()
    assert said() == was and after == [api.get(f"/vendas/{path}") for path in ("dashboard", "resumo-comissoes", "clientes", "mrr")]
    # A mistake is corrected by saying since when it is otherwise; a date by saying the right one.
    api.post("/clientes", [{"client_id": 1, "valor": 200, "vale_desde": closed}, {"client_id": 2, "data_cancelamento": str(last)}])
    assert {c["id"]: c["mrr"] for c in api.get("/vendas/clientes", month=closed)}["1"] == 200.0 and {c["id"]: c["mrr"] for c in api.get("/vendas/clientes", month=before)}["1"] == 100.0
    api.post("/clientes", {"client_id": 2, "data_cancelamento": str(older)})
    for month in (closed, before):
        assert api.get("/vendas/mrr", month=month)["churn"]["quantidade"] == len(api.get("/vendas/clientes/churns", month=month)) == 1
    names_fields(api.call("POST", "/clientes", json={"client_id": 1, "vale_desde": "ontem"}), "vale_desde")


def test_extreme_customers_end_nothing(office, api):
    """Anybody may register, and put in what they like."""
    names_fields(api.call("POST", "/clientes", json={"client_id": 1, "data_adesao": "0001-02-01"}), "data_adesao")
    names_fields(api.call("GET", "/vendas/dashboard", month="9998-11"), "month")
    api.post("/clientes", [{"client_id": n, "valor": 10_000_000_000, "setup_value": 10_000_000_000, "data_adesao": "1970-01-01"} for n in range(1, 5001)])
    assert api.get("/vendas/dashboard", month="2100-12")["mrrTotal"] == 5e13
    api.put("/vendas/commission-config", {"mrr_recurrence": [100] * 120})
    office.server.kill()
    office.server.start()
    assert api.get("/vendas/dashboard")["ltvTotal"] > 5000 * 1e10 * 600 and api.get("/vendas/mrr", month="1970-01")["new"]["quantidade"] == 5000
    strangers = [{"client_id": 10_000 + n, "vendedor_id": 10_000 + n} for n in range(301)]
    api.post("/clientes", strangers[:300])
    is_clear_error(api.call("POST", "/clientes", json=strangers), 409)
    api.post("/vendas/vendedores", {"id": 10_300, "name": "Cadastrado"})
    api.post("/clientes", strangers)


def test_the_plan_bounds_the_portfolio(offices):
    office = offices(BASIC_AUTH_USERS=CREDENTIALS, FIRST_PLAN="free", PLANTAO_PLANS=json.dumps({"free": {"customers": 3}}))
    api = Basic(office.server)
    api.post("/clientes", [{"client_id": 1}, {"client_id": 2}])
    for restarts in (False, True):
        if restarts:
            office.server.kill()
            office.server.start()
        refused = api.call("POST", "/clientes", json=[{"client_id": 2, "nome": "Dois"}, {"client_id": 3}, {"client_id": 4}], expect=402).json()
        assert (refused["code"], refused["resource"], refused["limit"], refused["used"]) == ("plan_limit", "customers", 3, 2)
        assert set(api.get("/clientes")) == {"1", "2"} and api.get("/clientes")["2"]["nome"] is None, "whole or not at all"
    api.post("/clientes", {"client_id": 3})
    assert office.admin.get("/api/users/usage")["resources"]["customers"]["remaining"] == 0
    api.post("/clientes", {"client_id": 3, "nome": "Três"})


def test_what_other_systems_write_is_taken(api):
    api.post("/clientes", {"client_id": 1, "valor": 1e-07, "data_adesao": "2024-01-31", "data_cancelamento": "9999-12-31", "criado_em": "0001-01-01T00:00:00"})
    customer = api.get("/clientes")["1"]
    assert customer["valor"] == 0.0 and customer["data_cancelamento"] is None and customer["criado_em"][:4] != "0001"
    first = api.get("/vendas/commission-config")
    assert first["updated_at"] and api.put("/vendas/commission-config", {}) == first == api.put("/vendas/commission-config", {"sales_goal": 10.0})
    for wrong in ({"setup_tier2": 33.33334}, {"mrr_tier1": 100.00001}, {"mrr_tier1": 0.00001}, {"sales_goal": 12.5}, {"mrr_recurrence": [33.33334]}):
        names_fields(api.call("PUT", "/vendas/commission-config", json=wrong), *wrong)
    changed = api.put("/vendas/commission-config", {"sales_goal": 12.0, "setup_tier2": 33.3333})
    assert (changed["sales_goal"], changed["setup_tier2"]) == (12, 33.3333) and changed["updated_at"] >= first["updated_at"]


def test_a_statement_carries_no_markup_and_no_formula(api):
    api.post("/vendas/vendedores", {"id": 7, "name": "Ana \u0600<form action=//evil.example>"})
    names = ["\u0600<img src=x onerror=alert(1)>", '\u0600";=HYPERLINK("http://evil.example";"x");"', "\r\n=1+1", "=\u0301cmd"]
    today = str(datetime.now(timezone(timedelta(hours=-3))).date())
    api.post("/clientes", [{"client_id": n, "nome": name, "valor": 100, "vendedor_id": 7, "data_adesao": today} for n, name in enumerate(names, 1)])
    page = api.call("GET", "/vendas/extrato/7", formato="html", expect=200)
    assert "<img" not in page.text and "<form" not in page.text and "form-action 'none'" in page.headers["content-security-policy"]
    rows = list(csv.reader(io.StringIO(api.call("GET", "/vendas/extrato/7", formato="csv", expect=200).text, newline=""), delimiter=";"))
    assert {len(row) for row in rows} == {7} and {row[1] for row in rows[1:-1]} == {names[0], names[1], "'" + names[2], "'" + names[3]}


def test_sales_are_listed_by_number_whenever_they_came(office, api):
    api.post("/clientes", [{"client_id": n, "valor": 10, "vendedor_id": 50, "vendedor": name} for n, name in ((9, "Zeca"), (3, "Alba"), (7, "Zeca"), (1, "Yara"))])
    api.post("/clientes", {"client_id": 1, "vendedor": "Bela"})
    before = [api.get("/vendas/clientes"), api.get("/vendas/ranking")]
    assert [c["id"] for c in before[0]] == ["1", "3", "7", "9"] and before[1][0]["vendedor"]["name"] == "Zeca"
    office.server.kill()
    office.server.start()
    assert [api.get("/vendas/clientes"), api.get("/vendas/ranking")] == before


def test_subscribers_see_scores_tiers_and_figures_move(office, api):
    line = Socket("", Contract().session(), office.server)
    line.say({"id": 1, "connect": {"token": office.admin.token}})
    for number, channel in enumerate(("health", "sales"), 2):
        line.say({"id": number, "subscribe": {"channel": channel}})
    assert line.wait(lambda: {2, 3} <= {frame.get("id") for frame in line.frames})
    api.post("/vendas/vendedores", {"id": 7, "name": "Amanda"})
    today = str(datetime.now(timezone(timedelta(hours=-3))).date())
    api.post("/clientes", [{"client_id": n, "nome": f"C{n}", "valor": 10, "vendedor_id": 7, "cs": "Maria", "data_adesao": today} for n in range(1, 7)])
    api.post("/atividades", acts(1, "login", 41) + acts(1, "econversa") + acts(1, "integrador", nome="ERP"))
    wanted = {"health.scores", "health.category", "health.action", "health.dashboard", "sales.sale", "sales.tier", "sales.ranking", "sales.dashboard"}
    assert line.wait(lambda: wanted <= told(line)), wanted - told(line)
    (action,) = api.get("/clientes/acoes", cs="Maria")["items"]
    assert (action["categoria"], action["acao"], action["prioridade"]) == ("Normal", "Reunião de alinhamento, treinar time", "Alta")
    done = office.hire("Maria").api.post(f"/clientes/acoes/{action['id']}/concluir")
    assert done["concluida_por"] and api.get("/clientes/acoes")["items"] == [] and api.get("/clientes/acoes", estado="concluidas")["items"] == [done]
    assert line.wait(lambda: "health.action_done" in told(line))
    for frame in line.frames:
        line.contract.heard(frame)
    line.close()
    history = api.get("/clientes/1/health", completo="true")["dias"]
    assert history[-1]["categoria"] == "Normal" and history[-1]["score_engajamento"] == 1.0


def told(line):
    return {frame["push"]["pub"]["data"]["type"] for frame in list(line.frames) if "pub" in frame.get("push", {})}


def test_answers_are_compressed_for_who_takes_it(api):
    api.post("/clientes", [{"client_id": n, "nome": f"Cliente {n}"} for n in range(1, 2001)])
    plain = api.call("GET", "/clientes", expect=200)
    packed = api.call("GET", "/health-scores", headers={"Accept-Encoding": "gzip;q=0"}, expect=200)
    assert "content-encoding" not in plain.headers and "content-encoding" not in packed.headers and len(plain.json()) == 2000
    # Past `call`, which reads what is not compressed.
    reply = api.http.request("GET", "/clientes", {"Authorization": api.header, "Accept-Encoding": "br, gzip"})
    assert reply.headers["content-encoding"] == "gzip" and "Accept-Encoding" in reply.headers["vary"] and len(reply.body) < len(plain.body) / 4
    assert gzip.decompress(reply.body) == plain.body


def test_kommo_tells_of_leads(api, offices):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    lead = (
        "leads[add][0][id]=500&leads[add][0][name]=Loja+A%C3%A7a%C3%AD&leads[add][0][price]=350&leads[add][0][pipeline_id]=77&leads[add][0][updated_at]=1760000000"
        "&leads[add][0][custom_fields][0][id]=1&leads[add][0][custom_fields][0][name]=Data+de+Ades%C3%A3o&leads[add][0][custom_fields][0][values][0][value]=1750000000"
        "&leads[add][0][custom_fields][1][name]=client_id&leads[add][0][custom_fields][1][values][0][value]=42&account[subdomain]=x&__proto__[a]=1"
    )
    closed = Basic(offices(BASIC_AUTH_USERS=CREDENTIALS, KOMMO_WEBHOOK_TOKEN="só-nós", KOMMO_PIPELINES="77=CS | ONBOARDING").server)
    is_clear_error(closed.call("POST", "/api/webhooks/kommo", body=lead, headers=form), 401)
    told = closed.call("POST", "/api/webhooks/kommo", body=lead, headers=form, token="só-nós", expect=200).json()
    assert told == {"recebidos": 1, "criados": 1, "atualizados": 0, "inalterados": 0}
    (customer,) = closed.get("/clientes").values()
    assert (customer["client_id"], customer["nome"], customer["valor"], customer["pipeline"]) == (42, "Loja Açaí", 350.0, "CS | ONBOARDING")
    assert customer["data_adesao"] == "2025-06-15T15:06:40" and customer["atualizado_em"] == "2025-10-09T08:53:20"
    older = lead.replace("1760000000", "1759999999").replace("price]=350", "price]=1")
    assert closed.call("POST", "/api/webhooks/kommo", body=older, headers=form, token="só-nós").json()["inalterados"] == 1
    newer = lead.replace("1760000000", "1760000001").replace("price]=350", "price]=400").replace("add", "update")
    assert closed.call("POST", "/api/webhooks/kommo", body=newer, headers=form, token="só-nós").json()["atualizados"] == 1
    assert closed.get("/clientes")["42"]["valor"] == 400.0
    assert api.call("POST", "/api/webhooks/kommo", body=b"talk[add][0][id]=1", headers=form, expect=200).json()["recebidos"] == 0


def test_files_are_imported_and_what_is_refused_is_reported(office, api, tmp_path):
    customers = tmp_path / "clientes.csv"
    customers.write_text("\ufeffclient_id;nome;valor;data_adesao\r\n" + "".join(f'{n};"Loja ""{n}""";{n}.50;2024-01-31\r\n' for n in range(1, 1201)) + "x;Ruim;1;2024-01-01\r\n5;Curta\r\n", "utf-8")
    done = run("import", "clientes", customers, "--url", office.server.url, "--user", "ana:segredo")
    assert done.returncode == 1 and "1200 accepted, 2 refused" in done.stderr, done.stderr
    refused = (tmp_path / "clientes.csv.recusadas").read_text("utf-8").splitlines()
    assert [line.split("\t")[0] for line in refused] == ["1203", "1202"] or [line.split("\t")[0] for line in refused] == ["1202", "1203"]
    assert api.get("/clientes")["7"]["nome"] == 'Loja "7"' and api.get("/clientes")["7"]["valor"] == 7.5
    activities = tmp_path / "atividades.ndjson"
    activities.write_text("".join(json.dumps(a) + "\n" for a in acts(7, "entrada", 2300) + acts(7, "login", 3) + acts(9999, "lead", 2)), "utf-8")
    done = run("import", "atividades", activities, "--url", office.server.url, BASIC_AUTH_USERS=CREDENTIALS)
    assert done.returncode == 1 and "2303 accepted, 2 refused" in done.stderr, done.stderr
    scores = api.get("/health-scores")["7"]
    assert (scores["qntd_entradas_30d"], scores["qntd_acessos_30d"]) == (2300, 3)
    wrong = run("import", "clientes", customers, "--url", office.server.url, "--user", "ana:errada")
    assert wrong.returncode == 78 and "401" in wrong.stderr


def test_files_of_spreadsheets_are_read_as_they_are_meant(office, api, tmp_path):
    def bring(content, *more, what="clientes", name="f.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        done = run("import", what, path, "--url", office.server.url, "--user", "ana:segredo", "--restart", *more)
        refused = tmp_path / (name + ".recusadas")
        return done, refused.read_text("utf-8") if refused.exists() else ""

    done, _ = bring('client_id,nome,valor,descricao_cancelamento\n1,"Loja ""A""",10,"linha 1\nlinha 2"\n2,Ok,20,\n3,"São, João",30,x\n')
    assert done.returncode == 0 and "3 accepted, 0 refused" in done.stderr, done.stderr
    known = api.get("/clientes")
    assert known["1"]["descricao_cancelamento"] == "linha 1\nlinha 2" and known["1"]["nome"] == 'Loja "A"' and known["3"]["nome"] == "São, João"
    done, refused = bring("client_id;nome;valor;data_adesao\n11;A;1.234,56;31/01/2024\n12;B;1234,5;01/02/2024 10:30\n13;C;R$ 10;2024-01-31\n14;D;1.234.567;\n15;E;1.234;\n16;F;1,234.50;\n")
    assert done.returncode == 1 and "5 accepted, 1 refused" in done.stderr and refused.startswith("6\tvalor: '1.234'"), done.stderr
    known = api.get("/clientes")
    assert [known[str(n)]["valor"] for n in (11, 12, 13, 14, 16)] == [1234.56, 1234.5, 10.0, 1234567.0, 1234.5]
    assert (known["11"]["data_adesao"], known["12"]["data_adesao"]) == ("2024-01-31T00:00:00", "2024-02-01T10:30:00")
    latin = "client_id;nome\n20;São João\n".encode("cp1252")
    done, _ = bring(latin)
    assert done.returncode == 78 and "not UTF-8 (line 2); nothing was sent" in done.stderr
    done, _ = bring(latin, "--latin1")
    assert done.returncode == 0 and api.get("/clientes")["20"]["nome"] == "São João"
    for head, said in (("client_id;nom", "no column 'nom'"), ("nome", "'client_id' is not among them"), ("client_id;nome;nome", "there twice")):
        done, _ = bring(f"{head}\n30;A;B\n")
        assert done.returncode == 78 and said in done.stderr, done.stderr
    done, _ = bring(b"client_id;nome\r31;A\r32;B\r")
    assert done.returncode == 0 and "2 accepted" in done.stderr and api.get("/clientes")["32"]["nome"] == "B"
    done, _ = bring('client_id,nome\n40,\u0301abc\n41,a"b\n42,"x"y\n43,"aberta\n44,z\n')
    assert done.returncode == 78 and "the quote that begins in line 5 is never closed" in done.stderr and "43" not in api.get("/clientes")
    done, _ = bring("tenant_id;tipo;ativo;ocorrido_em\n1;econversa;não;\n1;lead;;01/02/2024 10:30\n", what="atividades")
    assert done.returncode == 0 and "2 accepted" in done.stderr, done.stderr


def test_an_import_that_was_interrupted_goes_on_and_counts_nothing_twice(office, api, tmp_path):
    api.post("/clientes", {"client_id": 1})
    path = tmp_path / "a.ndjson"
    path.write_text("".join(json.dumps(a) + "\n" for a in acts(1, "saida", 2500)), "utf-8")
    # As it stands after the first thousand was sent and before that was written down, and once more behind it.
    size = path.stat().st_size
    for lines in (0, 1000):
        (tmp_path / "a.ndjson.progresso").write_text(json.dumps({"id": "import-1", "size": size, "lines": lines, "accepted": lines, "refused": 0}))
        done = run("import", "atividades", path, "--url", office.server.url, "--user", "ana:segredo")
        assert done.returncode == 0 and "2500 accepted" in done.stderr, done.stderr
    assert api.get("/health-scores")["1"]["qntd_saidas_30d"] == 2500
    assert not (tmp_path / "a.ndjson.progresso").exists()


def test_a_kommo_database_is_followed(own_postgres, offices):
    database = own_postgres.create_database()
    database.sql("CREATE TABLE clientes_kommo (client_id bigint PRIMARY KEY, nome text, valor numeric, cnpj bigint, pipeline text, data_adesao timestamp, atualizado_em timestamp)")
    database.sql("INSERT INTO clientes_kommo SELECT n, 'Loja ' || n, n + 0.25, NULL, 'CS | ONGOING', '2024-01-31', localtimestamp FROM generate_series(1, 1203) n")
    database.sql("INSERT INTO clientes_kommo (client_id, nome, valor) VALUES (5000, 'Negativa', -1)")
    database.sql(f"GRANT SELECT ON clientes_kommo TO {database.user}")
    where = urlsplit(database.url)
    office = offices(
        BASIC_AUTH_USERS=CREDENTIALS, KOMMO_SYNC_SECONDS=1, DB_HOST=where.hostname, DB_PORT=where.port, DB_NAME=where.path[1:], DB_USER=unquote(where.username or ""),
        DB_PASSWORD=unquote(where.password or ""),
    )
    api = Basic(office.server)
    eventually("all of them", lambda: len(api.get("/clientes")) == 1203)
    assert api.get("/clientes")["7"]["valor"] == 7.25 and api.get("/clientes")["7"]["data_adesao"] == "2024-01-31T00:00:00"
    database.sql("UPDATE clientes_kommo SET nome = 'Outra', atualizado_em = localtimestamp WHERE client_id = 7")
    eventually("the change", lambda: api.get("/clientes")["7"]["nome"] == "Outra")
    own_postgres.stop()
    assert api.get("/dashboard")["clientes_ativos"] == 1203
    own_postgres.start()
    database.sql("INSERT INTO clientes_kommo (client_id, nome, atualizado_em) VALUES (6000, 'Nova', localtimestamp)")
    eventually("the new one", lambda: "6000" in api.get("/clientes"), timeout=30)
