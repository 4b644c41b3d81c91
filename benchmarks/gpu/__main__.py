"""The command ``python -m benchmarks.gpu``."""

import os
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from benchmarks.gpu import measuring, training
from benchmarks.gpu.context import Context
from benchmarks.gpu.node import CheckedAgent
from benchmarks.gpu.nvml import Gpu, NoGpu
from benchmarks.gpu.report import Report
from benchmarks.gpu.work import find_work
from benchmarks.server.servers import rheostat

PARTS = {
    "facts": measuring.facts,
    "windows": measuring.windows,
    "answers": measuring.answers,
    "watching": training.watching,
    "restart": training.restart,
    "recurring": training.recurring,
}
NO_GPU = 2


def main(
    *,
    parts: Annotated[str, typer.Option(help="Which parts to run.")] = " ".join(PARTS),
    gpu: Annotated[int, typer.Option(min=0, help="Number of the GPU, as nvidia-smi's.")] = 0,
    scale: Annotated[float, typer.Option(min=0.01, max=1, help="Fraction of the usual time; 1 takes six minutes.")] = 1,
    runs: Annotated[int, typer.Option(min=1, help="Runs of the recurring job.")] = 5,
    output: Annotated[Path, typer.Option(help="File for all that was seen, as JSON.")] = Path("build/check-gpu.json"),
    simulate: Annotated[bool, typer.Option("--simulate", help="Use the fake GPU of the tests.")] = False,
) -> None:
    """Check Rheostat on this machine's GPU. No power limit is ever changed.

    Exits with 1 when something is not as it should be, and with 2 without an NVIDIA GPU.
    """
    chosen = parts.replace(",", " ").split()
    if unknown := sorted(set(chosen) - set(PARTS)):
        raise typer.BadParameter(f"There is no part {', '.join(unknown)}: they are {' '.join(PARTS)}.")
    if simulate:
        from benchmarks.gpu.simulation import simulate as run  # noqa: PLC0415 -- only the tests have the fake

        options = ["--parts", parts, "--scale", str(scale), "--runs", str(runs), "--output", str(output)]
        raise typer.Exit(run(options))
    try:
        device = Gpu(gpu)
    except NoGpu as error:
        typer.echo(f"There is no NVIDIA GPU to check on this machine: {error}", err=True)
        raise typer.Exit(NO_GPU) from None
    report = Report()
    _run(device, chosen, report, scale, runs)
    typer.echo(f"\n{report.table()}")
    report.write(output)
    typer.echo(f"\nAll that was seen is in {output}.")
    raise typer.Exit(1 if report.failed else 0)


def _run(gpu: Gpu, chosen: list[str], report: Report, scale: float, runs: int) -> None:
    with TemporaryDirectory(prefix="rheostat-gpu-", dir="/tmp") as name, ExitStack() as stack:
        directory = Path(name)  # short, since a Unix socket's path may have 107 bytes
        agent = CheckedAgent(directory)
        # Before anything initialises CUDA, and for what this process starts.
        os.environ |= {
            "CUDA_VISIBLE_DEVICES": gpu.uuid,
            "RHEOSTAT_GPUS": gpu.uuid,
            "RHEOSTAT_AGENT_DIR": str(agent.directory),
            "RHEOSTAT_SPOOL_DIR": str(directory / "spool"),
        }
        stack.enter_context(agent)
        load, make = find_work()
        report.fact("load", load)
        server = rheostat(f"sqlite:///{directory / 'rheostat.db'}", directory / "server.log")
        url = f"http://127.0.0.1:{stack.enter_context(server).port}"
        context = Context(gpu, agent, url, make, report, scale, runs)
        for part in chosen:
            typer.echo(f"\n{part}")
            PARTS[part](context)


if __name__ == "__main__":
    typer.run(main)
