"""Logs are JSON, one object a line, in the shape of the consultores contract, and hold no secrets and no messages."""

import json
import re

import pytest

from fakes.whatsapp import text
from harness.api import Api
from harness.office import new_number
from harness.process import ADMIN_PASSWORD, API_KEY, APP_SECRET, SECRET_KEY, VERIFY_TOKEN, WHATSAPP_TOKEN
from harness.waiting import eventually


def lines(office):
    """The stream that requests are logged to, which must be nothing but JSON objects."""
    for path in (office.server.stdout_path, office.server.stderr_path):
        written = path.read_text("utf-8")
        if '"request"' in written:
            parsed = []
            for line in written.splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    raise AssertionError(f"a line of {path.name} is not JSON: {line[:300]}") from None
                assert isinstance(entry, dict), f"a line of {path.name} is no object: {line[:300]}"
                parsed.append(entry)
            return parsed
    raise AssertionError(f"no requests are logged\n{office.server.log_tail()}")


def entries(office, kind, id):
    """The entries of a kind (request, response, error) that belong to one request."""
    return eventually(f"a {kind} with id {id}", lambda: [e[kind] for e in lines(office) if isinstance(e.get(kind), dict) and e[kind].get("id") == id])


def test_a_request_and_its_response_are_logged_under_the_id_of_the_response_header(office):
    office.hire("Maria")
    reply = office.integrator.call("GET", "/consultor/da-vez", idioma="pt", expect=200)
    id = reply.headers["x-request-id"]
    [request] = entries(office, "request", id)
    assert (request["method"], request["path"], request["params"]) == ("GET", "/consultor/da-vez", {"idioma": "pt"})
    [response] = entries(office, "response", id)
    assert response["status"] == 200 and re.fullmatch(r"\d+(\.\d+)?s", response["time"]), response
    assert "x-process-time" in reply.headers
    other = office.integrator.call("GET", "/consultores", expect=200).headers["x-request-id"]
    assert other != id


def test_an_error_is_logged_with_its_sentence(office):
    reply = office.integrator.call("GET", "/consultor/da-vez", idioma="xx", expect=404)
    [error] = entries(office, "error", reply.headers["x-request-id"])
    assert (error["method"], error["path"], error["error"]) == ("GET", "/consultor/da-vez", "Consultor não encontrado")


@pytest.mark.parametrize("path, status", [("/health", 200), ("/nope", 404), ("/api/v1/conversations/", 401)])
def test_every_answer_has_an_id(office, path, status):
    assert office.anybody.call("GET", path, expect=status).headers["x-request-id"]


def test_no_message_password_token_or_key_is_ever_in_the_logs(office):
    maria = office.hire("Maria")
    number = new_number()
    secret = "SEGREDO-DO-CLIENTE"
    id = office.attended_by(maria, number)["id"]
    desk = office.desk(maria, f"conversation:{id}", "conversations")
    office.says(number, f"{secret}-1 meu cpf é çãõ")
    maria.api.say(id, f"{secret}-2")
    maria.api.note(id, f"{secret}-3")
    desk.rpc("conversation.messages", {"conversation_id": id, "text": f"{secret}-4"})
    assert office.whatsapp.handshake(VERIFY_TOKEN)[0] == 200
    for body in (f'{{"text": "{secret}-6', f'{{"text": ["{secret}-7"]}}', f'{{"texto": "{secret}-8"}}'):
        maria.api.call("POST", f"/api/v1/conversations/{id}/messages", body=body.encode())
    office.whatsapp.deliver(text(number, f"{secret}-9"), signature="sha256=" + "0" * 64, redeliver=False)
    office.whatsapp.deliver(raw=f'{{"x": "{secret}-10"'.encode(), redeliver=False)
    for code in (131026, 131016, 100):
        office.whatsapp.fail_next(code, to=number)
    maria.api.say(id, f"{secret}-11")
    office.whatsapp.drop_after_accept(to=number)
    maria.api.say(id, f"{secret}-12")
    wrong = "Senha-Errada#2026"
    office.anybody.call("POST", "/api/v1/auth/login", json={"email": maria.user["email"], "password": wrong}, expect=401)
    office.anybody.call("POST", "/api/v1/auth/login", body=f"username=x&password={wrong}".encode(), headers={"Content-Type": "application/x-www-form-urlencoded"})
    office.anybody.call("POST", "/api/auth/register", json={"email": "z@example.com", "password": "fraca-demais"})
    refreshed = office.anybody.login(maria.user["email"], maria.password).refresh()
    Api(office.server, token=maria.token + "x").call("GET", "/api/v1/conversations/", expect=401)
    Api(office.server, api_key="chave-errada-123").call("GET", "/consultores")
    try:
        bad = office.desk(Api(office.server, token="token-ruim-no-soquete"))
        bad.leave()
    except Exception:
        pass
    office.server.stop()
    written = office.server.logs().decode("utf-8")
    assert len(lines(office)) > 20
    secrets = [
        secret, ADMIN_PASSWORD, maria.password, wrong, "fraca-demais", maria.token, refreshed.token, refreshed.session["refresh_token"],
        maria.api.session["refresh_token"], maria.token.split(".")[2], API_KEY, APP_SECRET, SECRET_KEY, VERIFY_TOKEN, WHATSAPP_TOKEN, "chave-errada-123",
        "token-ruim-no-soquete",
    ]
    found = [(s, next(line for line in written.splitlines() if s in line)[:300]) for s in secrets if s in written]
    assert not found, found


def test_a_refused_start_says_what_is_wrong(offices):
    for environment in ({"PORT": "not-a-port"}, {"OFFER_TIMEOUT_SECONDS": "soon"}, {"ENVIRONMENT": "production", "SECRET_KEY": ""}):
        office = offices(start=False)
        office.server.environment |= environment
        office.server.start(ready=False)
        code = office.server.wait(15)
        office.server.process = None
        assert code > 0, f"{environment}: ended with {code}"
        said = office.server.logs().decode("utf-8", "replace")
        assert list(environment)[-1] in said, f"the message names {list(environment)[-1]}: {said}"
        assert not re.search(r"Fatal error|Stack dump", said), said
