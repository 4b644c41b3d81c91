import webbrowser
from io import StringIO

import pytest
from rich.console import Console

from rheostat.demo.page import serve_page
from rheostat.demo.processes import DemoServer


def interrupt() -> None:
    raise KeyboardInterrupt


SERVER = DemoServer("http://127.0.0.1:1", "sqlite:////some where/demo.db", interrupt)


def printed(*, open_page: bool, keep: bool) -> list[str]:
    """Return the lines that are printed on a narrow console."""
    lines = StringIO()
    serve_page(Console(file=lines, width=40), SERVER, open_page=open_page, keep=keep)
    return lines.getvalue().splitlines()


@pytest.mark.parametrize("outcome", [False, OSError("no such program")], ids=["refused", "failed"])
def test_where_no_browser_opens_the_address_is_all_there_is(
    outcome: bool | OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_browser(_: str) -> bool:
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    monkeypatch.setattr(webbrowser, "open", no_browser)
    *_, address, hint = printed(open_page=True, keep=False)
    assert address == "The page of the job, until Ctrl-C: http://127.0.0.1:1/jobs/demo"
    assert "no browser to open here" in hint


def test_the_command_that_serves_again_is_one_line_that_a_shell_takes() -> None:
    *_, kept, _ = printed(open_page=False, keep=True)
    assert kept.endswith(" serve --database-url 'sqlite:////some where/demo.db'")
