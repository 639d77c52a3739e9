"""What `auto` in the section `runtime` of params.yaml becomes on this machine."""

import os
from pathlib import Path

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from bss.training.settings import RuntimeSettings

ENOUGH_CONVOLVED, ENOUGH_MULTIPLIED = 100_000, 1_000_000
"""Least weights of convolutions, or of all products, with which bfloat16 saves more than its conversions cost.

Measured on a CPU with AVX512-BF16 alone, see docs/scale.md.
"""
AMPERE = (8, 0)
"""The first compute capability of CUDA with bfloat16 in its matrix units."""
CPU_CHECKS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
CPU_FLAGS = {"avx512_bf16", "amx_bf16"}


def resolved(settings: RuntimeSettings, device: str, model: nn.Module | None, num_processes: int) -> RuntimeSettings:
    """The settings with what `auto` stands for; the same on the same machine.

    Args:
        settings: of params.yaml.
        device: `cpu` or `cuda`.
        model: that is trained or judged; without one `auto` is float32.
        num_processes: that share the cores of this one.
    """
    chosen: dict[str, object] = {}
    if settings.precision == "auto":
        pays = model is not None and computes_bfloat16(device) and is_large(model)
        chosen["precision"] = "bfloat16" if pays else "float32"
    if settings.threads == "auto":
        chosen["threads"] = max(1, len(os.sched_getaffinity(0)) // num_processes)
    return settings.model_copy(update=chosen)


def is_large(model: nn.Module) -> bool:
    """Whether the products of a model are large enough for bfloat16 to pay."""
    parts = list(model.modules())
    convolved = sum(part.weight.numel() for part in parts if isinstance(part, _ConvNd))
    looked_up = sum(part.weight.numel() for part in parts if isinstance(part, nn.Embedding | nn.EmbeddingBag))
    multiplied = sum(weight.numel() for weight in model.parameters()) - looked_up
    return convolved >= ENOUGH_CONVOLVED or multiplied >= ENOUGH_MULTIPLIED


def computes_bfloat16(device: str) -> bool:
    """Whether the device has instructions for products in bfloat16; others imitate them, and are slower for it."""
    if device == "cuda":
        return torch.cuda.get_device_capability() >= AMPERE
    checks = [check for name in CPU_CHECKS if (check := getattr(torch.cpu, name, None))]  # private in torch 2.11
    return any(check() for check in checks) if checks else bool(CPU_FLAGS & cpu_flags())


def cpu_flags(path: Path = Path("/proc/cpuinfo")) -> set[str]:
    """What Linux knows the processor to have; empty where it does not say."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return set(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())
