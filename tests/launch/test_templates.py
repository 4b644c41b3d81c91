import pytest

from rheostat.launch.templates import fill, names_in

VALUES = {"batch_size": "64", "learning_rate": "0.01", "seed": "7"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("--batch-size={batch_size}", "--batch-size=64"),
        ("{batch_size}-{seed}", "64-7"),
        ('{"batch": {batch_size}}', '{"batch": 64}'),
        ('{"batch": "{batch_size}"}', '{"batch": "64"}'),
        ("{}", "{}"),
        ("${batch_size} ${X} {other}", "${batch_size} ${X} {other}"),
        ("{{batch_size}}", "{batch_size}"),
        ("a{{b}}", "a{{b}}"),
        ("{ batch_size }", "{ batch_size }"),
    ],
)
def test_placeholders_are_replaced_and_other_braces_left(text: str, filled: str) -> None:
    assert fill(text, VALUES) == filled


def test_only_what_is_to_be_replaced_is_named() -> None:
    assert names_in(["--lr={learning_rate}", "{{seed}} ${epochs} {x}"]) == {"learning_rate"}
