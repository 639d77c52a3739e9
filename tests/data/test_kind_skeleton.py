"""Joints over time: the views against slow, obvious references, and what cannot be read is named."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import polars as pl
import pytest
import scipy.io
import torch

from bss.data.datasets.dataset import DATASETS
from bss.data.kinds._series import resized
from bss.data.kinds.kind import KINDS
from bss.data.kinds.skeleton import PARENTS, Skeleton, bones, centred, motions
from bss.data.packed import Meta, open_split
from bss.data.packing.pack import pack
from bss.parsing import parsed
from tests.helpers import ROOT

NTU_25 = (
    "1-2 2-21 3-21 4-3 5-21 6-5 7-6 8-7 9-21 10-9 11-10 12-11 13-1 14-13 15-14 16-15 17-1 18-17 "
    "19-18 20-19 21-21 22-23 23-8 24-25 25-12"
)
JOINTS = np.array(
    [[[0, 0, 0], [0, 1, 0], [1, 1, 0]], [[0, 0, 0], [0, 1, 1], [1, 2, 1]], [[0, 0, 1], [0, 1, 1], [1, 2, 2]]]
)
"""Three frames of three joints."""
LINE = (0, 0, 1)
"""Their parents."""


def skeleton(**fields: Any) -> Skeleton:
    return Skeleton(**{"joints": 3, "length": 3, "parents": LINE, **fields})


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


def test_the_views_are_those_of_the_worked_example() -> None:
    assert skeleton().read(JOINTS).reshape(3, 3, 3).tolist() == JOINTS.tolist()
    bone = skeleton(view="bone").read(JOINTS).reshape(3, 3, 3)
    assert bone[1].tolist() == [[0, 0, 0], [0, 1, 1], [1, 1, 0]]
    motion = skeleton(view="motion").read(JOINTS).reshape(3, 3, 3)
    assert motion.tolist() == [
        [[0, 0, 0], [0, 0, 1], [0, 1, 1]],
        [[0, 0, 1], [0, 0, 0], [0, 0, 1]],
        [[0, 0, 0]] * 3,
    ]


@pytest.mark.parametrize(
    ("steps", "length", "expected"),
    [
        ([0, 1, 4], 5, [0, 0.4, 1, 2.8, 4]),
        (range(6), 4, [0.25, 1.75, 3.25, 4.75]),
        ([7], 3, [7, 7, 7]),
        ([1, 2], 2, [1, 2]),
    ],
)
def test_a_series_is_resized_by_the_worked_example(steps: Any, length: int, expected: list[float]) -> None:
    assert resized(np.array(steps), length) == pytest.approx(expected)


@pytest.mark.parametrize(("num_steps", "length"), [(41, 64), (125, 64), (2, 7), (9, 1)])
def test_a_series_is_resized_as_torch_does(num_steps: int, length: int) -> None:
    steps = noise(num_steps, 4, 3)
    channels = torch.from_numpy(steps).flatten(1).T[None]
    expected = torch.nn.functional.interpolate(channels, length, mode="linear", align_corners=False)[0].T
    assert resized(steps, length) == pytest.approx(expected.reshape(length, 4, 3).numpy())


def test_the_parents_of_ntu_are_the_published_ones() -> None:
    pairs = {int(child): int(parent) for child, parent in (pair.split("-") for pair in NTU_25.split())}
    assert PARENTS["ntu25"] == tuple(pairs[joint] - 1 for joint in range(1, 26))


def test_the_two_orders_of_kinect_are_one_body() -> None:
    sdk = ("hip", "spine", "shoulder", "head", *map(str, range(4, 20)))
    utd = ("head", "shoulder", "spine", "hip", *map(str, range(4, 20)))
    of_sdk, of_utd = (
        {name: names[PARENTS[of][place]] for place, name in enumerate(names)}
        for of, names in [("kinect_v1", sdk), ("utd20", utd)]
    )
    assert of_sdk == of_utd
    assert of_sdk["hip"] == "hip"


def test_views_of_people_are_the_slow_ones() -> None:
    given = noise(2, 9, 4, 3)
    given[1, 5:] = 0
    parents = (1, 1, 1, 2)
    places = given.swapaxes(0, 1)
    middle = centred(places, 2)
    for frame in range(9):
        for person in range(2):
            for joint in range(4):
                is_there = places[frame, person].any()
                expected = places[frame, person, joint] - places[frame, 0, 2] if is_there else np.zeros(3)
                assert (middle[frame, person, joint] == expected).all()
                bone = places[frame, person, joint] - places[frame, person, parents[joint]]
                assert (bones(places, parents)[frame, person, joint] == bone).all()
                way = places[frame + 1, person, joint] - places[frame, person, joint] if frame < 8 else np.zeros(3)
                assert (motions(places)[frame, person, joint] == way).all()
    kind = Skeleton(joints=4, length=5, people=3, centre=2, view="bone", parents=parents)
    expected = bones(resized(middle, 5), parents)
    read = kind.read(given).reshape(5, 3, 4, 3)
    assert read[:, :2] == pytest.approx(expected, abs=1e-6)
    assert not read[:, 2].any(), "a person who is not there"


def test_a_raw_value_may_be_a_file_or_have_its_time_last(tmp_path: Path) -> None:
    given = noise(9, 3, 3)
    np.save(tmp_path / "a.npy", given)
    scipy.io.savemat(tmp_path / "a.mat", {"d_skel": np.moveaxis(given, 0, -1)})
    expected = skeleton().read(given)
    assert (skeleton().read(tmp_path / "a.npy") == expected).all()
    assert (skeleton().read(given.tolist()) == expected).all()
    last = skeleton(time_last=True)
    assert (last.read(tmp_path / "a.mat") == expected).all()
    two = skeleton(time_last=True, people=2)
    both = np.stack([given, given + 1])
    assert (two.read(np.moveaxis(both, 1, -1)) == skeleton(people=2).read(both)).all()
    assert last.describe(tmp_path / "a.mat") == {"frames": 9}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((5, 4, 3)), r"4 joints instead of 3: \(\[people,\] T, 3, 3\) is needed, got \(5, 4, 3\)"),
        (np.zeros((5, 3, 2)), "2 coordinates instead of 3"),
        (np.zeros((5, 9)), r"an array \(\[people,\] T, 3, 3\) is needed, got the shape \(5, 9\)"),
        (np.zeros((0, 3, 3)), r"got the shape \(0, 3, 3\)"),
        (np.zeros((2, 5, 3, 3)), "2 people, and 1 at most"),
        (np.full((1, 3, 3), np.nan), "is nan, which is not finite"),
        (np.full((1, 3, 3), 1e300), "not finite as a float32"),
        (np.full((1, 3, 3), "a"), "numbers are needed"),
        ([[[1, 2, 3]] * 3, [[1, 2]] * 3], "lists of different lengths"),
    ],
)
def test_what_is_no_skeleton_is_refused(value: Any, message: str) -> None:
    for use in (skeleton().read, skeleton().exhibit):
        with pytest.raises(ValueError, match=message):
            use(value)


def test_one_frame_has_no_motion() -> None:
    assert (skeleton().read(JOINTS[:1]) == JOINTS[:1].reshape(1, 9)).all()
    with pytest.raises(ValueError, match="the motion of one frame is asked for, two are needed"):
        skeleton(view="motion").read(JOINTS[:1])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("{joints: 3, view: bone}", "the view bone needs parents: a list, or one of kinect_v1, utd20, ntu25"),
        ("{joints: 3, parents: ntu25}", "3 joints have 25 parents"),
        ("{joints: 3, parents: [0, 0, 3]}", r"the parent of joint 2 is 3, expected one in \[0, 3\)"),
        ("{joints: 3, parents: [0, 2, 1]}", "the parents of joint 1 lead back to it"),
        ("{joints: 3, centre: 3}", r"centre is joint 3, expected one in \[0, 3\)"),
        ("{joints: 3, parents: ntu}", "'ntu25'"),
        ("{joints: 3, coordinates: 4}", "coordinates"),
    ],
)
def test_fields_that_do_not_fit_are_refused(fields: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KINDS.build(parsed(fields) | {"name": "skeleton"})


@pytest.mark.parametrize("fields", [{}, {"parents": None}, {"coordinates": 2}, {"people": 2}])
def test_moments_of_a_skeleton_are_shown(fields: dict[str, Any]) -> None:
    kind = skeleton(**fields)
    picture = np.array(PIL.Image.open(io.BytesIO(kind.exhibit(noise(9, 3, kind.coordinates)).content)))
    moments = np.split(picture < 128, 5, axis=1)
    assert all(moment.any() for moment in moments)
    lines = sum(moment.sum() for moment in moments)
    assert (lines > 200) == (kind.parents is not None)
    assert kind.exhibit(np.ones((2, 3, kind.coordinates))).media_type == "image/png", "all joints at one place"


def test_three_modalities_read_one_column(tmp_path: Path) -> None:
    """As docs/your-data.md shows it."""
    (tmp_path / "pose").mkdir()
    for row in range(30):
        np.save(tmp_path / "pose" / f"{row}.npy", noise(20 + row, 25, 3) + row)
    table = {"label": ["sit", "stand"] * 15, "pose": [f"pose/{row}.npy" for row in range(30)]}
    pl.DataFrame(table).write_csv(tmp_path / "poses.csv")
    shown = (ROOT / "docs/your-data.md").read_text()
    (example,) = (block for block in re.findall(r"```yaml\n(.*?)```", shown, re.DOTALL) if "motion: pose" in block)
    spec = parsed(example)["preprocess"] | {"file": str(tmp_path / "poses.csv")}
    pack(DATASETS.build(spec), tmp_path / "packed")
    train, meta = open_split(tmp_path / "packed", "train"), Meta.read(tmp_path / "packed")
    raw = np.load(tmp_path / "pose" / f"{int(train.ids[0].removeprefix('row ')) - 1}.npy")
    for view in ("joint", "bone", "motion"):
        kind = Skeleton(joints=25, parents="ntu25", centre=0, view=view)
        about = meta.modalities[view]
        assert (train.arrays[view][0] == kind.read(raw)).all()
        assert (about.kind, about.shape, about.dimensions) == ("skeleton", (64, 75), 3)
        assert isinstance(about.mean, tuple)
        assert about.mean == pytest.approx(np.mean(train.arrays[view], axis=(0, 1)), abs=1e-4), "of train, by number"
    assert len({about.mean for about in meta.modalities.values()}) == 3


def test_a_skeleton_may_be_missing(tmp_path: Path) -> None:
    poses = [noise(4, 3, 3).tolist() if row % 3 else None for row in range(40)]
    pairs = pl.DataFrame({"label": ["a", "b"] * 20, "pose": poses, "mood": [[float(row), 1.0] for row in range(40)]})
    pairs.write_parquet(tmp_path / "pairs.parquet")
    kinds = {"pose": {"name": "skeleton", "joints": 3, "length": 4}, "mood": {"name": "features"}}
    spec = {"name": "manifest", "file": str(tmp_path / "pairs.parquet"), "kinds": kinds, "allow": ["same_content"]}
    with pytest.raises(ValueError, match="14 rows cannot be used"):
        pack(DATASETS.build(spec), tmp_path / "refused")
    pack(DATASETS.build(spec | {"missing": "mask"}), tmp_path / "packed")
    train = open_split(tmp_path / "packed", "train")
    there = train.present["pose"]
    assert not train.arrays["pose"][~there].any()
    assert train.meta.modalities["pose"].mean == pytest.approx(noise(4, 3, 3).mean(axis=0).ravel(), abs=1e-5)
    assert 0 < there.sum() < len(train)
