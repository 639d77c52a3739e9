"""Arrays that MATLAB has saved."""

import struct
from typing import Any

import numpy as np

from bss.data.kinds._content import named, opened
from bss.errors import InputError, first_line

HEADER = b"MATLAB "
OLD = ((0, struct.Struct("<5i")), (1000, struct.Struct(">5i")))
"""What a file of version 4 begins with, of either order of bytes: a type from the number beside it on, rows, columns,
whether the numbers are complex, bytes of the name and the zero behind it."""
LONGEST_NAME = 64
NEW = b"MATLAB 7.3"
"""The header of a file that is HDF5 inside, which SciPy does not read."""


def is_matlab(path: Any) -> bool:
    """Whether a file begins as MATLAB's do, in any version.

    Raises:
        OSError: it cannot be opened.
    """
    with opened(path) as file:
        head = file.read(20)
    return head.startswith(HEADER) or (len(head) == 20 and _is_old(head))


def _is_old(head: bytes) -> bool:
    """Whether a file is of version 4, which has no mark: its first numbers are then those of a full matrix."""
    for first, form in OLD:
        what, _, _, is_complex, num_name = form.unpack(head)
        is_full = first <= what < first + 60 and what % 10 < 2  # tens: the type of the numbers; ones: matrix or text
        if is_full and is_complex in (0, 1) and 1 < num_name <= LONGEST_NAME:
            return True
    return False


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
            raise InputError(f"{named(path)} is no readable MATLAB file: {first_line(error):.100}") from error
    names = [name for name in arrays if not name.startswith("__")]
    if len(names) != 1:
        raise InputError(f"{named(path)} holds {len(names)} arrays ({', '.join(names)}), and one is needed")
    return np.asarray(arrays[names[0]])
