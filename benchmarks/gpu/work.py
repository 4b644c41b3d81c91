"""What keeps the GPU busy: training in PyTorch; without it copies in the GPU's memory; without CUDA nothing."""

import ctypes
import random
import sysconfig
from collections.abc import Callable
from contextlib import suppress
from math import log
from pathlib import Path
from time import sleep
from typing import Any, Protocol

_CONTEXT, _WIDTH, _LAYERS, _HEADS = 256, 384, 6, 6
_TEXT_BYTES = 20_000_000
_COPY_BYTES = 2**28
_COPIES_PER_SAMPLE = 1


class Work(Protocol):
    """A training, or what stands for one."""

    def step(self) -> None:
        """Train one step."""

    def finish(self) -> None:
        """Wait until the GPU has done all steps."""

    def evaluate(self) -> float:
        """Return the metric, which falls."""


MakeWork = Callable[[int], Work]
"""Begins a training with a batch size."""


def find_work() -> tuple[str, MakeWork]:
    """Return how the GPU is kept busy, in words, and the work."""
    try:
        import torch  # noqa: PLC0415

        if torch.cuda.is_available():
            return "training in PyTorch", Training
    except ImportError:
        pass
    with suppress(OSError, RuntimeError):
        Copies(1)
        return "copies in the GPU's memory (reduced: PyTorch with CUDA is not installed here)", Copies
    return "none (reduced: there is neither PyTorch with CUDA nor libcuda.so.1 here)", Idle


class Idle:
    """Steps that only take time."""

    def __init__(self, batch_size: int) -> None:
        self._seconds = 0.002 + 0.00001 * batch_size
        self._metric = 10.0

    def step(self) -> None:
        """See `Work`."""
        sleep(self._seconds)

    def finish(self) -> None:
        """See `Work`."""

    def evaluate(self) -> float:
        """See `Work`."""
        self._metric *= 0.9
        return self._metric


class Copies(Idle):
    """Copies within the GPU's memory, by the driver alone."""

    def __init__(self, batch_size: int) -> None:
        super().__init__(batch_size)
        self._copies = max(1, _COPIES_PER_SAMPLE * batch_size // 8)
        self._cuda = ctypes.CDLL("libcuda.so.1")
        context = ctypes.c_void_p()
        self._call("cuInit", ctypes.c_uint(0))
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), ctypes.c_int(0))
        self._call("cuCtxSetCurrent", context)
        self._buffers = [ctypes.c_uint64(), ctypes.c_uint64()]
        for buffer in self._buffers:
            self._call("cuMemAlloc_v2", ctypes.byref(buffer), ctypes.c_size_t(_COPY_BYTES))

    def step(self) -> None:
        """See `Work`."""
        to, source = self._buffers
        for _ in range(self._copies):
            self._call("cuMemcpyDtoD_v2", to, source, ctypes.c_size_t(_COPY_BYTES))
        self.finish()

    def finish(self) -> None:
        """See `Work`."""
        self._call("cuCtxSynchronize")

    def __del__(self) -> None:
        for buffer in getattr(self, "_buffers", ()):
            if buffer.value:
                self._cuda.cuMemFree_v2(buffer)

    def _call(self, name: str, *arguments: Any) -> None:
        if code := getattr(self._cuda, name)(*arguments):
            raise RuntimeError(f"{name} failed with CUDA error {code}.")


class Training:
    """A byte-level language model of 10 million parameters, trained on Python's own source."""

    def __init__(self, batch_size: int) -> None:
        import torch  # noqa: PLC0415

        self._torch = torch
        torch.manual_seed(0)
        self._batch_size = batch_size
        text = bytearray(_python_source())
        held_out = len(text) // 50
        self._text = torch.frombuffer(text[held_out:], dtype=torch.uint8).cuda()
        self._held_out = torch.frombuffer(text[:held_out], dtype=torch.uint8).cuda()
        layer = torch.nn.TransformerEncoderLayer(
            _WIDTH, _HEADS, 4 * _WIDTH, dropout=0.0, batch_first=True, norm_first=True
        )
        self._model = torch.nn.ModuleDict(
            {
                "symbols": torch.nn.Embedding(256, _WIDTH),
                "places": torch.nn.Embedding(_CONTEXT, _WIDTH),
                "layers": torch.nn.TransformerEncoder(layer, _LAYERS, enable_nested_tensor=False),
                "head": torch.nn.Linear(_WIDTH, 256),
            }
        ).cuda()
        self._offsets = torch.arange(_CONTEXT + 1, device="cuda")
        self._mask = torch.nn.Transformer.generate_square_subsequent_mask(_CONTEXT, device="cuda")
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=1e-3, fused=True)

    def step(self) -> None:
        """See `Work`."""
        loss = self._loss(self._text, self._batch_size)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()

    def finish(self) -> None:
        """See `Work`."""
        self._torch.cuda.synchronize()

    def evaluate(self) -> float:
        """Return the bits per byte of text that is not trained on."""
        with self._torch.no_grad():
            return float(self._loss(self._held_out, 128)) / log(2)

    def _loss(self, text: Any, batch_size: int) -> Any:
        torch = self._torch
        begin = torch.randint(0, len(text) - _CONTEXT - 1, (batch_size, 1), device="cuda")
        batch = text[begin + self._offsets].long()
        with torch.autocast("cuda", torch.bfloat16):
            hidden = self._model["symbols"](batch[:, :-1]) + self._model["places"].weight
            hidden = self._model["layers"](hidden, mask=self._mask, is_causal=True)
            logits = self._model["head"](hidden)
            return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())


def _python_source() -> bytes:
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py"))
    random.Random(0).shuffle(files)
    text = b""
    for file in files:
        with suppress(OSError):
            text += file.read_bytes()
        if len(text) > _TEXT_BYTES:
            break
    return text
