"""The contract of a logger."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from bss.errors import InputError
from bss.exits import PACKAGES, extras
from bss.registry import Component, Registry

if TYPE_CHECKING:
    import numpy as np


class Measured(NamedTuple):
    """What one epoch of a training has to show."""

    epoch: int
    """From 0."""
    numbers: Mapping[str, float]
    """Name, such as `train_loss/fused`, -> a finite number."""
    distributions: "Mapping[str, np.ndarray]"
    """Name -> (n,), finite, of which a logger shows a histogram or quantiles."""


class Writer(ABC):
    """The curves of one training, open."""

    @abstractmethod
    def write(self, measured: Measured) -> None:
        """Show an epoch; what was shown outlives a kill."""

    @abstractmethod
    def close(self, *, failed: bool) -> None:
        """The training has ended, or failed."""


class Logger(Component):
    """Shows the curves of trainings in a place where people look at such. It changes no result."""

    packages: ClassVar[tuple[str, ...]] = ()
    """What it imports."""

    @abstractmethod
    def open(self, folder: Path, training: str, epoch: int) -> Writer:
        """Begin the curves of a training, or go on with them.

        Args:
            folder: of this logger; it is made.
            training: its name, METHOD-SCHEDULER-SEED.
            epoch: the first that will be shown. At 0 what is there of an earlier training of that name makes way.
        """

    def expect_packages(self) -> None:
        """Refuse a logger that cannot work here.

        Raises:
            InputError: a package is missing; the message says how to come by it.
        """
        for name in self.packages:
            if importlib.util.find_spec(name) is None:
                package = PACKAGES.get(name, name)
                extra = extras().get(package)
                wanted = f"'bss[{extra}]'" if extra else package
                raise InputError(f"'{self.name}' needs {package}, which is not installed: pip install {wanted}")


LOGGERS: Registry[Logger] = Registry("logger", "bss.training.loggers", Logger)
