"""The baseline of the load tests: the same job as Plantão's realtime door, in the usual FastAPI way.

One process, one event loop, subscribers in memory, a loop of `send_text` for each publication (FastAPI's own "connection manager"; `asyncio.gather` instead
is slower). The JSON on the wire is the Centrifuge client protocol's, as far as the load tests speak it: connect, subscribe with recovery from the last 512
publications, rpc `echo` and `conversation.messages`. Nothing is stored on disk, nobody is authenticated: what it saves by that is its advantage.
"""

import json
import os
import uuid
from collections import defaultdict, deque
from datetime import datetime, timezone

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from pydantic import BaseModel

app = FastAPI()
USER = str(uuid.uuid4())


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def dump(value) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


class Channel:
    def __init__(self) -> None:
        self.sockets: list[WebSocket] = []
        self.epoch = uuid.uuid4().hex[:8]
        self.offset = 0
        self.history: deque[dict] = deque(maxlen=512)


class ConnectionManager:
    def __init__(self) -> None:
        self.channels: dict[str, Channel] = defaultdict(Channel)

    async def publish(self, name: str, data: dict) -> None:
        channel = self.channels[name]
        channel.offset += 1
        publication = {"data": data, "offset": channel.offset}
        channel.history.append(publication)
        text = dump({"push": {"channel": name, "pub": publication}})
        for socket in list(channel.sockets):
            try:
                await socket.send_text(text)
            except (WebSocketDisconnect, RuntimeError):
                self.leave(name, socket)

    def subscribe(self, socket: WebSocket, request: dict) -> dict:
        channel = self.channels[request["channel"]]
        result = {"recoverable": True, "epoch": channel.epoch, "offset": channel.offset, "positioned": True}
        if request.get("recover"):
            since = request.get("offset", 0)
            missed = [publication for publication in channel.history if publication["offset"] > since]
            if request.get("epoch") == channel.epoch and len(missed) == channel.offset - since:
                result |= {"publications": missed, "recovered": True}
        channel.sockets.append(socket)
        return result

    def leave(self, name: str, socket: WebSocket) -> None:
        try:
            self.channels[name].sockets.remove(socket)
        except ValueError:
            pass


manager = ConnectionManager()
conversations: dict[str, list[dict]] = {}


class NewNotice(BaseModel):
    text: str


class CustomerMessage(BaseModel):
    from_: str | None = None
    text: str


@app.get("/health")
async def health():
    return {"status": "healthy"}


@app.post("/api/v1/auth/login")
async def login():
    return {"access_token": "baseline"}


@app.post("/api/v1/notices", status_code=201)
async def create_notice(body: NewNotice):
    notice = {"id": str(uuid.uuid4()), "text": body.text, "author": {"id": USER, "name": "Administrador"}, "created_at": now()}
    await manager.publish("notices", {"type": "notice.created", "notice": notice})
    return notice


@app.post("/api/v1/simulator/messages")
async def customer_message(body: CustomerMessage):
    conversations[str(uuid.uuid4())] = []
    return {}


@app.get("/api/v1/conversations/")
async def list_conversations():
    return {"items": [{"id": id} for id in conversations]}


async def call(method: str, data: dict) -> dict:
    if method == "echo":
        return data
    messages = conversations[data["conversation_id"]]
    message = {
        "id": str(uuid.uuid4()), "conversation_id": data["conversation_id"], "seq": len(messages) + 1, "kind": "text", "direction": "out",
        "author": {"kind": "agent", "id": USER, "name": "Administrador"}, "text": data["text"], "status": "queued", "error": None,
        "client_message_id": None, "external_id": None, "reply_to": None, "created_at": now(), "provider_timestamp": None, "version": 1,
    }
    messages.append(message)
    await manager.publish(f"conversation:{data['conversation_id']}", {"type": "message.created", "message": message})
    await manager.publish("conversations", {"type": "conversation.changed", "conversation": {"id": data["conversation_id"], "last_message": message}})
    return message


@app.websocket("/connection/websocket")
async def websocket(socket: WebSocket):
    await socket.accept()
    subscribed: list[str] = []
    try:
        while True:
            for line in (await socket.receive_text()).split("\n"):
                command = json.loads(line)
                if "rpc" in command:
                    result = await call(command["rpc"]["method"], command["rpc"].get("data"))
                    await socket.send_text(dump({"id": command["id"], "rpc": {"data": result}}))
                elif "connect" in command:
                    await socket.send_text(dump({"id": command["id"], "connect": {"client": str(uuid.uuid4()), "version": "0"}}))
                elif "subscribe" in command:
                    result = manager.subscribe(socket, command["subscribe"])
                    subscribed.append(command["subscribe"]["channel"])
                    await socket.send_text(dump({"id": command["id"], "subscribe": result}))
    except WebSocketDisconnect:
        pass
    finally:
        for name in subscribed:
            manager.leave(name, socket)


if __name__ == "__main__":
    uvicorn.run(app, host=os.environ["HOST"], port=int(os.environ["PORT"]), log_level="error", access_log=False, backlog=4096)
