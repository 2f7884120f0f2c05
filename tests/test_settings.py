"""What an operator says arrives where it counts, and what is no setting is refused by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentnode.settings import load
from ledger.accounts import OPERATOR
from ledger.errors import InvalidInput
from ledger.money import NANOS_PER_USD

_RPC = "https://rpc.example/key"


def test_the_command_line_goes_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('network = "eip155:1"\norigin = "https://file"\nport = 1\nname = "filed"\n')
    settings = load(
        {"AGENTNODE_ORIGIN": "https://environment", "AGENTNODE_NETWORK": "eip155:2"}, file, network="eip155:3"
    )
    assert (settings.chain_id, settings.url, settings.port) == (3, "https://environment", 1)
    assert (settings.name, settings.workers) == ("filed", 1)


def test_a_days_dollars_are_the_operators_for_its_own_tenant_and_the_others_for_all_others() -> None:
    settings = load({}, node_usd_per_day="7", tenant_usd_per_day="3")
    own, others = settings.default_limits(OPERATOR), settings.default_limits("acme")
    assert (own.usd_nanos_per_day, others.usd_nanos_per_day) == (7 * NANOS_PER_USD, 3 * NANOS_PER_USD)
    assert own.requests_per_hour > others.requests_per_hour, "what the node does for others is counted there"


@pytest.mark.parametrize("said", [{"chain": _RPC}, {"rpc_url": _RPC}], ids=["chain", "rpc_url"])
def test_a_chain_of_ones_own_is_named_by_either_setting(said: dict[str, str]) -> None:
    settings = load({}, **said)
    assert (settings.chain, settings.rpc_url, settings.has_chain) == (_RPC, _RPC, True)


def test_strangers_urls_reach_loopback_in_a_demo_only() -> None:
    demo, open_to_all, elsewhere = load({}), load({}, host="0.0.0.0"), load({}, network="eip155:8453")
    assert "127.0.0.1/32" in demo.reachable_nets
    assert open_to_all.reachable_nets == elsewhere.reachable_nets == []
    assert load({"AGENTNODE_ALLOW_NETS": "10.0.0.0/8, 10.1.0.0/16"}).reachable_nets == ["10.0.0.0/8", "10.1.0.0/16"]


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"colour": "red"}, "colour"),
        ({"port": 70_000}, "port"),
        ({"network": "base"}, "network"),
        ({"chain": "ftp://x"}, "settings"),
        ({"allow_nets": ["10.0.0.0/33"]}, "allow_nets"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_is_no_setting_or_malformed_is_refused_by_name(said: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        load({}, **said)
    assert refused.value.param == named
