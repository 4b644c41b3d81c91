"""How memory that ran out shows in an error or in a line of output: one list for the SDK and for `rheostat run`.

A message that only means it counts wherever it is. The words "out of memory" alone count where a line reports an error:
a hint in a log or a help text is none.
"""

import re
from collections.abc import Iterable, Mapping

_CLASS = r"(?:^|[\s\].:(])\w*{}(?=:|\(|'|$)"
_IN_AN_ERROR = r"(?:\w*(?:Error|Exception)|\berror|\bfatal|\bfailed|\bwhat\(\)|\bpanic)\b\W*:\s*"
_HINT = r"\b(?:avoid|prevent|reduc\w*|if you|in case|to fix|against|without|not)\b"

# Messages and codes that mean it, each behind a text that it contains: a command may write much, and to look for a text
# is cheap. Each was seen in public bug reports of the library that it names.
_MEANS_IT = {
    # Classes at the beginning of an error's line: of Python, NumPy, PyTorch, TensorFlow, Paddle, Ray and Java.
    "outofmemory": _CLASS.format("OutOfMemory(?:Error|Exception)?"),
    "memoryerror": _CLASS.format("(?<!Shared)MemoryError"),
    "resourceexhaustederror": _CLASS.format("ResourceExhaustedError"),
    # PyTorch's allocators; CUDA and HIP, and NCCL that reports them; XLA; the kernel; and any error of these words.
    "out of memory": (
        r"out of memory\.? (?:\(|Tried to allocate|while trying)|failure (?:\d+ )?'out of memory'"
        r"|\berror\W{0,3}\d+\W{0,3}out of memory"
        rf"|Out of memory: Killed process|{_IN_AN_ERROR}(?!.*{_HINT}.*out of memory).*\bout of memory\b"
    ),
    "out_of_memory": r"(?:CUDA|HIP)_ERROR_OUT_OF_MEMORY|bad_alloc: out_of_memory",
    "defaultcpuallocator": r"DefaultCPUAllocator: (?:can't|not enough)",
    "no executable batch size": r"No executable batch size found, reached zero",  # of accelerate's search for one
    "errormemoryallocation": r"(?:cuda|hip)ErrorMemoryAllocation",
    "erroroutofmemory": r"(?:cuda|hip)ErrorOutOfMemory",
    "cudamalloc failed": r"cudaMalloc failed",
    "cuda calloc": r"Failed to CUDA calloc",  # of NCCL
    # Intel's level zero, OpenCL and Vulkan, Habana's devices, and vLLM.
    "error_out_of_": r"\b(?:UR_RESULT|ZE_RESULT|PI|VK)_ERROR_OUT_OF_(?:(?:DEVICE_|HOST_)?MEMORY|RESOURCES)",
    "cl_out_of_": r"\bCL_OUT_OF_(?:RESOURCES|HOST_MEMORY)",
    "object_allocation_fail": r"MEM_OBJECT_ALLOCATION_FAILURE",
    "pt_devmem": r"PT_DEVMEM Allocation failed",
    "no available memory": r"No available memory for the cache blocks",
    # The handles and workspaces of NVIDIA's and AMD's libraries: not initialised is how cuBLAS and cuDNN say that there
    # was no room for a handle, and finding no algorithm that there was none for a workspace.
    "_status_": (
        r"(?:CUBLAS|CUDNN|CUSOLVER|CUSPARSE|CURAND|CUTENSOR|HIPBLAS|HIPSPARSE)_STATUS_\w*ALLOC\w*FAILED"
        r"|CUSPARSE_STATUS_INSUFFICIENT_RESOURCES|CUDNN_STATUS_INTERNAL_ERROR"
        # PyTorch warns of a plan that is not supported, and takes another.
        r"|CU(?:BLAS|DNN|SOLVER)_STATUS_NOT_INITIALIZED|^(?!.*Plan failed with).*CUDNN_STATUS_NOT_SUPPORTED"
        r"|rocblas_status_memory_error"
    ),
    "cufft_alloc_failed": r"CUFFT_ALLOC_FAILED",
    "miopenstatusallocfailed": r"miopenStatusAllocFailed",
    "memory not available": r"Memory not available to allocate buffer",  # of MIOpen
    "cudnn algorithm": r"Unable to find a valid cuDNN algorithm",
    "cudnn finds no algorithm": r"cuDNN finds no algorithm",
    "unable to find an engine": r"unable to find an engine to execute this computation",
    "create cudnn handle": r"Could not create cudnn handle",
    # XLA and TensorFlow; gRPC has other resources that may be exhausted.
    "resource_exhausted": r"RESOURCE_EXHAUSTED: (?!.*(?:quota|message larger|too many requests|rate limit))",
    "oom when allocating": r"\bOOM when allocating",
    "ran out of memory": r"ran out of memory (?:trying|in memory space)(?!.*not a failure)",
    "dst tensor": r"Dst tensor is not initialized",  # a copy to the GPU for which there is no room
    "failed to call": r"Failed to call (?:Then|Do)Rnn(?:Forward|Backward)",
    "failed to allocate": (  # with a size; ONNX Runtime's is in bytes
        r"Failed to allocate .{0,80}?\d[\d.]*\s?(?:bytes|[KMGT]i?B?\b)"
        r"|Failed to allocate memory for requested buffer of size"
    ),
    # The host: C++, the system's calls, NumPy, data loaders, LLVM, Slurm and Kubernetes.
    "bad_alloc": r"\bstd::bad_alloc\b",
    "cannot allocate memory": r"Cannot allocate memory(?! in static TLS)",
    "unable to allocate": r"Unable to allocate [\d.]+ \w+ for an array",
    "dataloader worker": r"DataLoader worker \(pid[^)]*\) is killed by signal: (?:Killed|Bus error)",
    "oom": r"\boom[_-]kill event|\bOOM[ -]?Killed\b",
}
_A_KILL = {
    "sigkill": r"\bSIGKILL\b",
    "killed": r"(?-i:(?:^|\s)Killed(?:\s|$))",
    "signal": r"\bsignal:? 9\b",
    "exit": r"\bexit ?code\s*:?\s*(?:-9|137)\b",
    "return": r"\breturn ?code\s*[:=]?\s*(?:-9|137)\b",  # of DeepSpeed's launcher
    "terminated abruptly": r"terminated abruptly",
}


def _compiled(patterns: Mapping[str, str]) -> dict[str, re.Pattern[str]]:
    return {text: re.compile(pattern, re.IGNORECASE) for text, pattern in patterns.items()}


_OUT_OF_MEMORY, _KILLED = _compiled(_MEANS_IT), _compiled(_A_KILL)


def shows_out_of_memory(line: str, more: Iterable[re.Pattern[str]] = ()) -> bool:
    """Return whether a line of an error or an output says that memory ran out.

    Args:
        line: The line.
        more: Patterns of the user's own.
    """
    return _matches(line, _OUT_OF_MEMORY) or any(pattern.search(line) is not None for pattern in more)


def shows_a_kill(line: str) -> bool:
    """Return whether a line says that a process was ended by SIGKILL, which the kernel does where memory runs out."""
    return _matches(line, _KILLED)


def may_show_either(text: str) -> bool:
    """Return whether one of many lines may be of that kind: cheaper than to look at each of them."""
    lower = text.lower()
    return any(needle in lower for needle in (*_OUT_OF_MEMORY, *_KILLED))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, without its causes, says that memory ran out."""
    first, *rest = str(error).splitlines() or [""]
    names = [cls.__name__ for cls in type(error).__mro__ if issubclass(cls, Exception)]
    return any(map(shows_out_of_memory, (*(f"{name}: {first}" for name in names), *rest)))


def _matches(line: str, patterns: Mapping[str, re.Pattern[str]]) -> bool:
    lower = line.lower()
    return any(pattern.search(line) is not None for needle, pattern in patterns.items() if needle in lower)
