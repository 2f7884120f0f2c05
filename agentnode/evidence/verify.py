"""Checks a bundle from its bytes alone: hashes, signatures, the raw transaction, and amounts against the log.

Needs no node, no database and no network.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentnode.evidence.authority import check_authority
from agentnode.evidence.bundle import BUNDLE_TYP, Bundle, digest
from agentnode.evidence.checks import Broken, Check, check, equal
from agentnode.evidence.claims import check_claims
from agentnode.evidence.purchases import calls_in, check_purchases
from agentnode.evidence.terms import check_terms
from ledger.errors import AgentNodeError
from trust.signatures import jws


def verify(bundle: Bundle, *, chain_asked: bool = False) -> list[Check]:
    """Every check, failed ones included: a reader wants to know all that is wrong, not the first.

    `chain_asked`: `onchain.confirm` is run too, so that what only the chain can confirm is left to it.
    """
    calls = calls_in(bundle)
    return [
        *_form(bundle),
        *check_purchases(bundle, calls, chain_asked),
        *check_claims(bundle, chain_asked),
        *check_terms(bundle),
        *check_authority(bundle, calls),
    ]


def signer_of(bundle: Bundle) -> str | None:
    """The did:key whose seal the bundle has; None where the seal does not hold."""
    try:
        _sealed(bundle, bundle.manifest.object)
    except (Broken, AgentNodeError):
        return None
    return str(bundle.manifest.object.get("node"))


def _form(bundle: Bundle) -> Iterator[Check]:
    manifest = bundle.manifest.object
    listed = manifest.get("lines") if isinstance(manifest.get("lines"), list) else []
    assert isinstance(listed, list)
    yield check(bundle.manifest, "it is a manifest that lists every line", _lists, manifest, listed, bundle)
    for line, entry in zip(bundle.lines, listed, strict=False):
        named = entry if isinstance(entry, dict) else {}
        kind = str(named.get("kind", line.kind))
        ok = digest(line) == named.get("sha256") and line.kind == kind
        yield Check(line.number, kind, "its hash is the one in the manifest", ok, "" if ok else "the line was changed")
    yield check(bundle.signature, "the node signed this manifest", _sealed, bundle, manifest)


def _lists(manifest: dict[str, Any], listed: list[Any], bundle: Bundle) -> None:
    equal("kind", manifest.get("kind"), "manifest")
    equal("version", manifest.get("version"), 1)
    equal("count", manifest.get("count"), len(bundle.lines))
    equal("lines", len(listed), len(bundle.lines))


def _sealed(bundle: Bundle, manifest: dict[str, Any]) -> None:
    equal("kind", bundle.signature.kind, "signature")
    node = str(manifest.get("node"))
    claims = jws.verify(str(bundle.signature.object.get("jws")), did=node, typ=BUNDLE_TYP)
    equal("manifest_sha256", claims.get("manifest_sha256"), digest(bundle.manifest))
