"""Arrays of NumPy as tables: the arrays of a `.npz` file are the columns, their first axis the rows."""

import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bss.errors import InputError

if TYPE_CHECKING:
    import polars as pl


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
    except (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if single := [name for name, array in arrays.items() if array.ndim == 0]:
        raise InputError(f"{path}: '{single[0]}' is a single value, and a column is needed; save it elsewhere")
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"{path}: its arrays have different lengths: {_listed(lengths)}; a row of each is a sample")
    return pl.DataFrame([pl.Series(name, _column(array)) for name, array in arrays.items()])


def _column(array: np.ndarray) -> "np.ndarray | list[str]":
    if array.dtype.kind == "S":
        return [value.decode() for value in array.tolist()]
    if array.dtype == np.float16:  # which polars has no arrays of
        array = array.astype(np.float32)
    return array


def _listed(lengths: dict[str, int]) -> str:
    return ", ".join(f"{name} {length}" for name, length in lengths.items())
