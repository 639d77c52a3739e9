"""Numbers that a caller of the library gives: any type that holds them exactly is taken, the rest is a ValueError."""

from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor


def whole(name: str, value: Any, low: int, high: int | None = None) -> int:
    """A whole number in [low, high) as Python's int; of NumPy and of tensors without a dimension too.

    Raises:
        ValueError: it is no whole number, or out of range.
    """
    bounds = f"a whole number, at least {low}" if high is None else f"a whole number in [{low}, {high})"
    try:
        number = None if _is_bool(value) else value.__index__()
    except (AttributeError, TypeError):
        number = None
    if number is None or number < low or (high is not None and number >= high):
        raise ValueError(f"{name} is {_shown(value)}, expected {bounds}")
    return int(number)


def whole_numbers(name: str, values: Any) -> Tensor:
    """Whole numbers in one dimension, (N,), int64, where they were: from a tensor, an array, a list or a range.

    Raises:
        ValueError: they are not whole numbers, or have another number of dimensions.
    """
    given = _tensor(name, values, "whole numbers, (N,)")
    is_whole = not (given.dtype.is_floating_point or given.dtype.is_complex or given.dtype == torch.bool)
    if given.ndim != 1 or not (is_whole or len(given) == 0):  # an empty list has no type of its own
        shape = f"{_type(given)} of the shape {tuple(given.shape)}"
        raise ValueError(f"{name} are {shape}, expected whole numbers, (N,){_remedy(given)}")
    return given.to(torch.int64)


def real_numbers(name: str, values: Any) -> Tensor:
    """A tensor of real numbers of at least 32 bits; half precision is widened, which is exact.

    Raises:
        ValueError: it is no tensor, or not of floating point.
    """
    if not isinstance(values, Tensor):
        raise ValueError(f"{name} are a {type(values).__name__}, expected a torch.Tensor")
    if not values.dtype.is_floating_point:
        raise ValueError(f"{name} are {_type(values)}, expected floating point")
    return values if values.dtype in {torch.float32, torch.float64} else values.float()


def real_array(name: str, values: Any, floats: DTypeLike = np.float64) -> np.ndarray:
    """Real numbers in an array of the type `floats`, a copy: from a tensor, an array or a list.

    Raises:
        ValueError: they are no real numbers.
    """
    given = _tensor(name, values, "real numbers")
    if given.dtype.is_complex or given.dtype == torch.bool:
        raise ValueError(f"{name} are {_type(given)}, expected real numbers")
    numbers = given.float() if given.dtype == torch.bfloat16 else given  # NumPy has no such type
    return np.array(numbers.cpu().numpy(), dtype=floats)


def _tensor(name: str, values: Any, expected: str) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach()
    try:
        array = np.asarray(values)
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=not array.flags.writeable))
    except (TypeError, ValueError) as fault:
        raise ValueError(f"{name} are {_shown(values)}, expected {expected}") from fault


def _type(values: Tensor) -> str:
    return str(values.dtype).removeprefix("torch.")


def _remedy(values: Tensor) -> str:
    if values.ndim != 2:
        return ""
    return "; leave the second dimension out" if values.shape[1] == 1 else "; from one-hot rows: values.argmax(dim=1)"


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool | np.bool_) or (isinstance(value, Tensor) and value.dtype == torch.bool)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
