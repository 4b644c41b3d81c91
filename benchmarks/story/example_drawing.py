"""Draws the figures of the worked example."""

from pathlib import Path
from typing import Any

from benchmarks.story.drawing import BLUE, GREEN, GREY, INK, new_figure, save
from benchmarks.story.example import BELIEFS_AFTER, Example, power_rows
from rheostat.replay.world import World

ORANGE = "#d9822b"
_COLOURS = ("#0560f5", "#139f91", "#bd8c0b", "#ac5618", "#d81d6d")


def draw(folder: Path, example: Example) -> None:
    """Write all figures of the example into a folder."""
    runs(folder / "example-runs.svg", example)
    beliefs(folder / "example-beliefs.svg", example)
    curves(folder / "example-curves.svg", example.world)
    power(folder / "example-power.svg", example)


def runs(path: Path, example: Example) -> None:
    """Draw what each run cost, in the order in which they were made."""
    figure = new_figure(720, 300)
    axes = figure.subplots()
    for size, colour in _colours(example.world).items():
        own = [decided for decided in example.trials if decided.trial.batch_size == size]
        axes.bar(
            [decided.trial.number for decided in own],
            [decided.cost / 1000 for decided in own],
            color=colour,
            hatch=["" if decided.trial.state == "converged" else "////" for decided in own],
            edgecolor="white",
            label=str(size),
        )
    default = example.truth[example.world.default_batch_size] / 1000
    axes.axhline(default, color=INK, linewidth=1, linestyle="--", label="the default, on average")
    axes.set_xlabel("run (hatched: stopped early)")
    axes.set_ylabel("cost (kJ-eq)")
    _finish(axes, ncols=2)
    save(figure, path)


def beliefs(path: Path, example: Example) -> None:
    """Draw the expected cost of each batch size with its interval, after some recurrences."""
    figure = new_figure(720, 300)
    panels = figure.subplots(1, len(BELIEFS_AFTER), sharey=True)
    sizes = example.world.batch_sizes
    for axes, number in zip(panels, BELIEFS_AFTER, strict=True):
        for place, arm in enumerate(example.beliefs[number]):
            if arm.cost is None or arm.cost_low is None or arm.cost_high is None:
                continue
            colour = GREEN if arm.status == "best known" else BLUE
            axes.plot([place, place], [arm.cost_low / 1000, arm.cost_high / 1000], color=colour, linewidth=3)
            axes.plot(place, arm.cost / 1000, "o", color=colour)
        truth = [(place, example.truth[size] / 1000) for place, size in enumerate(sizes) if size in example.truth]
        axes.plot(*zip(*truth, strict=True), "_", color=ORANGE, markersize=14, markeredgewidth=2, label="in truth")
        axes.set_title(f"after {number} recurrence{'s' if number > 1 else ''}", fontsize="small")
        axes.set_yscale("log")
        axes.set_ylim(5, 1000)
        axes.set_yticks([10, 30, 100, 300, 1000], ["10", "30", "100", "300", "1000"])
        axes.minorticks_off()
        axes.set_xticks(range(len(sizes)), [str(size) for size in sizes], rotation=60, fontsize="small")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("cost of a run (kJ-eq)")
    panels[0].legend(frameon=False, fontsize="small")
    figure.supxlabel("batch size (green: best known; bars: 95 % interval)", fontsize="small")
    save(figure, path)


def curves(path: Path, world: World) -> None:
    """Draw a recorded learning curve of each batch size."""
    figure = new_figure(720, 300)
    axes = figure.subplots()
    for size, colour in _colours(world).items():
        levels = [(epoch, level) for epoch, level in world.runs[size][0].levels if epoch <= world.max_epochs]
        axes.step([e for e, _ in levels], [level for _, level in levels], where="post", color=colour, label=str(size))
    axes.axhline(world.target.value, color=INK, linewidth=1, linestyle="--", label="target")
    axes.set_xlabel("epoch")
    axes.set_ylabel(world.target.metric)
    _finish(axes, ncols=2)
    save(figure, path)


def power(path: Path, example: Example) -> None:
    """Draw what each power limit costs at the default batch size, for three values of ``eta_knob``."""
    size = example.world.default_batch_size
    figure = new_figure(720, 300)
    axes = figure.subplots()
    for (eta, row), colour in zip(power_rows(example, size, (0.0, 0.5, 1.0)).items(), (GREY, BLUE, GREEN), strict=True):
        axes.plot(list(row), [100 * (share - 1) for share in row.values()], "o-", color=colour, label=f"eta {eta:g}")
        best = min(row, key=row.__getitem__)
        axes.plot(best, 0, "*", color=colour, markersize=15, markeredgecolor=INK, markeredgewidth=0.5)
    axes.set_xlabel(f"power limit (W), batch size {size}")
    axes.set_ylabel("epoch cost above the best (%)")
    _finish(axes, ncols=1)
    save(figure, path)


def _colours(world: World) -> dict[int, str]:
    return dict(zip(world.batch_sizes, _COLOURS, strict=True))


def _finish(axes: Any, *, ncols: int) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small", ncols=ncols)
