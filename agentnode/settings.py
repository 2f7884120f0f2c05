"""The only settings: environment over file over defaults, checked once, refused by name."""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ledger.errors import InvalidInput
from ledger.money import usd_nanos
from trust.networks import EMBEDDED, chain_id_of, network_of

if TYPE_CHECKING:
    from ledger.accounts import Limits

_LOOPBACK = ("127.0.0.1/32", "::1/128")

_FROM_ENVIRONMENT = {
    "AGENTNODE_DATABASE_URL": "database_url",
    "AGENTNODE_DATA": "data",
    "AGENTNODE_RPC_URL": "rpc_url",
    "AGENTNODE_NETWORK": "network",
    "AGENTNODE_ORIGIN": "origin",
    "AGENTNODE_ALLOW_NETS": "allow_nets",
    "AGENTNODE_KEYSTORE_PASSWORD": "keystore_password",
}


class Settings(BaseModel):
    """Everything an operator can say. `chain` is `embedded`, `none`, or the URL of an Ethereum JSON-RPC."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8402, ge=0, le=65535)
    data: Path = Path(".agentnode")
    workers: int = Field(default=1, ge=1, le=64)
    chain: str = "embedded"
    database_url: str = ""
    rpc_url: str = ""
    network: str = EMBEDDED
    origin: str = ""
    allow_nets: list[str] = []
    keystore_password: str = Field(default="", repr=False)
    name: str = "agentnode"
    description: str = "An agent that answers for a price, and hires others."
    node_usd_per_day: str = "100"
    """What the node may spend on upstreams in a day of UTC, in all, on its own account."""
    tenant_usd_per_day: str = "1000"
    """What any other tenant may spend in a day of UTC, where its policy says nothing."""
    promotion_usd_per_day: str = "10"
    """What the node gives away in a day of UTC, in trial uses."""
    push_per_minute: int = Field(default=600, ge=1)
    """How many push notifications leave for one tenant's tasks."""
    push_per_minute_to_host: int = Field(default=120, ge=1)
    """How many leave to one host, for all tenants together."""
    ask_price: str = "0.01"
    """Of the skill `ask`: USD, USD per units of the question, or `quoted` by the engine."""
    least_payment_usd: str = "0.001"
    """What a completion without a key is priced at, at least: to settle a payment costs gas."""
    quote_life_s: int = Field(default=600, ge=10)
    max_timeout_s: int = Field(default=300, ge=10)
    x402_offer_receipt: bool = True
    """Whether prices that are asked and work that is delivered over HTTP are signed (x402's offer-receipt)."""
    settle_timeout_s: float = Field(default=30, gt=0)
    x402_versions: list[Literal[1, 2]] = Field(default=[2], min_length=1)
    """In which a 402 over HTTP asks; a payment is taken in either."""
    usdt_address: str = Field(default="", pattern=r"^(0x[0-9a-fA-F]{40})?$")
    """USDT on `network`, which is taken by the scheme `onchain`; none is taken where this is empty."""
    refund_window_s: int = Field(default=604_800, ge=0)
    """So long after a payment its payer may have back what is left of it."""
    transfer_confirmations: int = Field(default=0, ge=0, le=10_000)
    """How many blocks make a payer's own transfer count, its own too; 0: 12, and 1 on the embedded chain."""
    hold_lease_s: float = Field(default=120, ge=1)
    upstream_first_byte_s: float = Field(default=60, gt=0)
    """How long an upstream may be silent before another is asked."""
    upstream_deadline_s: float = Field(default=600, gt=0)
    """For a whole completion, all attempts together."""
    client_stall_s: float = Field(default=60, gt=0)
    """How long the client of a stream may read nothing before its stream is ended, and may take to send a body."""
    facilitators: list[dict[str, Any]] = []
    """`[[facilitators]]` tables (`agentnode.payments.facilitators.configured`); none: our own queue."""
    facilitator_timeout_s: float = Field(default=30, gt=0)
    verify_recent_s: float = Field(default=2.0, ge=0, le=60)
    verify_recent_usd: str = "0.10"
    open_facilitator_gas_ether_per_day: str = Field(default="0", pattern=r"^[0-9]{1,6}(\.[0-9]{1,18})?$")
    """What the node pays for settlements of other sellers in a UTC day, on a chain where gas costs something."""
    compliance_file: str = ""
    compliance_url: str = ""
    compliance_timeout_s: float = Field(default=3, gt=0)
    card_keys: dict[str, Any] = {}
    """By origin the key, a did:key or a JWK, by which a seller's card there must be signed (`agentnode.hire`)."""
    prices_file: str = ""
    """A `data.json` of genai-prices that takes the place of the prices in the library."""
    upstreams: list[dict[str, Any]] = []
    """`[[upstreams]]` tables, whose form the engine checks (`engine.upstream_from_table`)."""
    skills: list[str] = []
    """Files or modules with functions under `agentnode.sell.skill`."""
    wraps: list[dict[str, Any]] = []
    """`[[wraps]]` tables: HTTP APIs that are sold, as `agentnode.sell.wrap_from_table` reads them."""
    cache_embeddings: dict[str, Any] = {}
    """Empty: the cache embeds offline. Else an upstream's model, as `engine.embeddings_from_table` reads it."""

    @field_validator("network")
    @classmethod
    def _caip2(cls, value: str) -> str:
        prefix, _, chain_id = value.partition(":")
        if prefix != "eip155" or not chain_id.isascii() or not chain_id.isdigit():
            raise ValueError("must be an EVM chain in CAIP-2 form, such as eip155:8453")
        return value

    @field_validator("allow_nets", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        nets = [net.strip() for net in value.split(",") if net.strip()] if isinstance(value, str) else value
        for net in nets:
            ipaddress.ip_network(net)
        return nets

    @model_validator(mode="before")
    @classmethod
    def _chain_is_its_url(cls, values: Any) -> Any:
        chain = values.get("chain") or "embedded"
        if chain not in ("embedded", "none"):
            if not str(chain).startswith(("http://", "https://")):
                raise ValueError("chain must be embedded, none, or the URL of a JSON-RPC")
            values = {**values, "rpc_url": chain}
        return values

    @property
    def url(self) -> str:
        return self.origin.rstrip("/") or f"http://{self.host}:{self.port}"

    def over(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The environment, with the password that is said here in the place of its own."""
        said = {"AGENTNODE_KEYSTORE_PASSWORD": self.keystore_password} if self.keystore_password else {}
        return {**environment, **said}

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.data / 'agentnode.db'}"

    @property
    def own_prices(self) -> Path | None:
        return Path(self.prices_file) if self.prices_file else None

    @property
    def chain_id(self) -> int:
        return chain_id_of(self.network)

    @property
    def has_test_money(self) -> bool:
        """Credits and funds of source `test` exist on chain 31337 only."""
        return self.network == EMBEDDED

    def default_limits(self, tenant_id: str) -> Limits:
        """Of a tenant whose policy says nothing."""
        from ledger.accounts import DEFAULT_LIMITS, OPERATOR

        if tenant_id == OPERATOR:
            # What it does for others is paid for, and counted there: only its dollars are limited.
            own = replace(DEFAULT_LIMITS, requests_per_hour=1_000_000_000, concurrent=1_000_000)
            return replace(own, usd_nanos_per_day=usd_nanos(self.node_usd_per_day))
        return replace(DEFAULT_LIMITS, usd_nanos_per_day=usd_nanos(self.tenant_usd_per_day))

    @property
    def has_chain(self) -> bool:
        return self.chain != "none"

    @property
    def reachable_nets(self) -> list[str]:
        """Networks that strangers' URLs may reach: loopback too, where all of it is a demo on one machine."""
        demo = self.network == EMBEDDED and self.host in ("127.0.0.1", "::1", "localhost")
        return [*self.allow_nets, *(_LOOPBACK if demo and not self.allow_nets else ())]

    @property
    def confirmations(self) -> int:
        return self.transfer_confirmations or network_of(self.network).confirmations

    @property
    def reorg_margin_s(self) -> int:
        """How long after a payment's window its hold is kept, in case blocks are undone."""
        return network_of(self.network).reorg_margin_s


def load(environ: Mapping[str, str], file: Path | None = None, **said: Any) -> Settings:
    """Settings from the command line (`said`, None where nothing was), the environment and a TOML file.

    Raises InvalidInput naming the setting that is unknown or malformed.
    """
    values: dict[str, Any] = {}
    if file is not None:
        try:
            values = tomllib.loads(file.read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise InvalidInput("config", f"{file} cannot be read: {error}") from error
    values |= {field: environ[name] for name, field in _FROM_ENVIRONMENT.items() if environ.get(name)}
    values |= {field: value for field, value in said.items() if value is not None}
    if "rpc_url" in values:
        values.setdefault("chain", values["rpc_url"])
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "settings"
        raise InvalidInput(name, first["msg"].removeprefix("Value error, ")) from error
