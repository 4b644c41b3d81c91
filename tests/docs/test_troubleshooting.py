"""The page about what does not work quotes messages as the code has them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "troubleshooting.md"
_QUOTE = re.compile(r"^- `(.+?)`: ", re.MULTILINE)
_ARGUMENT = re.compile(r"%[sdrg]")
_GAP = "…"


def _texts() -> Iterator[str]:
    """Return the texts in the code, with a gap for each value in them."""
    for path in sorted((ROOT / "app" / "rheostat").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else _GAP for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield _ARGUMENT.sub(_GAP, node.value)


def test_every_message_on_the_page_is_one_of_the_code() -> None:
    quotes = _QUOTE.findall(PAGE.read_text())
    texts = "\n".join(_texts())
    assert len(quotes) >= 20
    assert [quote for quote in quotes if quote.strip(f" {_GAP}") not in texts] == []
