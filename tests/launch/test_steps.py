import pytest

from rheostat.errors import ConfigurationError
from rheostat.launch.steps import StepReader


@pytest.mark.parametrize(
    ("pattern", "line", "step"),
    [
        ("step {step}", "epoch 1 step 40 loss 0.3", 40),
        (r"\[{step}/\d+\]", "[7/100] loss 1.2", 7),
        (r"it=(\d+)", "it=12", 12),
        (r"(?P<loss>[0-9.]+) at {step}", "0.25 at 30", 30),
        ("step {step}", "evaluating", None),
    ],
)
def test_the_number_of_a_step_is_read(pattern: str, line: str, step: int | None) -> None:
    assert StepReader(pattern)(line) == step


def test_lines_without_a_number_are_counted() -> None:
    read = StepReader("^train")
    assert [read(line) for line in ("train", "eval", "train")] == [1, None, 2]


def test_a_pattern_that_is_no_expression_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--step-pattern"):
        StepReader("step [{step}")
