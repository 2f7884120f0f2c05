"""Selling's leaves of the error tree.

AgentNodeError
+-- ApiUnreachable           502   API_UNREACHABLE: the wrapped API gave no answer; the payment stays on its receipt
"""

from __future__ import annotations

from ledger.errors import AgentNodeError


class ApiUnreachable(AgentNodeError):
    """The wrapped API gave no answer of use; what was paid stays on its receipt."""

    code = "API_UNREACHABLE"
    status = 502
