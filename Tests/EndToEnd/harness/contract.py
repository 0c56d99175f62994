"""protocol/ as code: what passes is held against its schemas, and what of them was used is noted, so that none is there that nothing is like."""

import functools
import json
import pathlib
import re
from urllib.parse import parse_qsl, urlsplit

import yaml
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import best_match
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from .process import REPOSITORY

PROTOCOL = REPOSITORY / "protocol"
SCHEMAS = PROTOCOL / "schemas"
METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")


@functools.cache
def document(name):
    return yaml.safe_load((PROTOCOL / name).read_text("utf-8"))


def every_schema():
    return {str(path.relative_to(SCHEMAS)) for path in SCHEMAS.rglob("*.json")}


def _retrieve(uri):
    path = pathlib.Path(urlsplit(uri).path)
    contents = yaml.safe_load(path.read_text("utf-8")) if path.suffix == ".yaml" else json.loads(path.read_text("utf-8"))
    # With its `$schema` a document would be validated by the library's own class, which notes nothing.
    contents.pop("$schema", None)
    return Resource.from_contents(contents, default_specification=DRAFT202012)


def _read_once():
    registry = Registry(retrieve=_retrieve)
    files = [*SCHEMAS.rglob("*.json"), PROTOCOL / "openapi.yaml", PROTOCOL / "asyncapi.yaml"]
    return registry.with_resources((path.as_uri(), _retrieve(path.as_uri())) for path in files)


@functools.cache
def _all_tests():
    return Contract()


def is_documented(reply):
    """Whether an answer, of whatever test, is as openapi.yaml says; a `Broken` says what is not."""
    _all_tests().exchanged(*reply.request.split(" ", 1), None, reply, is_sane=False)


class Broken(AssertionError):
    """Something is not as protocol/ says."""


class Contract:
    def __init__(self):
        self.openapi, self.asyncapi = document("openapi.yaml"), document("asyncapi.yaml")
        # Files under schemas/ that something real was like; statuses seen, by (METHOD, path); AsyncAPI's messages.
        self.used, self.answered, self.messages = set(), {}, set()
        self._registry = _read_once()
        plain_ref = Draft202012Validator.VALIDATORS["$ref"]
        used = self.used

        def ref(validator, reference, instance, schema):
            errors = list(plain_ref(validator, reference, instance, schema))
            if not errors and reference.endswith(".json"):
                parts = reference.split("/")
                # The only files that name others of their own folder are the shapes.
                used.add("/".join(parts[-2:]) if len(parts) > 1 else f"shapes/{parts[0]}")
            yield from errors

        self._validator = validators.extend(Draft202012Validator, {"$ref": ref})
        self._paths = [(re.compile("^" + re.sub(r"\{[^}]+\}", "[^/]+", path) + "/?$"), path) for path in self.openapi["paths"]]
        # A path that is all words goes before one with a parameter, as in the router.
        self._paths.sort(key=lambda entry: entry[1].count("{"))
        self.events_of = {
            _channel_pattern(channel["address"]): {m for m in channel["messages"] if m != "snapshot"} | {"snapshot." + name}
            for name, channel in self.asyncapi["channels"].items()
            if channel["address"]
        }

    def check(self, reference, instance, what):
        """`reference`: from protocol/ on, such as `schemas/events/typing.json` or `openapi.yaml#/components/schemas/Info`."""
        schema = {"$ref": f"{PROTOCOL.as_uri()}/{reference}"}
        error = best_match(self._validator(schema, registry=self._registry).iter_errors(instance))
        if error:
            where = "/".join(str(step) for step in error.absolute_path)
            raise Broken(f"{what} is not as {reference} says, at {where or 'its top'}: {error.message[:500]}\n{json.dumps(instance, ensure_ascii=False)[:1500]}")

    def _follow(self, value):
        while "$ref" in value:
            reference = value["$ref"]
            assert reference.startswith("#/"), reference
            value = functools.reduce(lambda node, step: node[step.replace("~1", "/")], reference[2:].split("/"), self.openapi)
        return value

    # MARK: REST

    def operation(self, method, path):
        """`(METHOD, template)` and what openapi.yaml says of it; `None` where there is no such address."""
        plain = urlsplit(path).path
        for pattern, template in self._paths:
            if pattern.match(plain):
                found = self.openapi["paths"][template].get(method.lower())
                return ((method, template), found) if found else None
        return None

    def exchanged(self, method, path, request, reply, is_sane=True):
        """One request and its answer. `request`: its JSON, if any; `is_sane`: it is meant to be right, and is held against the document as well."""
        what = f"{method} {path} -> {reply.status}"
        # What HTTP itself has of every address (protocol/README.md "REST").
        if reply.status in (405, 417):
            assert reply.headers.get("x-request-id") and (reply.status == 417 or reply.headers.get("allow")), what
            return
        is_head = method == "HEAD"
        found = self.operation("GET" if is_head else method, path)
        if not found:
            assert reply.status in (400, 404) or method == "OPTIONS" and reply.status in (204, 403), f"there is no such address in openapi.yaml: {reply}"
            return
        key, operation = found
        if is_head:
            assert not reply.body, f"{what}: a body"
            assert str(reply.status) in operation["responses"], f"{what}: openapi.yaml does not have this status for GET"
            return
        response = operation["responses"].get(str(reply.status))
        if response is None:
            raise Broken(f"{what}: openapi.yaml does not have this status for {key}: {reply}")
        self.answered.setdefault(key, set()).add(reply.status)
        response = self._follow(response)
        assert reply.headers.get("x-request-id") and reply.headers.get("x-process-time"), f"{what}: X-Request-ID and X-Process-Time"
        for name, header in response.get("headers", {}).items():
            if self._follow(header).get("required"):
                assert name.lower() in reply.headers, f"{what}: the header {name} is missing"
        self._body(response.get("content"), reply, what)
        if is_sane and reply.status < 300:
            self._asked(operation, path, request, what)

    def _body(self, content, reply, what):
        if not content:
            assert not reply.body, f"{what}: a body that is not documented: {reply}"
            return
        kind = reply.headers.get("content-type", "").split(";")[0]
        if kind not in content:
            if "*/*" in content:
                return
            raise Broken(f"{what}: {kind!r} is not among {sorted(content)}")
        if kind == "application/json":
            self._against(content[kind]["schema"], reply.json(), what)

    def _against(self, schema, instance, what):
        if "$ref" in schema:
            reference = schema["$ref"]
            self.check(("openapi.yaml" if reference.startswith("#") else "") + reference, instance, what)
        elif schema.get("type") == "array":
            for item in instance:
                self._against(schema["items"], item, what)

    def _asked(self, operation, path, request, what):
        parameters = {p["name"]: p for p in map(self._follow, operation.get("parameters", [])) if p["in"] == "query"}
        given = {name for name, _ in parse_qsl(urlsplit(path).query)}
        assert given <= set(parameters), f"{what}: {given - set(parameters)} are no parameters in openapi.yaml"
        body = operation.get("requestBody")
        if request is not None:
            assert body, f"{what}: takes no body in openapi.yaml"
            self._against(body["content"]["application/json"]["schema"], request, f"the body of {what}")
        elif body and body["required"]:
            assert "application/json" not in body["content"] or len(body["content"]) > 1, f"{what}: worked without the body that is required"

    # MARK: Frames

    def session(self, is_one_way=False):
        return SessionContract(self, is_one_way)

    def events_on(self, channel):
        for pattern, messages in self.events_of.items():
            if pattern.match(channel):
                return messages
        raise Broken(f"asyncapi.yaml has no channel {channel}")


def _channel_pattern(address):
    return re.compile("^" + re.sub(r"\\\{[^}]+\\\}", "[^:]+", re.escape(address)) + "$")


class SessionContract:
    """One session's frames, both ways: a reply is held against what was asked."""

    def __init__(self, contract, is_one_way):
        self.contract, self.is_one_way = contract, is_one_way
        self._asked = {}

    def said(self, command, is_sane=True):
        if self.is_one_way:
            return self._is("one-way.request", command)
        kinds = [name for name in command if name != "id"]
        name = kinds[0] if kinds else "pong"
        if "id" in command:
            self._asked[command["id"]] = command
        if not is_sane:
            return
        self._is(f"command.{name}", command)
        if name == "rpc" and self._has_method(command["rpc"]["method"]):
            method = command["rpc"]["method"]
            self.contract.check(f"schemas/commands/{method}.input.json", command["rpc"].get("data"), f"rpc {method}")
            self.contract.messages.add(f"rpc.{method}")

    def heard(self, frame):
        if self.is_one_way:
            return self._pushed_bare(frame)
        if not frame:
            return self._is("ping", frame)
        if push := frame.get("push"):
            name = next(name for name in push if name != "channel")
            self._is({"pub": "push.publication"}.get(name, f"push.{name}"), frame)
            if name == "pub":
                self._published(push["channel"], push["pub"])
            elif name == "subscribe":
                self._subscribed(push["channel"], push["subscribe"])
            return
        if "error" in frame:
            return self._is("reply.error", frame)
        name = next(name for name in frame if name != "id")
        self._is(f"reply.{name}", frame)
        command = self._asked.pop(frame["id"])
        assert name in command, f"{frame} answers {command}"
        if name == "subscribe":
            self._subscribed(command["subscribe"]["channel"], frame["subscribe"])
        elif name == "connect":
            for channel, subscription in frame["connect"].get("subs", {}).items():
                self._subscribed(channel, subscription)
        elif name == "history":
            for publication in frame["history"]["publications"]:
                self._published(command["history"]["channel"], publication)
        elif name == "rpc":
            method = command["rpc"]["method"]
            self.contract.check(f"schemas/commands/{method}.result.json", frame["rpc"].get("data"), f"the result of {method}")
            self.contract.messages.add(f"rpc.{method}.result")

    def _pushed_bare(self, push):
        name = next(name for name in push if name != "channel")
        self._is({"pub": "one-way.publication"}.get(name, f"one-way.{name}"), push)
        if name == "pub":
            self._published(push["channel"], push["pub"])
        elif name == "connect":
            for channel, subscription in push["connect"].get("subs", {}).items():
                self._subscribed(channel, subscription)

    def _subscribed(self, channel, subscription):
        for publication in subscription.get("publications", []):
            self._published(channel, publication)
        if "data" in subscription:
            snapshot = next(m for m in self.contract.events_on(channel) if m.startswith("snapshot."))
            self.contract.check(f"schemas/snapshots/{snapshot.removeprefix('snapshot.')}.json", subscription["data"], f"the snapshot of {channel}")
            self.contract.messages.add(snapshot)

    def _published(self, channel, publication):
        kind = publication["data"]["type"]
        if kind not in self.contract.events_on(channel):
            raise Broken(f"asyncapi.yaml has no {kind} on {channel}: {publication}")
        self.contract.check(f"schemas/events/{kind}.json", publication["data"], f"{kind} on {channel}")
        self.contract.messages.add(kind)

    def _has_method(self, method):
        return f"rpc.{method}" in self.contract.asyncapi["components"]["messages"]

    def _is(self, name, frame):
        self.contract.check(f"schemas/frames/{name}.json", frame, name)
        self.contract.messages.add(name)
