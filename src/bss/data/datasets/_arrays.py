"""Arrays of NumPy as tables: the arrays of a `.npz` file are the columns, their first axis the rows."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bss.errors import InputError, first_line

if TYPE_CHECKING:
    import polars as pl

READ = "biufUSmM"
"""What `numpy.dtype.kind` says of truths, numbers, texts and times."""
POLARS = {np.float16: np.float32, np.longdouble: np.float64}
"""Floats of a width that polars has no arrays of -> the nearest that it has."""


def read_arrays(path: Path) -> "pl.DataFrame":
    """The columns of a `.npz` file: numbers, texts, or an array a row.

    Raises:
        InputError: it is damaged, holds Python objects, or its arrays have different lengths; the message has both.
    """
    import polars as pl

    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise InputError(f"{path} holds one array and no columns; save several with numpy.savez")
            arrays = {name: file[name] for name in file.files}
    except InputError:
        raise
    except Exception as error:  # numpy answers a damaged file with a dozen types
        raise InputError(f"{path} cannot be read: {first_line(error)}") from error
    if single := [name for name, array in arrays.items() if array.ndim == 0]:
        raise InputError(f"{path}: '{single[0]}' is a single value, and a column is needed; save it elsewhere")
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"{path}: its arrays have different lengths: {_listed(lengths)}; a row of each is a sample")
    return pl.DataFrame([_column(path, name, array) for name, array in arrays.items()])


def _column(path: Path, name: str, array: np.ndarray) -> "pl.Series":
    """An array as a column.

    Raises:
        InputError: it holds something else than numbers, texts, truths or times that polars has.
    """
    import polars as pl

    if array.dtype.type in POLARS:
        array = array.astype(POLARS[array.dtype.type])
    try:
        if array.dtype.kind not in READ:
            raise ValueError(f"values of type {array.dtype}")
        return pl.Series(name, np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array)
    except ValueError as error:
        raise InputError(
            f"{path}: the array '{name}' is no column of numbers or texts: {first_line(error)}; save it as one, or "
            "leave it out"
        ) from error


def _listed(lengths: dict[str, int]) -> str:
    return ", ".join(f"{name} {length}" for name, length in lengths.items())
