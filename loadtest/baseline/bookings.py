"""The usual Python way to take bookings: FastAPI, SQLAlchemy and Postgres, one transaction for each booking, the service's row as the lock.

    DATABASE_URL=postgresql+asyncpg://… PORT=8000 python bookings.py

It decides what the contract asks of it and no more: hours, one start in thirty minutes, so many at a time. No credential is looked at.
"""

import os
import uuid
from contextlib import asynccontextmanager
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy import DateTime, ForeignKey, Index, Integer, String, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=20, max_overflow=20)
Session = async_sessionmaker(engine, expire_on_commit=False)
ZONE = ZoneInfo("America/Sao_Paulo")


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


@asynccontextmanager
async def lifespan(_):
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
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
