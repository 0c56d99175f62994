"""Customers and sales (contracts/ecosys-ms.md, contracts/vendas.md): fed and read through the contracts' own paths, live, and after a crash."""

import base64
import csv
import gzip
import http.client
import io
import json
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from urllib.parse import unquote, urlencode, urlsplit

import pytest

from harness.api import Api, is_clear_error, names_fields
from harness.contract import Contract
from harness.desk import ReplyError
from harness.golden import Socket
from harness.process import run
from harness.schema import set_back
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
    assert api.put("/vendas/commission-config", {"sales_goal": None}) == config, "nothing given, nothing changed"
    for share in (100.00001, -0.00001):
        names_fields(api.call("PUT", "/vendas/commission-config", json={"mrr_tier1": share}), "mrr_tier1")
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
    following = (today.replace(day=1) + timedelta(days=31)).strftime("%Y-%m")
    names_fields(api.call("POST", "/clientes", json=[{"client_id": 9}, {"client_id": 1, "valor": 9, "vale_desde": following}]), 1, "vale_desde")
    assert api.post("/clientes", {"client_id": 1, "valor": 200, "vale_desde": before})["atualizados"] == 1 and api.get("/clientes")["1"]["valor"] == 200.0
    assert {c["id"]: c["mrr"] for c in api.get("/vendas/clientes", month=before)}["1"] == 200.0


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
    # Of Kommo's leads, those who are known become others, those who fit are in, and who would be one more is refused.
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    tell = lambda event, *leads: api.call("POST", "/api/webhooks/kommo", body=urlencode([(f"leads[{event}][{n}][{k}]", v) for n, lead in enumerate(leads) for k, v in lead.items()]).encode(), headers=form)
    assert tell("update", {"id": 3, "name": "Da Kommo"}).json()["atualizados"] == 1
    for _ in range(2):
        refused = tell("add", {"id": 4}, {"id": 3, "name": "Outra"}, {"id": 5})
        assert refused.status == 402 and refused.json()["code"] == "plan_limit" and refused.json()["left_out"] == 2 and "2 clientes novos" in refused.json()["detail"]
        assert set(api.get("/clientes")) == {"1", "2", "3"} and api.get("/clientes")["3"]["nome"] == "Outra"
    assert tell("delete", {"id": 9}).json()["inalterados"] == 1 and set(api.get("/clientes")) == {"1", "2", "3"}


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
    assert told == {"recebidos": 1, "criados": 1, "atualizados": 0, "inalterados": 0, "erros": []}
    (customer,) = closed.get("/clientes").values()
    assert (customer["client_id"], customer["nome"], customer["valor"], customer["pipeline"]) == (42, "Loja Açaí", 350.0, "CS | ONBOARDING")
    assert customer["data_adesao"] == "2025-06-15T12:06:40" and customer["atualizado_em"] == "2025-10-09T05:53:20"
    older = lead.replace("1760000000", "1759999999").replace("price]=350", "price]=1")
    assert closed.call("POST", "/api/webhooks/kommo", body=older, headers=form, token="só-nós").json()["inalterados"] == 1
    newer = lead.replace("1760000000", "1760000001").replace("price]=350", "price]=400").replace("add", "update")
    assert closed.call("POST", "/api/webhooks/kommo", body=newer, headers=form, token="só-nós").json()["atualizados"] == 1
    assert closed.get("/clientes")["42"]["valor"] == 400.0
    assert api.call("POST", "/api/webhooks/kommo", body=b"talk[add][0][id]=1", headers=form, expect=200).json()["recebidos"] == 0


def kommo(api, event="add", custom=(), **lead):
    """One lead, as Kommo posts it."""
    pairs = [(f"leads[{event}][0][{name}]", str(value)) for name, value in lead.items()]
    for number, (name, value) in enumerate(dict(custom).items()):
        pairs += [(f"leads[{event}][0][custom_fields][{number}][name]", name), (f"leads[{event}][0][custom_fields][{number}][values][0][value]", str(value))]
    return api.call("POST", "/api/webhooks/kommo", body=urlencode(pairs).encode(), headers={"Content-Type": "application/x-www-form-urlencoded"}, expect=200).json()


def test_kommo_is_held_to_the_limits_of_every_door(office, api):
    far = {"data_start_onboarding": "1970-02-01", "data_end_onboarding": 2**63 - 1, "data_adesao": 2**63 - 1}
    told = kommo(api, id=1, custom=far, price=9999999999, created_at=9999999999999)
    assert told["criados"] == 1 and {e["campo"] for e in told["erros"]} == {"data_end_onboarding", "data_adesao"}
    told = kommo(api, id=2, name="a\0b", custom={"valor": -500, "setup": -10, "vendedor_id": -3, "email": "x" * 300000, "razao_social": "Certa"})
    assert {e["campo"] for e in told["erros"]} == {"nome", "valor", "setup_value", "vendedor_id", "email"} and {e["lead_id"] for e in told["erros"]} == {2}
    before = [api.get(path) for path in ("/clientes", "/dashboard", "/vendas/dashboard")]
    assert before[0]["2"]["razao_social"] == "Certa" and before[0]["2"]["nome"] is None and before[1]["mrr_value"] == 9999999999.0
    assert before[0]["1"]["data_adesao"] is None and before[0]["1"]["data_start_onboarding"] == "1970-02-01T00:00:00"
    office.server.kill()
    office.server.start()
    assert before == [api.get(path) for path in ("/clientes", "/dashboard", "/vendas/dashboard")]


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_kommo_leads_that_are_no_customers_and_those_that_are_one_by_another_number(store, offices, request):
    extra = {"DATABASE_URL": request.getfixturevalue("database").url} if store == "postgres" else {}
    office = offices(BASIC_AUTH_USERS=CREDENTIALS, KOMMO_PIPELINES="77=CS | ONBOARDING,78=CS | ONGOING", **extra)
    api = Basic(office.server)
    assert kommo(api, id=900, name="Prospect", price=5000, pipeline_id=12345)["inalterados"] == 1
    assert api.get("/clientes") == {} and api.get("/vendas/dashboard")["mrrTotal"] == 0
    kommo(api, id=901, name="C", price=10, pipeline_id=78)
    kommo(api, "update", id=901, price=10, pipeline_id=12345)
    assert api.get("/clientes")["901"]["pipeline"] == "Kommo 12345" and api.get("/dashboard")["clientes_ativos"] == api.get("/vendas/dashboard")["clientesAtivos"] == 0
    kommo(api, id=500, name="Z", price=10, pipeline_id=78, custom={"client_id": 42})
    kommo(api, "status", id=500, status_id=143, pipeline_id=78)
    assert api.get("/clientes")["42"]["status"] == "143" and set(api.get("/clientes")) == {"901", "42"}
    kommo(api, "delete", id=500)
    assert api.get("/clientes")["42"]["data_cancelamento"]
    kommo(api, "restore", id=500, name="Z", pipeline_id=78, updated_at=int(datetime.now().timestamp()) + 2)
    assert api.get("/clientes")["42"]["data_cancelamento"] is None
    # A lead that is numbered once it is a customer is one customer, before and after a restart.
    kommo(api, id=600, name="Nova", price=30, pipeline_id=78)
    kommo(api, "update", id=600, name="Nova", price=30, pipeline_id=78, custom={"client_id": 43})
    before = [api.get(path) for path in ("/clientes", "/dashboard", "/vendas/dashboard", "/health-scores")]
    assert set(before[0]) == {"901", "42", "43"} and before[0]["43"]["nome"] == "Nova" and before[1]["mrr_value"] == before[2]["mrrTotal"] == 40.0
    office.server.kill()
    office.server.start()
    assert before == [api.get(path) for path in ("/clientes", "/dashboard", "/vendas/dashboard", "/health-scores")]
    api.post("/clientes", {"client_id": 600})
    kommo(api, "delete", id=600)
    assert api.get("/clientes")["43"]["data_cancelamento"] and not api.get("/clientes")["600"]["data_cancelamento"]


def test_who_guesses_passwords_is_slowed_down(office, api):
    wrong = Basic(office.server, "ana:errada")
    assert [wrong.call("GET", "/clientes").status for _ in range(12)] == [401] * 10 + [429] * 2
    reply = api.call("GET", "/clientes", expect=429)
    assert reply.json()["code"] == "login_locked" and int(reply.headers["retry-after"]) > 0, "whether or not it is right now"
    assert Basic(office.server, "bia:com:dois").get("/clientes") == {}
    key = office.admin.post("/api/v1/api-keys", {"name": "BI", "scopes": ["portfolio:read"]}, expect=201)["key"]
    assert Basic(office.server, f"ana:{key}").get("/clientes") == {}, "nobody guesses a key"
    is_clear_error(Basic(office.server, f"ana:{key}x").call("GET", "/clientes"), 429)


def test_a_key_holds_when_the_same_comes_at_once_or_again_or_something_else_does(office, api):
    api.post("/clientes", [{"client_id": 5}, {"client_id": 20}])
    def send(key, body, kind="application/json"):
        return api.call("POST", "/atividades", body=body, headers={"Idempotency-Key": key, "Content-Type": kind})
    listed = json.dumps(acts(20, "lead", 3000)).encode()
    streamed = b"\n".join(json.dumps(a).encode() for a in acts(20, "saida", 500))
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda n: send("k", listed) if n % 2 else send("k", streamed, "application/x-ndjson"), range(8)))
    assert {(r.status, r.json()["aceitas"]) for r in replies} == {(200, 3000), (200, 500)}
    scores = api.get("/health-scores")["20"]
    assert (scores["qntd_leads_30d"], scores["qntd_saidas_30d"]) == (3000, 500)
    names_fields(send("k", json.dumps(acts(20, "lead", 2)).encode()), "Idempotency-Key")
    body = b"".join(json.dumps(a).encode() + b"\n" for a in acts(5, "lead") + acts(6, "lead"))
    first = send("q", body, "application/x-ndjson").json()
    api.post("/clientes", {"client_id": 6})
    again = send("q", body, "application/x-ndjson").json()
    assert [(told["aceitas"], told["recusadas"], [e["linha"] for e in told["erros"]]) for told in (first, again)] == [(1, 1, [2])] * 2
    assert api.get("/health-scores")["6"]["qntd_leads_30d"] == 0 and send("outra", body, "application/x-ndjson").json()["aceitas"] == 2


def test_a_list_that_a_crash_cuts_off_is_whole_when_it_is_sent_again(office, api):
    api.post("/clientes", {"client_id": 21})
    body = json.dumps(acts(21, "lead", 10000)).encode()
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(lambda: api.call("POST", "/atividades", body=body, headers=headers))
        eventually("some of it", lambda: api.get("/health-scores")["21"]["qntd_leads_30d"] > 0 or sending.done())
        office.server.kill()
        sending.exception()
    office.server.start()
    assert api.call("POST", "/atividades", body=body, headers=headers, expect=200).json()["aceitas"] == 10000
    assert api.get("/health-scores")["21"]["qntd_leads_30d"] == 10000


def test_an_action_is_finished_once_by_whoever_comes_first(office, api):
    api.post("/clientes", {"client_id": 1})
    api.post("/atividades", acts(1, "login", 80) + acts(1, "econversa"))
    (action,) = api.get("/clientes/acoes")["items"]
    users = [Basic(office.server, user) for user in ("ana:segredo", "bia:com:dois")]
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda n: users[n % 2].call("POST", f"/clientes/acoes/{action['id']}/concluir", expect=200).json(), range(16)))
    assert len({d["concluida_por"] for d in done}) == 1 and api.get("/clientes/acoes", estado="concluidas")["items"] == [done[0]]


def test_what_comes_late_says_nothing_of_what_was_said_since(office, api):
    api.post("/clientes", {"client_id": 1})
    api.post("/atividades", acts(1, "econversa") + acts(1, "integrador", nome="ERP"))
    late = {"ativo": False, "ocorrido_em": ago(days=20)}
    api.post("/atividades", acts(1, "econversa", **late) + acts(1, "integrador", nome="ERP", **late))
    office.server.kill()
    office.server.start()
    api.post("/atividades", acts(1, "econversa", **late) + acts(1, "integrador", nome="ERP", **late))
    scores = api.get("/health-scores")["1"]
    assert (scores["econversa_ativo"], scores["integradores_conectados"]) == (True, 1)


def test_logins_are_counted_by_the_days_of_the_business_and_by_person(api):
    api.post("/clientes", {"client_id": 1})
    day = (datetime.now(timezone(timedelta(hours=-3))) - timedelta(days=3)).date()
    at = lambda hour: f"{day}T{hour}-03:00"
    api.post("/atividades", [
        *acts(1, "login", ocorrido_em=at("10:00:00"), usuario_email="A@x.com"), *acts(1, "login", ocorrido_em=at("22:30:00"), usuario_email="a@x.com"),
        *acts(1, "login", ocorrido_em=at("11:00:00")), *acts(1, "login", ocorrido_em=ago(hours=-20), usuario_nome="Adiantada"),
    ])
    told = api.get("/logins", tenant_id=1)
    assert (told["total_logins"], told["usuarios_unicos"], told["dias_com_acesso"]) == (4, 2, 2)
    assert [(l["data"], l["hora"]) for l in told["logins"][1:]] == [(str(day), hour) for hour in ("22:30:00", "11:00:00", "10:00:00")]
    assert told["logins"][0]["data"] == str(datetime.now(timezone(timedelta(hours=-3))).date()), "what is ahead of our clock is now"


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_logins_are_told_however_many_there_are(store, offices, request):
    extra = {"DATABASE_URL": request.getfixturevalue("database").url} if store == "postgres" else {}
    office = offices(BASIC_AUTH_USERS=CREDENTIALS, **extra)
    api = Basic(office.server)
    api.post("/clientes", [{"client_id": 1}, {"client_id": 2}])
    named = [(f"n{'x' * 180}", f"p{n % 7}{'e' * 230}@x.com") for n in range(1000)]
    lines = "".join(json.dumps(acts(1, "login", usuario_nome=name, usuario_email=email)[0]) + "\n" for name, email in named)
    api.call("POST", "/atividades", body=(lines * 24).encode(), headers={"Content-Type": "application/x-ndjson"}, expect=200)
    api.post("/atividades", acts(1, "login", ocorrido_em=ago(days=2)) + acts(2, "login", 3))
    told = [api.get("/logins", tenant_id=1)]
    before, peak = office.server.resident_bytes(), 0
    asking = [threading.Thread(target=lambda: told.append(api.get("/logins", tenant_id=1))) for _ in range(3)]
    for thread in asking:
        thread.start()
    while any(thread.is_alive() for thread in asking):
        peak = max(peak, office.server.resident_bytes())
        time.sleep(0.02)
    assert peak - before < 40 << 20, f"{(peak - before) >> 20} MB more for three answers of 13 MB"
    assert len(told) == 4 and all(one == told[0] for one in told)
    assert list(told[0]) == ["tenant_id", "periodo", "total_logins", "logins", "usuarios_unicos", "dias_com_acesso"]
    assert (told[0]["total_logins"], told[0]["usuarios_unicos"], told[0]["dias_com_acesso"]) == (24_001, 7, 2)
    assert len({login["id"] for login in told[0]["logins"]}) == 24_001 and [login["id"] for login in told[0]["logins"][:2]] == [24_000, 23_999]
    with office.desk(office.admin) as desk:
        assert desk.rpc("customer.logins", {"tenant_id": 1}) == told[0] | {"logins": told[0]["logins"][:500]}, "of a screen, the newest"
    # Who does not read what they ask for holds up themselves: not what is short, and nobody else.
    idle = [http.client.HTTPConnection(office.server.host, office.server.port, timeout=60) for _ in range(4)]
    for connection in idle:
        connection.request("GET", "/logins?tenant_id=1", headers={"Authorization": api.header})
        assert connection.getresponse().status == 200
    refused = api.call("GET", "/logins?tenant_id=1", expect=429)
    assert refused.json()["code"] == "too_many_answers" and refused.headers["retry-after"] == "1"
    assert api.get("/logins", tenant_id=2)["total_logins"] == 3
    for connection in idle:
        connection.close()
    eventually("their turns are over", lambda: api.call("GET", "/logins?tenant_id=1").status == 200)


def test_a_history_begins_where_it_is_asked_to_and_coded_bodies_are_refused(office, api):
    api.post("/clientes", {"client_id": 1})
    api.post("/atividades", acts(1, "login"))
    today = datetime.now(timezone(timedelta(hours=-3))).date()
    ((day),) = api.get("/clientes/1/health")["dias"]
    office.server.kill()
    (path,) = [p for p in office.server.data.iterdir() if p.suffix == ".sqlite"]
    with sqlite3.connect(path) as rows:
        rows.execute("UPDATE health_snapshots SET day = day - 9")
    rows.close()
    office.server.start()
    inicio = str(today - timedelta(days=3))
    assert api.get("/clientes/1/health", inicio=inicio)["dias"] == []
    every = api.get("/clientes/1/health", inicio=inicio, completo="true")["dias"]
    assert len(every) == 4 and every[0]["data"] == inicio and every[0]["score_total"] == day["score_total"]
    packed = gzip.compress(json.dumps(acts(1, "login")[0]).encode())
    for kind in ("application/json", "application/x-ndjson"):
        is_clear_error(api.call("POST", "/atividades", body=packed, headers={"Content-Encoding": "gzip", "Content-Type": kind}), 415)
    is_clear_error(api.call("POST", "/clientes", body=packed, headers={"Content-Encoding": "gzip"}), 415)


def test_each_business_has_credentials_of_its_own(office, api):
    other = office.anybody.register("dona@example.com", "Senha#Forte9x2026", business_name="Outra")
    api.post("/clientes", {"client_id": 1, "nome": "Da primeira"})
    key = lambda name, *scopes: other.post("/api/v1/api-keys", {"name": name, "scopes": list(scopes)}, expect=201)
    writes, reads, kommo = key("ERP", "portfolio:write"), key("BI", "portfolio:read"), key("Kommo", "kommo:webhook")
    plain = other.post("/api/v1/api-keys", {"name": "Robô"}, expect=201)
    assert "portfolio:read" not in plain["scopes"], "what was not asked for is not given"
    erp, bi = Basic(office.server, f"erp:{writes['key']}"), Basic(office.server, f"quem-quer:que-seja:{reads['key']}")
    is_clear_error(bi.call("GET", "/clientes"), 401)
    bi = Basic(office.server, f"bi:{reads['key']}")
    assert erp.post("/clientes", {"client_id": 7, "nome": "Da outra"})["criados"] == 1
    assert list(bi.get("/clientes")) == ["7"] and list(api.get("/clientes")) == ["1"]
    assert [c["nome"] for c in Api(office.server, api_key=reads["key"]).get("/clientes").values()] == ["Da outra"]
    is_clear_error(bi.call("POST", "/clientes", json={"client_id": 8}), 403)
    is_clear_error(bi.call("PUT", "/vendas/commission-config", json={"sales_goal": 3}), 403)
    assert is_clear_error(Basic(office.server, f"x:{plain['key']}").call("GET", "/dashboard"), 403)["scope"] == "portfolio:read"
    assert is_clear_error(Api(office.server, api_key=reads["key"]).call("GET", "/consultores"), 403)["scope"] == "consultores:read"
    # Kommo: a token in the address, and what its numbers stand for.
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    lead = lambda n: f"leads[add][0][id]={n}&leads[add][0][name]=Loja&leads[add][0][pipeline_id]=77&leads[add][0][responsible_user_id]=5"
    assert other.get("/api/v1/kommo/names") == {"pipelines": {}, "statuses": {}, "users": {}}
    names = other.put("/api/v1/kommo/names", {"pipelines": {"77": "Churns & Cancelamentos"}, "users": {"5": "Maria"}})
    assert names == {"pipelines": {"77": "Churns & Cancelamentos"}, "statuses": {}, "users": {"5": "Maria"}}
    names_fields(other.call("PUT", "/api/v1/kommo/names", json={"pipelines": {"x": "y"}, "users": ["a"], "statuses": {"1": 2}}), "pipelines", "users", "statuses")
    office.server.kill()
    office.server.start()
    assert other.put("/api/v1/kommo/names", {"users": None}) == {"pipelines": {"77": "Churns & Cancelamentos"}, "statuses": {}, "users": {}}
    other.put("/api/v1/kommo/names", {"users": {"5": "Maria"}})
    told = office.anybody.call("POST", "/api/webhooks/kommo", body=lead(9), headers=form, token=kommo["key"], expect=200).json()
    assert told["criados"] == 1 and bi.get("/clientes")["9"]["pipeline"] == "Churns & Cancelamentos" and bi.get("/clientes")["9"]["cs"] == "Maria"
    for token in (writes["key"], "nada"):
        is_clear_error(office.anybody.call("POST", "/api/webhooks/kommo", body=lead(10), headers=form, token=token), 403 if token != "nada" else 401)
    # Without any it is the first business's, as it was.
    office.anybody.call("POST", "/api/webhooks/kommo", body=lead(11), headers=form, expect=200)
    assert list(api.get("/clientes")) == ["1", "11"] and list(bi.get("/clientes")) == ["7", "9"]
    other.call("DELETE", f"/api/v1/api-keys/{reads['id']}", expect=204)
    assert bi.call("GET", "/clientes", expect=401).json()["detail"] == "Acesso negado."


def test_screens_ask_by_rpc_what_rest_answers(office, api):
    today = str(datetime.now(timezone(timedelta(hours=-3))).date())
    office.admin.create_user("vera@example.com", "Vera", "viewer", "Senha#Forte9x2026")
    with office.desk(office.admin) as desk, office.desk(office.anybody.login("vera@example.com", "Senha#Forte9x2026")) as viewer:
        rpc = desk.rpc
        assert rpc("sales.put-sellers", {"id": 7, "name": "Amanda"}) == {"total": 1, "criados": 1, "atualizados": 0}
        sales = [{"client_id": n, "nome": f"C{n}", "valor": 10, "vendedor_id": 7, "data_adesao": today} for n in (3, 1, 5, 2, 4)]
        assert rpc("customer.put", sales)["criados"] == 5 and rpc("customer.put", {"client_id": 6, "valor": 5, "parcelas_atrasadas": 1, "vendedor_id": 8})["criados"] == 1
        for _ in range(2):
            assert rpc("activity.record", {"atividades": acts(1, "login", 41), "idempotency_key": "k"})["aceitas"] == 41
        assert api.call("POST", "/atividades", json=acts(1, "login", 41), headers={"Idempotency-Key": "k"}, expect=200).json()["aceitas"] == 41
        with pytest.raises(ReplyError) as refused:
            rpc("activity.record", {"atividades": acts(1, "login", 40), "idempotency_key": "k"})
        assert "idempotency_key" in str(refused.value) and "Idempotency-Key" not in str(refused.value), "a call has no header"
        assert rpc("activity.record", acts(1, "econversa")[0])["aceitas"] == 1
        for method, path, data in [
            ("health.dashboard", "/dashboard", {}), ("sales.sellers", "/vendas/vendedores", {}), ("sales.summary", "/vendas/resumo-comissoes", {}),
            ("sales.ranking", "/vendas/ranking", {"month": today[:7]}), ("sales.dashboard", "/vendas/dashboard", {}), ("sales.mrr", "/vendas/mrr", {}),
            ("sales.config", "/vendas/commission-config", {}), ("customer.get", "/clientes/1", {"client_id": 1}), ("customer.logins", "/logins", {"tenant_id": 1}),
            ("customer.history", "/clientes/1/health", {"client_id": 1, "completo": True}), ("customer.actions", "/clientes/acoes", {"estado": "todas"}),
            ("sales.statement", "/vendas/extrato/7", {"vendedor_id": "7"}), ("health.dashboard", "/dashboard", {"data_adesao_inicio": today}),
        ]:
            query = {name: str(value).lower() for name, value in data.items() if name not in ("client_id", "vendedor_id")}
            assert viewer.rpc(method, data) == api.get(path, **query), method
        # In pages, which together are the whole.
        for method, name, path in [("customer.list", "clientes", "/clientes"), ("health.scores", "scores", "/health-scores")]:
            found, after = {}, None
            while True:
                page = viewer.rpc(method, {"after": after, "limit": 2})
                assert len(page[name]) <= 2 and not found.keys() & page[name].keys()
                found |= page[name]
                if (after := page["proximo"]) is None:
                    break
            assert found == api.get(path), method
        assert [c["id"] for c in viewer.rpc("sales.customers", {"vendedor_id": 7, "limit": 3})["clientes"]] == ["1", "2", "3"]
        assert [c["id"] for c in viewer.rpc("sales.customers", {"vendedor_id": 7, "after": 3, "limit": 3})["clientes"]] == ["4", "5"]
        assert viewer.rpc("sales.customers", {"lista": "inadimplentes"}) == {"clientes": api.get("/vendas/clientes/inadimplentes"), "proximo": None}
        assert rpc("sales.configure", {"sales_goal": 3})["sales_goal"] == 3 and viewer.rpc("sales.ranking")[0]["tier"] == "ouro"
        action = viewer.rpc("customer.actions")["items"][0]
        for method, data in [("customer.put", {"client_id": 9}), ("activity.record", acts(1, "lead")[0]), ("sales.configure", {"sales_goal": 1}), ("customer.finish-action", {"id": action["id"]})]:
            with pytest.raises(ReplyError) as refused:
                viewer.rpc(method, data)
            assert refused.value.code == 403
        assert rpc("customer.finish-action", {"id": action["id"]})["concluida_por"]
        for method, data, code in [
            ("customer.get", {"client_id": 99}, 404), ("customer.get", {}, 422), ("health.scores", {"limit": 501}, 422), ("sales.ranking", {"month": "2024-13"}, 422),
            ("customer.list", {"after": 99}, 404), ("sales.customers", {"lista": "x"}, 422), ("activity.record", {"atividades": acts(99, "lead")}, 422),
        ]:
            with pytest.raises(ReplyError) as refused:
                rpc(method, data)
            assert refused.value.code == code, method


def test_what_is_to_be_done_waits_for_whoever_is_responsible(office, api):
    maria, owner = office.hire("Maria"), office.admin
    name = maria.user["name"]
    api.post("/clientes", [{"client_id": 1, "nome": "Um", "cs": name.upper()}, {"client_id": 2, "nome": "Dois", "cs": "Ninguém daqui"}, {"client_id": 3, "cs": name}])
    hers, owners_own = f"user:{maria.user['id']}", f"user:{owner.user['id']}"
    with office.desk(maria, hers) as desk, office.desk(owner, owners_own) as owners:
        waiting = lambda desk, inbox: sorted((item["acao"]["client_id"], item["nome"]) for item in desk.picture(inbox).actions.values())
        for id in (1, 2):
            api.post("/atividades", acts(id, "login", 41) + acts(id, "econversa"))
        # What is brought in from long ago is nobody's to act upon.
        api.post("/atividades", acts(3, "login", 41, ocorrido_em=ago(days=3)) + acts(3, "econversa", ocorrido_em=ago(days=3)))
        assert api.get("/health-scores")["3"]["categoria"] == "Normal"
        desk.wait("hers", lambda: waiting(desk, hers) == [(1, "Um")])
        owners.wait("the owner's, who answers for whom nobody does", lambda: waiting(owners, owners_own) == [(2, "Dois")])
    office.server.kill()
    office.server.start()
    with office.desk(maria, hers) as desk:
        assert waiting(desk, hers) == [(1, "Um")]
        # A newer one takes the place of the one before.
        api.post("/atividades", acts(1, "integrador", nome="ERP") + acts(1, "integrador", nome="Site") + acts(1, "lead", 31) + acts(1, "entrada", 51) + acts(1, "saida", 51))
        desk.wait("the next", lambda: [item["acao"]["categoria"] for item in desk.picture(hers).actions.values()] == ["Campeão"])
        (action,) = desk.picture(hers).actions
        assert maria.api.post(f"/clientes/acoes/{action}/concluir")["concluida_por"] == name
        assert maria.api.post(f"/clientes/acoes/{action}/concluir")["concluida_por"] == name, "once done it stays so"
        desk.wait("done", lambda: waiting(desk, hers) == [])
        assert desk.faults == []


def test_a_stream_is_recorded_as_it_comes_and_held_nowhere(office, api):
    api.post("/clientes", {"client_id": 1})
    go_on = threading.Event()
    pad = " " * 3000

    def lines():
        line = json.dumps(acts(1, "saida")[0])
        yield (line + "\n").encode() * 3500
        go_on.wait(60)
        for _ in range(275):
            yield (line + pad + "\n").encode() * 100

    def send():
        connection = http.client.HTTPConnection(office.server.host, office.server.port, timeout=120)
        connection.request("POST", "/atividades", lines(), {"Authorization": api.header, "Content-Type": "application/x-ndjson"})
        told.append(json.loads(connection.getresponse().read()))
        connection.close()

    told, peak = [], 0
    sender = threading.Thread(target=send)
    sender.start()
    # By the thousand, before the request is at its end.
    eventually("the first lines", lambda: api.get("/health-scores")["1"]["qntd_saidas_30d"] == 3000)
    before = office.server.resident_bytes()
    go_on.set()
    while sender.is_alive():
        sender.join(0.05)
        peak = max(peak, office.server.resident_bytes())
    assert told == [{"aceitas": 31_000, "recusadas": 0, "erros": []}] and api.get("/health-scores")["1"]["qntd_saidas_30d"] == 31_000
    assert peak - before < 40 << 20, f"{(peak - before) >> 20} MB more for a body of 80 MB"


def test_a_stream_under_a_key_is_not_held_until_it_is_recorded(office, api):
    api.post("/clientes", {"client_id": 1})
    line = json.dumps(acts(1, "saida", x="x" * 60_000)[0]).encode() + b"\n"

    def send():
        connection = http.client.HTTPConnection(office.server.host, office.server.port, timeout=120)
        headers = {"Authorization": api.header, "Content-Type": "application/x-ndjson", "Idempotency-Key": "k"}
        connection.request("POST", "/atividades", (line for _ in range(999)), headers)
        told.append(json.loads(connection.getresponse().read())["aceitas"])
        connection.close()

    before, peak, told = office.server.resident_bytes(), 0, []
    for _ in range(2):
        sender = threading.Thread(target=send)
        sender.start()
        while sender.is_alive():
            sender.join(0.05)
            peak = max(peak, office.server.resident_bytes())
    assert told == [999, 999] and api.get("/health-scores")["1"]["qntd_saidas_30d"] == 999
    assert peak - before < 24 << 20, f"{(peak - before) >> 20} MB more for a body of 60 MB"


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
    day = (datetime.now(timezone(timedelta(hours=-3))) - timedelta(days=3)).date()
    times = [f"{day:%d/%m/%Y} 23:30", f"{day} 23:30:00", f"{day}T23:30", f"{day}T23:30:00.000", f"{day}T23:30:00-03:00", f"{day + timedelta(days=1)}T02:30:00Z", day, f"{day:%d/%m/%Y}"]
    done, refused = bring("tenant_id,tipo,ocorrido_em\n" + "".join(f"2,login,{time}\n" for time in times) + "2,login,ontem\n", what="atividades")
    assert done.returncode == 1 and "8 accepted, 1 refused" in done.stderr and refused.startswith("10\t"), done.stderr
    assert [login["data_login"] for login in api.get("/logins", tenant_id=2)["logins"]] == [f"{day}T23:30:00"] * 6 + [f"{day}T00:00:00"] * 2


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
    counted = lambda: api.get("/health-scores")["1"]["qntd_saidas_30d"]

    def again(*more, url=office.server.url):
        done = run("import", "atividades", path, "--url", url, "--user", "ana:segredo", *more)
        return done.returncode, done.stderr
    # As it is in already, and as it is brought in once more on somebody's word.
    code, said = again()
    assert code == 0 and "was imported before (2500 accepted, 0 refused); nothing was sent" in said and counted() == 2500
    code, said = again("--restart")
    assert code == 0 and "2500 accepted, 0 refused" in said and counted() == 5000
    code, said = again(url=office.server.url.replace("127.0.0.1", "localhost"))
    assert code == 0 and "2500 accepted, 0 refused" in said and counted() == 7500, "what one server has, another may lack"
    # Of the same size, and another.
    path.write_text(path.read_text("utf-8").replace("saida", "login"), "utf-8")
    code, said = again()
    assert code == 0 and api.get("/health-scores")["1"]["qntd_acessos_30d"] == 2500
    progress = json.loads((tmp_path / "a.ndjson.progresso").read_text())
    del progress["sentTo"]
    (tmp_path / "a.ndjson.progresso").write_text(json.dumps(progress | {"lines": 1000}))
    path.write_text(path.read_text("utf-8").replace("login", "saida"), "utf-8")
    code, said = again()
    assert code == 78 and "has changed since the import of it began" in said and counted() == 7500


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
    eventually("all of them", lambda: len(api.get("/clientes")) == 1204)
    assert api.get("/clientes")["5000"]["nome"] == "Negativa" and api.get("/clientes")["5000"]["valor"] == 0.0, "what is right of it"
    assert api.get("/clientes")["7"]["valor"] == 7.25 and api.get("/clientes")["7"]["data_adesao"] == "2024-01-31T00:00:00"
    database.sql("UPDATE clientes_kommo SET nome = 'Outra', atualizado_em = localtimestamp WHERE client_id = 7")
    eventually("the change", lambda: api.get("/clientes")["7"]["nome"] == "Outra")
    own_postgres.stop()
    assert api.get("/dashboard")["clientes_ativos"] == 1203
    own_postgres.start()
    database.sql("INSERT INTO clientes_kommo (client_id, nome, atualizado_em) VALUES (6000, 'Nova', localtimestamp)")
    eventually("the new one", lambda: "6000" in api.get("/clientes"), timeout=30)


def following(offices, database, **more):
    where = urlsplit(database.url)
    return offices(
        BASIC_AUTH_USERS=CREDENTIALS, KOMMO_SYNC_SECONDS=1, DB_HOST=where.hostname, DB_PORT=where.port, DB_NAME=where.path[1:],
        DB_USER=unquote(where.username or ""), DB_PASSWORD=unquote(where.password or ""), **more,
    )


def test_rows_of_a_kommo_database_that_are_gone_older_or_partly_wrong(own_postgres, offices):
    database = own_postgres.create_database()
    database.sql("CREATE TABLE clientes_kommo (client_id int PRIMARY KEY, nome text, valor numeric, cnpj text, parcelas_atrasadas numeric(5,2), atualizado_em timestamp)")
    database.sql("""INSERT INTO clientes_kommo VALUES (1, 'Um', 10, NULL, NULL, localtimestamp), (2, 'Dois', 20, NULL, NULL, NULL),
        (4, 'Quatro', 40, NULL, NULL, localtimestamp), (5, 'Cinco', 50, '12ABC34501DE35', 2.00, localtimestamp)""")
    database.sql(f"GRANT SELECT ON clientes_kommo TO {database.user}")
    office = following(offices, database)
    api = Basic(office.server)
    eventually("all of them", lambda: len(api.get("/clientes")) == 4)
    five = api.get("/clientes/5")
    assert (five["valor"], five["cnpj"], five["parcelas_atrasadas"]) == (50.0, None, 2)
    # A webhook is newer than the row; what the row says then is newer than the webhook.
    kommo(api, "update", id=1, name="Do webhook", price=999, updated_at=int(datetime.now().timestamp()) + 5)
    database.sql("UPDATE clientes_kommo SET nome = 'Sem data' WHERE client_id = 2")
    eventually("a change without its time", lambda: api.get("/clientes")["2"]["nome"] == "Sem data")
    assert api.get("/clientes")["1"]["nome"] == "Do webhook" and api.get("/clientes")["1"]["valor"] == 999.0
    database.sql("UPDATE clientes_kommo SET nome = 'Da base', atualizado_em = localtimestamp + interval '10 seconds' WHERE client_id = 1")
    eventually("the newer row", lambda: api.get("/clientes")["1"]["nome"] == "Da base")
    # What others change makes nothing of it old, and it does not undo what was changed since it said so.
    api.post("/clientes", {"client_id": 5, "parcelas_atrasadas": 3})
    database.sql("UPDATE clientes_kommo SET valor = 77, parcelas_atrasadas = NULL, atualizado_em = localtimestamp - interval '2 seconds' WHERE client_id = 5")
    eventually("the row that changed before that", lambda: api.get("/clientes")["5"]["valor"] == 77.0)
    api.post("/clientes", {"client_id": 5, "valor": 78})
    database.sql("UPDATE clientes_kommo SET nome = 'Sem data II' WHERE client_id = 2")
    eventually("another round", lambda: api.get("/clientes")["2"]["nome"] == "Sem data II")
    assert api.get("/clientes")["5"]["valor"] == 78.0
    database.sql("DELETE FROM clientes_kommo WHERE client_id = 4")
    eventually("who is gone", lambda: api.get("/clientes")["4"]["data_cancelamento"] is not None)
    assert api.get("/clientes")["4"]["descricao_cancelamento"] and api.get("/dashboard")["clientes_ativos"] == 3
    office.server.kill()
    database.sql("DELETE FROM clientes_kommo WHERE client_id = 2")
    office.server.start()
    eventually("who went meanwhile", lambda: api.get("/clientes")["2"]["data_cancelamento"] is not None)
    said = [json.loads(line) for line in office.server.stderr_path.read_text().splitlines() if line.startswith("{") and "was left out" in line]
    assert len([line for line in said if "cnpj" in json.dumps(line)]) == 2, "once in each run"


@pytest.mark.parametrize("kind", ["text", "numeric(12,2)"])
def test_a_kommo_database_whose_columns_are_others(own_postgres, offices, kind):
    database = own_postgres.create_database()
    database.sql(f"CREATE TABLE clientes_kommo (client_id {kind}, nome text, valor numeric)")
    database.sql("INSERT INTO clientes_kommo SELECT n, 'Loja ' || n, n FROM generate_series(1, 600) n")
    if kind == "text":
        database.sql("INSERT INTO clientes_kommo VALUES ('x', 'Sem número', 1)")
    database.sql(f"GRANT SELECT ON clientes_kommo TO {database.user}")
    office = following(offices, database)
    api = Basic(office.server)
    eventually("all of them", lambda: len(api.get("/clientes")) == 600)
    database.sql("UPDATE clientes_kommo SET nome = 'Outra' WHERE valor = 599")
    database.sql("DELETE FROM clientes_kommo WHERE valor = 7")
    eventually("the change", lambda: api.get("/clientes")["599"]["nome"] == "Outra")
    eventually("who is gone", lambda: api.get("/clientes")["7"]["data_cancelamento"] is not None)


def test_a_kommo_database_by_another_clock_with_rows_that_are_no_customers_and_a_small_plan(own_postgres, offices):
    database = own_postgres.create_database()
    database.sql("CREATE TABLE clientes_kommo (client_id int, nome text, valor numeric, atualizado_em timestamp)")
    database.sql(f"ALTER ROLE {database.user} SET timezone = 'America/Sao_Paulo'")
    here = "(now() AT TIME ZONE 'America/Sao_Paulo')"
    database.sql(f"INSERT INTO clientes_kommo SELECT n, 'C' || n, 100, {here} - interval '1 hour' FROM generate_series(1, 6) n")
    database.sql(f"INSERT INTO clientes_kommo VALUES (NULL, 'Sem número', 1, {here}), (5, 'De novo', 50, {here})")
    # One that somebody has dated far ahead says nothing of how the others are dated.
    database.sql("UPDATE clientes_kommo SET atualizado_em = '2099-01-01' WHERE client_id = 6")
    database.sql(f"GRANT SELECT ON clientes_kommo TO {database.user}")
    office = following(offices, database, FIRST_PLAN="free", PLANTAO_PLANS=json.dumps({"free": {"customers": 5}}))
    api = Basic(office.server)
    eventually("those who fit", lambda: set(api.get("/clientes")) == {"1", "2", "3", "4", "5"})
    # A webhook of an hour ago is older than a row of now, whatever its clock shows.
    database.sql(f"UPDATE clientes_kommo SET valor = 888, atualizado_em = {here} WHERE client_id = 2")
    eventually("the newer row", lambda: api.get("/clientes")["2"]["valor"] == 888.0)
    kommo(api, "update", id=2, name="Velho", price=1, updated_at=int(datetime.now().timestamp()) - 3500)
    assert (api.get("/clientes")["2"]["valor"], api.get("/clientes")["2"]["nome"]) == (888.0, "C2")
    api.post("/clientes", {"client_id": 1, "email": "a@b.c"})
    database.sql(f"UPDATE clientes_kommo SET valor = 777, atualizado_em = {here} WHERE client_id = 1")
    eventually("the change", lambda: api.get("/clientes")["1"]["valor"] == 777.0)
    database.sql("DELETE FROM clientes_kommo WHERE client_id = 4")
    eventually("who is gone", lambda: api.get("/clientes")["4"]["data_cancelamento"] is not None)
    said = [line for line in office.server.stderr_path.read_text().splitlines() if line.startswith("{") and "has no room" in line]
    assert len(said) == 1 and json.loads(said[0])["customers"] == "1", said


def test_a_store_from_before_it_was_kept_what_a_crm_had_said_is_read_as_it_was(offices):
    office = offices(BASIC_AUTH_USERS=CREDENTIALS, DATABASE_URL="")
    api = Basic(office.server)
    now = int(datetime.now().timestamp())
    api.post("/vendas/vendedores", [{"id": 7, "name": "Ana"}])
    api.post("/clientes", {"client_id": 1, "nome": "Um", "valor": 100, "vendedor": "Ana", "data_adesao": "2024-01-10"})
    kommo(api, id=500, name="X", price=10, updated_at=now - 100)
    kommo(api, id=600, name="Y", price=10, updated_at=now - 100, custom={"client_id": 60})
    paths = ("/clientes", "/dashboard", "/vendas/clientes", "/vendas/ranking", "/vendas/mrr")
    before = [api.get(path) for path in paths]
    office.server.stop()
    set_back(office.server.data, 24)
    office.server.start()
    assert before == [api.get(path) for path in paths]
    # What was said before that is as old as it was, and what others change since makes nothing old.
    api.post("/clientes", {"client_id": 500, "parcelas_atrasadas": 1})
    assert kommo(api, "update", id=500, name="Velho", updated_at=now - 200000)["inalterados"] == 1
    kommo(api, "update", id=500, name="Novo", updated_at=now - 50)
    kommo(api, "update", id=600, name="Y", price=20, updated_at=now - 50)
    assert (api.get("/clientes")["500"]["nome"], api.get("/clientes")["60"]["valor"], set(api.get("/clientes"))) == ("Novo", 20.0, {"1", "60", "500"})
    api.post("/vendas/vendedores", [{"id": 7, "name": "Ana Maria"}])
    assert {c["id"]: c["sellerId"] for c in api.get("/vendas/clientes")}["1"] == "7"
