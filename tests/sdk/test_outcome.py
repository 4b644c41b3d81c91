import pytest

from rheostat.sdk.outcome import outcome_of, shows_out_of_memory


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


@pytest.mark.parametrize(
    "text",
    [
        "HIP out of memory. Tried to allocate 2.00 GiB",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "OOM when allocating tensor with shape[256,832,7,7]",
        "RESOURCE_EXHAUSTED: Failed to allocate request for 176.00MiB (184549376B) on device ordinal 0",
        "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory",
        "Unable to find a valid cuDNN algorithm to run convolution",
        "GET was unable to find an engine to execute this computation",
        "CUDA_ERROR_OUT_OF_MEMORY",
    ],
)
def test_memory_runs_out_in_many_words(text: str) -> None:
    assert outcome_of(RuntimeError(text), has_reported=False) == "oom"
    assert shows_out_of_memory(f"Traceback:\nRuntimeError: {text}\n")


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
