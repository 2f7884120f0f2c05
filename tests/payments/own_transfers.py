"""What a payer does who sends the token itself: a transfer, and its claim, signed."""

from __future__ import annotations

from typing import Any

from eth_account.signers.local import LocalAccount

from tests.devchain.devchain_process import ChainProcess
from trust.signatures import eip712


def transferred(chain: ChainProcess, payer: LocalAccount, asset: str, payee: str, amount: int) -> str:
    """The transaction's hash; the payer is given USDT by one of the chain's own accounts where it has none."""
    token = chain.contract("PlainToken", asset)
    data = token.encode_abi("transfer", args=[chain.web3.to_checksum_address(payee), amount])
    receipt = chain.send(payer, to=token.address, data=data)
    return str(receipt["transactionHash"].to_0x_hex())


def usdt(chain: ChainProcess) -> str:
    return str(chain.info()["tokens"]["plain"]["address"])


def with_usdt(chain: ChainProcess, amount: int = 1_000_000) -> LocalAccount:
    """A fresh account with USDC, ether, and USDT from the chain's third account."""
    payer = chain.funded("1")
    rich = chain.web3.eth.account.from_key(chain.info()["accounts"][2]["private_key"])
    transferred(chain, rich, usdt(chain), payer.address, amount)
    return payer


def claim_signature(payer: LocalAccount, tx_hash: str, name: str, authority: str) -> str:
    message = eip712.ClaimMessage(name, bytes.fromhex(tx_hash[2:]))
    return eip712.sign(eip712.claim_typed_data(message, 31337, authority), payer)


def claim_payload(payer: LocalAccount, tx_hash: str, accepts: dict[str, Any]) -> dict[str, Any]:
    """The PaymentPayload of version 2 that claims the transfer for the requirement."""
    extra = accepts["extra"]
    name = extra.get("paymentId") or extra["quoteId"]
    inner = {"txHash": tx_hash, "signature": claim_signature(payer, tx_hash, name, extra["authority"])}
    return {"x402Version": 2, "accepted": accepts, "payload": inner}


def claimed(
    chain: ChainProcess, payer: LocalAccount, accepts: dict[str, Any], amount: int | None = None
) -> dict[str, Any]:
    """Sent and claimed, as it was asked."""
    value = int(accepts["amount"]) if amount is None else amount
    return claim_payload(payer, transferred(chain, payer, accepts["asset"], accepts["payTo"], value), accepts)
