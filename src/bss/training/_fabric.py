"""Lightning's Fabric, imported without torchmetrics.

Where that is installed, as it is with Lightning's trainer, Fabric imports it to know its version, and it takes longer
than Fabric and most stages.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def absent(package: str) -> Iterator[None]:
    """Have a package look as if it were not installed, unless it is imported already."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]


with absent("torchmetrics"):
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
    from lightning_fabric.strategies.strategy import Strategy

__all__ = ["DDPStrategy", "Fabric", "ModelParallelStrategy", "Strategy"]
