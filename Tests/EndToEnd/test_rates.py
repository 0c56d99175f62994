"""Limits on HTTP requests: of a user, and of an address without a credential; the headers that say how it stands; and room enough for everybody who works."""

import concurrent.futures
import time

import pytest

from harness.api import is_clear_error
from harness.office import WEBHOOK
from harness.process import ADMIN_EMAIL, ADMIN_PASSWORD, run

pytestmark = pytest.mark.timeout(120)

NAMES = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "ratelimit-policy")


def is_too_many(reply):
    body = is_clear_error(reply, 429)
    assert body["code"] == "rate_limited" and body["class"] and body["limit"], body
    assert int(reply.headers["retry-after"]) >= 1 and reply.headers["ratelimit-remaining"] == "0", reply.headers
    return body


def test_every_answer_says_how_it_stands(office):
    replies = [office.admin.call("GET", "/api/v1/conversations/") for _ in range(3)]
    for reply in replies:
        assert all(reply.headers.get(name) for name in NAMES), reply.headers
    assert replies[0].headers["ratelimit-policy"] == "20000;w=2" and replies[0].headers["ratelimit-limit"] == "20000"
    assert int(replies[0].headers["ratelimit-remaining"]) <= 19_999
    assert all(office.anybody.call("GET", "/health").headers.get(name) for name in NAMES)


def test_a_user_who_asks_too_much_is_refused_alone_and_served_again(offices):
    office = offices(PLANTAO_REQUESTS_PER_SECOND_READS=2, PLANTAO_REQUEST_BURST_READS=5)
    maria, joao = office.hire("Maria"), office.hire("João")
    replies = [maria.api.call("GET", "/api/v1/notices") for _ in range(8)]
    assert [r.status for r in replies[:5]] == [200] * 5
    refused = next(r for r in replies if r.status == 429)
    assert is_too_many(refused)["class"] == "reads"
    assert joao.api.call("GET", "/api/v1/notices").status == 200, "another user of the same business"
    office.anybody.call("GET", "/health", expect=200)
    # Writing is another allowance.
    assert maria.api.call("POST", "/api/v1/auth/logout", expect=200)
    deadline = time.monotonic() + 30
    while joao.api.call("GET", "/api/v1/notices").status != 200:
        assert time.monotonic() < deadline


def test_one_flooded_endpoint_leaves_the_others_alone_up_to_a_bound_over_all(offices):
    office = offices(PLANTAO_REQUESTS_PER_SECOND_READS=1, PLANTAO_REQUEST_BURST_READS=4, PLANTAO_REQUESTS_PER_SECOND_OVERALL=1, PLANTAO_REQUEST_BURST_OVERALL=40)
    maria = office.hire("Maria")
    statuses = [maria.api.call("GET", "/api/v1/notices").status for _ in range(60)]
    assert statuses[:4] == [200] * 4 and statuses.count(429) > 30
    # What was refused there has cost nothing elsewhere.
    for path in ("/api/v1/conversations/", "/consultores", "/circuit-breakers", "/api/v1/users/"):
        assert [maria.api.call("GET", path).status for _ in range(4)] == [200] * 4, path
    assert maria.api.call("GET", f"/consultor/{maria.id}").status == 200
    # Of one route all ids are one endpoint.
    statuses = [maria.api.call("GET", f"/consultor/{n}").status for n in range(1000, 1008)]
    assert 429 in statuses
    classes = {is_too_many(r)["class"] for r in (maria.api.call("POST", "/api/v1/auth/password", json={}) for _ in range(60)) if r.status == 429}
    assert classes <= {"overall", "writes"}
    done = [maria.api.call("PUT", f"/consultor/{maria.id}/connection?status_online=true") for _ in range(60)]
    assert {is_too_many(r)["class"] for r in done if r.status == 429} == {"overall"}


def test_searches_in_texts_and_files_have_less(offices):
    office = offices(PLANTAO_REQUESTS_PER_SECOND_SEARCHES=1, PLANTAO_REQUEST_BURST_SEARCHES=2, PLANTAO_REQUESTS_PER_SECOND_MEDIA=1, PLANTAO_REQUEST_BURST_MEDIA=2)
    maria = office.hire("Maria")
    id = office.attended_by(maria)["id"]
    searched = [maria.api.call("GET", "/api/v1/conversations/?text=oi") for _ in range(6)]
    assert is_too_many(next(r for r in searched if r.status == 429))["class"] == "searches"
    sent = [maria.api.call("POST", f"/api/v1/conversations/{id}/media", body=b"x", headers={"Content-Type": "text/plain"}) for _ in range(6)]
    assert is_too_many(next(r for r in sent if r.status == 429))["class"] == "media"
    assert maria.api.call("GET", "/api/v1/conversations/?q=oi").status == 200


def test_logins_of_one_address_are_limited_and_of_another_behind_our_proxy_not(offices):
    office = offices(
        PLANTAO_REQUESTS_PER_SECOND_LOGIN=1, PLANTAO_REQUEST_BURST_LOGIN=3, PLANTAO_TRUSTED_PROXIES="127.0.0.1,10.0.0.0/8",
    )

    def login(forwarded):
        return office.anybody.call(
            "POST", "/api/v1/auth/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}, headers={"X-Forwarded-For": forwarded},
        )

    statuses = [login("203.0.113.7").status for _ in range(6)]
    assert statuses[:3] == [200] * 3 and 429 in statuses, statuses
    assert login("203.0.113.8").status == 200
    # What a client writes itself stands to the left of what our proxy writes.
    statuses = [login(f"198.51.100.{n}, 203.0.113.9, 10.1.2.3").status for n in range(6)]
    assert statuses[:3] == [200] * 3 and 429 in statuses, statuses
    # Of IPv6 a /64 is one.
    statuses = [login(f"2001:db8::{n:x}").status for n in range(6)]
    assert statuses[:3] == [200] * 3 and 429 in statuses, statuses


def test_a_stranger_is_not_believed_about_where_they_are(offices):
    office = offices(PLANTAO_REQUESTS_PER_SECOND_PUBLIC_READS=1, PLANTAO_REQUEST_BURST_PUBLIC_READS=5)
    replies = [office.anybody.call("GET", "/info", headers={"X-Forwarded-For": f"203.0.113.{n}"}) for n in range(20)]
    assert is_too_many(next(r for r in replies if r.status == 429))["class"] == "public_reads"


def test_a_credential_that_is_worth_nothing_counts_as_none(offices):
    office = offices(PLANTAO_REQUESTS_PER_SECOND_PUBLIC_READS=1, PLANTAO_REQUEST_BURST_PUBLIC_READS=5)
    replies = [office.anybody.call("GET", "/api/v1/notices", headers={"Authorization": f"Bearer x{n}"}) for n in range(20)]
    assert {r.status for r in replies} == {401, 429}
    assert office.admin.call("GET", "/api/v1/notices").status == 200, "who has a good one is not held up by it"


def test_deliveries_have_an_allowance_of_their_own(offices):
    office = offices(PLANTAO_REQUESTS_PER_SECOND_WEBHOOKS=1, PLANTAO_REQUEST_BURST_WEBHOOKS=4)
    statuses = [office.anybody.call("POST", WEBHOOK, body=b"{}").status for _ in range(8)]
    assert statuses[:4] == [401] * 4 and 429 in statuses, statuses


def test_five_hundred_at_once_and_thousands_of_one_user_pass_by_default(office):
    admin = office.admin
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        for path in ("/health", "/api/v1/notices"):
            statuses = list(pool.map(lambda _: admin.call("GET", path, timeout=60).status, range(500)))
            assert set(statuses) == {200}, path
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: admin.call("GET", "/api/v1/notices", timeout=60).status, range(3000))) == {200}
    print(f"3000 requests of one user in {time.monotonic() - began:.1f} s, none refused")


def test_a_setting_that_makes_no_sense_stops_the_start():
    done = run("routes", PLANTAO_TRUSTED_PROXIES="10.0.0.0/99")
    assert done.returncode == 78 and "PLANTAO_TRUSTED_PROXIES" in done.stderr
