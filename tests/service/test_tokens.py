"""Tokens: whom one identifies, and that nothing but the token itself does."""

from dataclasses import astuple
from datetime import timedelta

import pytest

from rheostat.errors import InvalidInput, TokenInvalid, TokenNotFound
from rheostat.service import Service
from rheostat.service.audit import list_audit
from rheostat.service.tokens import (
    authenticate,
    create_token,
    has_tokens,
    has_valid_tokens,
    list_tokens,
    new_token,
    revoke_token,
)
from tests.domain.examples import Clock


def _make(service: Service, name: str = "ci", *scopes: str, lifetime: timedelta | None = None) -> str:
    return create_token(service, name, scopes or ("trainer", "read"), lifetime=lifetime)[0]


def _id(token: str) -> str:
    return token.split("_")[1]


def test_a_token_identifies_its_holder_with_scopes_and_namespace(service: Service) -> None:
    text, is_new = create_token(service, "vision's nightly", ["read"], namespace="team-vision")
    identity = authenticate(service, text)
    assert is_new
    assert (identity.scopes, identity.namespace) == (("read",), "team-vision")
    assert identity.actor == f"vision's nightly ({_id(text)})"


def test_nothing_else_is_a_token(service: Service) -> None:
    text, other = _make(service), _make(service)
    swapped = f"rht_{_id(text)}_{other.split('_')[2]}"
    for wrong in ("", "rht_", text[:-1], text + "0", text.upper(), swapped, new_token(), f" {text}", f"{text}\n"):
        with pytest.raises(TokenInvalid):
            authenticate(service, wrong)


def test_the_secret_is_stored_nowhere(service: Service) -> None:
    text = _make(service)
    stored = service.tokens.all()
    trail = list_audit(service, namespace=None, cursor=None, limit=10)
    assert text.split("_")[2] not in repr([astuple(record) for record in stored]) + repr(list_tokens(service))
    assert text.split("_")[2] not in repr(trail)


def test_a_revoked_and_an_expired_token_are_invalid(service: Service, clock: Clock) -> None:
    revoked, brief = _make(service), _make(service, lifetime=timedelta(hours=1))
    authenticate(service, brief)
    revoke_token(service, _id(revoked))
    revoke_token(service, _id(revoked))
    clock.turn(timedelta(hours=1))
    for text in (revoked, brief):
        with pytest.raises(TokenInvalid):
            authenticate(service, text)
    assert [view.state for view in list_tokens(service)] in (["revoked", "expired"], ["expired", "revoked"])
    assert has_tokens(service)
    assert not has_valid_tokens(service)


def test_the_last_use_is_noted_every_five_minutes(service: Service, clock: Clock) -> None:
    text = _make(service)
    assert list_tokens(service)[0].last_used_at is None
    authenticate(service, text)
    first = clock.time
    clock.turn(timedelta(minutes=4))
    authenticate(service, text)
    assert list_tokens(service)[0].last_used_at == first
    clock.turn(timedelta(minutes=1))
    authenticate(service, text)
    assert list_tokens(service)[0].last_used_at == clock.time


def test_a_last_use_that_a_clock_noted_which_ran_ahead_is_corrected(service: Service, clock: Clock) -> None:
    text = _make(service)
    clock.turn(timedelta(hours=12))
    authenticate(service, text)
    clock.turn(timedelta(hours=-12))
    authenticate(service, text)
    assert list_tokens(service)[0].last_used_at == clock.time


def test_a_token_that_is_given_is_made_known_once(service: Service) -> None:
    text = new_token()
    assert create_token(service, "admin", ["admin"], token=text) == (text, True)
    assert create_token(service, "admin", ["admin"], token=text) == (text, False)
    with pytest.raises(InvalidInput, match="same id"):
        create_token(service, "admin", ["admin"], token=f"rht_{_id(text)}_{'0' * 64}")
    with pytest.raises(InvalidInput) as refusal:
        create_token(service, "admin", ["admin"], token="hunter2")
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "scopes", "namespace"),
    [("", ["read"], None), ("a\nb", ["read"], None), ("x", [], None), ("x", ["root"], None), ("x", ["read"], "A b")],
)
def test_what_cannot_be_a_token_is_refused(
    service: Service, name: str, scopes: list[str], namespace: str | None
) -> None:
    with pytest.raises(InvalidInput):
        create_token(service, name, scopes, namespace=namespace)
    assert not has_tokens(service)


def test_an_unknown_token_cannot_be_revoked(service: Service) -> None:
    with pytest.raises(TokenNotFound):
        revoke_token(service, "0" * 12)
