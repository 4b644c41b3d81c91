"""What the recurrences of a job cost, one after the other."""

from collections.abc import Sequence
from itertools import accumulate

from rheostat.schemas.insight import PlacementEstimates
from rheostat.schemas.trials import TrialDetail
from rheostat.visualization.style import (
    ACCENT,
    MUTED,
    STATE_SYMBOLS,
    WARNING,
    Figure,
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
            "recurrence",
            "cost of a run (J-eq)",
            xaxis=counting_axis(trial.number for trial in shown),
            yaxis={"rangemode": "tozero", "tickformat": "~s"},
        ),
    }


def account(trials: Sequence[TrialDetail], estimates: PlacementEstimates | None) -> Figure | None:
    """Return what ended trials saved in all against always running the default, recurrence by recurrence.

    Args:
        trials: All trials of one placement.
        estimates: The estimates of that placement.

    Returns:
        The figure; None: no trial has ended, or nothing is known of the default.
    """
    if estimates is None or estimates.account is None:
        return None
    one_default = estimates.account.default_cost
    # A running trial has cost something, but may still reach its target.
    ended = (trial for trial in trials if trial.cost is not None and trial.state != "running")
    shown = sorted(ended, key=lambda trial: trial.number)
    if not shown:
        return None
    saved = accumulate((trial.state == "converged") - (trial.cost or 0.0) / one_default for trial in shown)
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": "saved so far",
        "x": [trial.number for trial in shown],
        "y": [round(runs, 4) for runs in saved],
        "fill": "tozeroy",
        "line": {"color": ACCENT, "width": 2, "shape": "hv"},
        "hovertemplate": "after run %{x}: %{y:.2f} runs of the default<extra></extra>",
    }
    budget = estimates.account.budget_runs
    levels = [] if budget is None else [_level(shown, -budget, "how far exploring may take it", WARNING)]
    axis = counting_axis(trial.number for trial in shown)
    return {"data": [line, *levels], "layout": layout("recurrence", "saved so far (runs of the default)", xaxis=axis)}


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
        f"{trial.cost:.4g} J-eq<br>{plain(trial.reason.partition(':')[0])}"
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
