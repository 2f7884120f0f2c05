"""`agentnode keys`: made, rotated and revoked on the folder, and the operator's frame of a tenant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agentnode.cli.main import app


@pytest.fixture
def keys(tmp_path: Path) -> Any:
    def run(*arguments: str, exit_code: int = 0) -> str:
        result = CliRunner().invoke(app, ["keys", *arguments, "--data", str(tmp_path)])
        assert result.exit_code == exit_code, result.output
        return result.stdout.strip()

    return run


def test_a_key_with_a_role_is_made_rotated_and_revoked(keys: Any) -> None:
    """Each secret is printed alone, or as one JSON document; a list shows its name as it is."""
    assert keys("create", "ops", "--tenant", "node", "--role", "owner").startswith("p402_live_")
    made = json.loads(keys("create", "[/ci]", "--role", "viewer", "--json"))
    assert "[/ci]" in keys("list")
    assert (made["tenant_id"], made["scopes"]) == ("default", ["meter:read"])
    rotated = json.loads(keys("rotate", made["id"], "--overlap-s", "60", "--json"))
    assert rotated["id"] == made["id"] and rotated["key"] != made["key"]
    assert json.loads(keys("revoke", made["id"], "--json"))["revoked"] is True


def test_the_operator_may_widen_a_tenants_policy_and_say_how_it_is_billed(keys: Any) -> None:
    """And reads what holds; a tenant made here is open."""
    made = json.loads(keys("create", "ci", "--tenant", "acme", "--json"))
    before = json.loads(keys("policy", "--tenant", "acme"))
    assert (before["billing"], before["limits"]["usd_per_day"]) == ("open", 1000)
    frame = json.dumps({"limits": {"usd_per_day": 5000}, "billing": "prepaid"})
    after = json.loads(keys("policy", "--tenant", "acme", "--set", frame))
    assert (after["billing"], after["limits"]["usd_per_day"]) == ("prepaid", 5000)
    of_key = keys("policy", "--tenant", "acme", "--key", made["id"], "--set", '{"limits": {"concurrent": 1}}')
    assert json.loads(of_key)["limits"]["concurrent"] == 1
