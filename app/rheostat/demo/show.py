"""Shows the demo: progress, one table, and what to do next."""

import logging
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType

from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from rheostat.agent.simulated import MAX_POWER_LIMIT_WATTS
from rheostat.demo.digits import DEFAULT_BATCH_SIZE, TARGET_ACCURACY
from rheostat.demo.page import serve_page
from rheostat.demo.processes import demo_agent, demo_server
from rheostat.demo.recurrence import OnEpoch, Recurrence, RecurringJob
from rheostat.invocation import command_line, root_command_line
from rheostat.sdk import Client

Pair = tuple[Recurrence, Recurrence]
"""A recurrence with Rheostat, and its baseline."""

_LEGEND = f"""\
Runs: tries until one reached the target. Batch and watts are that one's, joules and seconds those of all, beside the \
default's.
Cost: half the joules plus half the seconds at {MAX_POWER_LIMIT_WATTS} W, against the default: exploring makes it more \
at first."""

_PAGE = """
See the page of its job in a browser; runs the demo again:
  {again} --open
"""

_NEXT = """
What to do next:
  {rheostat} serve
      starts a server, until Ctrl-C; then, in your trainer:

  from rheostat import Client
  with Client() as client, client.trial("my-job", settings) as trial:
      model, loader = build(trial.batch_size)
      while True:
          for batch in trial.steps(loader):
              train_one_step(model, batch)
          if trial.report(evaluate(model)) == "stop":
              break

  {rheostat} doctor
      says what this machine has and lacks.

On each GPU node, so that power limits are set, and always restored:
  {root} agent
"""


def show(recurrences: int, seed: int, *, open_page: bool = False, keep: bool = False) -> None:
    """Run the demo and print its results.

    Args:
        recurrences: Number of recurrences.
        seed: Random seed.
        open_page: Then open the job's page in a browser, and serve it until Ctrl-C.
        keep: Then serve the job's page until Ctrl-C, and keep the database.

    Raises:
        RheostatError: The server did not start, or ended.
    """
    console = Console(highlight=False)
    console.print(
        f"A network that recognises digits is retrained {recurrences} times to {TARGET_ACCURACY:.0%} "
        f"accuracy: with Rheostat, and with the default (batch size {DEFAULT_BATCH_SIZE}, "
        f"{MAX_POWER_LIMIT_WATTS} W). Training is real, through a real server and a real node agent; the images are "
        "drawn here. Before the first, a survey measures some steps of each batch size; it is counted there.\n"
        "[bold]The GPU is simulated[/bold], after published measurements of a V100: no joule was measured.\n"
    )
    # The client warns of a run that is stopped: here it is started again, and a server that is lost is an error.
    logging.getLogger("rheostat").setLevel(logging.ERROR)
    console.print("Starting the server and the node agent ...")
    with _terminated_by_exception(), demo_server(keep=keep) as server:
        # One thread multiplies matrices this small faster than several.
        with threadpool_limits(1), demo_agent() as agent, Client(server.url, token="") as client:
            pairs = _run(console, partial(RecurringJob, client, agent, seed), recurrences)
        console.print(table(pairs), _LEGEND, summary(pairs), sep="\n\n")
        console.print(_what_next(is_served=open_page or keep), soft_wrap=True, markup=False, end="")
        if open_page or keep:
            serve_page(console, server, open_page=open_page, keep=keep)


def _what_next(*, is_served: bool) -> str:
    rheostat = command_line()
    again = f"{rheostat} {shlex.join(sys.argv[1:])}"
    return _NEXT.format(rheostat=rheostat, root=root_command_line()) + ("" if is_served else _PAGE.format(again=again))


def _run(console: Console, open_job: Callable[[OnEpoch], RecurringJob], recurrences: int) -> list[Pair]:
    pairs: list[Pair] = []
    with console.status("") as status:

        def on_epoch(batch_size: int, power_limit_watts: int, epoch: int, accuracy: float) -> None:
            status.update(
                f"recurrence {len(pairs) + 1} of {recurrences}: batch size {batch_size} at {power_limit_watts} W, "
                f"epoch {epoch}, accuracy {accuracy:.1%}"
            )

        job = open_job(on_epoch)
        for number in range(1, recurrences + 1):
            ours = job.with_rheostat(number)
            pairs.append((ours, job.baseline(number)))
            if not console.is_terminal:
                console.print(
                    f"recurrence {number} of {recurrences}: batch size {ours.batch_size} "
                    f"at {ours.power_limit_watts} W, runs: {ours.runs}"
                )
    return pairs


def table(pairs: Sequence[Pair]) -> Table:
    """Return all recurrences, each against its baseline."""
    grid = Table(title="Each recurrence against the default at full power (simulated GPU)")
    for heading in ("no.", "batch", "watts", "runs", "joules", "default", "sec", "default", "cost"):
        grid.add_column(heading, justify="right")
    for number, (ours, baseline) in enumerate(pairs, start=1):
        grid.add_row(
            f"{number}",
            f"{ours.batch_size}",
            f"{ours.power_limit_watts}",
            f"{ours.runs}",
            f"{ours.energy_joules:.0f}",
            f"{baseline.energy_joules:.0f}",
            f"{ours.time_seconds:.1f}",
            f"{baseline.time_seconds:.1f}",
            _difference(saved_percent([(ours, baseline)], "cost_joules")),
        )
    return grid


def summary(pairs: Sequence[Pair]) -> str:
    """Return the savings over all recurrences, and over the latest quarter of them."""
    latest = pairs[-max(1, len(pairs) // 4) :]
    return f"All {len(pairs)}, with all exploration, stopped runs and the survey: {_saved(pairs)}\n" + (
        f"The latest {len(latest)} alone: {_saved(latest)}"
    )


def saved_percent(pairs: Sequence[Pair], figure: str) -> float:
    """Return the share of the baselines' sum that is saved; negative when more is used.

    Args:
        pairs: Recurrences and their baselines.
        figure: Name of an attribute of :class:`Recurrence`.
    """
    ours = sum(getattr(pair[0], figure) for pair in pairs)
    baseline = sum(getattr(pair[1], figure) for pair in pairs)
    return float(100 * (1 - ours / baseline))


def _difference(saved: float) -> str:
    return f"{abs(saved):.0f} % {'less' if saved >= 0.0 else 'more'}"


def _saved(pairs: Sequence[Pair]) -> str:
    words = []
    for name, figure in (("energy", "energy_joules"), ("time", "time_seconds"), ("cost", "cost_joules")):
        saved = saved_percent(pairs, figure)
        words.append(f"{abs(saved):.1f} % {'less' if round(saved, 1) >= 0 else 'MORE'} {name}")
    return ", ".join(words) + "."


@contextmanager
def _terminated_by_exception() -> Iterator[None]:
    """Let a termination signal unwind the stack, so that the server and its files are removed."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
