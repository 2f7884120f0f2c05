"""Skills: registered in one place, priced, and `ask` answered by the engine on the node's own account."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest
from a2a_world import FixedKey, TestGate, incoming_text, payload, pushes

from agentnode.a2a import Skill, Skills, SkillUnknown, TaskRuntime, ask, ask_pricing, echo
from agentnode.payments import Rate
from agentnode.payments.asking.task_metadata import Submission
from engine import Call, Chunk, CompletionRequest, ModelUnavailable, Options
from ledger.accounts import ANONYMOUS, DEFAULT_LIMITS, Account, Policy
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.errors import BudgetRefused, InvalidInput
from ledger.spend import whole
from ledger.vault import Vault
from ledger.work import Idempotency


class Engine:
    """Says the prompt back, word by word, and remembers who asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[tuple[CompletionRequest, Account, Call]] = []

    async def stream(
        self, request: CompletionRequest, account: Account, call: Call, options: Options
    ) -> AsyncGenerator[list[Chunk], None]:
        self.asked.append((request, account, call))
        if self.error is not None:
            raise self.error
        for word in request.messages[0]["content"].split():
            yield [Chunk({"choices": [{"index": 0, "delta": {"content": word + " "}}]}, "mock")]


OWN = Account("node", None, None, Policy(DEFAULT_LIMITS), (whole("day_1"),), (), ())


async def day() -> Account:
    return OWN


async def paid(database: Database, engine: Engine) -> dict[str, Any]:
    clock, gate = SystemClock(), TestGate(SystemClock())
    vault = Vault(database, clock, FixedKey())
    idempotency = Idempotency(database, clock, vault)
    skills = Skills([echo(), ask(engine, day)])
    runtime = TaskRuntime(database, vault, clock, idempotency, "one", gate, skills, "http://node", pushes(database))
    asked = await runtime.send(incoming_text("one two", "ask", "m1"), ANONYMOUS)
    submission = Submission("payment-submitted", payload())
    done = await runtime.send(incoming_text("pay", "ask", "m2", task_id=asked["id"], submission=submission), ANONYMOUS)
    await runtime.close()
    return done


async def test_ask_is_answered_by_the_engine(database: Database) -> None:
    """0.01 USD; the upstream call is on the node's budgets and carries the task, its revenue and its receipt."""
    engine = Engine()
    done = await paid(database, engine)
    assert done["artifacts"][0]["parts"] == [{"text": "one two "}]
    ((request, account, call),) = engine.asked
    assert request.messages == [{"role": "user", "content": "one two"}]
    assert account is OWN
    assert (call.task_id, call.revenue_usd_nanos) == (done["id"], 10_000_000)
    assert call.receipt_id == f"rcpt_{done['id']}"


@pytest.mark.parametrize("error", [ModelUnavailable("no upstream has a key"), BudgetRefused("day_1", 5, 3)])
async def test_an_engines_refusal_fails_the_task_by_its_code(database: Database, error: Any) -> None:
    """The caller hears the code; what the operator's budgets hold is not told."""
    done = await paid(database, Engine(error))
    told = done["status"]["message"]["metadata"]
    assert done["status"]["state"] == "failed"
    assert told["error"]["code"] == error.code and "day_1" not in told["error"]["message"]
    assert told["x402.payment.receipts"][0]["success"] is True


async def test_a_configuration_that_is_none_is_refused_by_name() -> None:
    """It is metadata of the message, and so whatever a client of any version put there."""
    quoted = ask_pricing("quoted", Engine(), 1)
    with pytest.raises(InvalidInput, match="configuration"):
        await quoted.of("x", {"metadata": {"p402.configuration": "fast"}})


def test_skills_are_chosen_by_name() -> None:
    """The message's metadata before the request's; absent, `ask`; unknown, refused by name."""
    skills = Skills([echo(), ask(Engine(), day)])

    def of(*metadata: dict[str, Any]) -> str:
        return skills.of(replace(incoming_text("x", "ask", "m"), metadata=metadata)).id

    assert of({}, {}) == "ask"
    assert of({}, {"skill": "echo"}) == "echo"
    assert of({"skill": "ask"}, {"skill": "echo"}) == "ask"
    with pytest.raises(SkillUnknown, match="fly"):
        of({"skill": "fly"})


def test_the_card_shows_the_price() -> None:
    """A skill's terms name its price exactly."""
    assert ask(Engine(), day, Rate(1_500_000)).card_text.endswith("0.0015 USD per task.")
    assert isinstance(echo(), Skill) and echo().card_text.endswith("Free.")
