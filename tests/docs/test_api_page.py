"""docs/api.md is what the application says of itself today."""

import re
from typing import Any

import pytest

from docs.api_examples import Exchange, recorded_exchanges
from docs.api_page import PAGE, page

Recorded = tuple[dict[str, Any], dict[str, Exchange]]


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return recorded_exchanges()


def without_figures(text: str) -> str:
    """Leave out the figures of recorded answers: their last digits depend on the machine."""
    return re.sub(r"```json\n.*?```", lambda block: re.sub(r"-?\d[\d.e+-]*", "0", block[0]), text, flags=re.DOTALL)


def test_the_page_is_fresh_or_make_docs_api_was_forgotten(recorded: Recorded) -> None:
    assert without_figures(page(*recorded)) == without_figures(PAGE.read_text())


def test_every_operation_and_every_object_is_on_the_page(recorded: Recorded) -> None:
    document, exchanges = recorded
    titles = set(re.findall(r"^### (\w+)$", PAGE.read_text(), re.MULTILINE))
    operations = {each["operationId"] for methods in document["paths"].values() for each in methods.values()}
    assert operations <= titles
    assert operations == set(exchanges)
    assert {name for name, schema in document["components"]["schemas"].items() if "properties" in schema} <= titles
