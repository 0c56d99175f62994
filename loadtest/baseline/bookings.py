"""The usual Python way to take bookings: FastAPI, SQLAlchemy and Postgres, one transaction for each booking, the service's row as the lock.

    DATABASE_URL=postgresql+asyncpg://… PORT=8000 [WORK=whole] python bookings.py

It decides what the contract asks of a booking and no more: hours, one start in thirty minutes, so many at a time. With `WORK=whole` it does what the contract has
follow from one as well: the client is found by the number or made, and counted; the plan's count is raised; a confirmation and two reminders are rows of a queue, all
in the same transaction. Nothing is sent, and no credential is looked at.
"""

import os
import uuid
from contextlib import asynccontextmanager
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy import JSON, DateTime, ForeignKey, Index, Integer, String, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=20, max_overflow=20)
Session = async_sessionmaker(engine, expire_on_commit=False)
ZONE = ZoneInfo("America/Sao_Paulo")
WHOLE = os.environ.get("WORK") == "whole"
LIMIT = 1_000_000


class Base(DeclarativeBase):
    pass


class Service(Base):
    __tablename__ = "services"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(String(255))
    duration: Mapped[int] = mapped_column(Integer)
    capacity: Mapped[int] = mapped_column(Integer)


class Appointment(Base):
    __tablename__ = "appointments"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    service_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("services.id"))
    client_name: Mapped[str] = mapped_column(String(255))
    client_whatsapp: Mapped[str] = mapped_column(String(32))
    start_time: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    end_time: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    status: Mapped[str] = mapped_column(String(16), default="pending")
    __table_args__ = (Index("appointments_by_start", "service_id", "start_time"),)


class Client(Base):
    __tablename__ = "clients"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(String(255))
    whatsapp: Mapped[str] = mapped_column(String(32), unique=True)
    total_appointments: Mapped[int] = mapped_column(Integer, default=0)
    first_appointment_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_appointment_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Usage(Base):
    __tablename__ = "usage"
    resource: Mapped[str] = mapped_column(String(32), primary_key=True)
    used: Mapped[int] = mapped_column(Integer)


class Message(Base):
    __tablename__ = "messages"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    queue: Mapped[str] = mapped_column(String(32))
    run_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    once: Mapped[str] = mapped_column(String(128), unique=True)
    payload: Mapped[dict] = mapped_column(JSON)
    __table_args__ = (Index("messages_by_time", "queue", "run_at"),)


@asynccontextmanager
async def lifespan(_):
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with Session() as session, session.begin():
        session.add(Usage(resource="appointments", used=0))
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


class NewService(BaseModel):
    name: str
    duration: int
    capacity: int = 1


class NewAppointment(BaseModel):
    service_id: uuid.UUID
    client_name: str
    client_whatsapp: str
    start_time: datetime


@app.get("/health")
async def health():
    return {"status": "healthy"}


@app.post("/api/services", status_code=201)
async def make_service(new: NewService):
    async with Session() as session, session.begin():
        service = Service(name=new.name, duration=new.duration, capacity=new.capacity)
        session.add(service)
    return {"id": service.id}


async def follow(session, appointment):
    """What the contract has follow from a booking."""
    usage = (await session.execute(select(Usage).where(Usage.resource == "appointments").with_for_update())).scalar_one()
    if usage.used >= LIMIT:
        raise HTTPException(402, "limite do plano")
    usage.used += 1
    client = (await session.execute(select(Client).where(Client.whatsapp == appointment.client_whatsapp))).scalar_one_or_none()
    if client is None:
        client = Client(name=appointment.client_name, whatsapp=appointment.client_whatsapp, total_appointments=0)
        session.add(client)
    client.total_appointments += 1
    client.first_appointment_at = min(client.first_appointment_at or appointment.start_time, appointment.start_time)
    client.last_appointment_at = max(client.last_appointment_at or appointment.start_time, appointment.start_time)
    await session.flush()
    now = datetime.now(ZONE)
    for queue, rule, run_at in (
        ("confirmations", "confirmation", now),
        ("reminders", "reminder-1440m", appointment.start_time - timedelta(days=1)),
        ("reminders", "reminder-60m", appointment.start_time - timedelta(hours=1)),
    ):
        if run_at >= now:
            payload = {"appointment_id": str(appointment.id), "to": appointment.client_whatsapp, "template": rule}
            session.add(Message(queue=queue, run_at=run_at, once=f"{appointment.id}:1:{rule}:whatsapp", payload=payload))


@app.post("/api/appointments", status_code=201)
async def book(new: NewAppointment):
    async with Session() as session, session.begin():
        service = (await session.execute(select(Service).where(Service.id == new.service_id).with_for_update())).scalar_one_or_none()
        if service is None:
            raise HTTPException(404, "Serviço não encontrado")
        local, end = new.start_time.astimezone(ZONE), new.start_time + timedelta(minutes=service.duration)
        if local.weekday() == 6 or not time(9) <= local.time() or local + timedelta(minutes=service.duration) > local.replace(hour=18, minute=0):
            raise HTTPException(409, "fora do expediente")
        taken = select(Appointment.id).where(
            Appointment.service_id == service.id, Appointment.start_time < end, Appointment.end_time > new.start_time, Appointment.status.in_(("pending", "confirmed"))
        )
        if len((await session.execute(taken)).all()) >= service.capacity:
            raise HTTPException(409, "Este horário não está mais disponível.")
        appointment = Appointment(**new.model_dump(), end_time=end)
        session.add(appointment)
        if WHOLE:
            await session.flush()
            await follow(session, appointment)
    return {"id": appointment.id, "start_time": appointment.start_time, "end_time": end, "status": appointment.status}


@app.get("/api/appointments/availability")
async def availability(service_id: uuid.UUID, start_date: date, end_date: date):
    async with Session() as session:
        service = await session.get(Service, service_id)
        if service is None:
            raise HTTPException(404, "Serviço não encontrado")
        first = datetime.combine(start_date, time(), ZONE)
        last = datetime.combine(end_date + timedelta(days=1), time(), ZONE)
        query = select(Appointment.start_time, Appointment.end_time).where(
            Appointment.service_id == service_id, Appointment.start_time < last, Appointment.end_time > first, Appointment.status.in_(("pending", "confirmed"))
        )
        booked = sorted((await session.execute(query)).all())
    slots, now, index = [], datetime.now(ZONE), 0
    length, day = timedelta(minutes=service.duration), start_date
    while day <= end_date:
        if day.weekday() != 6:
            start = datetime.combine(day, time(9), ZONE)
            while start + length <= datetime.combine(day, time(18), ZONE):
                while index < len(booked) and booked[index][1] <= start:
                    index += 1
                count, look = 0, index
                while look < len(booked) and booked[look][0] < start + length:
                    count += booked[look][1] > start
                    look += 1
                if start >= now and count < service.capacity:
                    slots.append(start.astimezone(ZoneInfo("UTC")))
                start += length
        day += timedelta(days=1)
    return {"available_slots": slots, "conflicts": []}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning", access_log=False, loop="uvloop", http="httptools")
