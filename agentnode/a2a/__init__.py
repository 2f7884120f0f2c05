"""Agent2Agent: the card, the endpoint in 1.0 and 0.3, and the runtime that brings each task to its end."""

from __future__ import annotations

import a2a.server.routes  # noqa: F401  first: the SDK's modules import each other in a circle

from agentnode.a2a.answers import Answer, Done, NeedsInput, Piece, Rejected
from agentnode.a2a.assembly import Tasks, open_tasks, routes
from agentnode.a2a.card import agent_card, card_routes, security_schemes
from agentnode.a2a.endpoint import Authenticate
from agentnode.a2a.errors import (
    SkillFailed,
    SkillUnknown,
    TaskBusy,
    TaskEnded,
    TaskMissing,
    TaskNotStoppable,
    TaskPaidByAnother,
)
from agentnode.a2a.gate import Gate
from agentnode.a2a.paths import REST_PATH, RPC_PATH
from agentnode.a2a.paying import PaymentUnderWay
from agentnode.a2a.runtime import TaskRuntime
from agentnode.a2a.skills import Skill, Skills, Work, ask, ask_pricing, echo, sold

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
    "Tasks",
    "Work",
    "agent_card",
    "ask",
    "ask_pricing",
    "card_routes",
    "echo",
    "open_tasks",
    "routes",
    "security_schemes",
    "sold",
]
