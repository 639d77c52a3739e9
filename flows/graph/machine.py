"""Which GPUs the stages may use, found without loading torch."""

import os
from pathlib import Path


def visible_gpus(devices: Path = Path("/dev")) -> list[str]:
    """What CUDA_VISIBLE_DEVICES allows, or one index a GPU of the machine; empty without a GPU."""
    present = sorted(device.name.removeprefix("nvidia") for device in devices.glob("nvidia[0-9]*"))
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not present or allowed is None:
        return present
    return [device for device in allowed.split(",") if device not in ("", "-1")]


def usable_gpus(device: str) -> list[str]:
    """`visible_gpus` unless `runtime.device` of params.yaml is the CPU."""
    return [] if device == "cpu" else visible_gpus()
