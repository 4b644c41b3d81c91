"""The parts that compare what the agent says with what NVML says to this process."""

from collections import Counter
from itertools import pairwise
from statistics import median
from time import monotonic, perf_counter, sleep, time

from benchmarks.gpu.context import Context
from benchmarks.gpu.load import loaded
from benchmarks.gpu.nvml import Gpu, Ticks, answer, integral_joules, latencies_ms
from benchmarks.gpu.report import Report, quantiles
from rheostat.schemas.agent import LeaseRequest

WINDOWS_SECONDS = (0.3, 0.5, 1.0, 2.0, 2.0, 2.0, 5.0)
_TICK_SECONDS = 0.1
# Under load a reading takes up to 26 ms, so that this process sees a tick that much late.
_ALLOWED, _ALLOWED_SHORT, _SHORT_SECONDS = 0.01, 0.05, 2.0
_QUESTIONS, _ANSWER_MS = 40, 10.0
_CPU_SHARE = 0.01


def facts(context: Context) -> None:
    """Say what the driver does: what it supports, how long its calls take, when its counter ticks."""
    gpu, report, scale = context.gpu, context.report, context.scale
    for name, value in gpu.properties().items():
        report.fact(name, value)
    with Ticks(gpu) as ticks:
        sleep(4 * scale)
    report.fact("counter ticks, idle", quantiles(ticks.intervals_ms()))
    _latencies(gpu, report, "idle", 1.5 * scale)
    with loaded(switching=False):
        _latencies(gpu, report, "under load", 3 * scale)
    with loaded(switching=True):
        _compare_samples(gpu, report, 10 * scale)


def _latencies(gpu: Gpu, report: Report, when: str, seconds: float) -> None:
    for name, call in gpu.calls().items():
        took = latencies_ms(call, seconds)
        report.fact(f"{name}, {when}", took if isinstance(took, str) else quantiles(took))


def _compare_samples(gpu: Gpu, report: Report, seconds: float) -> None:
    """Compare the integral of the driver's power samples with its counter."""
    first = answer(gpu.samples)
    if not isinstance(first, list) or not first:
        report.fact("power samples", first or "none")
        return
    report.fact("power samples", f"{len(first)} over {first[-1][0] - first[0][0]:.3f} s")
    report.fact("newest sample", f"{(time() - first[-1][0]) * 1e3:.1f} ms old")
    gaps = [(late[0] - early[0]) * 1e3 for early, late in pairwise(first)]
    report.fact("gaps of samples", quantiles(gaps))
    samples = dict(first)
    with Ticks(gpu) as ticks:
        give_up_at = monotonic() + seconds
        while monotonic() < give_up_at:
            sleep(0.5)
            samples.update(gpu.samples())
    samples.update(gpu.samples())
    begin, end = 1, len(ticks.joules) - 2
    if end <= begin:
        report.fact("samples against the counter", "too few ticks")
        return
    counted = ticks.joules[end] - ticks.joules[begin]
    integral = integral_joules(sorted(samples.items()), ticks.walls[begin], ticks.walls[end])
    span = ticks.walls[end] - ticks.walls[begin]
    report.fact(
        "samples against the counter", f"{integral:.1f} and {counted:.1f} J in {span:.2f} s: {integral / counted:.4f}"
    )


def windows(context: Context) -> None:
    """Compare the agent's energy of windows from tick to tick with the counter, as this process reads it."""
    gpu, agent, report = context.gpu, context.agent.client, context.report
    lease = agent.lease(LeaseRequest(gpus=[gpu.uuid], job_id="check-gpu"))
    known, errors, short = 0, list[float](), list[float]()
    with loaded(switching=True), Ticks(gpu) as ticks:
        sleep(1.5)
        for seconds in WINDOWS_SECONDS:
            begin_ns, before = ticks.next()
            sleep(max(0.0, seconds * max(context.scale, 0.3) - _TICK_SECONDS))
            end_ns, after = ticks.next()
            usage = agent.energy([gpu.uuid], begin_ns, end_ns).gpus[0]
            words = f"unknown: {usage.unknown_because}"
            if usage.energy_joules is not None:
                known += 1
                words = f"{usage.energy_joules:.2f} J by {usage.source}"
                (short if seconds < _SHORT_SECONDS else errors).append(abs(usage.energy_joules / (after - before) - 1))
            report.fact(f"window of {(end_ns - begin_ns) / 1e9:.2f} s", f"{words}, {after - before:.2f} J counted")
    agent.end_lease(lease.lease_id)
    count = len(WINDOWS_SECONDS)
    report.check("windows known", f"{known} of {count}", "all", passed=known == count)
    for name, found, allowed in (("2 s and more", errors, _ALLOWED), ("less than 2 s", short, _ALLOWED_SHORT)):
        if found:
            report.check(
                f"windows of {name}, largest error",
                f"{max(found):.2%}",
                f"at most {allowed:.0%}",
                passed=max(found) <= allowed,
            )


def answers(context: Context) -> None:
    """Ask the agent for the energy up to now, as reports do, while the GPU works."""
    gpu, agent, report = context.gpu, context.agent.client, context.report
    lease = agent.lease(LeaseRequest(gpus=[gpu.uuid], job_id="check-gpu"))
    why: Counter[str] = Counter()
    took, resolutions = [], []
    with loaded(switching=False):
        sleep(0.5)
        begun, cpu = monotonic(), context.agent.cpu_seconds()
        for _ in range(_QUESTIONS):
            asked = perf_counter()
            usage = agent.energy([gpu.uuid]).gpus[0]
            took.append((perf_counter() - asked) * 1e3)
            why[usage.unknown_because or "known"] += 1
            resolutions.append(usage.resolution_seconds)
            sleep(0.4 * context.scale)
        share = (context.agent.cpu_seconds() - cpu) / (monotonic() - begun)
    agent.end_lease(lease.lease_id)
    report.fact("answers", dict(why))
    report.fact("resolution, s", sorted({one for one in resolutions if one is not None})[-3:])
    known = why["known"]
    report.check("energy known when asked", f"{known} of {_QUESTIONS}", "all", passed=known == _QUESTIONS)
    report.check("answer, median", f"{median(took):.1f} ms", f"{_ANSWER_MS:.0f} ms", passed=median(took) < _ANSWER_MS)
    report.check("answer, longest", f"{max(took):.1f} ms", f"{_ANSWER_MS:.0f} ms", passed=max(took) < _ANSWER_MS)
    report.check("agent, share of a core", f"{share:.2%}", f"{_CPU_SHARE:.0%}", passed=share < _CPU_SHARE)
