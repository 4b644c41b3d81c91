"""Data frames."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from rheostat.errors import ConfigurationError
from rheostat.schemas.server import Gpu
from rheostat.sdk.frames import all_pages, frame_of
from tests.domain.examples import A40, V100


def test_the_items_of_all_pages_come_in_order() -> None:
    pages = {None: SimpleNamespace(gpus=[V100], next_cursor="1"), "1": SimpleNamespace(gpus=[A40], next_cursor=None)}
    assert list(all_pages(pages.__getitem__, "gpus")) == [V100, A40]


def test_pandas_is_not_imported_before_a_frame_is_wanted() -> None:
    program = "import sys, rheostat.sdk.frames, rheostat; rheostat.Client; print('pandas' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_without_pandas_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigurationError, match=r"-m pip install .*\[pandas\]"):
        frame_of(Gpu, [])
