"""Where and how the arithmetic runs: device, precision, compilation, threads."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from bss import params


class Runtime:
    """The settings of params.yaml, applied to this process.

    Raises:
        ValueError: `device: cuda` on a machine where torch finds none.
    """

    def __init__(self, settings: params.Runtime) -> None:
        self.settings = settings
        self.device = torch.device(_device(settings.device))
        torch.set_num_threads(settings.threads)
        # On the CPU a fixed number of threads repeats to the bit; asking for it there only imports the compiler.
        if self.device.type == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or older torch refuses matrix products
            torch.use_deterministic_algorithms(settings.deterministic)
            torch.backends.cudnn.benchmark = not settings.deterministic

    def prepare(self, model: nn.Module) -> None:
        """Move the model to the device, and compile it where asked."""
        model.to(self.device)
        if self.settings.compile:
            model.compile()

    def autocast(self) -> AbstractContextManager[None]:
        """The context of a forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16")

    def place(self, inputs: Mapping[str, Tensor], labels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """A batch on the device."""
        moved = {name: values.to(self.device, non_blocking=True) for name, values in inputs.items()}
        return moved, labels.to(self.device, non_blocking=True)


def _device(wanted: str) -> str:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ValueError("runtime.device: 'cuda', but torch finds no CUDA device here; use auto or cpu")
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted
