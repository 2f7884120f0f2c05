"""The guard as a client meets it: which layer refuses, with what, in which order; and who pays, to the nano."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.scenarios.engine_node import reading
from tests.scenarios.gateway import Gateway, User, upstream_table
from tests.upstream import FakeUpstream

BIG = {"max_tokens": 900}
"""Can cost 0.0018 USD and its prompt; SMALL can cost a tenth of that, and does a hundredth."""
SMALL = {"max_tokens": 1}
_numbers = itertools.count()


@pytest.fixture(scope="module")
def gateway(upstream_process: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    tables = [upstream_table("mock", upstream_process.api, "m1"), upstream_table("toy", upstream_process.api, "t1")]
    tables[1]["test"] = True
    node = Gateway(tmp_path_factory.mktemp("guard") / "node", tables)
    yield node
    assert node.stop() == 0


def somebody(gateway: Gateway, **how: Any) -> User:
    """Of a tenant of their own."""
    return gateway.user(f"tenant-{next(_numbers)}", **how)


RATE = {"limits": {"requests_per_hour": 1}}
DAY = {"limits": {"usd_per_day": "0.0003"}}
SLOTS = {"limits": {"concurrent": 1}}
REQUEST = {"limits": {"usd_per_request": "0.001"}}
CLAIMS = {"owner_type": "department", "owner_id": "claims", "period": "month", "limit_usd": "0.001"}
OWNER = {"budgets": [CLAIMS]}
LAYERS = ["rate", "day", "concurrency", "anomaly", "request", "budget"]
IN_ORDER: list[tuple[str, dict[str, Any], int, str, dict[str, str | None]]] = [
    ("rate", RATE, 429, "RATE_LIMIT_EXCEEDED", {"x-should-retry": None}),
    ("day", DAY, 429, "DAILY_LIMIT_EXCEEDED", {"Retry-After": None, "x-should-retry": "false"}),
    ("concurrency", SLOTS, 429, "TOO_MANY_CONCURRENT", {"retry-after-ms": "250", "x-should-retry": None}),
    ("request", REQUEST, 403, "REQUEST_TOO_EXPENSIVE", {"Retry-After": None}),
    ("budget", OWNER, 403, "OWNER_BUDGET_EXCEEDED", {"Retry-After": None}),
    ("budget", {}, 402, "SESSION_BUDGET_EXCEEDED", {"Retry-After": None, "PAYMENT-REQUIRED": None}),
]


@pytest.mark.parametrize("place", range(len(IN_ORDER)), ids=[case[3] for case in IN_ORDER])
def test_the_first_layer_that_refuses_is_named(gateway: Gateway, upstream: FakeUpstream, place: int) -> None:
    """Though all after it would refuse too. Status, code and headers are its own; the trace has the verdicts, and the
    upstream was not called."""
    layer, _, status, code, headers = IN_ORDER[place]
    limits = {name: value for _, said, *_ in IN_ORDER[place:] for name, value in said.get("limits", {}).items()}
    policy = {"limits": limits} | (OWNER if place <= 4 else {})
    user = somebody(gateway, policy=policy)
    asked = {"p402": {"session_id": user.session("0.001")}, "metadata": {"department": "claims"}}

    with taken_slot(user, upstream, taken=code == "TOO_MANY_CONCURRENT"):
        if layer == "rate":
            assert user.chat("first", **SMALL).status_code == 200
        before = upstream.count
        answer = user.chat("hello", **BIG, **asked)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], upstream.count) == (status, code, before), answer.text
    assert error["message"].startswith(f"{code}: ")
    assert {name: answer.headers.get(name) for name in headers} == headers
    if layer == "rate":
        assert 0 < int(answer.headers["Retry-After"]) <= 3600
        assert int(answer.headers["retry-after-ms"]) == error["retryAfterMs"]
    request_id = answer.headers["X-P402-Request-ID"]
    if layer in ("rate", "concurrency"):  # a flood books nothing
        assert user.ask("GET", f"/requests/{request_id}/trace", expect=404) == "NOT_FOUND"
        return
    (event,) = user.trace(request_id)
    assert (event["kind"], event["deny_code"], event["cost_usd_exact"]) == ("refusal", code, "0")
    at = LAYERS.index(layer)
    wanted = ["pass"] * at + ["refused"] + ["not reached"] * (len(LAYERS) - at - 1)
    assert event["trace"]["guard"] == dict(zip(LAYERS, wanted, strict=True))


class taken_slot:
    """One call at work while the body runs."""

    def __init__(self, user: User, upstream: FakeUpstream, taken: bool) -> None:
        self._user, self._upstream, self._taken = user, upstream, taken

    def __enter__(self) -> None:
        if self._taken:
            self._upstream.behave({"gate_after": 1})
            body = {"model": "m1", "messages": [{"role": "user", "content": "hold"}], "stream": True, **SMALL}
            request = self._user.http.build_request("POST", "/v1/chat/completions", json=body | {"max_tokens": 2})
            self._answer = self._user.http.send(request, stream=True)
            self._upstream.until(lambda seen: seen["waiting"] == 1)

    def __exit__(self, *_: object) -> None:
        if self._taken:
            self._upstream.open()
            self._answer.read()


def test_what_is_far_dearer_than_usual_is_refused_where_the_policy_is_hard(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    """After twenty small ones; a soft policy lets it through and says so in the trace."""
    for anomaly, status, verdict in (("hard", 403, "refused"), ("soft", 200, "flagged")):
        user = somebody(gateway, policy={"anomaly": anomaly})
        for _ in range(20):
            assert user.chat("hello", **SMALL).status_code == 200
        answer = user.chat("hello", n=8, **BIG)
        assert answer.status_code == status
        (event,) = user.trace(answer.headers["X-P402-Request-ID"])
        assert event["trace"]["guard"]["anomaly"] == verdict
        assert event["deny_code"] == ("COST_ANOMALOUS" if status == 403 else None)


def test_who_may_not_chat_or_names_anothers_things_reaches_no_upstream(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    """A viewer, another tenant's session, another's tenant_id, a session that has ended or expired."""
    user, other = somebody(gateway), somebody(gateway)
    viewer = user.ask("POST", "/keys", {"name": "eyes", "role": "viewer"}, 201)
    theirs, ended = other.session("1"), user.session("1")
    short = user.session("1", expires_in_hours=0.0003)
    user.ask("DELETE", f"/sessions/{ended}")
    while user.ask("GET", f"/sessions/{short}")["status"] != "expired":
        pass
    own = user.ask("GET", f"/sessions/{ended}")["tenant_id"]
    for by, p402, status, code in (
        (User(user.url, viewer["key"]), {}, 403, "SCOPE_MISSING"),
        (user, {"session_id": theirs}, 404, "NOT_FOUND"),
        (user, {"session_id": "sess_none"}, 404, "NOT_FOUND"),
        (user, {"tenant_id": "another"}, 403, "SCOPE_MISSING"),
        (user, {"session_id": ended}, 409, "SESSION_ENDED"),
        (user, {"session_id": short}, 409, "SESSION_EXPIRED"),
    ):
        for streamed in (False, True):
            answer = by.chat("hello", stream=streamed, p402=p402)
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
            assert answer.headers.get("x-should-retry") == ("false" if status == 409 else None)
    assert upstream.count == 0
    assert user.chat("hello", p402={"tenant_id": own}).status_code == 200


def test_who_is_prepaid_and_has_no_money_is_told_so_without_a_demand_for_payment(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    """Paying this request would cure it in no scheme that is offered here: our error object, no x402 header. Test
    money does not pay at an upstream that is not marked for it."""
    user = somebody(gateway, billing="prepaid")
    poor = user.chat("hello", **SMALL)
    user.ask("POST", "/credits/purchase", {"amount_usd": 1, "mode": "test"})
    for answer in (poor, user.chat("hello", **SMALL)):
        assert (answer.status_code, answer.json()["error"]["code"]) == (402, "INSUFFICIENT_BUDGET")
        assert "PAYMENT-REQUIRED" not in answer.headers and "accepts" not in answer.json()
    assert upstream.count == 0
    assert user.chat("hello", model="t1", **SMALL).status_code == 200


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def test_a_call_of_three_hundredths_of_a_cent_spends_three_hundredths_of_a_credit(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    """500 credits are 5 USD; what is left is exact, and the history sums to it."""
    user = somebody(gateway, billing="prepaid")
    user.ask("POST", "/credits/purchase", {"amount_usd": 5, "mode": "test"})
    upstream.behave(always={"usage": usage(100, 100)})
    for left in (499.97, 499.94):
        said = user.chat("hello", model="t1", max_tokens=100).json()["p402_metadata"]
        assert (said["cost_usd_exact"], said["credits_spent"], said["credits_balance"]) == ("0.0003", 0.03, left)
    balance = user.ask("GET", "/credits/balance")
    assert (balance["balance_exact"], balance["balance_usd_exact"]) == ("499.94", "4.9994")
    history = user.ask("GET", "/credits/history")["data"]
    assert [(entry["kind"], entry["credits_exact"]) for entry in history] == [
        *[("spend", "-0.03")] * 2,
        ("purchase", "500"),
    ]
    assert sum(Decimal(entry["credits_exact"]) for entry in history) == Decimal(balance["balance_exact"])
    assert history[0]["request_id"] == said["request_id"]


def test_test_money_alone_is_led_to_who_takes_it(gateway: Gateway, upstream: FakeUpstream) -> None:
    """Two models are equal, and the first by name takes real money. Who names it is told what is missing."""
    user = somebody(gateway, billing="prepaid")
    assert user.chat("hello", model="auto", **SMALL).json()["error"]["code"] == "INSUFFICIENT_BUDGET"
    user.ask("POST", "/credits/purchase", {"amount_usd": "1", "mode": "test"})
    answer = user.chat("hello", model="auto", **SMALL)
    assert (answer.status_code, answer.headers["X-P402-Provider"]) == (200, "toy"), answer.text
    refused = user.chat("hello", model="mock/m1", **SMALL)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (402, "INSUFFICIENT_BUDGET") and "test money" in error["message"]
    body = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
    excluded = user.ask("POST", "/route/explain", body)["excluded"]
    assert [each["rule"] for each in excluded if each["model"] == "mock/m1"] == ["test_money"]


def test_a_call_split_over_credits_and_a_sessions_funds_is_one_hold(gateway: Gateway, upstream: FakeUpstream) -> None:
    """Credits first, to their end; the funds pay the rest; the session's cap counts all of it."""
    user = somebody(gateway, billing="prepaid")
    user.ask("POST", "/credits/purchase", {"amount_usd": "0.0001", "mode": "test"})
    session_id = user.session("1")
    user.ask("POST", "/sessions/fund", {"session_id": session_id, "amount": "0.5", "source": "test"})
    upstream.behave({"usage": usage(100, 100)})
    answer = user.chat("hello", model="t1", max_tokens=100, p402={"session_id": session_id})
    said = answer.json()["p402_metadata"]
    assert (said["cost_usd_exact"], said["credits_spent"], said["credits_balance"]) == ("0.0003", 0.01, 0.0)
    budget = user.ask("GET", f"/sessions/{session_id}")["budget"]
    assert (budget["used_usd"], budget["held_usd"]) == (0.0003, 0.0)

    async def booked() -> tuple[list[Any], list[Any]]:
        async with reading(gateway.settings.database) as rows:
            holds = await rows(
                "SELECT state, captured_usd_nanos FROM holds WHERE event_id = :id", id=answer.json()["id"]
            )
            purses = "SELECT id, spent_usd_nanos, held_usd_nanos FROM budgets WHERE id IN (:credits, :funds)"
            names = {"credits": f"test-credits:{said['tenant_id']}", "funds": f"test-funds:{session_id}"}
            return holds, await rows(purses, **names)

    holds, purses = asyncio.run(booked())
    assert [tuple(hold) for hold in holds] == [("captured", 300_000)]
    assert {purse[0].split(":")[0]: tuple(purse[1:]) for purse in purses} == {
        "test-credits": (100_000, 0),
        "test-funds": (200_000, 0),
    }
