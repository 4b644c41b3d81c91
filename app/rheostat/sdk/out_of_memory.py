"""How memory that ran out shows in an error or in a line of output: one list for the SDK and for `rheostat run`.

A message that only means it counts wherever it is. The words "out of memory" alone count where a line reports an error:
a hint in a log or a help text is none.
"""

import re
from collections.abc import Iterable

# Messages and codes that mean it, wherever they are. Each was seen in public bug reports of the library that it names.
_MEANS_IT = (
    # Classes of Python, NumPy, PyTorch, TensorFlow, Paddle, Ray and Java at the beginning of an error's line.
    r"(?:^|[\s\].:(])\w*(?:OutOfMemory(?:Error|Exception)?|(?<!Shared)MemoryError|ResourceExhaustedError)(?=:|\(|'|$)",
    # PyTorch's allocators, and accelerate's search for a batch size.
    r"out of memory\.? (?:\(|Tried to allocate|while trying)",
    r"DefaultCPUAllocator: (?:can't|not enough)",
    r"No executable batch size found, reached zero",
    # CUDA, HIP and the driver.
    r"(?:cuda|hip)Error(?:MemoryAllocation|OutOfMemory)|(?:CUDA|HIP)_ERROR_OUT_OF_MEMORY|cudaMalloc failed",
    r"(?:Cuda|HIP) failure (?:\d+ )?'out of memory'",
    # The handles and workspaces of NVIDIA's and AMD's libraries: not initialised is how cuBLAS and cuDNN say that
    # there was no room for a handle, and finding no algorithm that there was none for a workspace.
    r"(?:CUBLAS|CUDNN|CUSOLVER|CUSPARSE|CURAND|CUTENSOR|HIPBLAS|HIPSPARSE)_STATUS_\w*ALLOC\w*FAILED",
    r"CU(?:BLAS|DNN|SOLVER)_STATUS_NOT_INITIALIZED|CUDNN_STATUS_NOT_SUPPORTED|CUDNN_STATUS_INTERNAL_ERROR",
    r"CUFFT_ALLOC_FAILED|rocblas_status_memory_error|miopenStatusAllocFailed|ncclSystemError.*Cannot allocate memory",
    r"Unable to find a valid cuDNN algorithm|unable to find an engine to execute this computation",
    r"cuDNN finds no algorithm|Could not create cudnn handle",
    # XLA and TensorFlow; gRPC has other resources that may be exhausted.
    r"RESOURCE_EXHAUSTED: (?!.*(?:quota|message larger|too many requests|rate limit))",
    r"\bOOM when allocating",
    r"ran out of memory (?:trying|in memory space)(?!.*not a failure)",
    r"Failed to call (?:Then|Do)Rnn(?:Forward|Backward)",
    r"Failed to allocate [^\n]{0,80}?\d[\d.]*\s?(?:bytes|[KMGT]i?B?\b)",
    # The host: C++, the system's calls, NumPy, the kernel, Slurm and Kubernetes.
    r"\bstd::bad_alloc\b|\bbad_alloc: out_of_memory",
    r"Cannot allocate memory(?! in static TLS)|Unable to allocate [\d.]+ \w+ for an array",
    r"DataLoader worker \(pid[^)]*\) is killed by signal: (?:Killed|Bus error)",
    r"\boom[_-]kill event|\bOOM[ -]?Killed\b|Out of memory: Killed process|LLVM ERROR: out of memory",
)
# Where the words alone count: behind the name of an error and a colon, as they begin or end what it says.
_IN_AN_ERROR = r"(?:\w*(?:Error|Exception)|\berror|\bfatal|\bfailed|\bwhat\(\)|\bpanic)\b\W*:\s*"
_HINT = r"\b(?:avoid|prevent|reduc\w*|if you|in case|to fix|against|without|not)\b"
_WORDS = rf"{_IN_AN_ERROR}(?!.*{_HINT}.*out[ _-]of[ _-]?memory).*\bout[ _-]of[ _-]?memory\b"

_OUT_OF_MEMORY = re.compile("|".join((*_MEANS_IT, _WORDS)), re.IGNORECASE)
# Looked for first, in lower case: the list is long, and a command may write much. Each of its parts contains one.
_WORDS_OF_IT = ("memory", "_status_", "alloc", "cudnn", "exhausted", "oom", "rnn", "an engine", "executable", "kill")
_WORDS_OF_A_KILL = ("kill", "signal", "exit", "abruptly")

_KILLED = re.compile(
    r"\bSIGKILL\b|\bsignal:? 9\b|exit ?code\s*:?\s*(?:-9|137)\b|(?:^|\s)Killed(?:\s|$)|terminated abruptly"
)


def shows_out_of_memory(line: str, more: Iterable[re.Pattern[str]] = ()) -> bool:
    """Return whether a line of an error or an output says that memory ran out.

    Args:
        line: The line.
        more: Patterns of the user's own.
    """
    if _has_one(line, _WORDS_OF_IT) and _OUT_OF_MEMORY.search(line) is not None:
        return True
    return any(pattern.search(line) is not None for pattern in more)


def shows_a_kill(line: str) -> bool:
    """Return whether a line says that a process was ended by SIGKILL, which the kernel does where memory runs out."""
    return _has_one(line, _WORDS_OF_A_KILL) and _KILLED.search(line) is not None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, without its causes, says that memory ran out."""
    first, *rest = str(error).splitlines() or [""]
    names = [cls.__name__ for cls in type(error).__mro__ if issubclass(cls, Exception)]
    return any(map(shows_out_of_memory, (*(f"{name}: {first}" for name in names), *rest)))


def _has_one(line: str, words: Iterable[str]) -> bool:
    lower = line.lower()
    return any(word in lower for word in words)
