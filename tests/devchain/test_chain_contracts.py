"""What else stands in block 0: tokens of other kinds, a contract wallet, AgentBook, a multicall; and their sources."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from devchain_process import ChainProcess, authorization
from eth_account import Account
from eth_utils.crypto import keccak
from web3.exceptions import ContractCustomError
from web3.logs import DISCARD

from agentnode.devchain import artifact
from agentnode.devchain.genesis import genesis_accounts

CONTRACTS = Path(__file__).parents[2] / "contracts"
NAMES = sorted(path.stem for path in Path(artifact.__code__.co_filename).with_name("artifacts").glob("*.json"))


def test_the_artefacts_are_of_the_sources_that_stand_here() -> None:
    """Each artefact names the hash of every source it was compiled from, and no source has changed since."""
    sources = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (CONTRACTS / "src").glob("*.sol")}
    compiled = {name: hashed for contract in NAMES for name, hashed in artifact(contract).sources.items()}
    assert len(NAMES) == 7
    assert compiled == sources, "run contracts/build.py and commit agentnode/devchain/artifacts"


def test_the_totals_of_block_0_are_what_its_holders_have(chain: ChainProcess) -> None:
    """Supply is the sum of the balances that genesis wrote, for every token but the one that the faucet mints."""
    info = chain.info()
    for token in info["tokens"].values():
        functions = chain.contract("UsdCoin", token["address"]).functions
        holders = [account["address"] for account in info["accounts"]] + [info["wallet"]["address"]]
        held = [functions.balanceOf(holder).call(block_identifier=0) for holder in holders]
        assert functions.totalSupply().call(block_identifier=0) == sum(held)
        assert set(held) == {10_000 * 10 ** token["decimals"]}
        assert functions.decimals().call() == token["decimals"]


def test_the_plain_token_has_no_authorizations(chain: ChainProcess) -> None:
    """It is paid by transfer only: a call of EIP-3009 reverts without a word."""
    info = chain.info()
    plain = info["tokens"]["plain"]["address"]
    selector = keccak(text="authorizationState(address,bytes32)")[:4].hex()
    answer = chain.rpc("eth_call", {"to": plain, "data": f"0x{selector}{'00' * 64}"}, "latest")
    assert (answer["error"]["code"], answer["error"]["data"]) == (3, "0x")
    sender = Account.from_key(info["accounts"][2]["private_key"])
    token = chain.contract("PlainToken", plain)
    payee = Account.create().address
    assert chain.send(sender, to=plain, data=token.encode_abi("transfer", args=[payee, 3])).status == 1
    assert token.functions.balanceOf(payee).call() == 3


@pytest.mark.parametrize("token", ["odd18", "odd2"])
def test_the_odd_tokens_take_authorizations(chain: ChainProcess, token: str) -> None:
    """Tokens of 18 and of 2 decimals are paid as USDC is, under a domain of their own."""
    info = chain.info()
    odd = info["tokens"][token]
    payer, payee = Account.from_key(info["accounts"][3]["private_key"]), Account.create().address
    authorized = authorization(payer, payee, 1)
    contract = chain.contract("OddToken", odd["address"])
    arguments = [*authorized.arguments(), bytes(authorized.sign(odd).signature)]
    receipt = chain.send(
        payer, to=odd["address"], data=contract.encode_abi("transferWithAuthorization", args=arguments)
    )
    assert receipt.status == 1
    assert contract.functions.balanceOf(payee).call() == 1


def test_a_contract_wallet_pays_with_its_owners_signature(chain: ChainProcess) -> None:
    """EIP-1271: USDC asks the wallet, which knows its owner's signature from a stranger's."""
    info = chain.info()
    keys = {account["address"]: account["private_key"] for account in info["accounts"]}
    sender, payee = chain.funded("0"), Account.create().address
    usdc = chain.usdc()

    class Wallet:
        """Signs with a key, for the wallet's address."""

        address = info["wallet"]["address"]

        def __init__(self, key: str) -> None:
            self.sign_typed_data = Account.from_key(key).sign_typed_data

    statuses = []
    for key in (Account.create().key, keys[info["wallet"]["owner"]]):
        authorized = authorization(Wallet(key), payee, 1_000_000)
        arguments = [*authorized.arguments(), bytes(authorized.sign(info["usdc"]).signature)]
        calldata = usdc.encode_abi("transferWithAuthorization", args=arguments)
        statuses.append(chain.send(sender, to=usdc.address, data=calldata).status)
    assert statuses == [0, 1]
    assert usdc.functions.balanceOf(payee).call() == 1_000_000


def test_a_contract_wallet_acts_for_its_owner_only(chain: ChainProcess) -> None:
    """execute() by the owner passes the call on; by anyone else it is refused."""
    info = chain.info()
    owner = Account.from_key(
        next(a for a in info["accounts"] if a["address"] == info["wallet"]["owner"])["private_key"]
    )
    wallet = chain.contract("ContractWallet", info["wallet"]["address"])
    usdc, payee = chain.usdc(), Account.create().address
    transfer = usdc.encode_abi("transfer", args=[payee, 2])
    call = wallet.encode_abi("execute", args=[usdc.address, 0, bytes.fromhex(transfer[2:])])
    assert chain.send(chain.funded("0"), to=wallet.address, data=call).status == 0
    assert chain.send(owner, to=wallet.address, data=call).status == 1
    assert usdc.functions.balanceOf(payee).call() == 2


def test_an_agent_is_registered_with_its_humans_proof(chain: ChainProcess) -> None:
    """AgentBook knows nobody at first; a proof made for another agent, or used before, is refused."""
    book = chain.contract("AgentBook", chain.info()["agentbook"]["address"])
    sender, agent, human, root = chain.funded("0"), Account.create().address, 42, 7

    def registration(proved_agent: str) -> list[object]:
        signal = int.from_bytes(keccak(bytes.fromhex(proved_agent[2:]) + bytes(32)), "big") >> 8
        inputs = [root, book.functions.groupId().call(), signal, human, book.functions.externalNullifierHash().call()]
        proof = int.from_bytes(keccak(b"".join(value.to_bytes(32, "big") for value in inputs)), "big")
        return [agent, root, 0, human, [proof] + [0] * 7]

    assert book.functions.lookupHuman(agent).call() == 0
    with pytest.raises(ContractCustomError):
        book.functions.register(*registration(Account.create().address)).call()
    right = registration(agent)
    receipt = chain.send(sender, to=book.address, data=book.encode_abi("register", args=right))
    assert (receipt.status, book.functions.lookupHuman(agent).call()) == (1, human)
    assert book.events.AgentRegistered().process_receipt(receipt, errors=DISCARD)[0].args.agent == agent
    with pytest.raises(ContractCustomError):
        book.functions.register(*right).call()


def test_a_multicall_tells_failures_apart(chain: ChainProcess) -> None:
    """aggregate3 at the well-known address: a call that may fail does, the other answers; one that may not reverts."""
    info = chain.info()
    assert info["multicall"]["address"] == "0xcA11bde05977b3631167028862bE2a173976CA11"
    multicall = chain.contract("Multicall3", info["multicall"]["address"])
    usdc = chain.usdc()
    supply = bytes.fromhex(usdc.encode_abi("totalSupply", args=[])[2:])
    answers = multicall.functions.aggregate3([(usdc.address, True, b"\xff"), (usdc.address, False, supply)]).call()
    assert [answer[0] for answer in answers] == [False, True]
    assert int.from_bytes(answers[1][1], "big") == usdc.functions.totalSupply().call()
    refused = chain.rpc(
        "eth_call",
        {"to": multicall.address, "data": multicall.encode_abi("aggregate3", args=[[(usdc.address, False, b"\xff")]])},
        "latest",
    )
    assert "call failed" in refused["error"]["message"]


def test_the_accounts_can_still_deploy(chain: ChainProcess) -> None:
    """No contract of block 0 stands where an account's first deployment would go; a deployed wallet has its owner."""
    from eth_abi.abi import encode

    deployer = chain.funded("0")
    creation = artifact("ContractWallet").creation + encode(["address"], [deployer.address])
    receipt = chain.send(deployer, to=None, data=creation, gas=1_000_000)
    assert receipt.status == 1
    assert chain.contract("ContractWallet", receipt.contractAddress).functions.owner().call() == deployer.address
    first = {keccak(b"\xd6\x94" + bytes.fromhex(a["address"][2:]) + b"\x80")[12:] for a in chain.info()["accounts"]}
    assert first.isdisjoint(bytes.fromhex(address[2:]) for address in genesis_accounts())
