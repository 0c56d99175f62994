"""What happens at once is decided once."""

import threading

import pytest

from fakes.whatsapp import text
from harness.api import Api, names_winner
from harness.desk import ReplyError
from harness.office import new_number
from harness.waiting import eventually

pytestmark = pytest.mark.timeout(180)


def at_once(*actions):
    """Runs the actions at the same moment and gives back what they gave."""
    barrier, results = threading.Barrier(len(actions)), [None] * len(actions)

    def run(n):
        barrier.wait(10)
        results[n] = actions[n]()

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(actions))]
    [t.start() for t in threads], [t.join(60) for t in threads]
    return results


def in_line(office, count):
    """So many customers who wait for a person: their conversations' ids."""
    numbers = [new_number() for _ in range(count)]
    office.deliver(*(text(n, "atendente") for n in numbers))
    waiting = eventually("all in line", lambda: len(w := office.admin.all_conversations(state="queued,offered")) >= count and w)
    return [c["id"] for c in waiting if c["contact"]["number"] in numbers]


def test_of_two_agents_who_claim_at_once_one_wins_and_the_other_is_told_who(office):
    maria, joao = office.hire("Maria", capacity=100, online=False), office.hire("João", capacity=100, online=False)
    screen = office.desk(maria, "conversations", "consultores")
    won = {maria.id: 0, joao.id: 0}
    for id in in_line(office, 60):
        replies = at_once(lambda: maria.api.try_command(id, "claim"), lambda: joao.api.try_command(id, "claim"))
        assert sorted(r.status for r in replies) == [200, 409], replies
        winner, loser = (maria, replies[1]) if replies[0].status == 200 else (joao, replies[0])
        names_winner(loser, winner)
        assert office.admin.conversation(id)["assignee"]["consultor_id"] == winner.id
        won[winner.id] += 1
    print("won:", won)
    assert [maria.api.consultor(a)["em_atendimento"] for a in won] == list(won.values())
    eventually("the screen", lambda: screen.agrees_with(maria.api))


def test_of_many_who_claim_at_once_by_rest_and_by_socket_one_wins(office):
    agents = [office.hire(f"Agente {n}", capacity=100, online=False) for n in range(6)]
    desks = [office.desk(agent) for agent in agents]

    def by_socket(desk, id):
        try:
            return desk.rpc("conversation.claim", {"conversation_id": id})["assignee"]["consultor_id"]
        except ReplyError as refused:
            assert refused.code == 409
            return None

    def by_rest(agent, id):
        reply = agent.api.try_command(id, "claim")
        assert reply.status in (200, 409), reply
        return reply.json()["assignee"]["consultor_id"] if reply.status == 200 else None

    for id in in_line(office, 20):
        winners = at_once(*(lambda a=a, d=d, n=n: by_rest(a, id) if n % 2 else by_socket(d, id) for n, (a, d) in enumerate(zip(agents, desks))))
        winners = [w for w in winners if w]
        assert len(winners) == 1 and office.admin.conversation(id)["assignee"]["consultor_id"] == winners[0]


def test_an_offer_accepted_and_a_claim_by_another_at_once_have_one_winner(office):
    maria, joao = office.hire("Maria", capacity=100), office.hire("João", capacity=100, online=False)
    for id in in_line(office, 20):
        replies = at_once(lambda: maria.api.try_command(id, "claim"), lambda: joao.api.try_command(id, "claim"))
        assert sorted(r.status for r in replies) == [200, 409], replies


def test_a_resolution_and_a_customers_message_at_once_lose_nothing(office):
    maria = office.hire(capacity=100)
    for _ in range(15):
        number = new_number()
        id = office.attended_by(maria, number)["id"]
        at_once(lambda: maria.api.resolve(id), lambda: office.says(number, "mais uma coisa"))
        conversations = [c for c in office.admin.conversations(q=number)["items"] if c["contact"]["number"] == number]
        said = [m["text"] for c in conversations for m in office.admin.all_messages(c["id"]) if m["direction"] == "in"]
        assert sorted(said) == ["atendente", "mais uma coisa"], "in the old conversation or in a new one, but once"
        assert office.admin.conversation(id)["state"] == "resolved" and len(conversations) in (1, 2)


def test_five_hundred_hand_offs_at_once_get_numbers_without_gap_or_repetition(office):
    numbers = [new_number() for _ in range(500)]
    turns = []
    office.hire("Maria", capacity=3)
    office.admin.create_consultor("Sem conta", status_online=True)

    def customers(mine):
        for number in mine:
            office.says(number, "atendente")

    def turn():
        api = office.integrator
        for _ in range(25):
            turns.append(api.get("/consultor/da-vez", idioma="pt")["numero_protocolo"])

    at_once(*(lambda n=n: customers(numbers[n::20]) for n in range(20)), turn, turn)
    issued = {c["contact"]["number"]: c["protocol"] for c in office.admin.all_conversations()}
    assert set(issued) == set(numbers) and len(turns) == 50
    every = sorted([*issued.values(), *turns])
    assert every == [f"#{n:05d}" for n in range(1, 551)]


def test_registrations_with_one_address_at_once_make_one_tenant(office):
    replies = at_once(*(
        lambda: Api(office.server).call("POST", "/api/auth/register", json={"email": "mesma@example.com", "password": "Unica#2026senha"}) for _ in range(8)
    ))
    assert sorted(r.status for r in replies)[0] == 201 and [r.status for r in replies].count(201) == 1, replies
    assert {r.status for r in replies} <= {201, 409, 422, 429}


def test_one_refresh_token_used_twice_at_once_is_good_at_most_once_without_a_grace(offices):
    office = offices(REFRESH_GRACE_SECONDS=0)
    maria = office.hire()
    token = maria.api.session["refresh_token"]
    replies = at_once(*(lambda: office.anybody.call("POST", "/api/v1/auth/refresh", json={"refresh_token": token}) for _ in range(6)))
    assert [r.status for r in replies].count(200) <= 1 and {r.status for r in replies} <= {200, 401}


def test_tabs_that_refresh_at_once_stay_in_the_same_session(office):
    maria = office.hire()
    token = maria.api.session["refresh_token"]
    replies = at_once(*(lambda: office.anybody.call("POST", "/api/v1/auth/refresh", json={"refresh_token": token}) for _ in range(6)))
    assert {r.status for r in replies} == {200}
    maria.api.conversations()
    for reply in replies:
        Api(office.server, token=reply.json()["access_token"]).conversations()
    assert len(maria.api.get("/api/v1/auth/sessions")["items"]) == 1
