"""The place and the form of the arithmetic: device, precision, compilation, threads, and processes that share it."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, distributed, nn

from bss.errors import InputError
from bss.memory import keep_freed_memory
from bss.training._fabric import DDPStrategy, Fabric, ModelParallelStrategy, Strategy
from bss.training.hardware import resolved
from bss.training.settings import RuntimeSettings, Spread

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

T = TypeVar("T")
PRECISION = {"float32": "32-true", "bfloat16": "bf16-mixed"}
LEAST_OF_A_RANK = 2
"""Least samples of a rank in a batch: batch normalisation needs two."""


class Runtime:
    """The device and the settings of this process, one of `num_ranks` that share every batch.

    A rank is a process that shares a training.

    The logits of a batch are put together again, so that every rank computes the loss of the whole batch: the samples
    of a step, and what is minimised, do not depend on the number of ranks.

    Args:
        fabric: launched already.
        settings: device, precision, threads and the like, none of the two last `auto`.
        num_workers: processes that read samples ahead; 0 reads them in this one.
    """

    def __init__(self, fabric: Fabric, settings: RuntimeSettings, num_workers: int = 0) -> None:
        self.fabric, self.settings, self.num_workers = fabric, settings, num_workers
        self.device: torch.device = fabric.device
        self.rank: int = fabric.global_rank
        self.num_ranks: int = fabric.world_size

    @classmethod
    def start(
        cls,
        settings: RuntimeSettings,
        spread: Spread | None = None,
        num_workers: int = 0,
        *,
        model: nn.Module | None = None,
        num_stages: int = 1,
    ) -> Self:
        """Apply the settings to this whole process, and start the others that share its training.

        Args:
            settings: of one process: device, precision, threads, determinism.
            spread: devices, nodes and strategy; one process where left out. The others are started here, unless
                `torchrun` has started them.
            num_workers: processes that read samples ahead.
            model: what will run, by whose size `precision: auto` is decided; float32 without it.
            num_stages: stages that run at a time, which share the cores where `threads: auto`.

        Raises:
            InputError: `device: cuda` where torch finds none; `torchrun` started another number of processes.
        """
        device = _device(settings.device)
        devices, nodes = (spread.devices, spread.nodes) if spread else (1, 1)
        _check_torchrun(devices, nodes)
        settings = resolved(settings, device, model, num_stages * devices)
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces what params.yaml says
        fabric = Fabric(
            accelerator=device,
            devices=devices,
            num_nodes=nodes,
            strategy=_strategy(spread) if spread and devices * nodes > 1 else "auto",
            precision=PRECISION[settings.precision],  # type: ignore[arg-type]
        )
        fabric.launch()
        torch.set_num_threads(cast(int, settings.threads))
        # On the CPU a fixed number of threads repeats to the bit; asking for it there only imports the compiler.
        if device == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or older torch refuses matrix products
            torch.use_deterministic_algorithms(settings.deterministic)
            torch.backends.cudnn.benchmark = not settings.deterministic
        else:
            keep_freed_memory()
        return cls(fabric, settings, num_workers)

    @property
    def facts(self) -> dict[str, str | int]:
        """Device, precision and threads, as they were chosen."""
        device = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        return {"device": device, "precision": self.settings.precision, "threads": cast(int, self.settings.threads)}

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that prints and writes."""
        return self.rank == 0

    def prepare(self, model: nn.Module) -> None:
        """Move the model to the device in its memory format, and compile it where asked."""
        model.to(self.device)
        if self.settings.channels_last:
            for weight in model.parameters():
                if weight.ndim == 4:  # the format is of pictures alone, and a video's weights refuse it
                    weight.data = weight.data.to(memory_format=torch.channels_last)
        if self.num_ranks > 1 and self.device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        if self.device.type == "cpu" and self.settings.precision == "bfloat16":
            for part in model.modules():
                if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d) and part.stride[-1] > 1:
                    part.register_forward_pre_hook(_step_by_one(part.stride))
        if self.settings.compile:
            model.compile()

    @property
    def is_plain(self) -> bool:
        """Whether Fabric has nothing to add to a step, which it would make a fifth of a millisecond longer."""
        return self.num_ranks == 1 and self.settings.precision == "float32"

    def wrapped(self, model: nn.Module) -> nn.Module:
        """The model as a step calls it."""
        return model if self.is_plain else cast(nn.Module, self.fabric.setup_module(model))

    def wrapped_optimizer(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """The optimizer as a step calls it."""
        return optimizer if self.is_plain else cast(torch.optim.Optimizer, self.fabric.setup_optimizers(optimizer))

    def seed(self, value: int) -> None:
        """Seed the draws of this device: `torch.manual_seed` takes 0.3 ms to look for every kind of device."""
        torch.default_generator.manual_seed(value)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(value)

    def unsynchronised(self, module: nn.Module) -> AbstractContextManager[None]:
        """The context of a forward pass whose gradients the strategy leaves to each rank.

        Args:
            module: as Fabric has set it up.
        """
        # Not by `enabled`: given False, Fabric leaves fsdp without synchronisation, and so without gradients.
        return self.fabric.no_backward_sync(cast(Any, module)) if self.num_ranks > 1 else nullcontext()

    def autocast(self) -> AbstractContextManager[None]:
        """The context of a forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16")

    def place(self, inputs: Mapping[str, Tensor], labels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """A batch on the device."""
        moved = {name: self._placed(values) for name, values in inputs.items()}
        return moved, labels.to(self.device, non_blocking=True)

    def share(self, indices: np.ndarray) -> np.ndarray:
        """This rank's rows of a batch: every `num_ranks`th; the first come again where they are too few for all."""
        if self.num_ranks == 1:
            return indices
        num_rows = max(LEAST_OF_A_RANK, -(-len(indices) // self.num_ranks))
        return np.resize(indices, num_rows * self.num_ranks)[self.rank :: self.num_ranks]

    def whole(self, values: Tensor, num_rows: int) -> Tensor:
        """The rows of all ranks (num_rows, ...) in the order of the batch; gradients flow to this rank's alone."""
        if self.num_ranks == 1:
            return values
        share = values.detach().contiguous()
        parts = [torch.empty_like(share) for _ in range(self.num_ranks)]
        distributed.all_gather(parts, share)
        parts[self.rank] = values
        return torch.stack(parts, dim=1).flatten(0, 1)[:num_rows]

    def backward(self, loss: Tensor) -> None:
        """Gradients of the loss of the whole batch; the strategy takes their mean over the ranks, not their sum."""
        self._backward(loss * self.num_ranks if self.num_ranks > 1 else loss)

    def backward_by(self, loss: Tensor, parameters: Sequence[nn.Parameter]) -> None:
        """Gradients by these parameters alone, of this rank's rows; the graph is kept."""
        self._backward(loss, inputs=list(parameters), retain_graph=True)

    @property
    def is_sharded(self) -> bool:
        """Whether each rank holds a part of the weights."""
        return isinstance(self.fabric.strategy, ModelParallelStrategy)

    def summed(self, values: Tensor) -> Tensor:
        """The sum over the ranks, in place."""
        if self.num_ranks > 1:
            distributed.all_reduce(values)
        return values

    def agreed(self, value: T) -> T:
        """The value of the first rank, on every rank."""
        return self.fabric.broadcast(value) if self.num_ranks > 1 else value

    def align(self, model: nn.Module) -> None:
        """Give the buffers of the first rank to all: without it each has batch statistics of its own share."""
        if self.num_ranks > 1:
            for values in model.buffers():
                distributed.broadcast(values, 0)

    def _backward(self, loss: Tensor, **options: Any) -> None:
        if self.is_plain:
            loss.backward(**options)  # type: ignore[no-untyped-call]
        else:
            self.fabric.backward(loss, **options)

    def _placed(self, values: Tensor) -> Tensor:
        format_ = torch.channels_last if self.settings.channels_last and values.ndim == 4 else torch.preserve_format
        return values.to(self.device, non_blocking=True, memory_format=format_)


@contextmanager
def memory_explained(key: str, way_out: str | None = None) -> Iterator[None]:
    """Say of a device that runs out of memory which setting to lower.

    Args:
        key: name of the section whose `batch_size` is in use.
        way_out: advice in place of lowering that.

    Raises:
        InputError: in place of torch's error, which goes with it.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        reason = str(error).partition(". ")[0]
        usual = f"lower {key}.batch_size, set runtime.precision to bfloat16, or take smaller encoders"
        raise InputError(f"the device is out of memory ({reason}): {way_out or usual}") from error


def _step_by_one(stride: tuple[int, ...]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    """Have a convolution go over a map whose last side is 1 by steps of one along it, which gives the same.

    Its gradient in bfloat16 is of memory that nobody wrote otherwise: oneDNN 3, as of torch 2.15.
    """

    def hook(part: Any, inputs: tuple[Tensor, ...]) -> None:
        is_same = inputs[0].shape[-1] == 1 and part.kernel_size[-1] == 2 * int(part.padding[-1]) + 1
        part.stride = (*stride[:-1], 1 if is_same and part.dilation[-1] == 1 else stride[-1])

    return hook


def _device(wanted: str) -> str:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("runtime.device: 'cuda', but torch finds no CUDA device here; use auto or cpu")
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def _check_torchrun(devices: int, nodes: int) -> None:
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    started, local = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if (devices, devices * nodes) != (local, started):
        raise InputError(
            f"torchrun started {local} processes on each of {started // local} nodes, but spread.devices is "
            f"{devices} and spread.nodes is {nodes}; make them the same (a stage that does not train runs without "
            "torchrun)"
        )


def _strategy(spread: Spread) -> Strategy:
    if spread.strategy == "ddp":
        # A method need not train every output: the weights of the others have no gradient.
        return DDPStrategy(find_unused_parameters=True)
    return ModelParallelStrategy(_sharded, data_parallel_size=spread.devices * spread.nodes, tensor_parallel_size=1)


def _sharded(model: nn.Module, mesh: "DeviceMesh") -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    sharded = fully_shard(model, mesh=mesh["data_parallel"])
    # The room for whole weights is made at their first use: in a clean pass it could never be trained in.
    sharded.unshard()
    sharded.reshard()
    return model
