"""Arrays in files: what a `.npz` file may hold, damaged headers, rows without a number, MATLAB of every version."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from scipy.io import savemat

from bss.data.datasets._table import read_table
from bss.data.datasets.manifest import Manifest
from bss.data.kinds._matlab import is_matlab
from bss.data.kinds.depth import Depth
from bss.data.kinds.features import from_file
from bss.data.packed import open_split
from bss.data.packing.pack import pack
from bss.data.proposal.files import type_of
from bss.errors import InputError

NUM_ROWS = 40
KINDS = {"body": {"name": "features"}, "walk": {"name": "sequence", "length": 3}}
NO_COLUMN = r"t\.npz: the array 'value' is no column of numbers or texts: "


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([b"\xff\xfe", b"a"]), "'utf-8' codec can't decode byte 0xff"),
        (np.array([[b"a", b"b"], [b"\xe9", b"d"]]), "'utf-8' codec can't decode byte 0xe9"),
        (np.array(["a\ud800", "b"]), "'utf-8' codec can't encode"),
        (np.array([1, 2], "m8[s]"), "incorrect NumPy datetime resolution"),
        (np.array([1, 2], "M8[Y]"), "incorrect NumPy datetime resolution"),
        (np.array([1j, 2]), "values of type complex128"),
        (np.array([[1j, 2], [3, 4]], np.clongdouble), "values of type complex256"),
        (np.zeros(2, "V4"), r"values of type \|V4"),
        (np.zeros(2, [("a", "i4")]), r"values of type \[\('a', '<i4'\)\]"),
    ],
    ids=str,
)
def test_an_array_that_is_no_column_is_refused_with_its_name(array: np.ndarray, message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", label=np.array(["x", "y"]), value=array)
    with pytest.raises(InputError, match=f"{NO_COLUMN}{message}.*; save it as one, or leave it out"):
        read_table(tmp_path / "t.npz")


@pytest.mark.parametrize("dtype", ["<f2", ">f2", "<f4", ">f8", np.longdouble, np.dtype(np.longdouble).newbyteorder()])
def test_floats_of_every_width_and_order_are_read(dtype: Any, tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(NUM_ROWS, 3)).astype(dtype)
    write(tmp_path, body=numbers)
    pack(table(tmp_path), tmp_path / "packed")
    train = open_split(tmp_path / "packed", "train")
    rows = [int(name.removeprefix("row ")) - 1 for name in train.ids]
    assert np.array_equal(train.arrays["body"], numbers.astype(np.float32)[rows])


@pytest.mark.parametrize(
    ("name", "array"),
    [("body", np.zeros((NUM_ROWS, 0))), ("walk", np.zeros((NUM_ROWS, 2, 0))), ("walk", np.zeros((NUM_ROWS, 0, 2)))],
)
def test_a_size_that_is_left_out_is_not_found_in_rows_without_a_number(
    name: str, array: np.ndarray, tmp_path: Path
) -> None:
    write(tmp_path, **{name: array})
    with pytest.raises(InputError, match=f"{name} of manifest: size is left out, and no training value that can be"):
        pack(table(tmp_path), tmp_path / "packed")


def write(folder: Path, **arrays: np.ndarray) -> None:
    """A table of numbers; what is named takes the place of a column."""
    draw = np.random.default_rng(1)
    columns = {"body": draw.normal(size=(NUM_ROWS, 3)), "walk": draw.normal(size=(NUM_ROWS, 3, 2))}
    np.savez(folder / "t.npz", label=np.array(["no", "yes"] * (NUM_ROWS // 2)), **columns | arrays)


def table(folder: Path) -> Manifest:
    return Manifest.model_validate({"file": str(folder / "t.npz"), "kinds": KINDS})


HEADERS = [
    (b"(6,)", b"(6,("),  # a TokenError of Python's own reader of numbers and brackets
    (b"(6,)", b"(06)"),  # a SyntaxError
    (b"(6,), }" + b" " * 13, b"(2000000000000,), }"),  # a MemoryError: 15 TB
    (b"<f8", b"<q9"),
    (b"{'descr'", b"{\xff\xfe\x00scr'"),
]


@pytest.mark.parametrize(("before", "after"), HEADERS)
def test_an_array_with_a_damaged_header_is_refused(before: bytes, after: bytes, tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.arange(6.0))
    assert before in file.getvalue()
    (tmp_path / "t.npy").write_bytes(file.getvalue().replace(before, after[: len(before)].ljust(len(before))))
    with pytest.raises(InputError, match=r"t\.npy is no readable array: ."):
        from_file(tmp_path / "t.npy")
    np.savez(tmp_path / "t.npz", label=np.arange(6.0))
    content = (tmp_path / "t.npz").read_bytes()
    (tmp_path / "t.npz").write_bytes(content.replace(before, after[: len(before)].ljust(len(before))))
    with pytest.raises(InputError, match=r"t\.npz cannot be read: ."):
        read_table(tmp_path / "t.npz")


@pytest.mark.parametrize("content", [b"<html>", bytes(500), b"PK\x03\x04" + bytes(50)])
def test_a_file_of_another_format_is_not_called_pickled(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(InputError, match="is no readable array: it begins neither as .npy nor as .mat files do"):
        from_file(tmp_path / "a.npy")


@pytest.mark.parametrize("version", ["4", "5"])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i4", "i2", "u2", "u1"])
def test_matlab_files_before_7_3_are_read(version: str, dtype: str, tmp_path: Path) -> None:
    path, numbers = tmp_path / "a.mat", np.arange(6).reshape(2, 3).astype(dtype)
    savemat(path, {"numbers": numbers}, format=version)
    assert np.array_equal(from_file(path), numbers)
    assert np.array_equal(Depth(size=(2, 3)).read(path)[0], numbers)
    assert type_of(path) == "array"


def test_a_matlab_4_file_of_the_other_order_of_bytes_is_read_and_a_torn_one_is_not(tmp_path: Path) -> None:
    numbers = np.arange(6.0).reshape(2, 3)
    content = struct.pack(">5i", 1000, 2, 3, 0, 2) + b"d\0" + numbers.T.astype(">f8").tobytes()
    (tmp_path / "a.mat").write_bytes(content)
    assert np.array_equal(from_file(tmp_path / "a.mat"), numbers)
    (tmp_path / "a.mat").write_bytes(content[:-9])
    with pytest.raises(InputError, match=r"a\.mat is no readable MATLAB file: Not enough bytes"):
        from_file(tmp_path / "a.mat")
    savemat(tmp_path / "a.mat", {"a": numbers, "b": numbers}, format="4")
    with pytest.raises(InputError, match=r"a\.mat holds 2 arrays \(a, b\), and one is needed"):
        from_file(tmp_path / "a.mat")


@pytest.mark.parametrize(
    "head",
    [
        b"",
        bytes(20),
        b"\x89PNG\r\n\x1a\n" + b"\0\0\0\x0dIHDR\0\0\0\1",
        b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(20),
        b"\0\0\1\0\1\0\x10\x10" + bytes(20),  # an icon
        b"\0\0\0\x18ftypmp42" + bytes(20),
        b"\0\0\1\xba" + bytes(20),  # MPEG
        struct.pack("<5i", 60, 2, 3, 0, 2),
        struct.pack("<5i", 0, 2, 3, 2, 2),
        struct.pack(">5i", 0, 2, 3, 0, 2),
    ],
)
def test_what_is_of_no_version_of_matlab(head: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(head)
    assert not is_matlab(tmp_path / "a")


def test_a_sparse_matrix_is_no_array(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"a": scipy.sparse.eye(3)}, format="4")
    with pytest.raises(InputError, match="is no readable array"):
        from_file(tmp_path / "a.mat")
