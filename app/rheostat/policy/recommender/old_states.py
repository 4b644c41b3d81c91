"""States of before energy and time were kept apart: their costs count as given, at the knobs of that time.

They go on being used and added to as they are. Before a knob changes they are derived from the evidence again.
"""

from math import exp

from rheostat.policy.interface import State


def with_outlays(state: State) -> State:
    """Return an old state of a placement in the form of today; each cost in it stands for an outlay."""
    return {
        **state,
        "arms": {size: _arm(arm) for size, arm in state["arms"].items()},
        "wasted": state.get("wasted_joules", 0.0),
        "fixed": state.get("fixed_costs", ()),
    }


def _arm(arm: State) -> State:
    whole = arm["whole_costs"]
    return {
        **arm,
        "whole": whole["count"] * exp(whole["total"] / whole["count"]) if whole["count"] else 0.0,
        "lost": arm["lost_joules"],
        "stops": arm["stop_costs"],
        "epoch_costs": [exp(log_cost) for log_cost in arm["epoch_costs"]],
        "paid": arm.get("paid", 0),  # there was no account at first
    }
