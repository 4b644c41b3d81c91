"""How an extra of this installation is installed, so that a message can say it as it is typed."""

import json
import shlex
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


def install_command(extra: str) -> str:
    """Return the command that adds an extra to this environment, from where Rheostat itself was installed.

    Args:
        extra: Name of the extra, as ``server``.
    """
    option, source = _source()
    return f"{shlex.quote(sys.executable)} -m pip install {option}{shlex.quote(f'{source}[{extra}]')}"


def _source() -> tuple[str, str]:
    """Return pip's option and requirement of what is installed: a folder, a wheel, or a name of the index.

    pip records a folder or a file in ``direct_url.json`` (PEP 610).
    """
    try:
        recorded = distribution("rheostat").read_text("direct_url.json")
    except PackageNotFoundError:
        recorded = None
    if recorded is None:
        return "", "rheostat"
    origin: dict[str, Any] = json.loads(recorded)
    path = Path(unquote(urlsplit(origin["url"]).path))
    if urlsplit(origin["url"]).scheme != "file" or not path.exists():
        return "", "rheostat"
    return "--editable " if origin.get("dir_info", {}).get("editable") else "", str(path)
