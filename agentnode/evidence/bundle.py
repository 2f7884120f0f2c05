"""The bundle: NDJSON with a manifest, one `{kind, ...}` a line, and the node's signature over the manifest. Pure.

{"kind":"manifest","version":1,"node":DID,"from_us":…,"until_us":…,"count":N,"lines":[{"kind","sha256"},…]}
{"kind":"mandate",…}
…
{"kind":"signature","jws":…}                      payload: {iss, iat, manifest_sha256}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ledger.clock import seconds
from ledger.errors import InvalidInput

BUNDLE_TYP = "agentnode-bundle+jwt"
_MAX_BYTES = 256 * 1024 * 1024


class Signer(Protocol):
    @property
    def did(self) -> str: ...

    def sign(self, payload: dict[str, Any], typ: str) -> str: ...


@dataclass(frozen=True)
class Line:
    """One line as it was read: `raw` is what was hashed, `value` is None where it is no JSON object."""

    number: int
    raw: bytes
    value: dict[str, Any] | None

    @property
    def object(self) -> dict[str, Any]:
        """Its members; none where it is damaged."""
        return self.value or {}

    @property
    def kind(self) -> str:
        return str(self.object.get("kind", "?"))


@dataclass(frozen=True)
class Bundle:
    manifest: Line
    lines: list[Line]
    signature: Line

    def of(self, kind: str) -> list[Line]:
        return [line for line in self.lines if line.kind == kind]


def seal(lines: Sequence[dict[str, Any]], signer: Signer, now_us: int, since_us: int) -> bytes:
    """The bundle's bytes. Each line is canonical in its spelling, so that the same facts give the same hashes."""
    bodies = [_encode(line) for line in lines]
    manifest = {
        "kind": "manifest",
        "version": 1,
        "node": signer.did,
        "from_us": since_us,
        "until_us": now_us,
        "count": len(bodies),
        "lines": [{"kind": line["kind"], "sha256": _sha256(body)} for line, body in zip(lines, bodies, strict=True)],
    }
    head = _encode(manifest)
    claims = {"iss": signer.did, "iat": seconds(now_us), "manifest_sha256": _sha256(head)}
    tail = _encode({"kind": "signature", "jws": signer.sign(claims, BUNDLE_TYP)})
    return b"\n".join([head, *bodies, tail]) + b"\n"


def read(data: bytes) -> Bundle:
    """The parts of a bundle, damaged lines included. Raises InvalidInput where it is not of a bundle's form at all."""
    if len(data) > _MAX_BYTES:
        raise InvalidInput("bundle", "is larger than 256 MiB")
    raws = data.split(b"\n")
    if raws and raws[-1] == b"":
        raws.pop()
    if len(raws) < 2:
        raise InvalidInput("bundle", "must have a manifest, its lines and a signature, one JSON object a line")
    lines = [Line(number, raw, _decode(raw)) for number, raw in enumerate(raws, 1)]
    return Bundle(lines[0], lines[1:-1], lines[-1])


def digest(line: Line) -> str:
    return _sha256(line.raw)


def _encode(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _decode(raw: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
