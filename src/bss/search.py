"""What `bss tune` chooses from: the section `search` of params.yaml."""

from typing import Self

from pydantic import model_validator

from bss.errors import InputError
from bss.registry import Strict

Scalar = bool | int | float | str


class Range(Strict, use_attribute_docstrings=True):
    """The values that one key may take: `choices`, or the numbers from `low` to `high`."""

    low: int | float | None = None
    """The least number. Where this and `high` are whole numbers, only such are tried."""
    high: int | float | None = None
    """The greatest number; it is tried too."""
    log: bool = False
    """Whether every factor is as likely as every other, not every difference."""
    choices: list[Scalar] | None = None
    """The values, where they are named one by one."""

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        numbers = (self.low, self.high)
        if (self.choices is None) == (numbers == (None, None)) or (self.choices is None and None in numbers):
            raise InputError("expected {low: 0.001, high: 0.1}, also with log: true, or {choices: [a, b]}")
        if self.choices is not None:
            if self.log or len({(type(value), value) for value in self.choices}) < max(2, len(self.choices)):
                raise InputError(f"choices: {self.choices}: expected two or more, none twice, and no log beside them")
        elif self.least >= self.greatest:
            raise InputError(f"low: {self.low} is not below high: {self.high}")
        elif self.log and self.least <= 0:
            raise InputError(f"low: {self.low}: log: true needs a low above 0")
        return self

    @property
    def least(self) -> float:
        """`low`, of a range of numbers."""
        return float(self.low or 0)

    @property
    def greatest(self) -> float:
        """`high`, of a range of numbers."""
        return float(self.high or 0)

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers are tried."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> list[Scalar]:
        """All choices; of numbers the least and the greatest."""
        return (
            [value for value in (self.low, self.high) if value is not None] if self.choices is None else self.choices
        )
