"""A stand-in for `nvidia-smi`, first on the path."""

import os
from pathlib import Path

import pytest


def install(monkeypatch: pytest.MonkeyPatch, directory: Path, script: str) -> None:
    """Put a shell script in the place of `nvidia-smi`."""
    tool = directory / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


def printing(query: str, listing: str = "") -> str:
    """Return a script that answers a query, and lists GPUs with their slices."""
    return f"case $1 in -L) cat <<'END'\n{listing}\nEND\n;; *) cat <<'END'\n{query}\nEND\n;; esac"
