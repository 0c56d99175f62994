"""What stands in Postgres, held against what was acknowledged and against what REST shows. Findings are sentences; none is good."""

from collections import Counter

from .waiting import eventually

OWNERS = {"bot": "bot", "queued": "queue", "offered": "queue", "active": "consultor", "snoozed": "consultor", "resolved": "none"}


def rfc3339(time):
    return None if time is None else time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"


def storage(office):
    """`GET /api/v1/storage`."""
    return office.admin.get("/api/v1/storage")


def drained(office, timeout=30.0):
    """Waits until Postgres has everything that is committed, and history can be read. Gives the last `GET /api/v1/storage`."""

    def is_empty():
        status = storage(office)
        return status if status["write_behind"]["depth"] == 0 else None

    status = eventually("the journal empty", is_empty, timeout)
    eventually("history", lambda: office.admin.call("GET", "/api/v1/conversations/", per_page=1).status == 200, timeout)
    return status


# MARK: Rows, as REST shows them


def message_of(row):
    message = {
        "id": str(row["id"]), "conversation_id": str(row["conversation_id"]), "seq": row["seq"], "kind": row["kind"], "direction": row["direction"],
        "author": {"kind": row["author_kind"], "id": row["author_id"] and str(row["author_id"]), "name": row["author_name"]}, "text": row["text"],
        "status": row["status"], "error": None, "client_message_id": row["client_message_id"], "external_id": row["external_id"],
        "reply_to": row["reply_to"], "created_at": rfc3339(row["created_at"]), "provider_timestamp": rfc3339(row["provider_at"]), "version": row["version"],
    }
    if row["error_code"] is not None:
        message["error"] = {"code": row["error_code"], "message": row["error_message"]}
    if row["content"] is not None:
        message["content"] = row["content"]
    return message | (row["annotations"] or {})


def conversation_of(row, consultores):
    def person():
        consultor = consultores[row["consultor_id"]]
        return {"consultor_id": consultor["id"], "user_id": consultor["user_id"] and str(consultor["user_id"]), "name": consultor["nome"]}

    state = row["state"]
    number = {} if row["phone_number_id"] is None else {"phone_number_id": row["phone_number_id"]}
    clocks = [{name: value for name, value in clock.items() if name != "warn_at"} for clock in row["sla"]["clocks"]]
    return number | {
        "id": str(row["id"]), "state": state, "owner": OWNERS[state], "channel": row["channel"],
        "contact": {"id": str(row["contact_id"]), "name": row["contact_name"], "number": row["contact_number"]}, "protocol": row["protocolo"],
        "language": row["language"], "assignee": person() if state in ("active", "snoozed") else None,
        "offer": person() | {"expires_at": rfc3339(row["offer_expires_at"])} if state == "offered" else None, "queued_at": rfc3339(row["queued_at"]),
        "snoozed_until": rfc3339(row["snoozed_until"]) if state == "snoozed" else None, "window_expires_at": rfc3339(row["window_expires_at"]),
        "unread": row["unread"], "labels": row["labels"], "last_message": row["last_message"], "created_at": rfc3339(row["created_at"]),
        "updated_at": rfc3339(row["updated_at"]), "resolved_at": rfc3339(row["resolved_at"]) if state == "resolved" else None,
        "state_since": rfc3339(row["state_since"]), "owed_since": rfc3339(row["owed_since"]), "sla": row["sla"] | {"clocks": clocks},
        "satisfaction": row["satisfaction"], "version": row["version"],
    }


def consultor_of(row):
    names = ("id", "nome", "idiomas", "status_ativo", "status_ativo_sequencial", "status_online", "id_pipedrive", "capacity")
    return {name: row[name] for name in names} | {
        "ultimo_atendimento": rfc3339(row["ultimo_atendimento"]), "user_id": row["user_id"] and str(row["user_id"]),
        "status_since": rfc3339(row["status_since"]), "wrap_up_until": rfc3339(row["wrap_up_until"]),
    }


# MARK: Held against each other


def against_ledger(database, ledger):
    """Everything acknowledged or shown is there once, and not older than it was."""
    wrong = []
    messages = {str(row["id"]): row for row in database.rows("messages")}
    conversations = {str(row["id"]): row for row in database.rows("conversations")}
    for what, known, there in (("message", ledger.messages, messages), ("conversation", ledger.conversations, conversations)):
        for id, image in known.items():
            row = there.get(id)
            if row is None:
                wrong.append(f"a {what} is not in Postgres: {image}")
            elif row["version"] < image["version"]:
                wrong.append(f"a {what} is older in Postgres than it was: {image} and {row}")
            elif what == "message":
                # What never changes, and at the same version all of it.
                fields = image if row["version"] == image["version"] else ("seq", "text", "kind", "direction", "conversation_id", "created_at")
                if other := [f for f in fields if message_of(row).get(f) != image[f]]:
                    wrong.append(f"a message is another in Postgres, in {other}: {image} and {row}")
            elif row["version"] == image["version"] and (row["state"], row["labels"], row["unread"], row["protocolo"]) != (
                image["state"], image["labels"], image["unread"], image["protocol"]
            ):
                wrong.append(f"a conversation is another in Postgres: {image} and {row}")
    said = {}
    for row in messages.values():
        said.setdefault(row["external_id"], []).append(row["text"])
    for wamid, (_, text) in ledger.inbound.items():
        if said.get(wamid) != [text]:
            wrong.append(f"an acknowledged delivery is in Postgres as {said.get(wamid)}: {wamid} {text!r}")
    marks = set(database.values("SELECT key FROM marks WHERE scope = 'wamid'"))
    wrong += [f"no mark in Postgres of the acknowledged {wamid}" for wamid in ledger.inbound if wamid not in marks]
    numbers = set(database.values("SELECT numero FROM protocolos"))
    wrong += [f"a number that was given away is not in Postgres: {number}" for number in ledger.holders if number not in numbers]
    return wrong


def itself(database):
    """What must hold of the tables whatever has happened."""
    wrong = []
    for tenant, ids in database.sql("SELECT tenant_id, array_agg(id ORDER BY id) FROM protocolos GROUP BY tenant_id"):
        if ids != list(range(1, len(ids) + 1)):
            wrong.append(f"protocol numbers of {tenant} have gaps: {ids}")
    for id, last, seqs in database.sql(
        "SELECT c.id, c.last_seq, array_agg(m.seq ORDER BY m.seq) FROM conversations c"
        " LEFT JOIN messages m ON (m.tenant_id, m.conversation_id) = (c.tenant_id, c.id) GROUP BY c.tenant_id, c.id, c.last_seq"
    ):
        if seqs != list(range(1, last + 1)):
            wrong.append(f"the messages of {id} are not numbered 1 to {last}: {seqs}")
    numbers = Counter(database.values("SELECT protocolo FROM conversations WHERE protocolo IS NOT NULL"))
    numbers.update(database.values("SELECT numero FROM protocolos WHERE conversation_id IS NULL"))
    wrong += [f"{number} stands {times} times" for number, times in numbers.items() if times > 1]
    for number, one, other in database.sql(
        "SELECT p.numero, p.conversation_id, c.id FROM conversations c FULL JOIN protocolos p ON (p.tenant_id, p.id) = (c.tenant_id, c.protocolo_id)"
        " WHERE (c.protocolo_id IS NOT NULL OR p.conversation_id IS NOT NULL) AND p.conversation_id IS DISTINCT FROM c.id"
    ):
        wrong.append(f"{number} is of {one} in protocolos, and of {other} in conversations")
    return wrong


def against_what_is_shown(office, database):
    """What the server shows equals what stands in Postgres, conversation by conversation and message by message. Lists are read from Postgres, and so say
    little; a conversation by itself and a subscriber's snapshot are live."""
    wrong = []
    consultores = {row["id"]: row for row in database.rows("consultores")}
    shown = {c["id"]: c for c in office.admin.consultores()}
    stored = {id: consultor_of(row) for id, row in consultores.items() if row["removed_at"] is None}
    if {id: {name: c[name] for name in stored.get(id, c)} for id, c in shown.items()} != stored:
        wrong.append(f"consultores: {shown} and {stored}")
    rows = {str(row["id"]): row for row in database.rows("conversations")}
    listed = {c["id"]: c for c in office.admin.all_conversations()}
    if listed.keys() != rows.keys():
        wrong.append(f"conversations that are in one only: {listed.keys() ^ rows.keys()}")
    messages = {}
    for row in database.rows("messages"):
        messages.setdefault(str(row["conversation_id"]), []).append(row)
    screen = office.desk(office.admin, remembers=False)
    for id in listed.keys() & rows.keys():
        stored = conversation_of(rows[id], consultores)
        for way, conversation in (("listed", listed[id]), ("live", office.admin.conversation(id))):
            if conversation != stored:
                wrong.append(f"{way}: {differing(conversation, stored)} of {id}")
        kept = [message_of(row) for row in sorted(messages.get(id, []), key=lambda row: row["seq"])]
        snapshot = screen.follow(f"conversation:{id}").picture.ordered
        screen.unfollow(f"conversation:{id}")
        for way, said in (("listed", office.admin.all_messages(id)), ("live", kept[: -len(snapshot)] + snapshot)):
            if said != kept:
                wrong.append(f"{way} messages of {id}: {[differing(a, b) for a, b in zip(said, kept) if a != b][:3]}, {len(said)} and {len(kept)}")
    screen.leave()
    office.forget(screen)
    return wrong


def differing(one, other):
    return {f: (one.get(f), other.get(f)) for f in one.keys() | other.keys() if one.get(f) != other.get(f)}


def audit(office, database, ledger=None, timeout=30.0):
    """All of the above, once nothing is on its way any more."""
    status = drained(office, timeout)
    assert status["quarantine"] == [], status["quarantine"][:3]
    found = (against_ledger(database, ledger) if ledger is not None else []) + itself(database)
    assert not found, f"{len(found)} wrong: " + "\n".join(found[:5])

    def equal():
        # A status may just have come in that is shown and Postgres is still owed.
        differences = against_what_is_shown(office, database)
        assert not differences, differences[:3]
        return True

    eventually("what is shown and Postgres equal", equal, timeout)
