"""The way contracts/ecosys-ms.md describes: FastAPI, pandas, Postgres, and a cache of whole answers in Redis. The baseline of portfolio.py.

More generous than the original: the counting is done in SQL with an index that fits it, the bands are vectorised, and one database holds both sides.
"""

import json
import os

import numpy as np
import pandas as pd
import psycopg
import redis
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse

app = FastAPI()
database = psycopg.connect(os.environ["BASELINE_DATABASE"], autocommit=True)
cache = redis.Redis(port=int(os.environ["BASELINE_REDIS_PORT"]))
KINDS = ("login", "entrada", "saida", "lead")


def band(values, edges, scores):
    return np.select([values > edge for edge in edges], scores, 0.0)


def recency(days, scores):
    return np.select([days <= 3, days <= 7, days <= 14, days <= 30], scores, 0.0)


def scores():
    with database.cursor() as cursor:
        cursor.execute("SELECT client_id, nome, cnpj, valor::float8, pipeline, econversa, integradores FROM clientes_kommo WHERE pipeline LIKE 'CS |%'")
        frame = pd.DataFrame(cursor.fetchall(), columns=["tenant_id", "name", "cnpj", "valor", "pipeline", "econversa_ativo", "integradores_conectados"])
        cursor.execute(
            "SELECT tenant_id, tipo, count(*) FILTER (WHERE em > now() - interval '30 days'), extract(day FROM now() - max(em))::int FROM atividades GROUP BY 1, 2"
        )
        activity = pd.DataFrame(cursor.fetchall(), columns=["tenant_id", "tipo", "n", "dias"])
    for kind in KINDS:
        one = activity[activity.tipo == kind].drop(columns="tipo").rename(columns={"n": f"n_{kind}", "dias": f"d_{kind}"})
        frame = frame.merge(one, on="tenant_id", how="left")
        frame[f"n_{kind}"] = frame[f"n_{kind}"].fillna(0).astype(int)
        frame[f"d_{kind}"] = frame[f"d_{kind}"].fillna(9999).astype(int)
    other = (1.0, 0.8, 0.5, 0.2)
    moves = ((50, 30, 15, 5, 0), (1.0, 0.8, 0.6, 0.4, 0.2))
    access = band(frame.n_login, (75, 40, 25, 11, 6, 0), (1.2, 1.0, 0.7, 0.5, 0.3, 0.15))
    frame["score_engajamento"] = np.minimum(1, (recency(frame.d_login, (1.0, 0.9, 0.6, 0.2)) + access) / 2)
    frame["score_movimentacao_estoque"] = sum(recency(frame[f"d_{k}"], other) + band(frame[f"n_{k}"], *moves) for k in ("entrada", "saida")) / 4
    frame["score_crm"] = (recency(frame.d_lead, other) + band(frame.n_lead, (30, 20, 10, 5, 0), (1.0, 0.8, 0.6, 0.4, 0.2))) / 2
    frame["score_adoption"] = (frame.econversa_ativo.astype(float) + np.minimum(1, frame.integradores_conectados / 2)) / 2
    frame["score_total"] = (
        frame.score_engajamento * 0.3 + frame.score_movimentacao_estoque * 0.3 + frame.score_crm * 0.2 + frame.score_adoption * 0.2
    ).round(4)
    frame["categoria"] = np.select([frame.score_total > 0.8, frame.score_total > 0.6, frame.score_total > 0.3], ["Campeão", "Saudável", "Normal"], "Crítico")
    return frame


def cached(key, make):
    kept = cache.get(key)
    if kept is not None:
        return JSONResponse(json.loads(kept))
    answer = make()
    cache.set(key, json.dumps(answer), ex=600)
    return JSONResponse(answer)


@app.get("/health-scores")
def health_scores():
    return cached("health-scores:all:all", lambda: {str(row["tenant_id"]): row for row in scores().drop(columns=["valor", "pipeline"]).to_dict("records")})


@app.get("/dashboard")
def dashboard():
    def make():
        frame = scores()
        return {
            "clientes_ativos": len(frame), "clientes_pagantes": int((frame.valor > 0).sum()), "mrr_value": float(frame.valor.sum()),
            "clientes_health": {name: int(count) for name, count in frame.categoria.value_counts().items()},
        }

    return cached("dashboard:all:all", make)


@app.post("/cache/clear")
def clear():
    cache.flushdb()
    return {"status": "success"}


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), log_level="warning")
