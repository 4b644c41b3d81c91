"""Findings as text for a terminal, and as JSON."""

import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

import rheostat
from rheostat.doctor.finding import Finding
from rheostat.printable import printable

WIDTH = 80
_INDENT = 21
"""Width of the columns of state and name."""
_SENTENCES = re.compile(r"(?<=\.) (?=[A-Z])")
_COLOURS = {"ok": "32", "warning": "33", "problem": "31;1", "skipped": "2"}


def as_text(findings: Sequence[Finding], *, coloured: bool = False) -> str:
    """Return a line for each finding, with why and what to do below those that need it, and the first thing to do."""
    lines = [line for finding in findings for line in _lines(finding, coloured=coloured)]
    return "\n".join([*lines, "", *_wrapped_summary(summary(findings))])


def summary(findings: Sequence[Finding]) -> str:
    """Return in one sentence each how many findings are grave, and the first thing to do."""
    wrong = [finding for state in ("problem", "warning") for finding in findings if finding.state == state]
    if not wrong:
        return "Nothing to do: all that was checked is as it should be."
    counts = [
        f"{count} {state}{'' if count == 1 else 's'}"
        for state in ("problem", "warning")
        if (count := sum(finding.state == state for finding in wrong))
    ]
    sentence = _SENTENCES.split(wrong[0].remedy)[0].rstrip(".")
    return f"{', '.join(counts)}. First ({wrong[0].name}): {sentence}"


def _wrapped_summary(text: str) -> list[str]:
    """Return all of it; a command that does not fit beside its sentence begins a line, so that it can be copied."""
    begin, _, command = text.rpartition(": ")
    has_command = not begin.endswith(")")  # not the colon after the check's name
    parts = [f"{begin}:", command] if has_command and len(text) > WIDTH else [text]
    return [line for part in parts for line in _wrapped(part, WIDTH)]


def as_json(findings: Sequence[Finding]) -> str:
    """Return the findings as a JSON document."""
    document = {
        "version": rheostat.__version__,
        "ok": not any(finding.state == "problem" for finding in findings),
        "first": summary(findings),
        "checks": [asdict(finding) for finding in findings],
    }
    return json.dumps(document, indent=2)


def _lines(finding: Finding, *, coloured: bool) -> list[str]:
    found, *rest = _wrapped(finding.found)
    state = f"{finding.state:<8}"
    if coloured:
        state = f"\x1b[{_COLOURS[finding.state]}m{state}\x1b[0m"
    lines = [f"{state} {finding.name:<{_INDENT - 9}}{found}", *rest]
    for label, parts in (("why", [finding.why]), ("do", _steps(finding.remedy))):
        if parts != [""]:
            first, *others = [line for part in parts for line in _wrapped(part)]
            lines += [f"{'':9}{label:<{_INDENT - 9}}{first}", *others]
    return [lines[0], *(line if line.startswith(" ") else f"{'':{_INDENT}}{line}" for line in lines[1:])]


def _steps(remedy: str) -> list[str]:
    """Return what to do in parts that each begin a line: a command can be copied from one line where it fits."""
    steps = []
    for sentence in (sentence.rstrip(".") for sentence in _SENTENCES.split(remedy)):
        begin, colon, command = sentence.partition(": ")
        if len(sentence) > WIDTH - _INDENT and colon:
            steps += [f"{begin}:", command]
        else:
            steps.append(sentence)
    return steps


def _wrapped(text: str, width: int = WIDTH - _INDENT) -> list[str]:
    return textwrap.wrap(printable(text), width, break_long_words=False, break_on_hyphens=False) or [""]
