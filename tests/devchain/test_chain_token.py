"""The chain's USDC keeps Circle's promises: it moves on a signature, once, in its window, to whom it names."""

from __future__ import annotations

import time
from typing import Any

import pytest
from devchain_process import Authorization, ChainProcess, authorization, token_domain
from eth_account import Account
from web3.exceptions import ContractLogicError
from web3.logs import DISCARD

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def split(signature: Any) -> tuple[int, bytes, bytes]:
    return signature.v, signature.r.to_bytes(32, "big"), signature.s.to_bytes(32, "big")


def by_vrs(authorized: Authorization, signature: Any) -> tuple[Any, ...]:
    return (*authorized.arguments(), *split(signature))


def by_bytes(authorized: Authorization, signature: Any) -> tuple[Any, ...]:
    return (*authorized.arguments(), bytes(signature.signature))


def refusal(chain: ChainProcess, function: str, arguments: tuple[Any, ...], sender: str | None = None) -> str:
    """The words with which the token refuses the call."""
    call = getattr(chain.usdc().functions, function)(*arguments)
    with pytest.raises(ContractLogicError) as refused:
        call.call({"from": sender} if sender else {})
    return str(refused.value)


def settle(chain: ChainProcess, function: str, arguments: tuple[Any, ...], sender: Any) -> Any:
    usdc = chain.usdc()
    return chain.send(sender, to=usdc.address, data=usdc.encode_abi(function, args=list(arguments)))


@pytest.mark.parametrize("overload", [by_vrs, by_bytes])
def test_an_authorized_transfer_moves_the_amount_whoever_sends_it(chain: ChainProcess, overload: Any) -> None:
    """Either overload of transferWithAuthorization moves exactly the amount, and tells of it in both events."""
    payer, sender, payee = chain.funded("5"), chain.funded("0"), Account.create().address
    authorized = authorization(payer, payee, 1_250_000)
    receipt = settle(
        chain, "transferWithAuthorization", overload(authorized, authorized.sign(chain.info()["usdc"])), sender
    )
    usdc = chain.usdc()
    assert receipt.status == 1
    assert usdc.functions.balanceOf(payer.address).call() == 3_750_000
    assert usdc.functions.balanceOf(payee).call() == 1_250_000
    assert usdc.functions.authorizationState(payer.address, authorized.nonce).call() is True
    (used,) = usdc.events.AuthorizationUsed().process_receipt(receipt, errors=DISCARD)
    (moved,) = usdc.events.Transfer().process_receipt(receipt, errors=DISCARD)
    assert (used.args.authorizer, used.args.nonce) == (payer.address, authorized.nonce)
    assert (moved.args["from"], moved.args.to, moved.args.value) == (payer.address, payee, 1_250_000)


def test_an_authorization_is_used_once(chain: ChainProcess) -> None:
    """A second transaction with the same authorisation is mined as failed, and moves nothing."""
    payer, sender, payee = chain.funded("5"), chain.funded("0"), Account.create().address
    authorized = authorization(payer, payee)
    arguments = by_vrs(authorized, authorized.sign(chain.info()["usdc"]))
    assert settle(chain, "transferWithAuthorization", arguments, sender).status == 1
    assert "authorization is used" in refusal(chain, "transferWithAuthorization", arguments)
    again = settle(chain, "transferWithAuthorization", arguments, sender)
    assert (again.status, len(again.logs)) == (0, 0)
    assert chain.usdc().functions.balanceOf(payee).call() == 1_000_000


@pytest.mark.parametrize(
    ("window", "words"),
    [
        ({"valid_before": int(time.time()) - 1}, "authorization is expired"),
        ({"valid_after": int(time.time()) + 3_600, "valid_before": int(time.time()) + 7_200}, "not yet valid"),
    ],
)
def test_an_authorization_outside_its_window_is_refused(
    chain: ChainProcess, window: dict[str, int], words: str
) -> None:
    """Before validAfter and from validBefore on, in Circle's words."""
    payer = chain.funded("5")
    authorized = authorization(payer, Account.create().address, **window)
    signature = authorized.sign(chain.info()["usdc"])
    assert words in refusal(chain, "transferWithAuthorization", by_vrs(authorized, signature))


@pytest.mark.parametrize("overload", [by_vrs, by_bytes])
def test_a_signature_over_anything_else_is_refused(chain: ChainProcess, overload: Any) -> None:
    """Another amount, another signer or another token's domain: invalid signature."""
    payer, payee = chain.funded("5"), Account.create().address
    usdc = chain.info()["usdc"]
    authorized = authorization(payer, payee, 1_000_000)
    dearer = Authorization(**{**authorized.__dict__, "value": 2_000_000})
    stranger = Authorization(**{**authorized.__dict__, "payer": Account.create()})
    elsewhere = {**usdc, "address": chain.info()["tokens"]["odd18"]["address"]}
    for signature in (dearer.sign(usdc), stranger.sign(usdc), authorized.sign(elsewhere)):
        assert "invalid signature" in refusal(chain, "transferWithAuthorization", overload(authorized, signature))


@pytest.mark.parametrize("overload", ["vrs", "bytes"])
def test_the_high_twin_of_a_signature_is_refused(chain: ChainProcess, overload: str) -> None:
    """s and n - s recover the same key: only the low one is taken, so that a signature has one form."""
    payer = chain.funded("5")
    authorized = authorization(payer, Account.create().address)
    signature = authorized.sign(chain.info()["usdc"])
    v, r, s = 55 - signature.v, signature.r.to_bytes(32, "big"), (CURVE_ORDER - signature.s).to_bytes(32, "big")
    high = (*authorized.arguments(), v, r, s) if overload == "vrs" else (*authorized.arguments(), r + s + bytes([v]))
    assert "invalid signature 's' value" in refusal(chain, "transferWithAuthorization", high)


def test_more_than_the_balance_is_refused(chain: ChainProcess) -> None:
    payer = chain.funded("1")
    authorized = authorization(payer, Account.create().address, 1_000_001)
    arguments = by_vrs(authorized, authorized.sign(chain.info()["usdc"]))
    assert "transfer amount exceeds balance" in refusal(chain, "transferWithAuthorization", arguments)


@pytest.mark.parametrize("overload", [by_vrs, by_bytes])
def test_only_the_payee_can_receive(chain: ChainProcess, overload: Any) -> None:
    """receiveWithAuthorization sent by anyone but the payee is refused; sent by the payee it moves the amount."""
    payer, payee = chain.funded("5"), chain.funded("0")
    authorized = authorization(payer, payee.address)
    arguments = overload(authorized, authorized.sign(chain.info()["usdc"], "ReceiveWithAuthorization"))
    words = refusal(chain, "receiveWithAuthorization", arguments, sender=payer.address)
    assert "caller must be the payee" in words
    assert settle(chain, "receiveWithAuthorization", arguments, payee).status == 1
    assert chain.usdc().functions.balanceOf(payee.address).call() == 1_000_000


@pytest.mark.parametrize("overload", ["vrs", "bytes"])
def test_a_canceled_authorization_moves_nothing(chain: ChainProcess, overload: str) -> None:
    """The payer's own signature cancels a nonce; nobody else's does; afterwards it counts as used."""
    payer, sender = chain.funded("5"), chain.funded("0")
    usdc = chain.info()["usdc"]
    authorized = authorization(payer, sender.address)

    def cancellation(signer: Any) -> tuple[Any, ...]:
        fields = [{"name": "authorizer", "type": "address"}, {"name": "nonce", "type": "bytes32"}]
        message = {"authorizer": payer.address, "nonce": authorized.nonce}
        signature = signer.sign_typed_data(token_domain(usdc), {"CancelAuthorization": fields}, message)
        proof = split(signature) if overload == "vrs" else (bytes(signature.signature),)
        return (payer.address, authorized.nonce, *proof)

    assert "invalid signature" in refusal(chain, "cancelAuthorization", cancellation(sender))
    receipt = settle(chain, "cancelAuthorization", cancellation(payer), sender)
    (canceled,) = chain.usdc().events.AuthorizationCanceled().process_receipt(receipt, errors=DISCARD)
    assert canceled.args.authorizer == payer.address
    arguments = by_vrs(authorized, authorized.sign(usdc))
    assert "authorization is used or canceled" in refusal(chain, "transferWithAuthorization", arguments)
    assert "authorization is used or canceled" in refusal(chain, "cancelAuthorization", cancellation(payer))


def test_a_permit_allows_once(chain: ChainProcess) -> None:
    """EIP-2612: the signed allowance stands, the owner's nonce has moved on, the same permit is refused."""
    owner, spender = chain.funded("5"), chain.funded("0")
    usdc = chain.info()["usdc"]
    names = {"owner": "address", "spender": "address", "value": "uint256", "nonce": "uint256", "deadline": "uint256"}
    deadline = int(time.time()) + 300
    message = {"owner": owner.address, "spender": spender.address, "value": 7, "nonce": 0, "deadline": deadline}
    fields = [{"name": name, "type": kind} for name, kind in names.items()]
    signature = owner.sign_typed_data(token_domain(usdc), {"Permit": fields}, message)
    arguments = (owner.address, spender.address, 7, deadline, *split(signature))
    assert settle(chain, "permit", arguments, spender).status == 1
    functions = chain.usdc().functions
    assert functions.allowance(owner.address, spender.address).call() == 7
    assert functions.nonces(owner.address).call() == 1
    assert "EIP2612: invalid signature" in refusal(chain, "permit", arguments)


def test_only_the_minter_mints(chain: ChainProcess) -> None:
    """A stranger's mint is refused; account 0's makes tokens and counts them."""
    minter, someone = chain.info()["accounts"][0], chain.funded("1")
    assert "caller is not a minter" in refusal(chain, "mint", (someone.address, 1), sender=someone.address)
    supply = chain.usdc().functions.totalSupply().call()
    assert settle(chain, "mint", (someone.address, 5), Account.from_key(minter["private_key"])).status == 1
    assert chain.usdc().functions.totalSupply().call() == supply + 5


def test_the_domain_is_the_one_that_is_told(chain: ChainProcess) -> None:
    """DOMAIN_SEPARATOR is the hash of the name, version, chain id and address that /info gives."""
    from eth_account.messages import encode_typed_data

    usdc = chain.info()["usdc"]
    encoded = encode_typed_data(token_domain(usdc), {"Nothing": []}, {})
    functions = chain.usdc().functions
    assert functions.DOMAIN_SEPARATOR().call() == encoded.header
    told = (functions.name().call(), functions.version().call(), functions.decimals().call())
    assert told == (usdc["name"], usdc["version"], usdc["decimals"])
