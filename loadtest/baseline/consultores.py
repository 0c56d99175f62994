"""The baseline of `loadtest turns`: contracts/consultores.md in the usual way, with the technologies that it names.

FastAPI, SQLAlchemy 2 and Postgres. A turn is one transaction: it locks the counter of protocol numbers with SELECT … FOR UPDATE, which also puts turns in an order,
locks the consultor who waits longest, moves them to the end of the line, writes the protocol, and commits before it is answered. Without the first lock two turns at
once would give one consultor two turns, or a number twice; with it they come one after the other, at the price of a commit each.
"""

import os
import time
from datetime import datetime, timezone

import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel
from sqlalchemy import BigInteger, Boolean, DateTime, ForeignKey, Text, create_engine, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

# contracts/isp-support.md: DATABASE_POOL_SIZE and DATABASE_MAX_OVERFLOW.
engine = create_engine(os.environ["DATABASE_URL"], pool_size=20, max_overflow=30, pool_pre_ping=False)
SessionLocal = sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class Consultor(Base):
    __tablename__ = "consultores"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    nome: Mapped[str] = mapped_column(Text)
    idiomas: Mapped[list[str]] = mapped_column(ARRAY(Text))
    status_ativo: Mapped[bool] = mapped_column(Boolean, default=True)
    status_ativo_sequencial: Mapped[bool] = mapped_column(Boolean, default=True)
    status_online: Mapped[bool] = mapped_column(Boolean, default=False)
    ultimo_atendimento: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), default=None)
    id_pipedrive: Mapped[int | None] = mapped_column(BigInteger, default=None)


class Protocolo(Base):
    __tablename__ = "protocolos"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    numero: Mapped[str] = mapped_column(Text, unique=True)
    consultor_id: Mapped[int] = mapped_column(ForeignKey("consultores.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Sequencia(Base):
    __tablename__ = "sequencias"
    nome: Mapped[str] = mapped_column(Text, primary_key=True)
    valor: Mapped[int] = mapped_column(BigInteger)


class NewConsultor(BaseModel):
    nome: str
    idiomas: list[str]
    status_online: bool = False


class Turn(BaseModel):
    consultor_id: int
    numero_protocolo: str


def database():
    with SessionLocal() as session:
        yield session


def authenticated(api_key: str = Header(alias="api-key")):
    if api_key != os.environ["AUTHENTICATION_API_KEY"]:
        raise HTTPException(401, "api-key inválida")


app = FastAPI()


@app.get("/health")
def health():
    return {"status": "healthy"}


@app.post("/api/v1/auth/login")
def login():
    return {"access_token": "baseline"}


@app.post("/consultor", status_code=201, dependencies=[Depends(authenticated)])
def create(body: NewConsultor, session: Session = Depends(database)):
    consultor = Consultor(**body.model_dump())
    session.add(consultor)
    session.commit()
    return {"id": consultor.id, "nome": consultor.nome, "idiomas": consultor.idiomas}


@app.get("/consultor/da-vez", response_model=Turn, dependencies=[Depends(authenticated)])
def da_vez(idioma: str, session: Session = Depends(database)):
    with session.begin():
        sequencia = session.execute(select(Sequencia).where(Sequencia.nome == "protocolo").with_for_update()).scalar_one()
        consultor = session.execute(
            select(Consultor)
            .where(Consultor.status_ativo, Consultor.status_ativo_sequencial, Consultor.status_online, Consultor.idiomas.contains([idioma]))
            .order_by(Consultor.ultimo_atendimento.asc().nulls_first(), Consultor.id)
            .limit(1)
            .with_for_update()
        ).scalar_one_or_none()
        if consultor is None:
            raise HTTPException(404, "Consultor não encontrado")
        now = datetime.now(timezone.utc)
        sequencia.valor += 1
        consultor.ultimo_atendimento = now
        numero = f"#{sequencia.valor:05d}"
        session.add(Protocolo(id=sequencia.valor, numero=numero, consultor_id=consultor.id, created_at=now))
    return Turn(consultor_id=consultor.id, numero_protocolo=numero)


def prepare():
    """Tables as they are on the first day; a server that Postgres is a moment late for waits for it."""
    for _ in range(100):
        try:
            Base.metadata.drop_all(engine)
            break
        except Exception:
            time.sleep(0.1)
    Base.metadata.create_all(engine)
    with SessionLocal.begin() as session:
        session.add(Sequencia(nome="protocolo", valor=0))


if __name__ == "__main__":
    prepare()
    uvicorn.run(app, host=os.environ["HOST"], port=int(os.environ["PORT"]), log_level="error", access_log=False, backlog=4096)
