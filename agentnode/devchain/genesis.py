"""What stands in block 0: the funded accounts, the contracts and what their storage holds."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from eth_utils.address import to_canonical_address, to_checksum_address
from eth_utils.crypto import keccak

from trust.networks import EMBEDDED, chain_id_of

from .artifacts import artifact

CHAIN_ID = chain_id_of(EMBEDDED)
GAS_LIMIT = 30_000_000
# In every machine's past, since no block may be older than the one before it.
TIMESTAMP_S = 1_700_000_000
BASE_FEE_WEI = 1_000_000_000
# Raised when the tables or shapes of the file change, so that an older one is refused.
FILE_FORMAT = 1
ETHER = 10**18

# The accounts of the development mnemonic that Anvil and Hardhat use too
# (test test test test test test test test test test test junk).
ACCOUNTS = (
    (
        "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    ),
    (
        "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    ),
    (
        "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
        "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    ),
    (
        "0x90F79bf6EB2c4f870365E785982E1f101E93b906",
        "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    ),
    (
        "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65",
        "0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    ),
    (
        "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc",
        "0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
    ),
    (
        "0x976EA74026E726554dB657fA54763abd0C3a0aa9",
        "0x92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
    ),
    (
        "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955",
        "0x4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356",
    ),
    (
        "0x23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f",
        "0xdbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97",
    ),
    (
        "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720",
        "0x2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6",
    ),
)

# An account of its own, so that no client's nonce is taken from under it by a faucet call. keccak256 of its name.
FAUCET_KEY = keccak(text="agentnode devchain faucet")
FAUCET = "0x1cDd956e79f0489dE282b406029c491b766d42fa"

ACCOUNT_ETHER = 10_000
ACCOUNT_TOKENS = 10_000
FAUCET_ETHER = 1_000_000_000


def _placed(label: str) -> str:
    # Not the address of any account's deployment, so that the accounts can still deploy.
    return to_checksum_address(keccak(text=f"agentnode devchain {label}")[12:])


USDC = _placed("usdc")
PLAIN_TOKEN = _placed("plain token")
ODD_TOKEN_18 = _placed("odd token, 18 decimals")
ODD_TOKEN_2 = _placed("odd token, 2 decimals")
CONTRACT_WALLET = _placed("contract wallet")
CONTRACT_WALLET_OWNER = ACCOUNTS[1][0]
WORLD_ID_ROUTER = _placed("world id router")
AGENT_BOOK = _placed("agent book")
# Where clients look for it on every chain.
MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11"


@dataclass(frozen=True)
class GenesisAccount:
    balance_wei: int
    code: bytes
    storage: dict[int, int]


def genesis_accounts() -> dict[str, GenesisAccount]:
    """Every account of block 0 by its checksum address."""
    accounts = {address: GenesisAccount(ACCOUNT_ETHER * ETHER, b"", {}) for address, _ in ACCOUNTS}
    accounts[FAUCET] = GenesisAccount(FAUCET_ETHER * ETHER, b"", {})
    accounts[USDC] = _token("UsdCoin", 6)
    accounts[PLAIN_TOKEN] = _token("PlainToken", 6)
    for address, decimals in ((ODD_TOKEN_18, 18), (ODD_TOKEN_2, 2)):
        accounts[address] = _token("OddToken", decimals)
    accounts[CONTRACT_WALLET] = _contract("ContractWallet", owner=int(CONTRACT_WALLET_OWNER, 16))
    accounts[WORLD_ID_ROUTER] = _contract("WorldIdRouter")
    accounts[AGENT_BOOK] = _contract(
        "AgentBook", worldIdRouter=int(WORLD_ID_ROUTER, 16), groupId=1, externalNullifierHash=1
    )
    accounts[MULTICALL3] = _contract("Multicall3")
    return accounts


def fingerprint(accounts: dict[str, GenesisAccount], chain_id: int = CHAIN_ID) -> str:
    """Tells one genesis from another: sha256 over the file's format, block 0's header and every account."""
    document = {
        "header": [FILE_FORMAT, chain_id, GAS_LIMIT, TIMESTAMP_S, BASE_FEE_WEI],
        "accounts": {
            address: [account.balance_wei, account.code.hex(), sorted(account.storage.items())]
            for address, account in accounts.items()
        },
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def description(rpc_url: str, chain_id: int = CHAIN_ID) -> dict[str, Any]:
    """The answer of GET /info, and where the other contracts are."""
    return {
        "rpc_url": rpc_url,
        "chain_id": chain_id,
        "network": f"eip155:{chain_id}",
        "usdc": {"address": USDC, "name": "USD Coin", "version": "2", "decimals": 6},
        "agentbook": {"address": AGENT_BOOK},
        "accounts": [{"address": address, "private_key": key} for address, key in ACCOUNTS],
        "tokens": {
            "plain": {"address": PLAIN_TOKEN, "name": "Tether USD", "version": None, "decimals": 6},
            "odd18": {"address": ODD_TOKEN_18, "name": "Odd Coin", "version": "1", "decimals": 18},
            "odd2": {"address": ODD_TOKEN_2, "name": "Odd Coin", "version": "1", "decimals": 2},
        },
        "wallet": {"address": CONTRACT_WALLET, "owner": CONTRACT_WALLET_OWNER},
        "world_id_router": {"address": WORLD_ID_ROUTER},
        "multicall": {"address": MULTICALL3},
        "faucet": {"address": FAUCET},
    }


def _contract(name: str, **variables: int) -> GenesisAccount:
    compiled = artifact(name)
    return GenesisAccount(0, compiled.runtime, {compiled.storage[key]: value for key, value in variables.items()})


def _token(name: str, decimals: int) -> GenesisAccount:
    compiled = artifact(name)
    holders = [address for address, _ in ACCOUNTS] + [CONTRACT_WALLET]
    each = ACCOUNT_TOKENS * 10**decimals
    storage = {compiled.storage["totalSupply"]: each * len(holders)}
    for holder in holders:
        storage[_mapping_slot(holder, compiled.storage["balanceOf"])] = each
    for minter in (ACCOUNTS[0][0], FAUCET):
        storage[_mapping_slot(minter, compiled.storage["isMinter"])] = 1
    if "decimals" in compiled.storage:
        storage[compiled.storage["decimals"]] = decimals
    return GenesisAccount(0, compiled.runtime, storage)


def _mapping_slot(key: str, slot: int) -> int:
    """Where Solidity keeps mapping[key]: keccak256(key, slot), each as a word."""
    return int.from_bytes(keccak(to_canonical_address(key).rjust(32, b"\0") + slot.to_bytes(32, "big")), "big")
