"""What an operator should look at."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from rheostat.dashboard import words
from rheostat.dashboard.views import arms
from rheostat.dashboard.views.nodes import cut_text, is_cut
from rheostat.schemas.health import CrashLoop, NodeState, Runs
from rheostat.schemas.insight import DefaultAccount, Estimate, PlacementEstimates
from rheostat.schemas.server import JobDetail
from rheostat.schemas.summary import JobSummary

_GRAVITY = ("error", "warning", "note")
_FEWEST_LOST = 2
_USUAL_SHARE = 0.2
"""Runs without energy are worth a warning where they are a fifth, or the latest."""

_START_AGENT = (
    "Start one there, `rheostat agent run`, with its socket where the trainer sees it (RHEOSTAT_AGENT_DIR); "
    "`rheostat doctor` finds what is in the way."
)
_DOCTOR = "On the node `rheostat doctor` says what is wrong and what to do."


@dataclass(frozen=True, slots=True)
class Attention:
    """Something to look at, and what to do about it.

    Attributes:
        job_id: The job that it is about; of several that are alike, the first.
        level: How grave it is.
        text: What it is.
        hint: What to do.
        since: When it was; None: unknown.
        is_lasting: Whether that is when it was first.
        trial_id: The run to look at; None: the job's page says more.
        number: Its number.
        is_shared: Whether other jobs with the same text have the same.
        more_jobs: So many others have it.
    """

    job_id: str
    level: Literal["error", "warning", "note"]
    text: str
    hint: str = ""
    since: datetime | None = None
    is_lasting: bool = False
    trial_id: str | None = None
    number: int | None = None
    is_shared: bool = False
    more_jobs: int = 0


def attention(summary: JobSummary) -> list[Attention]:
    """Return what to look at in a job, the gravest first."""
    return ranked([*_troubles(summary), *_orders(summary.job)])


def troubles(summary: JobSummary) -> list[Attention]:
    """Return what to look at in a job beside what an operator ordered, the gravest first."""
    return ranked(_troubles(summary))


def ranked(found: Iterable[Attention]) -> list[Attention]:
    """Return what to look at, the gravest first; what several jobs share, as a node, once."""
    kept: list[Attention] = []
    by_text: dict[str, int] = {}
    for one in found:
        at = by_text.get(one.text) if one.is_shared else None
        if at is not None:
            gravest = min(kept[at].level, one.level, key=_GRAVITY.index)
            kept[at] = replace(kept[at], more_jobs=kept[at].more_jobs + 1, level=gravest)
            continue
        if one.is_shared:
            by_text[one.text] = len(kept)
        kept.append(one)
    # Of the same gravity what a job's own runs show comes before what its nodes lack.
    return sorted(kept, key=lambda one: (_GRAVITY.index(one.level), one.is_shared))


def _troubles(summary: JobSummary) -> Iterator[Attention]:
    job_id = summary.job.job_id
    if summary.failure is not None:
        yield Attention(job_id, "error", summary.failure, "The default batch size is used meanwhile.")
    yield from _latest(summary)
    yield from _crashes(summary)
    if (lost := summary.health.lost) is not None and lost.count >= _FEWEST_LOST:
        text = f"{_some(lost)} lost their lease: nothing was heard of them in time."
        hint = "See whether the trainer was killed or preempted, or lost the server."
        yield _of_runs(job_id, text, hint, lost)
    yield from _energy(summary)
    for node in summary.health.nodes:
        yield from _limits(job_id, node)
    yield from _behind(summary)
    for drift in summary.health.drifts:
        where = words.gpu(drift.gpu.model, drift.gpu.count)
        text = (
            f"Runs with batch size {drift.batch_size} on {where} cost {words.percent(drift.percent)} more than the "
            f"{drift.earlier_runs} before them."
        )
        yield _of_runs(job_id, text, "See what has changed: the data, the trainer, or the node.", drift.later)
    yield from _closed(summary)


def _crashes(summary: JobSummary) -> Iterator[Attention]:
    """Yield the batch sizes that crash: what the policy leaves out for it, and what it does not yet."""
    job_id, default = summary.job.job_id, summary.job.settings.default_batch_size
    loops = {loop.batch_size: loop for loop in summary.health.crashes}
    left_out = {arm.batch_size: arm.status for arm in _left_out(summary) if "did not reach" in arm.status}
    for size in sorted(loops.keys() | left_out.keys()):
        loop = loops.get(size)
        text = f"Batch size {size} is {left_out[size]}." if size in left_out else _crash_text(loop)
        yield Attention(
            job_id,
            "error" if size == default else "warning",
            text,
            _why_crashed(loop),
            since=None if loop is None else loop.runs.since,
            is_lasting=True,
            trial_id=None if loop is None else loop.runs.trial_id,
            number=None if loop is None else loop.runs.number,
        )


def _why_crashed(loop: CrashLoop | None) -> str:
    if loop is None or not loop.reason:
        return "The trainer's log says why."
    return f"The latest ended so: {words.sentence(loop.reason)} The trainer's log says more."


def _crash_text(loop: CrashLoop | None) -> str:
    assert loop is not None
    return f"The last {loop.runs.count} runs with batch size {loop.batch_size} did not reach their first epoch."


def _energy(summary: JobSummary) -> Iterator[Attention]:
    """Yield the nodes whose agents are missing or not ready, or else that energy is unknown."""
    job_id, unknown, nodes = summary.job.job_id, summary.health.without_energy, summary.health.nodes
    is_worth_it = unknown is not None and (unknown.count >= _USUAL_SHARE * unknown.of or _is_latest(summary, unknown))
    level: Literal["warning", "note"] = "warning" if is_worth_it else "note"
    found = [*_agents(job_id, nodes, level)]
    yield from found
    if unknown is None or not is_worth_it or found:
        return
    if nodes and not any(node.has_gpu for node in nodes):
        text = (
            f"Energy is not measured on {nodes[0].report.node}: no GPU is known there. Costs are estimated from time."
        )
        hint = f"A trainer may report `energy_joules` itself. Where there is a GPU, an agent is missing. {_START_AGENT}"
        yield _of_node(job_id, "note", text, hint, nodes[0])
        return
    text = f"The energy of {_some(unknown, lower=True)} is unknown; their cost is estimated."
    yield _of_runs(job_id, text, _why_unknown(nodes), unknown)


def _agents(job_id: str, nodes: Sequence[NodeState], level: Literal["warning", "note"]) -> Iterator[Attention]:
    """Yield the agents that are missing or not ready: the same for all jobs of a node."""
    for node in nodes:
        report = node.report
        if report.agent == "absent" and node.has_gpu:
            text = f"No agent answers on {report.node}: power limits stay as they are, and energy is not measured."
            yield _of_node(job_id, level, text, _START_AGENT, node)
        elif report.agent == "not_ready":
            yield _of_node(job_id, "warning", _not_ready(node), _DOCTOR, node)


def _is_latest(summary: JobSummary, runs: Runs) -> bool:
    return summary.latest is not None and summary.latest.trial_id == runs.trial_id


def _why_unknown(nodes: Sequence[NodeState]) -> str:
    """Return what to do about energy that is unknown."""
    if any(node.report.agent == "ready" for node in nodes):
        return "The agent answers, but its driver gives no energy, or the trainer reports its own: see its log."
    return f"Is an agent running on the node? {_DOCTOR} A trainer may also report `energy_joules` itself."


def _not_ready(node: NodeState) -> str:
    problem = words.sentence(" ".join(node.report.problems)) or "It says nothing more."
    return f"The agent on {node.report.node} is not ready: {problem}"


def _limits(job_id: str, node: NodeState) -> Iterator[Attention]:
    """Yield the limits that are not as ordered."""
    report, gpus = node.report, [gpu for gpu in node.report.gpus if is_cut(gpu)]
    refused = report.agent == "ready" and bool(report.problems)
    if refused:
        text = f"The power limit was refused on {report.node}: {words.sentence(' '.join(report.problems))}"
        yield _of_node(job_id, "warning", text, _DOCTOR, node)
    elif gpus:
        whose = words.counted(len(gpus), "GPU") + (" has " if len(gpus) == 1 else " have ")
        text = f"On {report.node}, {whose}{cut_text(gpus[0])}."
        yield _of_node(job_id, "warning", text, "The page of nodes has the limits of every GPU.", node)


def _behind(summary: JobSummary) -> Iterator[Attention]:
    for placement in () if summary.estimates is None else summary.estimates.placements:
        account = placement.account
        if account is not None and account.budget_runs is not None and account.balance_runs < -account.budget_runs:
            where = words.gpu(placement.gpu.model, placement.gpu.count)
            text = f"{account.standing[0].upper()}{account.standing[1:]} on {where}: more than exploring may cost."
            yield Attention(summary.job.job_id, "warning", text, _until_paid(summary, placement, account))


def _until_paid(summary: JobSummary, placement: PlacementEstimates, account: DefaultAccount) -> str:
    """Return what is tried while a job is behind, and what pays that back, if anything does."""
    job_id, default, best = summary.job.job_id, summary.job.settings.default_batch_size, arms.recommendation(placement)
    pays = "What its runs save pays that back."
    if best is not None and best.batch_size == default:
        pays = f"The best known, {default}, is the default itself, whose runs pay nothing back."
    return (
        f"Until it is made up for, only what is expected to lose next to nothing is tried. {pays} To try more: "
        f"`rheostat jobs set {job_id} exploration_budget_runs={arms.wider_budget(account)}`, or "
        f"`rheostat jobs force {job_id} BATCH_SIZE`."
    )


def _closed(summary: JobSummary) -> Iterator[Attention]:
    """Yield the batch sizes that are closed, those for the same reason together."""
    sizes: dict[str, list[int]] = {}
    for arm in _left_out(summary):
        if arm.status.startswith("closed"):
            sizes.setdefault(arm.status, []).append(arm.batch_size)
    for status, closed in sizes.items():
        which = f"Batch size {closed[0]} is" if len(closed) == 1 else f"Batch sizes {', '.join(map(str, closed))} are"
        yield Attention(summary.job.job_id, "note", f"{which} {status}.")


def _left_out(summary: JobSummary) -> list[Estimate]:
    placements = () if summary.estimates is None else summary.estimates.placements
    return [arm for placement in placements for arm in arms.left_out(placement)]


def _orders(job: JobDetail) -> Iterator[Attention]:
    control = job.control
    if control is not None and (pin := control.pin) is not None:
        text = f"Pinned to batch size {pin.batch_size}: nothing is explored."
        yield Attention(job.job_id, "note", text, since=pin.since)
    if control is not None and control.pause is not None:
        yield Attention(job.job_id, "note", "Exploring is paused.", since=control.pause.since)


def _latest(summary: JobSummary) -> Iterator[Attention]:
    job_id, latest = summary.job.job_id, summary.latest
    if latest is None:
        if not summary.was_imported:
            text, hint = "Registered, but never run.", "Call predict, or `rheostat run`."
            yield Attention(job_id, "note", text, hint, is_shared=True)
        return
    found = (
        [f"The latest run {_ENDED[latest.state]}: {words.sentence(latest.state_reason)}"]
        if latest.state in _ENDED
        else []
    )
    found += [warning for warning in latest.warnings if warning != summary.health.met_at_once]
    at = latest.ended_at or latest.created_at
    for text in found:
        yield Attention(job_id, "warning", text, since=at, trial_id=latest.trial_id, number=latest.number)
    if summary.health.met_at_once is not None:
        yield Attention(
            job_id, "warning", summary.health.met_at_once, f"`rheostat jobs set {job_id} target=...` mends it."
        )


def _some(runs: Runs, *, lower: bool = False) -> str:
    if runs.count == runs.of:
        text = "The latest run" if runs.of == 1 else f"All of the last {words.counted(runs.of, 'run')}"
    else:
        text = f"{runs.count} of the last {words.counted(runs.of, 'run')}"
    return text[0].lower() + text[1:] if lower else text


def _of_runs(job_id: str, text: str, hint: str, runs: Runs) -> Attention:
    found = Attention(job_id, "warning", text, hint, since=runs.since, trial_id=runs.trial_id, number=runs.number)
    return replace(found, is_lasting=runs.count > 1)


def _of_node(job_id: str, level: Literal["warning", "note"], text: str, hint: str, node: NodeState) -> Attention:
    found = Attention(job_id, level, text, hint, since=node.at, trial_id=node.trial_id, number=node.number)
    return replace(found, is_shared=True)


_ENDED = {"abandoned": "was abandoned", "oom": "ran out of memory", "failed": "failed"}
