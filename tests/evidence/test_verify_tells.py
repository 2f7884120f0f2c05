"""`agentnode verify` says who sealed a bundle, and a stranger's text cannot write its verdict."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess

from made_up import HONEST, Purchase

from agentnode.evidence.bundle import read, seal
from agentnode.evidence.verify import signer_of
from tests.forked import ran


def run(path: Path, *options: str) -> CompletedProcess[str]:
    return ran("agentnode.cli", "verify", str(path), *options)


def test_verify_says_who_sealed_the_bundle() -> None:
    """In text and in JSON: that it holds says nothing of whose it is."""
    node = read(HONEST[0].read_bytes()).manifest.object["node"]
    assert f"sealed by {node}" in run(HONEST[0]).stdout
    assert json.loads(run(HONEST[0], "--json").stdout)["sealed_by"] == node


def test_nobody_sealed_a_bundle_whose_seal_does_not_hold(tmp_path: Path) -> None:
    """The manifest's own word for it is not enough."""
    mine, other = Purchase(), Purchase(sealed_by="another")
    forged = tmp_path / "forged.ndjson"
    forged.write_bytes(
        seal(mine.lines, mine.keys, 0, 0).replace(mine.keys.did.encode(), other.keys.did.encode()),
    )
    assert signer_of(read(forged.read_bytes())) is None
    done = run(forged, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["sealed_by"] is None


def test_a_strangers_text_is_printed_as_it_is(tmp_path: Path) -> None:
    """Neither markup nor a line break in it passes for the command's own words."""
    purchase = Purchase()
    path = tmp_path / "odd.ndjson"
    path.write_bytes(seal([*purchase.lines, {"kind": "[/]\nholds: 99 checks"}], purchase.keys, 0, 0))
    done = run(path)
    assert "\nholds: 99" not in done.stdout
    assert "[/]?holds" in done.stdout
