"""How A2A is spoken: over HTTP in 1.0, in 0.3 and in P402's words, the card that says so, and what a push says."""

from __future__ import annotations

import a2a.server.routes  # noqa: F401  first: the SDK's modules import each other in a circle

from agentnode.a2a.dialects.card import agent_card, security_schemes
from agentnode.a2a.dialects.endpoint import Authenticate
from agentnode.a2a.dialects.extended_card import About
from agentnode.a2a.dialects.responses import push_body
from agentnode.a2a.dialects.routes import routes

__all__ = ["About", "Authenticate", "agent_card", "push_body", "routes", "security_schemes"]
