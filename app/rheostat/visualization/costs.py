"""What the runs of a job cost, one after the other."""

from collections.abc import Sequence
from itertools import accumulate

from rheostat.schemas.insight import DefaultAccount, PlacementEstimates
from rheostat.schemas.trials import TrialDetail
from rheostat.visualization.style import (
    ACCENT,
    MUTED,
    STATE_SYMBOLS,
    WARNING,
    Figure,
    cost_text,
    counting_axis,
    layout,
    plain,
    size_colours,
)

_STATES = {
    "converged": "converged",
    "stopped": "stopped early",
    "failed": "failed",
    "oom": "out of memory",
    "cancelled": "cancelled",
    "abandoned": "abandoned",
    "running": "running",
}


def costs(
    trials: Sequence[TrialDetail],
    estimates: PlacementEstimates | None,
    default_batch_size: int,
    batch_sizes: Sequence[int],
) -> Figure:
    """Return the cost of every trial, the lowest so far, and what the default is expected to cost.

    Args:
        trials: Trials of one placement, in any order.
        estimates: The estimates of that placement; None: not known.
        default_batch_size: The job's default.
        batch_sizes: All that the job may try: they share the colours of its figures.
    """
    shown = sorted((trial for trial in trials if trial.cost is not None), key=lambda trial: trial.number)
    data = []
    best = [(trial.number, trial.cost) for trial in shown if trial.state == "converged" and trial.cost is not None]
    if best:
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "lowest so far",
                "x": [number for number, _ in best] + [shown[-1].number],
                "y": [*accumulate((cost for _, cost in best), min), min(cost for _, cost in best)],
                "line": {"shape": "hv", "color": ACCENT, "width": 2},
                "hoverinfo": "skip",
            }
        )
    colours = size_colours(batch_sizes)
    tried = sorted({trial.batch_size for trial in shown})
    data += [_of_size(shown, size, colours.get(size, MUTED), is_default=size == default_batch_size) for size in tried]
    data += [_key(state) for state in _STATES if any(trial.state == state != "converged" for trial in shown)]
    account = None if estimates is None else estimates.account
    if account is not None and shown:
        data.append(_level(shown, account.default_cost, "expected of the default"))
    return {
        "data": data,
        "layout": layout(
            "run",
            "cost of a run (J-eq)",
            xaxis=counting_axis(trial.number for trial in shown),
            yaxis={"rangemode": "tozero", "tickformat": "~s"},
        ),
    }


def account(
    trials: Sequence[TrialDetail], estimates: PlacementEstimates | None, default_batch_size: int
) -> Figure | None:
    """Return the account against always running the default, run by run, up to where it stands.

    A run that converged counts by what its batch size is expected to cost, so that one of the default counts nothing;
    one that did not is paid for, unless it was of the default or of a batch size that had converged before.

    Args:
        trials: All trials of one placement.
        estimates: The estimates of that placement.
        default_batch_size: The job's default.

    Returns:
        The figure; None: no trial has ended, or nothing is known of the default.
    """
    if estimates is None or estimates.account is None:
        return None
    # A running trial has cost something, but may still reach its target.
    shown = sorted((trial for trial in trials if trial.state != "running"), key=lambda trial: trial.number)
    if not shown:
        return None
    gains = _gains(shown, estimates, estimates.account, default_batch_size)
    # From its end, which is known: the past before evidence was found out of date is not in it any more.
    later = [*accumulate(reversed(gains), initial=0.0)][-2::-1]
    balance = [round(estimates.account.balance_runs - runs, 4) for runs in later]
    numbers = [trial.number for trial in shown]
    sides = [
        _side("ahead", ACCENT, numbers, [max(runs, 0.0) for runs in balance]),
        _side("behind", WARNING, numbers, [min(runs, 0.0) for runs in balance]),
    ]
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": "account",
        "x": numbers,
        "y": balance,
        "line": {"color": MUTED, "width": 2, "shape": "hv"},
        "hovertemplate": "after run %{x}: %{y:.2f} runs of the default<extra></extra>",
    }
    budget = estimates.account.budget_runs
    levels = [] if budget is None else [_level(shown, -budget, "how far exploring may take it")]
    axis = counting_axis(numbers)
    return {
        "data": [*(side for side in sides if any(side["y"])), line, *levels],
        "layout": layout("run", "ahead, in runs of the default", xaxis=axis),
    }


def _gains(
    trials: Sequence[TrialDetail], estimates: PlacementEstimates, account: DefaultAccount, default_batch_size: int
) -> list[float]:
    """Return what each run adds to the account, in runs of the default."""
    expected = {arm.batch_size: arm.cost for arm in estimates.arms}
    one_default = expected.get(default_batch_size) or account.default_cost
    has_converged = {default_batch_size}
    gains = []
    for trial in trials:
        if trial.state == "converged":
            gains.append(1.0 - (expected.get(trial.batch_size) or one_default) / one_default)
            has_converged.add(trial.batch_size)
        else:
            is_lost = trial.batch_size not in has_converged
            gains.append(-(trial.cost or 0.0) / account.default_cost if is_lost else 0.0)
    return gains


def _side(name: str, colour: str, x: Sequence[int], y: Sequence[float]) -> Figure:
    """Return the area between the account and 0, of one side."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "fill": "tozeroy",
        "line": {"color": colour, "width": 0, "shape": "hv"},
        "hoverinfo": "skip",
    }


def _of_size(trials: Sequence[TrialDetail], size: int, colour: str, *, is_default: bool) -> Figure:
    points = [trial for trial in trials if trial.batch_size == size]
    points.sort(key=lambda trial: trial.state != "converged")  # the legend shows the symbol of the first
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{size}, the default" if is_default else str(size),
        "x": [trial.number for trial in points],
        "y": [trial.cost for trial in points],
        "text": [_words(trial) for trial in points],
        "customdata": [trial.trial_id for trial in points],
        "marker": {
            "symbol": [STATE_SYMBOLS[trial.state] for trial in points],
            "size": 9,
            "color": colour,
            "line": {"width": [0 if trial.state == "converged" else 2 for trial in points], "color": colour},
        },
        "hovertemplate": "%{text}<extra></extra>",
    }


def _key(state: str) -> Figure:
    """Return an entry of the legend that says what a symbol means."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": _STATES[state],
        "x": [None],
        "y": [None],
        "marker": {"symbol": STATE_SYMBOLS[state], "size": 9, "color": MUTED, "line": {"width": 2, "color": MUTED}},
        "hoverinfo": "skip",
    }


def _words(trial: TrialDetail) -> str:
    limit = "" if trial.power_limit_watts is None else f" at {trial.power_limit_watts} W"
    epochs = "" if trial.epochs is None else f", {trial.epochs:g} epochs"
    return (
        f"<b>Run {trial.number}: batch size {trial.batch_size}</b>{limit}<br>{_STATES[trial.state]}{epochs}, "
        f"{cost_text(trial.cost or 0.0)}<br>{plain(trial.reason.partition(':')[0])}"
    )


def _level(trials: Sequence[TrialDetail], y: float, name: str, colour: str = MUTED) -> Figure:
    """Return a dashed horizontal line over trials. The legend names it: a name beside it would hide points."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [trials[0].number - 0.5, trials[-1].number + 0.5],
        "y": [y, y],
        "line": {"color": colour, "width": 1.5, "dash": "dash"},
        "hoverinfo": "skip",
    }
