import re

import pytest

from rheostat.sdk.out_of_memory import is_out_of_memory, shows_a_kill, shows_out_of_memory

MESSAGES = {
    "PyTorch": "CUDA out of memory. Tried to allocate 4.35 GiB.",
    "PyTorch on AMD": "HIP out of memory. Tried to allocate 2.00 GiB",
    "PyTorch on Apple": "MPS backend out of memory (MPS allocated: 8.00 GB, other allocations: 1.00 GB)",
    "CUDA": "CUDA error: out of memory",
    "CUDA's code": "CUDA_ERROR_OUT_OF_MEMORY: out of memory",
    "CUDA's runtime": "parallel_for failed: cudaErrorMemoryAllocation: out of memory",
    "cuBLAS": "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "a handle of cuBLAS": "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    "cuDNN": "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "cuDNN 9": "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "cuDNN's algorithms": "Unable to find a valid cuDNN algorithm to run convolution",
    "cuDNN's engines": "GET was unable to find an engine to execute this computation",
    "a tensor too large for cuDNN": "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in",
    "cuSOLVER": "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
    "cuFFT": "cuFFT error: CUFFT_ALLOC_FAILED",
    "NCCL": "NCCL error in: ProcessGroupNCCL.cpp:1269, unhandled error. Last error: Cuda failure 2 'out of memory'",
    "XLA": "RESOURCE_EXHAUSTED: Failed to allocate request for 176.00MiB (184549376B) on device ordinal 0",
    "XLA on the way": "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 285212672 bytes.",
    "XLA on a TPU": "RESOURCE_EXHAUSTED: XLA:TPU compile error. Ran out of memory in memory space hbm",
    "XLA's constants": "INTERNAL: Failed to allocate 1073741824 bytes for new constant",
    "TensorFlow": "OOM when allocating tensor with shape[256,832,7,7] and type float on GPU:0 by GPU_0_bfc",
    "TensorFlow's RNN": "Failed to call ThenRnnForward with model config: [rnn_mode, rnn_input_mode]: 2, 0, 0",
    "TensorFlow's copies": "Failed copying input tensor from CPU:0 to GPU:0: Dst tensor is not initialized.",
    "CUDA by its number": "catboost/cuda/cuda_lib/cuda_base.h:281: CUDA error 2: out of memory",
    "NCCL's own memory": "NCCL error, unhandled cuda error. Last error: Failed to CUDA calloc async 4 bytes",
    "Intel": "level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
    "Intel before": "Native API failed. Native API returns: -5 (PI_ERROR_OUT_OF_RESOURCES)",
    "OpenCL": "clEnqueueNDRangeKernel: CL_MEM_OBJECT_ALLOCATION_FAILURE",
    "Habana": "[Rank:0] FATAL ERROR :: MODULE:PT_DEVMEM Allocation failed for size::939524096 (896)MB",
    "vLLM": "No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
    "ONNX Runtime": "BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 1073741824",
    "MIOpen": "handlehip.cpp:78: Memory not available to allocate buffer: 4294967296",
    "cuSPARSE": "CUDA error: CUSPARSE_STATUS_INSUFFICIENT_RESOURCES when calling `cusparseCreate(handle)`",
    "accelerate": "No executable batch size found, reached zero.",
    "the host": "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you",
    "the system": "[Errno 12] Cannot allocate memory",
    "NumPy": "Unable to allocate 5.96 GiB for an array with shape (20000, 40000) and data type float64",
    "C++": "std::bad_alloc",
    "a data loader": "DataLoader worker (pid 4711) is killed by signal: Killed.",
}
LINES = [
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.10 GiB",
    "[rank3]: torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB",
    "MemoryError",
    "numpy.core._exceptions._ArrayMemoryError: Unable to allocate 8 GiB for an array",
    "tensorflow.python.framework.errors_impl.ResourceExhaustedError: Graph execution error:",
    "terminate called after throwing an instance of 'std::bad_alloc'",
    'Exception in thread "main" java.lang.OutOfMemoryError: Java heap space',
    "THCudaCheck FAIL file=THCStorage.cu line=58 error=2 : out of memory",
    "fatal error: runtime: out of memory",
    "slurmstepd: error: Detected 1 oom_kill event in StepId=4711.0. Some of the step tasks have been OOM Killed.",
]
HARMLESS = [
    "  --batch-size N   lower it when you run out of memory",
    "hint: use gradient checkpointing to avoid out of memory errors",
    "UserWarning: reduce num_workers to avoid OOM",
    "set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid OOM",
    "ValueError: reduce the sequence length to avoid out of memory",
    "ImportError: libgomp.so.1: cannot allocate memory in static TLS block",
    "W bfc_allocator.cc:243] Allocator (GPU_0_bfc) ran out of memory trying to allocate 1.08GiB. The caller indicates "
    "that this is not a failure, but may mean that there could be performance gains if more memory were available.",
    "grpc.RpcError: StatusCode.RESOURCE_EXHAUSTED: Quota exceeded for requests per minute",
    "RESOURCE_EXHAUSTED: Received message larger than max (5000000 vs. 4194304)",
    "the GPU has 24 GB of memory, 3 GB of it allocated",
    "oom_policy=skip, memory_efficient=True, allocator=native",
    "from torch.cuda import OutOfMemoryError, memory_allocated",
    "KeyError: 'memory'",
    "UserWarning: Plan failed with a cudnnException: cudnnFinalizeDescriptor Failed cudnn_status: "
    "CUDNN_STATUS_NOT_SUPPORTED (Triggered internally at Conv_v8.cpp:919.)",
]


@pytest.mark.parametrize("library", MESSAGES)
def test_memory_runs_out_in_many_words(library: str) -> None:
    message = MESSAGES[library]
    assert shows_out_of_memory(f"RuntimeError: {message}")
    assert is_out_of_memory(RuntimeError(message))
    assert is_out_of_memory(RuntimeError(f"-- Process 0 failed:\nTraceback:\nRuntimeError: {message}"))


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_an_error_shows_it(line: str) -> None:
    assert shows_out_of_memory(line)


@pytest.mark.parametrize("line", HARMLESS)
def test_a_mention_is_no_error(line: str) -> None:
    assert not shows_out_of_memory(line)


def test_the_class_of_an_error_may_say_it() -> None:
    class OutOfMemoryError(RuntimeError): ...

    class SharedMemoryError(RuntimeError): ...

    assert is_out_of_memory(OutOfMemoryError())
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(SharedMemoryError("no such segment"))


def test_a_users_own_patterns_add_to_it() -> None:
    mine = [re.compile("no room for the batch")]
    assert shows_out_of_memory("E0001 no room for the batch", mine)
    assert not shows_out_of_memory("E0001 no room for the batch")


@pytest.mark.parametrize(
    ("line", "is_a_kill"),
    [
        ("  exitcode  : -9 (pid: 4711)", True),
        ("ERROR [launch.py:321:sigkill_handler] ['python', 'train.py'] exits with return code = -9", True),
        ("train.sh: line 3:  4711 Killed                  python train.py", True),
        ("torch.multiprocessing.spawn.ProcessExitedException: process 0 terminated with signal SIGKILL", True),
        ("A process in the process pool was terminated abruptly", True),
        ("  exitcode  : 1 (pid: 4711)", False),
        ("Killed-job handling is on", False),
    ],
)
def test_a_kill_is_seen_in_what_a_launcher_says(line: str, is_a_kill: bool) -> None:
    assert shows_a_kill(line) == is_a_kill
