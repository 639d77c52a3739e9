"""Arrays that MATLAB has saved."""

from typing import Any

import numpy as np

from bss.data.kinds._content import named, opened
from bss.errors import InputError

HEADER = b"MATLAB "
NEW = b"MATLAB 7.3"
"""The header of a file that is HDF5 inside, which SciPy does not read."""


def is_matlab(path: Any) -> bool:
    """Whether a file begins as MATLAB's do, up to version 7.3.

    Raises:
        OSError: it cannot be opened.
    """
    with opened(path) as file:
        return file.read(len(HEADER)) == HEADER


def from_mat(path: Any) -> np.ndarray:
    """The only array of a `.mat` file, with the axes that MATLAB shows: two at least.

    Raises:
        InputError: the file is damaged, of version 7.3, or holds no array or several.
    """
    from scipy.io import loadmat

    with opened(path) as file:
        if file.read(len(NEW)) == NEW:
            raise InputError(f"{named(path)} is of MATLAB 7.3, which is not read: save it with -v7")
        file.seek(0)
        try:
            arrays = loadmat(file, appendmat=False)
        except Exception as error:  # scipy answers a damaged file with a dozen types
            reason = str(error).splitlines()[0]
            raise InputError(f"{named(path)} is no readable MATLAB file: {reason:.100}") from error
    names = [name for name in arrays if not name.startswith("__")]
    if len(names) != 1:
        raise InputError(f"{named(path)} holds {len(names)} arrays ({', '.join(names)}), and one is needed")
    return np.asarray(arrays[names[0]])
