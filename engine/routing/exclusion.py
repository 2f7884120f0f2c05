"""Who cannot serve a request, and why: the tenant's policy first, then what is here, then what the request says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from engine.catalog.model import TIERS, Model
from engine.catalog.names import plain
from engine.options import Options
from engine.routing.candidate import Candidate, Needs
from engine.routing.traits import Traits, traits_of
from ledger.money import usd_exact


class Names(Protocol):
    """Names that may serve, all where `allow` is None, but for those that are denied. However they are written."""

    @property
    def allow(self) -> frozenset[str] | None: ...

    @property
    def deny(self) -> frozenset[str]: ...


class ModelPolicy(Protocol):
    """What a tenant's policy says of models and vendors."""

    @property
    def models(self) -> Names: ...

    @property
    def vendors(self) -> Names: ...


class Lists(NamedTuple):
    """A policy's names in plain form, to be compared with Traits."""

    models_allow: frozenset[str] | None
    models_deny: frozenset[str]
    vendors_allow: frozenset[str] | None
    vendors_deny: frozenset[str]


def lists_of(policy: ModelPolicy | None) -> Lists | None:
    """None where the policy leaves everything open."""
    if policy is None:
        return None
    models, vendors = policy.models, policy.vendors
    if models.allow is None and vendors.allow is None and not models.deny and not vendors.deny:
        return None
    return Lists(
        None if models.allow is None else frozenset(map(plain, models.allow)),
        frozenset(map(plain, models.deny)),
        None if vendors.allow is None else frozenset(map(str.lower, vendors.allow)),
        frozenset(map(str.lower, vendors.deny)),
    )


RULES = {
    "not_wanted": "the request names another model",
    "model_denied": "the policy does not allow this model; have it put on models.allow or taken off models.deny",
    "vendor_denied": "the policy does not allow {}; have it put on vendors.allow or taken off vendors.deny",
    "no_key": "its upstream cannot be called here: set {}",
    "provider_excluded": "p402.exclude_providers names {}",
    "capabilities_unknown": "nobody states what it can do, so it is only called by its name; put that in model",
    "capability_missing": "it does not have {}; name another model, or ask for less",
    "option_unsupported": "its upstream does not take {}; leave it out, or name another model",
    "window_too_small": "its window is smaller than {} tokens; shorten the prompt, or lower p402.min_context",
    "tier_too_high": "its tier is {}; raise p402.max_tier",
    "too_dear": "it can cost {} USD; raise p402.max_cost, or lower max_tokens",
    "test_money": "it takes no test money, and no other is left; buy credits, or fund the session",
}
"""In the order in which they are applied: who is excluded by a later one had passed the earlier ones."""


class Excluded(NamedTuple):
    model_id: str
    rule: str
    detail: str = ""

    @property
    def reason(self) -> str:
        """What is in the way, and what to do about it."""
        return RULES[self.rule].format(self.detail)


def exclusion(
    candidate: Candidate,
    traits: Traits,
    needs: Needs,
    options: Options,
    lists: Lists | None,
    missing_keys: Mapping[str, str],
    test_money: bool,
) -> Excluded | None:
    """Why this model cannot serve; None where it can. `missing_keys` are the variables of upstreams without a key,
    `test_money` is all that can pay."""
    model, wanted = candidate.model, needs.wanted
    if wanted is not None and not model.answers_to(wanted):
        return Excluded(traits.id, "not_wanted")
    if lists is not None and (refused := _refused(traits, lists)) is not None:
        return refused
    if missing_keys and model.provider in missing_keys:
        return Excluded(traits.id, "no_key", missing_keys[model.provider])
    if options.exclude_providers and (named := traits.vendors & options.exclude_providers):
        return Excluded(traits.id, "provider_excluded", ", ".join(sorted(named)))
    if model.capabilities is None:
        # Who names a model knows what it can do, and the upstream will say if not.
        if wanted is None or options.require_capabilities:
            return Excluded(traits.id, "capabilities_unknown")
    elif not (needs.capabilities <= model.capabilities and options.require_capabilities <= model.capabilities):
        missing = (needs.capabilities | options.require_capabilities) - model.capabilities
        return Excluded(traits.id, "capability_missing", ", ".join(sorted(missing)))
    if not_taken := needs.asked & model.unsupported:
        return Excluded(traits.id, "option_unsupported", ", ".join(sorted(not_taken)))
    window = model.context_window
    if window is None:
        if options.min_context is not None:
            return Excluded(traits.id, "window_too_small", str(options.min_context))
    elif needs.prompt_tokens >= window or (options.min_context or 0) > window:
        return Excluded(traits.id, "window_too_small", str(max(needs.prompt_tokens, options.min_context or 0)))
    if options.max_tier is not None and (traits.tier_rank is None or traits.tier_rank > TIERS.index(options.max_tier)):
        return Excluded(traits.id, "tier_too_high", model.tier or "not stated")
    if options.max_cost_usd_nanos is not None and candidate.bound.usd_nanos > options.max_cost_usd_nanos:
        return Excluded(traits.id, "too_dear", usd_exact(candidate.bound.usd_nanos))
    if test_money and not model.test:
        return Excluded(traits.id, "test_money")
    return None


def may_see(model: Model, options: Options, policy: ModelPolicy | None) -> bool:
    """Whether neither policy nor request keeps the model's upstream and maker from what is asked."""
    traits, lists = traits_of(model), lists_of(policy)
    if options.exclude_providers & traits.vendors:
        return False
    return lists is None or _vendor_refused(traits, lists) is None


def _refused(traits: Traits, lists: Lists) -> Excluded | None:
    """An allowed vendor is one that may get the request: the upstream. A denied one is kept out as maker too."""
    if lists.models_deny & traits.names or (lists.models_allow is not None and not lists.models_allow & traits.names):
        return Excluded(traits.id, "model_denied")
    return _vendor_refused(traits, lists)


def _vendor_refused(traits: Traits, lists: Lists) -> Excluded | None:
    if named := lists.vendors_deny & traits.vendors:
        return Excluded(traits.id, "vendor_denied", ", ".join(sorted(named)))
    if lists.vendors_allow is not None and traits.upstream not in lists.vendors_allow:
        return Excluded(traits.id, "vendor_denied", traits.upstream)
    return None
