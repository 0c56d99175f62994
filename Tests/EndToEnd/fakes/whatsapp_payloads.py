"""What Meta's webhooks say, and the bytes they say it in: builders of items, the batches they travel in, escaping and signing.

``deliver`` of ``fakes.whatsapp.FakeWhatsApp`` takes the items; from a test, import everything from ``fakes.whatsapp``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

DEFAULT_NUMBER = "110000000000001"
DEFAULT_WABA = "220000000000001"


# --- On the wire ---------------------------------------------------------------------------------------------------------------------


def meta_json(value: Any) -> bytes:
    """JSON escaped the way Meta does: ``\\u00e9`` with lower-case digits, ``\\/`` and ``\\u0040``. Signatures are over these bytes."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    # Neither character occurs in JSON outside of strings.
    return text.replace("/", "\\/").replace("@", "\\u0040").encode()


def sign(app_secret: str, body: bytes) -> str:
    """The value of ``X-Hub-Signature-256``."""
    return "sha256=" + hmac.new(app_secret.encode(), body, hashlib.sha256).hexdigest()


def new_wamid() -> str:
    return "wamid." + base64.b64encode(b"\x1d\x18" + uuid.uuid4().bytes + uuid.uuid4().bytes[:8]).decode()


def person(number: str) -> str:
    """One name for both forms of a Brazilian mobile number; others, and business-scoped ids, are their own."""
    mobile = re.fullmatch(r"(55[1-9][1-9])9?([6-9]\d{7})", number)
    return mobile[1] + mobile[2] if mobile else number


def wa_id_of(number: str) -> str:
    """The number as WhatsApp knows it: Brazilian mobile accounts outside area codes 11-30 mostly date from before the ninth digit."""
    digits = re.sub(r"\D", "", number)
    old = re.fullmatch(r"55([1-9][1-9])9([7-9]\d{7})", digits)
    return f"55{old[1]}{old[2]}" if old and int(old[1]) >= 31 else digits


# --- What a webhook tells: items, and the batches they travel in ---------------------------------------------------------------------


@dataclass(frozen=True)
class Item:
    """One element of a delivery. ``into`` is the list it goes into: ``messages``, ``statuses`` or ``message_echoes``."""

    into: str
    element: Any
    contact: dict[str, Any] | None = None
    #: The phone_number_id it is for; the fake's first one when left out.
    number: str | None = None


def message(
    kind: str,
    content: Any,
    from_: str | None = "5511987654321",
    *,
    wamid: str | None = None,
    name: str = "Cliente",
    number: str | None = None,
    timestamp: float | None = None,
    bsuid: str | None = None,
    reply_to: str | None = None,
    **members: Any,
) -> Item:
    """A message of any type. ``content`` goes under the type's name; other ``members`` beside it. ``from_=None`` with a ``bsuid`` is
    somebody who hides their number."""
    element: dict[str, Any] = {"id": wamid or new_wamid(), "timestamp": str(int(timestamp or time.time())), "type": kind}
    contact: dict[str, Any] = {"profile": {"name": name}}
    if from_ is not None:
        element["from"] = contact["wa_id"] = from_
    if bsuid is not None:
        element["from_user_id"] = contact["user_id"] = bsuid
    if content is not None:
        element[kind] = content
    if reply_to is not None:
        element["context"] = {"from": "551130000000", "id": reply_to}
    return Item("messages", element | members, contact, number)


def text(from_: str | None, body: str, wamid: str | None = None, name: str = "Cliente", **options: Any) -> Item:
    return message("text", {"body": body}, from_, wamid=wamid, name=name, **options)


def digest_of(content: bytes) -> str:
    """As webhooks write it."""
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def media(
    from_: str | None, kind: str, media_id: str = "700000000000001", *, content: dict[str, Any] | None = None, **options: Any
) -> Item:
    """``kind`` is image, video, audio, document or sticker; ``content`` adds caption, filename, voice, …"""
    mime = {"image": "image/jpeg", "video": "video/mp4", "audio": "audio/ogg; codecs=opus", "document": "application/pdf"}
    found = {"id": media_id, "mime_type": mime.get(kind, "image/webp"), "sha256": base64.b64encode(bytes(32)).decode()}
    return message(kind, found | (content or {}), from_, **options)


def reaction(from_: str, to_wamid: str, emoji: str | None, **options: Any) -> Item:
    """``emoji=None`` takes the reaction back, by leaving the member out; ``""`` does so by an empty one."""
    return message("reaction", {"message_id": to_wamid} | ({} if emoji is None else {"emoji": emoji}), from_, **options)


def button_reply(from_: str, reply_id: str, title: str, **options: Any) -> Item:
    return message("interactive", {"type": "button_reply", "button_reply": {"id": reply_id, "title": title}}, from_, **options)


def list_reply(from_: str, reply_id: str, title: str, **options: Any) -> Item:
    return message("interactive", {"type": "list_reply", "list_reply": {"id": reply_id, "title": title}}, from_, **options)


def location(from_: str, latitude: float, longitude: float, **options: Any) -> Item:
    return message("location", {"latitude": latitude, "longitude": longitude}, from_, **options)


def unsupported(from_: str, **options: Any) -> Item:
    error = {"code": 131051, "title": "Message type unknown", "error_data": {"details": "Message type is currently not supported."}}
    return message("unsupported", None, from_, errors=[error], **options)


def edit(from_: str, original: str, body: str, **options: Any) -> Item:
    return message("edit", {"original_message_id": original, "message": {"type": "text", "text": {"body": body}}}, from_, **options)


def revoke(from_: str, original: str, **options: Any) -> Item:
    return message("revoke", {"original_message_id": original}, from_, **options)


def system(from_: str, new: str, **options: Any) -> Item:
    """The customer has another number."""
    body = {"type": "user_changed_number", "wa_id": new, "body": f"User A changed from {from_} to {new}"}
    return message("system", body, from_, **options)


def contacts(from_: str, *people: tuple[str, str], **options: Any) -> Item:
    cards = [{"name": {"formatted_name": name, "first_name": name}, "phones": [{"phone": f"+{phone}", "wa_id": phone, "type": "CELL"}]} for name, phone in people]
    return message("contacts", cards, from_, **options)


def order(from_: str, *products: tuple[str, int, float], **options: Any) -> Item:
    items = [{"product_retailer_id": id, "quantity": count, "item_price": price, "currency": "BRL"} for id, count, price in products]
    return message("order", {"catalog_id": "900", "text": "", "product_items": items}, from_, **options)


def template_button(from_: str, payload: str, body: str, **options: Any) -> Item:
    return message("button", {"payload": payload, "text": body}, from_, **options)


def echo(to: str, body: str, wamid: str | None = None, number: str | None = None) -> Item:
    """The business wrote on its own handset."""
    element = {"from": "551130000000", "to": to, "id": wamid or new_wamid(), "timestamp": str(int(time.time())), "type": "text"}
    return Item("message_echoes", element | {"text": {"body": body}}, number=number)


def status(
    wamid: str,
    name: str,
    *,
    recipient: str = "5511987654321",
    callback_data: str | None = None,
    number: str | None = None,
    timestamp: float | None = None,
    errors: list[dict[str, Any]] | None = None,
) -> Item:
    """``name`` is sent, delivered, read, played or failed (with ``errors``)."""
    element: dict[str, Any] = {"id": wamid, "status": name, "timestamp": str(int(timestamp or time.time())), "recipient_id": recipient}
    if callback_data is not None:
        element["biz_opaque_callback_data"] = callback_data
    if errors is not None:
        element["errors"] = errors
    else:
        element["conversation"] = {"id": hashlib.md5(recipient.encode()).hexdigest(), "origin": {"type": "service"}}
        element["pricing"] = {"billable": False, "pricing_model": "PMP", "type": "free_customer_service", "category": "service"}
    return Item("statuses", element, number=number)


def poison(element: Any = None, into: str = "messages", number: str | None = None) -> Item:
    """An element nobody can read."""
    return Item(into, element, number=number)


def batch(items: Iterable[Item], numbers: dict[str, str]) -> dict[str, Any]:
    """One delivery with all the items: an entry per account, a change per number and list, the order within each kept.

    ``numbers`` gives the account (WABA) of each phone_number_id; the first one is for items that name none.
    """
    default = next(iter(numbers))
    changes: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for item in items:
        number = item.number or default
        of_account = changes.setdefault(numbers.get(number, DEFAULT_WABA), {})
        metadata = {"display_phone_number": "551130000000", "phone_number_id": number}
        value = of_account.setdefault((number, item.into), {"messaging_product": "whatsapp", "metadata": metadata})
        if item.contact is not None and item.contact not in value.setdefault("contacts", []):
            value["contacts"].append(item.contact)
        value.setdefault(item.into, []).append(item.element)
    fields = {"message_echoes": "smb_message_echoes"}
    entries = [
        {"id": waba, "changes": [{"field": fields.get(into, "messages"), "value": value} for (_, into), value in of_account.items()]}
        for waba, of_account in changes.items()
    ]
    return {"object": "whatsapp_business_account", "entry": entries}
