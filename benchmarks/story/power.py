"""What the best power limit alone saves: the batch size stays the default."""

from collections.abc import Sequence

from rheostat.replay.world import World

ETAS = (0.5, 1.0)


def table(worlds: Sequence[World]) -> str:
    """Return a Markdown table: a row for each world and ``eta_knob``."""
    rows = [
        "| job on a V100 | batch size | `eta_knob` | best limit | energy | time |",
        "|---|---|---|---|---|---|",
    ]
    rows += [_row(world, eta) for world in worlds for eta in ETAS]
    return "\n".join(rows)


def _row(world: World, eta_knob: float) -> str:
    size = world.default_batch_size
    epochs = world.figures[size]
    top = epochs[world.power_limits_watts[0]]
    limit = min(
        world.power_limits_watts,
        key=lambda watts: world.cost(epochs[watts].energy_joules, epochs[watts].time_seconds, eta_knob),
    )
    best = epochs[limit]
    energy, time = best.energy_joules / top.energy_joules - 1, best.time_seconds / top.time_seconds - 1
    workload = f"{world.workload.dataset}, {world.workload.network}"
    return f"| {workload} | {size} | {eta_knob:g} | {limit} W | {100 * energy:+.1f} % | {100 * time:+.1f} % |"
