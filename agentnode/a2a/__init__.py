"""Agent2Agent: the card, the endpoint in 1.0 and 0.3, and the runtime that brings each task to its end."""

from __future__ import annotations

import a2a.server.routes  # noqa: F401  first: the SDK's modules import each other in a circle
from a2a.types.a2a_pb2 import AgentCard
from starlette.routing import BaseRoute

from agentnode.a2a.answers import Answer, Done, NeedsInput, Piece, Rejected
from agentnode.a2a.card import Sign, agent_card, card_routes, security_schemes
from agentnode.a2a.endpoint import Authenticate, a2a_routes
from agentnode.a2a.errors import (
    SkillFailed,
    SkillUnknown,
    TaskBusy,
    TaskEnded,
    TaskMissing,
    TaskNotStoppable,
    TaskPaidByAnother,
)
from agentnode.a2a.extended import About, ExtendedCard
from agentnode.a2a.gate import Gate
from agentnode.a2a.paths import REST_PATH, RPC_PATH
from agentnode.a2a.paying import PaymentUnderWay
from agentnode.a2a.runtime import TaskRuntime
from agentnode.a2a.skills import Skill, Skills, Work, ask, ask_pricing, echo, sold


def routes(
    runtime: TaskRuntime,
    card: AgentCard,
    authenticate: Authenticate,
    made_at_us: int,
    sign: Sign,
    about: About | None = None,
) -> list[BaseRoute]:
    """Everything that A2A serves over HTTP, absolute paths. `made_at_us`: when the card last changed.

    `about` says what an extended card adds, where the card claims one.
    """
    assert card.capabilities.extended_agent_card == (about is not None), "the card tells the truth"
    extended = ExtendedCard(card, sign, about) if about is not None else None
    return [*card_routes(card, made_at_us, sign), *a2a_routes(runtime, authenticate, extended)]


__all__ = [
    "REST_PATH",
    "RPC_PATH",
    "Answer",
    "Authenticate",
    "Done",
    "Gate",
    "NeedsInput",
    "PaymentUnderWay",
    "Piece",
    "Rejected",
    "Skill",
    "SkillFailed",
    "SkillUnknown",
    "Skills",
    "TaskBusy",
    "TaskEnded",
    "TaskMissing",
    "TaskNotStoppable",
    "TaskPaidByAnother",
    "TaskRuntime",
    "Work",
    "agent_card",
    "ask",
    "ask_pricing",
    "card_routes",
    "echo",
    "routes",
    "security_schemes",
    "sold",
]
