"""centrifuge-python from PyPI, unmodified, driven from tests that are not asynchronous, through a cable that can be cut."""

import asyncio
import logging
import threading

from centrifuge import CentrifugeError, Client, ClientEventHandler, ClientState, SubscriptionEventHandler

from .cable import Cable
from .pictures import picture_of
from .waiting import PATIENCE, eventually

logging.getLogger("centrifuge").setLevel(logging.CRITICAL)


class OfficialClient:
    def __init__(self, server, token):
        self.cable = Cable(server.host, server.port)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.connects, self.disconnects, self.errors = [], [], []
        self.channels = {}
        self._is_over = False
        self.client = Client(
            f"ws://127.0.0.1:{self.cable.port}/connection/websocket", events=_ClientEvents(self), token=token, proxy=None,
            min_reconnect_delay=0.02, max_reconnect_delay=0.3,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._is_over:
            return
        self._is_over = True
        try:
            self.run(self.client.disconnect())
            self.run(asyncio.sleep(0.05))
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self.cable.close()

    def run(self, coroutine, timeout=10.0):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout * PATIENCE)

    def connect(self):
        self.run(self.client.connect())
        self.run(self.client.ready())
        return self

    def follow(self, channel):
        """Subscribes and waits for the snapshot. Raises what the SDK raises when it is refused."""
        known = self.channels[channel] = Channel(channel)

        async def subscribe():
            subscription = known.subscription = self.client.new_subscription(channel, events=_SubscriptionEvents(known))
            await subscription.subscribe()
            await subscription.ready()

        self.run(subscribe())
        eventually(f"the snapshot of {channel}", lambda: known.subscribed)
        return known

    @property
    def is_connected(self):
        return self.client.state == ClientState.CONNECTED


class Channel:
    def __init__(self, name):
        self.name = name
        self.picture = picture_of(name)
        self.subscription = None
        # In order: the contexts of on_subscribed, the publications, and the contexts of on_unsubscribed.
        self.subscribed, self.publications, self.unsubscribed, self.errors = [], [], [], []
        self.faults = []

    @property
    def offsets(self):
        return [p.offset for p in self.publications if p.offset]

    @property
    def is_live(self):
        return bool(self.subscribed) and self.subscription.state.value == "subscribed"


class _ClientEvents(ClientEventHandler):
    def __init__(self, owner):
        self.owner = owner

    async def on_connected(self, ctx):
        self.owner.connects.append(ctx)

    async def on_disconnected(self, ctx):
        self.owner.disconnects.append(ctx)

    async def on_error(self, ctx):
        self.owner.errors.append(ctx)


class _SubscriptionEvents(SubscriptionEventHandler):
    def __init__(self, channel):
        self.channel = channel

    async def on_subscribed(self, ctx):
        if not ctx.recovered:
            self._try(self.channel.picture.replace, ctx.data)
        self.channel.subscribed.append(ctx)

    async def on_publication(self, ctx):
        self._try(self.channel.picture.apply, ctx.pub.data)
        self.channel.publications.append(ctx.pub)

    async def on_unsubscribed(self, ctx):
        self.channel.unsubscribed.append(ctx)

    async def on_error(self, ctx):
        self.channel.errors.append(ctx)

    def _try(self, change, data):
        try:
            change(data)
        except (AssertionError, KeyError, TypeError) as error:
            self.channel.faults.append(f"{error!r} in {str(data)[:300]}")


__all__ = ["CentrifugeError", "OfficialClient"]
