"""The check of a GPU works on the fake one, which is as slow and irregular as a real one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.measuring import WINDOWS_SECONDS
from benchmarks.gpu.nvml import Gpu, Ticks, integral_joules
from benchmarks.gpu.report import Report, quantiles
from tests.nvml.fake import FakeNvml
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]


def check(environment: dict[str, str], output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu", "--output", str(output), *options]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.fixture
def busy(fake: FakeNvml) -> FakeNvml:
    fake.be_real()
    fake.gpus[0].wave(0.05, 0.9, period_ms=197, high_ms=129, ramp_ms=10)
    return fake


def test_it_says_what_the_driver_does_and_judges_the_agent(busy: FakeNvml, tmp_path: Path) -> None:
    output = tmp_path / "seen.json"
    done = check(busy.environment(), output, "--parts", "facts windows answers", "--scale", "0.05")
    assert done.returncode in (0, 1), done.stdout + done.stderr
    seen: dict[str, Any] = json.loads(output.read_text())
    assert seen["facts"]["GPU"] == "Fake V100"
    assert seen["facts"]["range, mW"] == [100_000, 300_000]
    assert "max" in seen["facts"]["energy counter, under load"]
    checks = {one["name"]: one for one in seen["checks"]}
    assert checks["windows known"]["measured"].endswith(f"of {len(WINDOWS_SECONDS)}")
    assert checks["energy known when asked"]["measured"].endswith("of 40")
    for name in ("answer, median", "answer, longest", "agent, share of a core"):
        assert checks[name]["passed"] in (True, False)
        assert f"| {name} |" in done.stdout
    assert done.returncode == any(one["passed"] is False for one in seen["checks"])


def test_it_trains_through_the_sdk_and_kills_the_agent_in_a_run(busy: FakeNvml, tmp_path: Path) -> None:
    output = tmp_path / "seen.json"
    options = ("--parts", "watching,restart,recurring", "--scale", "0.05", "--runs", "2")
    done = check(busy.environment(), output, *options)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    names = [one["name"] for one in json.loads(output.read_text())["checks"]]
    assert "step while watched" in names
    assert "energy of a run in which the agent is killed, known" in names
    assert "epoch with Rheostat" in names
    assert not busy.gpus[0].sets_watts()  # no limit was ever changed


def test_without_a_gpu_one_sentence_says_so(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").touch()  # hides the library of a machine that has one
    done = check({"LD_LIBRARY_PATH": str(tmp_path)}, tmp_path / "seen.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("There is no NVIDIA GPU to check on this machine: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_part_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    done = check({}, tmp_path / "seen.json", "--parts", "facts windmills")
    assert done.returncode == 2
    assert "windmills" in done.stderr


def test_ticks_are_seen_when_they_happen(fake: FakeNvml) -> None:
    fake.gpus[0].load(1)
    with Ticks(Gpu(0)) as ticks:
        begin_ns, before = ticks.next()
        ticks.next()
        end_ns, after = ticks.next()
    assert after - before == pytest.approx(0.2 * 290, rel=0.1)
    assert (end_ns - begin_ns) / 1e9 == pytest.approx(0.2, abs=0.08)  # as wide as a busy machine needs
    true = fake.gpus[0].energy_joules(end_ns) - fake.gpus[0].energy_joules(begin_ns)
    assert after - before == pytest.approx(true, rel=0.4)


def test_power_samples_are_integrated_within_the_window() -> None:
    samples = [(0.0, 100.0), (1.0, 100.0), (2.0, 200.0)]
    assert integral_joules(samples, 0.5, 1.0) == 50.0
    assert integral_joules(samples, 0.0, 2.0) == 250.0


def test_only_what_failed_fails() -> None:
    report = Report()
    report.check("a", "1", "1", passed=True)
    report.check("b", "2", "1", passed=None)
    assert report.failed == []
    report.check("c", "3", "1", passed=False)
    assert [one.name for one in report.failed] == ["c"]
    assert report.table().splitlines()[-1] == "| c | 3 | 1 | NO |"
    assert quantiles([1.0, 2.0, 3.0]) == "p50 2.000, p90 3.000, p99 3.000, max 3.000 ms"


CUDA = """
#include <stddef.h>
#include <stdint.h>
static int retained, buffers, copies;
int cuInit(unsigned flags) { return flags; }
int cuDevicePrimaryCtxRetain(void **context, int device) { retained = 1; *context = &retained; return device; }
int cuCtxSetCurrent(void *context) { return context == &retained ? 0 : 201; }
int cuMemAlloc_v2(uint64_t *pointer, size_t size) { *pointer = 0x700000000000 + ++buffers; return size < 1 << 20; }
int cuMemFree_v2(uint64_t pointer) { return pointer < 0x700000000000; }
int cuMemcpyDtoD_v2(uint64_t to, uint64_t from, size_t size) { copies++; return to == from || size != 1 << 28; }
int cuCtxSynchronize(void) { return retained ? 0 : 201; }
int copies_made(void) { return copies; }
"""


def test_without_pytorch_copies_load_the_gpu(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("The fake CUDA needs a C compiler called cc.")
    library = tmp_path / "libcuda.so.1"
    source = tmp_path / "cuda.c"
    source.write_text(CUDA)
    subprocess.run(
        [compiler, "-shared", "-fPIC", str(source), "-o", str(library)], check=True, timeout=PATIENCE_SECONDS
    )
    program = (
        "import ctypes; from benchmarks.gpu.work import find_work; words, make = find_work(); work = make(64); "
        "work.step(); work.finish(); print(words, ctypes.CDLL('libcuda.so.1').copies_made())"
    )
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    assert done.stdout.startswith("copies in the GPU's memory (reduced")
    assert done.stdout.split()[-1] == "8"
