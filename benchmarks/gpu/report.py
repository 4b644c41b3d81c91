"""What was seen, and which of it is as it should be."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import typer


@dataclass(frozen=True, slots=True)
class Check:
    """A figure with what is wanted of it; one that cannot be judged is neither passed nor failed."""

    name: str
    measured: str
    target: str
    passed: bool | None


@dataclass(slots=True)
class Report:
    """Collects facts and checks, and prints them as they come.

    Attributes:
        facts: What was seen, by name.
        checks: What was wanted, too.
    """

    facts: dict[str, object] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    def fact(self, name: str, value: object) -> None:
        """Add what was seen."""
        self.facts[name] = value
        typer.echo(f"  {name}: {value}")

    def check(self, name: str, measured: str, target: str, *, passed: bool | None) -> None:
        """Add what was seen and what is wanted."""
        self.checks.append(Check(name, measured, target, passed))
        typer.echo(f"  {name}: {measured} (wanted: {target})")

    @property
    def failed(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks if check.passed is False]

    def table(self) -> str:
        """Return the checks as a table of Markdown."""
        words = {True: "yes", False: "NO", None: "not judged"}
        rows = [f"| {one.name} | {one.measured} | {one.target} | {words[one.passed]} |" for one in self.checks]
        return "\n".join(["| | measured | wanted | |", "|---|---|---|---|", *rows])

    def write(self, path: Path) -> None:
        """Write all of it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1, default=str) + "\n")


def quantiles(values: list[float], unit: str = "ms") -> str:
    """Return the distribution in words."""
    ordered = sorted(values)
    if not ordered:
        return "none"
    chosen = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    parts = [f"{name} {ordered[int(part * len(ordered))]:.3f}" for name, part in chosen.items()]
    return f"{', '.join(parts)}, max {ordered[-1]:.3f} {unit}"
