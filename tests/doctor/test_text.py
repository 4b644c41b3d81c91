"""Findings as text and as JSON."""

import json

from rheostat.doctor.finding import ok, problem, skipped, warning
from rheostat.doctor.text import WIDTH, as_json, as_text

LONG = "words " * 30
FINDINGS = [
    ok("versions", "Rheostat 0.1.0"),
    warning("gpus", LONG, LONG, "Turn it off. Then look again."),
    problem("agent", "no agent", "It matters.", f"Start one with a command that is long {LONG}"),
    skipped("port", "no server"),
]


def test_each_check_begins_a_line_that_can_be_searched_for() -> None:
    lines = as_text(FINDINGS).splitlines()
    assert lines[0] == "ok       versions    Rheostat 0.1.0"
    assert [line.split(maxsplit=2)[:2] for line in lines if line and line[0] != " "][:4] == [
        ["ok", "versions"],
        ["warning", "gpus"],
        ["problem", "agent"],
        ["skipped", "port"],
    ]


def test_the_text_fits_a_terminal_and_ends_with_the_first_thing_to_do() -> None:
    lines = as_text(FINDINGS).splitlines()
    assert max(map(len, lines)) <= WIDTH
    last = lines[lines.index("") + 1 :]
    assert last[0].startswith("1 problem, 1 warning. First (agent): Start one with a command that is long words")
    assert " ".join(last).endswith(f"that is long {LONG}".rstrip())
    assert as_text(FINDINGS[:1]).endswith("\nNothing to do: all that was checked is as it should be.")
    assert as_text(FINDINGS[:2]).endswith("\n1 warning. First (gpus): Turn it off")
    path = "/a/path/" * 8 + "rheostat agent"
    long = problem("agent", "none", "It matters.", f"Run the agent as root: {path}")
    assert as_text([long]).endswith(f"\n\n1 problem. First (agent): Run the agent as root:\n{path}")


def test_a_command_stays_on_one_line_where_it_fits_and_no_word_is_broken() -> None:
    command = "rheostat spool send --server https://rheostat.example:8420"
    remedy = f"They wait, and want to be sent: {command}. Or look: rheostat spool list"
    lines = as_text([problem("spool", "full", "It is.", remedy)]).splitlines()
    assert [line.strip() for line in lines[2:5]] == [
        "do          They wait, and want to be sent:",
        command,
        "Or look: rheostat spool list",
    ]
    address = f"https://{'long' * 20}.example"
    assert address in as_text([problem("server", address, "It is.", "Look.")])


def test_colours_are_for_terminals_and_nothing_moves_the_cursor() -> None:
    hostile = [problem("gpus", "a name \x1b[2J", "It is.", "Look.")]
    assert "\x1b" not in as_text(hostile)
    assert "\x1b[31;1mproblem \x1b[0m gpus" in as_text(hostile, coloured=True)


def test_json_has_all_of_it() -> None:
    document = json.loads(as_json(FINDINGS))
    assert (document["ok"], len(document["checks"])) == (False, 4)
    assert document["checks"][3] == {"name": "port", "state": "skipped", "found": "no server", "why": "", "remedy": ""}
    assert json.loads(as_json(FINDINGS[:2]))["ok"] is True
