import pytest

from rheostat.sdk.outcome import RunEnded, detail_of, outcome_of


class OutOfMemoryError(RuntimeError):
    """As PyTorch's."""


def raised_from(error: Exception, cause: Exception) -> Exception:
    try:
        raise error from cause
    except type(error) as raised:
        return raised


def raised_while_handling(error: Exception, context: Exception) -> Exception:
    try:
        try:
            raise context
        except type(context):
            raise error  # noqa: B904
    except type(error) as raised:
        return raised


@pytest.mark.parametrize(
    "error",
    [
        raised_from(RuntimeError("step 3 failed"), OutOfMemoryError("no room")),
        raised_while_handling(ValueError("no checkpoint"), RuntimeError("CUDA out of memory.")),
        ExceptionGroup("two workers", [ValueError("first"), OutOfMemoryError("no room")]),
        raised_from(RuntimeError("x"), ExceptionGroup("outer", [ExceptionGroup("inner", [MemoryError()])])),
    ],
    ids=["from", "while handling", "group", "nested groups"],
)
def test_an_error_that_the_memory_caused_is_oom(error: Exception) -> None:
    assert outcome_of(error, has_reported=True) == "oom"


def test_an_error_that_was_dealt_with_is_not_the_cause() -> None:
    error = raised_while_handling(ValueError("a bug"), MemoryError())
    error.__suppress_context__ = True
    assert outcome_of(error, has_reported=True) == "cancelled"


def test_errors_that_cause_each_other_end() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert outcome_of(first, has_reported=True) == "cancelled"


@pytest.mark.parametrize("error", [None, SystemExit(), SystemExit(0)], ids=repr)
def test_a_run_that_came_to_its_end_has_failed_if_it_reported(error: BaseException | None) -> None:
    assert outcome_of(error, has_reported=True) == "failed"
    assert outcome_of(error, has_reported=False) == "cancelled"


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_a_crash_says_nothing_about_the_batch_size(error: BaseException) -> None:
    assert outcome_of(error, has_reported=True) == "cancelled"


def test_an_ending_of_the_callers_own_is_the_outcome() -> None:
    class Full(RunEnded):
        outcome = "oom"

    assert outcome_of(Full("no room"), has_reported=True) == "oom"
    assert outcome_of(RunEnded("MemoryError: of something else"), has_reported=True) == "cancelled"


def test_the_detail_is_what_the_error_says() -> None:
    assert detail_of(ValueError("a bug")) == "ValueError: a bug"
    assert detail_of(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert detail_of(RunEnded("The command ended with exit code 1.")) == "The command ended with exit code 1."
    assert detail_of(None) is None
    assert detail_of(SystemExit(0)) is None
