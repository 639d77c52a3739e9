"""Numbers, of which only the size counts."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from bss.data.kinds.kind import Exhibit, Kind


class Dropped(Kind):
    """A list of `size` numbers -> their absolute values, (size,)."""

    encoder: ClassVar[str] = "mlp"
    example: ClassVar[Mapping[str, Any]] = {"size": 2}

    size: int = Field(ge=1)

    @property
    def shape(self) -> tuple[int, ...]:
        """(size,)."""
        return (self.size,)

    @property
    def dtype(self) -> type[np.generic]:
        """Single precision, as a batch."""
        return np.float32

    def read(self, value: Any) -> np.ndarray:
        """The absolute values."""
        return np.abs(np.asarray(value, dtype=np.float32))

    def exhibit(self, value: Any) -> Exhibit:
        """The numbers as text."""
        return Exhibit("text/plain", str(self.read(value)).encode())
