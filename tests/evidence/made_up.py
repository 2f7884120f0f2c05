"""Bundles of our own making, all honest until a test changes one thing: USDC on Base, no chain and no node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from eth_account import Account
from eth_account.signers.local import LocalAccount

from agentnode.evidence.bundle import Bundle, read, seal
from agentnode.evidence.verify import verify
from tests.node_keys import node_keys
from trust.chain_records import TRANSFER
from trust.signatures import eip712

HERE = Path(__file__).parent
HONEST = [HERE / "honest-buyer.ndjson", HERE / "honest-seller.ndjson"]
TOKEN = "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"
PAYER: LocalAccount = Account.create()
PAYEE, STRANGER = "0x" + "bb" * 20, "0x" + "cc" * 20
NONCE, OTHER_NONCE = "0x" + "01" * 32, "0x" + "02" * 32
NOW_S = 1_800_000_000
AMOUNT = 10_000
FIELDS = {
    "from": "address",
    "to": "address",
    "value": "uint256",
    "validAfter": "uint256",
    "validBefore": "uint256",
    "nonce": "bytes32",
}

Lines = list[dict[str, Any]]


def call_data(signer: LocalAccount = PAYER, signature: bytes | None = None, valid_before_s: int = 2**40) -> bytes:
    """`transferWithAuthorization` from PAYER to PAYEE, signed by `signer` or with these bytes."""
    terms = [PAYER.address.lower(), PAYEE, AMOUNT, 0, valid_before_s, bytes.fromhex(NONCE[2:])]
    signed = signer.sign_typed_data(
        {"name": "USD Coin", "version": "2", "chainId": 8453, "verifyingContract": TOKEN},
        {"TransferWithAuthorization": [{"name": name, "type": kind} for name, kind in FIELDS.items()]},
        dict(zip(FIELDS, terms, strict=True)),
    )
    proof = bytes(signed.signature) if signature is None else signature
    return bytes.fromhex("cf092995") + encode([*FIELDS.values(), "bytes"], [*terms, proof])


def transaction(data: bytes) -> dict[str, Any]:
    """A transaction of anybody with that call data, and a log as if the money had moved."""
    fields = {"type": 2, "chainId": 8453, "nonce": 0, "value": 0, "gas": 100_000, "data": data}
    fees = {"maxFeePerGas": 1, "maxPriorityFeePerGas": 1}
    signed = Account.create().sign_transaction(
        {**fields, **fees, "to": "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"},
    )
    tx_hash = signed.hash.to_0x_hex()
    log = {
        "address": TOKEN,
        "topics": [TRANSFER, *("0x" + "00" * 12 + address.lower()[2:] for address in (PAYER.address, PAYEE))],
        "data": f"0x{AMOUNT:064x}",
        "logIndex": "0x0",
        "transactionHash": tx_hash,
        "blockNumber": "0x1",
    }
    return {
        "kind": "transaction",
        "network": "eip155:8453",
        "hash": tx_hash,
        "raw": signed.raw_transaction.to_0x_hex(),
        "receipt": {"transactionHash": tx_hash, "status": "0x1", "logs": [log]},
    }


class Purchase:
    """One purchase, with a line of each kind: a test changes a line and asks what fails."""

    def __init__(
        self, data: bytes = b"", payees: tuple[str, ...] = (PAYEE,), until_s: int = 2**32, sealed_by: str = "node"
    ) -> None:
        self.keys = node_keys(sealed_by)
        self.transaction = transaction(data or call_data())
        self.tx_hash = self.transaction["hash"]
        self.mandate = self._mandate(list(payees), until_s)
        self.mandate_use = self.use()
        self.payment = {
            "kind": "payment",
            "payment_id": NONCE,
            "price_usd_nanos": "10000000",
            "network": "eip155:8453",
            "asset": TOKEN,
            "name": "USD Coin",
            "version": "2",
            "decimals": 6,
            "usd_nanos_per_token": "1000000000",
            "payer": PAYER.address.lower(),
            "payee": PAYEE,
            "amount_atomic": str(AMOUNT),
            "tx_hash": self.tx_hash,
        }
        self.receipt = self.receipt_with()
        self.event = self.event_with()

    @property
    def lines(self) -> Lines:
        return [self.mandate, self.mandate_use, self.payment, self.transaction, self.receipt, self.event]

    def event_with(self, **other: Any) -> dict[str, Any]:
        event = {
            "kind": "hire",
            "at_us": NOW_S * 1_000_000,
            "task_id": "task_1",
            "payment_id": NONCE,
            "cost_usd_nanos": "10000000",
            "mandate_id": "mnd_1",
            "mandate_use_id": "use_1",
        }
        return {"kind": "event", "event": {**event, **other}}

    def receipt_with(self, **other: Any) -> dict[str, Any]:
        claims = {
            "iss": self.keys.did,
            "jti": "rcpt_1",
            "transaction": self.tx_hash,
            "asset": TOKEN,
            "payer": PAYER.address.lower(),
            "payee": PAYEE,
            "amount": str(AMOUNT),
            "task_id": "task_1",
            "payment_id": "pay_1",
            "network": "eip155:8453",
        }
        return {
            "kind": "receipt",
            "issuer": self.keys.did,
            "jws": self.keys.sign({**claims, **other}, "x402-receipt+jwt"),
        }

    def use(self, **other: Any) -> dict[str, Any]:
        claims = {
            "mandate": "mnd_1",
            "mandate_digest": self.mandate["digest"],
            "use": "use_1",
            "amount_usd_nanos": "10000000",
            "payee": PAYEE,
            "aud": None,
            "nonce": "00",
            "exp": NOW_S + 60,
        }
        return {
            "kind": "mandate_use",
            "use_id": "use_1",
            "mandate_id": "mnd_1",
            "state": "captured",
            "amount_usd_nanos": "10000000",
            "token": self.keys.sign({**claims, **other}, "mandate-use+jwt"),
        }

    def _mandate(self, payees: list[str], until_s: int, agent: str = PAYER.address) -> dict[str, Any]:
        grantor = Account.create()
        message = eip712.MandateMessage(
            kind="intent",
            grantor=f"did:pkh:eip155:8453:{grantor.address.lower()}",
            agent=f"did:pkh:eip155:8453:{agent.lower()}",
            max_amount_usd_nanos=50_000_000,
            categories=["agent_hire"],
            payees=payees,
            valid_from_s=1_000,
            valid_until_s=until_s,
            nonce=b"\5" * 32,
        )
        typed = eip712.mandate_typed_data(message, 8453, self.keys.did)
        return {
            "kind": "mandate",
            "mandate_id": "mnd_1",
            "digest": "0x" + eip712.digest(typed).hex(),
            "typed_data": typed,
            "signature": eip712.sign(typed, grantor),
        }

    def of_agent(self, agent: str) -> None:
        """Grant the mandate to another agent."""
        self.mandate = self._mandate([PAYEE], 2**32, agent)
        self.mandate_use = self.use()

    def bundle(self, lines: Lines | None = None) -> Bundle:
        return read(seal(self.lines if lines is None else lines, self.keys, NOW_S * 1_000_000, 0))

    def failing(self, lines: Lines | None = None, chain_asked: bool = False) -> dict[str, str]:
        """What was seen by the failed checks, by the kind of their lines."""
        checks = verify(self.bundle(lines), chain_asked=chain_asked)
        return {check.kind: check.seen for check in checks if not check.ok}
