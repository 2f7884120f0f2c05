"""Agent2Agent: the runtime that brings each task to its end, skills that do the work, dialects in which it is asked."""

from __future__ import annotations

from agentnode.a2a.assembly import open_tasks
from agentnode.a2a.dialects import agent_card, push_body, routes, security_schemes
from agentnode.a2a.errors import SkillUnknown, TaskBusy, TaskEnded, TaskNotStoppable
from agentnode.a2a.incoming import Incoming
from agentnode.a2a.node_skills import ask, ask_pricing, echo, sold
from agentnode.a2a.runtime import TaskRuntime
from agentnode.a2a.skills import INPUT_MODES, Answer, Done, NeedsInput, Piece, Rejected, Skill, Skills, Work
from agentnode.a2a.toll_gate import Gate

__all__ = [
    "INPUT_MODES",
    "Answer",
    "Done",
    "Gate",
    "Incoming",
    "NeedsInput",
    "Piece",
    "Rejected",
    "Skill",
    "SkillUnknown",
    "Skills",
    "TaskBusy",
    "TaskEnded",
    "TaskNotStoppable",
    "TaskRuntime",
    "Work",
    "agent_card",
    "ask",
    "ask_pricing",
    "echo",
    "open_tasks",
    "push_body",
    "routes",
    "security_schemes",
    "sold",
]
