"""What a seller may ask, as x402 objects."""

from __future__ import annotations

from typing import Any

from ledger.money import NANOS_PER_USD, Asset

TOKEN = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
PAYEE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
USDC = Asset("eip155:31337", TOKEN, "USD Coin", "2", 6, NANOS_PER_USD)


def accepts(**change: Any) -> dict[str, Any]:
    return {
        "scheme": "exact",
        "network": "eip155:31337",
        "asset": TOKEN,
        "amount": "10000",
        "payTo": PAYEE,
        "maxTimeoutSeconds": 300,
        "extra": {"name": "USD Coin", "version": "2"},
        **change,
    }


def required(*entries: dict[str, Any], version: int = 2) -> dict[str, Any]:
    return {"x402Version": version, "accepts": list(entries or (accepts(),))}


def version_1(**change: Any) -> dict[str, Any]:
    entry = {**accepts(), "network": "base-sepolia", "maxAmountRequired": "10000", **change}
    del entry["amount"]
    return {"x402Version": 1, "accepts": [entry], "error": ""}
