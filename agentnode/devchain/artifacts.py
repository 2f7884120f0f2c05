"""The compiled contracts that ship with the package; contracts/build.py makes them from contracts/src."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Artifact:
    """`storage` gives each state variable's slot by name; `creation` wants its constructor's arguments appended."""

    contract: str
    abi: list[dict[str, Any]]
    storage: dict[str, int]
    creation: bytes
    runtime: bytes
    sources: dict[str, str]


def artifact(contract: str) -> Artifact:
    """The artefact of one contract, by the name it has in Solidity (`UsdCoin`)."""
    text = files(__package__).joinpath("artifacts", f"{contract}.json").read_text()
    document = json.loads(text)
    return Artifact(
        contract=contract,
        abi=document["abi"],
        storage=document["storage"],
        creation=bytes.fromhex(document["creation"][2:]),
        runtime=bytes.fromhex(document["runtime"][2:]),
        sources=document["sources"],
    )
