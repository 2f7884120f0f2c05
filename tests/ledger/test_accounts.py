"""Tenants and keys: shown once, kept as a keyed hash, recognised, revoked."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from ledger.accounts import ANONYMOUS, ROLES, SCOPES, Accounts, scopes_of_role
from ledger.database import Database
from ledger.errors import InvalidInput, KeyInvalid, NotFound, ScopeMissing
from tests.ledger.parts import MemoryKey, SetClock


@pytest.fixture
def accounts(database: Database) -> Accounts:
    return Accounts(database, SetClock(), MemoryKey())


@pytest.mark.database
async def test_a_key_stands_for_its_tenant_and_its_scopes(accounts: Accounts) -> None:
    """Who sends the key is the tenant that it was made for, and may do what it was made for."""
    await accounts.ensure_tenant("acme", "Acme")
    key = await accounts.create_key("acme", "ci", ["chat", "spend"])

    caller = await accounts.authenticate(key.secret)

    assert (caller.tenant_id, caller.key_id, caller.scopes) == ("acme", key.id, frozenset({"chat", "spend"}))
    caller.require("chat")
    with pytest.raises(ScopeMissing, match="admin"):
        caller.require("admin")


async def test_the_operator_and_the_anonymous_have_their_tenants_from_the_start(accounts: Accounts) -> None:
    """`node` and `public` exist in an empty database."""
    assert (await accounts.create_key("node", "first", ["chat"])).tenant_id == "node"
    assert (await accounts.create_key(ANONYMOUS.tenant_id, "none", ["chat"])).tenant_id == "public"


@pytest.mark.database
async def test_a_stolen_database_holds_no_key(accounts: Accounts, database: Database) -> None:
    """Neither the secret nor a plain hash of it is stored, and nothing that is shown of a key can be used as one."""
    import hashlib

    key = await accounts.create_key("node", "laptop", ["chat"])
    async with database.read() as session:
        rows = str((await (await session.connection()).execute(text("SELECT * FROM api_keys"))).all())

    assert key.secret not in rows
    assert hashlib.sha256(key.secret.encode()).hexdigest() not in rows
    assert key.secret not in repr(key)
    (listed,) = await accounts.keys("node")
    with pytest.raises(KeyInvalid):
        await accounts.authenticate(listed.shown)


@pytest.mark.parametrize("secret", ["", "p402_live_", "p402_live_" + "0" * 64, "Bearer x", "p402_test_" + "a" * 65])
async def test_an_unknown_key_is_nobody(accounts: Accounts, secret: str) -> None:
    """Missing, malformed and unknown keys are refused alike."""
    await accounts.create_key("node", "laptop", ["chat"])
    with pytest.raises(KeyInvalid):
        await accounts.authenticate(secret)


async def test_a_key_hashed_under_another_secret_is_nobody(database: Database) -> None:
    """The hash is keyed: a database moved to another node's keys recognises none of them."""
    key = await Accounts(database, SetClock(), MemoryKey()).create_key("node", "laptop", ["chat"])
    with pytest.raises(KeyInvalid):
        await Accounts(database, SetClock(), MemoryKey()).authenticate(key.secret)


async def test_a_revoked_key_is_nobody_and_only_its_tenant_revokes_it(accounts: Accounts) -> None:
    """After the revocation the key is refused; another tenant cannot revoke it, nor learn that it exists."""
    await accounts.ensure_tenant("acme", "Acme")
    key = await accounts.create_key("acme", "ci", ["chat"])
    with pytest.raises(NotFound):
        await accounts.revoke_key("node", key.id)
    assert (await accounts.authenticate(key.secret)).tenant_id == "acme"

    revoked = await accounts.revoke_key("acme", key.id)

    with pytest.raises(KeyInvalid):
        await accounts.authenticate(key.secret)
    assert await accounts.revoke_key("acme", key.id) == revoked


@pytest.mark.database
async def test_other_processes_recognise_a_revoked_key_for_a_second_at_most(database: Database) -> None:
    """This one not at all; and a clock that moves back keeps nobody recognised."""
    clock, hasher = SetClock(), MemoryKey()
    here, there = Accounts(database, clock, hasher), Accounts(database, clock, hasher)
    first, second = await here.create_key("node", "a", ["chat"]), await here.create_key("node", "b", ["chat"])
    for key in (first, second):
        await there.authenticate(key.secret)
        await here.authenticate(key.secret)
        await here.revoke_key("node", key.id)
        with pytest.raises(KeyInvalid):
            await here.authenticate(key.secret)
    assert (await there.authenticate(first.secret)).key_id == first.id
    clock.pass_s(1)
    with pytest.raises(KeyInvalid):
        await there.authenticate(first.secret)
    clock.pass_s(-5)
    with pytest.raises(KeyInvalid):
        await there.authenticate(second.secret)


@pytest.mark.database
async def test_a_rotated_key_has_two_secrets_for_the_overlap_and_stays_the_same_key(database: Database) -> None:
    """To the moment, also where it was recognised just before; a second rotation ends the first overlap."""
    clock, hasher = SetClock(), MemoryKey()
    accounts, other = Accounts(database, clock, hasher), Accounts(database, clock, hasher)
    first = await accounts.create_key("node", "laptop", ["chat"], role=None)
    second = await accounts.rotate_key("node", first.id, overlap_s=60)
    assert second.id == first.id and second.secret != first.secret
    clock.pass_s(59.5)
    for each in (accounts, other):
        assert await each.authenticate(first.secret) == await each.authenticate(second.secret)
    clock.pass_s(0.5)
    for each in (accounts, other):
        with pytest.raises(KeyInvalid, match="rotated"):
            await each.authenticate(first.secret)
    third = await accounts.rotate_key("node", first.id, overlap_s=60)
    fourth = await accounts.rotate_key("node", first.id, overlap_s=60)
    with pytest.raises(KeyInvalid):
        await accounts.authenticate(second.secret)
    assert await accounts.authenticate(third.secret) == await accounts.authenticate(fourth.secret)
    with pytest.raises(InvalidInput, match="overlap_s"):
        await accounts.rotate_key("node", first.id, overlap_s=-1)
    with pytest.raises(NotFound):
        await accounts.rotate_key("public", first.id)


async def test_a_tenant_that_exists_stays_as_it_is(accounts: Accounts, database: Database) -> None:
    """Ensuring a tenant twice changes neither its name nor its billing."""
    await accounts.ensure_tenant("acme", "Acme", "prepaid")
    await accounts.ensure_tenant("acme", "Other", "open")
    async with database.read() as session:
        row = (
            await (await session.connection()).execute(text("SELECT name, billing FROM tenants WHERE id = 'acme'"))
        ).one()
    assert tuple(row) == ("Acme", "prepaid")


async def test_what_a_key_cannot_be_made_of_is_refused_by_name(accounts: Accounts) -> None:
    """Unknown scopes, no scopes, a bad name and a tenant that does not exist."""
    with pytest.raises(InvalidInput, match="no such scope as 'fly'"):
        await accounts.create_key("node", "x", ["chat", "fly"])
    with pytest.raises(InvalidInput, match="scopes"):
        await accounts.create_key("node", "x", [])
    with pytest.raises(InvalidInput, match="name"):
        await accounts.create_key("node", "a\x00b", ["chat"])
    with pytest.raises(NotFound):
        await accounts.create_key("nobody", "x", ["chat"])
    with pytest.raises(InvalidInput, match="tenant_id"):
        await accounts.ensure_tenant("../x", "x")


def test_a_role_is_a_named_set_of_scopes() -> None:
    """Every role grants scopes that exist; the owner all of them, the viewer no change."""
    assert all(scopes <= SCOPES for scopes in ROLES.values())
    assert scopes_of_role("owner") == SCOPES
    assert scopes_of_role("viewer") == {"meter:read"}
    with pytest.raises(InvalidInput, match="role"):
        scopes_of_role("king")
