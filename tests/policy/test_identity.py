"""Keys by identity: equal for the same state alone."""

from rheostat.policy.identity import ByIdentity
from rheostat.policy.interface import State


def test_a_key_is_equal_for_the_same_object_and_for_no_equal_one() -> None:
    state: State = {"arms": {}}
    assert ByIdentity(state) == ByIdentity(state)
    assert hash(ByIdentity(state)) == hash(ByIdentity(state))
    assert ByIdentity(state) != ByIdentity({"arms": {}})
    assert ByIdentity(state) != state
