"""Reads JSON-RPC parameters; what is not of the form asked is refused with -32602 and the parameter's name."""

from __future__ import annotations

import re
from typing import Any

from eth_typing import Address
from eth_utils.address import to_canonical_address

from .envelope import INVALID_PARAMS, RpcError
from .execution import CallRequest

ZERO_ADDRESS = "0x" + "00" * 20
MOST_TOPICS = 4
HEX_QUANTITY = re.compile(r"0[xX][0-9a-fA-F]{1,64}")
HEX_DATA = re.compile(r"0[xX](?:[0-9a-fA-F]{2})*")


def invalid(name: str, problem: str) -> RpcError:
    return RpcError(INVALID_PARAMS, f"invalid params: {name} {problem}")


def required(params: list[Any], position: int, name: str) -> Any:
    if len(params) <= position:
        raise invalid(name, "is missing")
    return params[position]


def optional(params: list[Any], position: int, default: Any) -> Any:
    value = params[position] if len(params) > position else None
    return default if value is None else value


def quantity(value: Any, name: str, most: int = 2**256 - 1) -> int:
    number = -1
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and HEX_QUANTITY.fullmatch(value):
        number = int(value, 16)
    if 0 <= number <= most:
        return number
    raise invalid(name, "is not a hex quantity" if number < 0 else "is too large")


def data(value: Any, name: str, length: int | None = None) -> bytes:
    if isinstance(value, str) and HEX_DATA.fullmatch(value):
        decoded = bytes.fromhex(value[2:])
        if length is None or len(decoded) == length:
            return decoded
    raise invalid(name, "is not hex data" if length is None else f"is not {length} bytes of hex data")


def address(value: Any, name: str) -> Address:
    return Address(data(value, name, 20))


def flag(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return value
    raise invalid(name, "is not true or false")


def call_request(value: Any) -> CallRequest:
    """The call object of eth_call and eth_estimateGas; fees and nonce are not looked at."""
    if not isinstance(value, dict):
        raise invalid("call", "is not an object")
    sender = value.get("from") or ZERO_ADDRESS
    to = value.get("to")
    given = value.get("input") if value.get("input") is not None else value.get("data")
    gas = value.get("gas")
    return CallRequest(
        sender=to_canonical_address(data(sender, "from", 20)),
        to=None if to is None else address(to, "to"),
        value=quantity(value.get("value") or 0, "value"),
        data=b"" if given is None else data(given, "input"),
        gas=None if gas is None else quantity(gas, "gas"),
        access_list=tuple(_access_entry(entry) for entry in _list(value.get("accessList"), "accessList")),
    )


def addresses(value: Any) -> tuple[bytes, ...]:
    """The `address` of a log filter: none, one or several."""
    if value is None:
        return ()
    return tuple(address(one, "address") for one in (value if isinstance(value, list) else [value]))


def topics(value: Any) -> tuple[tuple[bytes, ...] | None, ...]:
    """The `topics` of a log filter: at each place null, one topic, or its alternatives."""
    given = _list(value, "topics")
    if len(given) > MOST_TOPICS:
        raise invalid("topics", f"are more than {MOST_TOPICS}")
    return tuple(_alternatives(one) for one in given)


def _alternatives(value: Any) -> tuple[bytes, ...] | None:
    if value is None or value == []:
        return None
    given = value if isinstance(value, list) else [value]
    return None if None in given else tuple(data(topic, "topics", 32) for topic in given)


def _access_entry(value: Any) -> tuple[Address, tuple[int, ...]]:
    if not isinstance(value, dict):
        raise invalid("accessList", "is not a list of objects")
    keys = _list(value.get("storageKeys"), "storageKeys")
    slots = tuple(int.from_bytes(data(key, "storageKeys", 32), "big") for key in keys)
    return address(value.get("address"), "accessList"), slots


def _list(value: Any, name: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid(name, "is not a list")
    return value
