"""Bodies as the places of their joints over time."""

import io
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from bss.data.kinds._content import is_file
from bss.data.kinds._noise import with_noise
from bss.data.kinds._series import resized
from bss.data.kinds.features import as_array, from_file, singles
from bss.data.kinds.kind import Exhibit, Kind
from bss.errors import InputError

PARENTS: dict[str, tuple[int, ...]] = {
    "kinect_v1": (0, 0, 1, 2, 2, 4, 5, 6, 2, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18),
    "utd20": (1, 2, 3, 3, 1, 4, 5, 6, 1, 8, 9, 10, 3, 12, 13, 14, 3, 16, 17, 18),
    "ntu25": (1, 20, 20, 2, 20, 4, 5, 6, 20, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18, 20, 22, 7, 24, 11),
}
"""Parent of each joint, from 0; a joint without one is its own.

`kinect_v1`: the 20 joints in the order of its SDK, hip centre first. `utd20`: the same joints in the order of
UTD-MHAD, head first. `ntu25`: Kinect v2, as in NTU RGB+D and PKU-MMD.
"""
NUM_SHOWN, WIDTH, HEIGHT, BORDER = 5, 72, 96, 6
"""Moments of a sequence on its picture, and the pixels of each."""


class Skeleton(Kind):
    """The places of joints, (T, joints, coordinates) or (people, T, joints, coordinates), as an array or a `.npy` or
    `.mat` file, become (length, people x joints x coordinates): joints of the first person first.

    Every sample is interpolated linearly to `length` frames, so none is padded. A person whose numbers of a frame are
    all zero is not there; with fewer people than `people` the others are not.
    """

    encoder: ClassVar[str] = "skeleton_transformer"
    facts: ClassVar[tuple[str, ...]] = ("frames",)
    by_number: ClassVar[bool] = True
    example: ClassVar[Mapping[str, Any]] = {"joints": 3, "length": 4}

    joints: int = Field(ge=1)
    """Joints of a person."""
    coordinates: Literal[2, 3] = 3
    """Numbers of a joint."""
    people: int = Field(default=1, ge=1)
    """People of a sample, at most."""
    length: int = Field(default=64, ge=2)
    """Frames of a sample."""
    view: Literal["joint", "bone", "motion"] = "joint"
    """`joint`: the places; `bone`: each joint from its parent, a joint without one is 0; `motion`: the way of each
    joint to the next of the `length` frames, of the last one 0."""
    parents: Literal["kinect_v1", "utd20", "ntu25"] | Annotated[tuple[int, ...], Field(strict=False)] | None = None
    """Parent of each joint, from 0, where a joint without one is its own; or the name of a list, see `PARENTS`."""
    centre: int | None = None
    """The joint, from 0, of the first person, from which all of a frame are counted; as given where left out."""
    time_last: bool = False
    """Whether a raw value is ([people,] joints, coordinates, T), as in files of MATLAB."""

    @model_validator(mode="after")
    def _joints_are_joints(self) -> Self:
        parents = self._parents
        if self.view == "bone" and parents is None:
            raise InputError("the view bone needs parents: a list, or one of " + ", ".join(PARENTS))
        if parents is not None and len(parents) != self.joints:
            raise InputError(f"{self.joints} joints have {len(parents)} parents")
        for joint, parent in enumerate(parents or ()):
            if not 0 <= parent < self.joints:
                raise InputError(f"the parent of joint {joint} is {parent}, expected one in [0, {self.joints})")
        if parents is not None and (lost := _in_a_ring(parents)) is not None:
            raise InputError(f"the parents of joint {lost} lead back to it; one of them has to be its own parent")
        if self.centre is not None and not 0 <= self.centre < self.joints:
            raise InputError(f"centre is joint {self.centre}, expected one in [0, {self.joints})")
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """(length, people x joints x coordinates)."""
        return self.length, self.people * self.joints * self.coordinates

    @property
    def dtype(self) -> type[np.generic]:
        """Single precision, as a batch."""
        return np.float32

    @property
    def dimensions(self) -> int:
        """The coordinates."""
        return self.coordinates

    def read(self, value: Any) -> np.ndarray:
        """The view of the array `value`, or of the file at the path `value`.

        Raises:
            FileNotFoundError: there is no such file.
            InputError: it has another shape, more people, no frame or for the motion only one, or a number that is
                not finite.
        """
        places = self._places(value).astype(np.float64)
        if self.view == "motion" and len(places) < 2:
            raise InputError("the motion of one frame is asked for, two are needed")
        places = resized(centred(places, self.centre), self.length)
        if self.view == "bone" and self._parents is not None:
            places = bones(places, self._parents)
        if self.view == "motion":
            places = motions(places)
        return places.reshape(self.shape).astype(self.dtype)

    def noisy(self, value: Any, draw: np.random.Generator) -> np.ndarray:
        """The places of `length` frames; each coordinate of a person under noise of its own variance over joints and
        frames. Who is not there stays so."""
        places = resized(self._places(value), self.length)
        moved = with_noise(places, places.std(axis=(0, 2), keepdims=True), draw)
        people = np.where(places.any(axis=(2, 3), keepdims=True), moved, 0).swapaxes(0, 1)
        return np.asarray(np.moveaxis(people, 1, -1) if self.time_last else people)

    def exhibit(self, value: Any) -> Exhibit:
        """Moments from the first frame to the last as stick figures, or dots without `parents`.

        Of three coordinates the second points up, as Kinect has it; of two it points down, as in pictures.
        """
        from PIL import Image as Pictures
        from PIL import ImageDraw

        flat = self._places(value)[..., :2] * np.array([1, -1 if self.coordinates == 3 else 1])
        moments = flat[np.linspace(0, len(flat) - 1, NUM_SHOWN).round().astype(int)]
        low, span = moments.min(axis=(0, 1, 2)), np.ptp(moments, axis=(0, 1, 2))
        room = np.array([WIDTH, HEIGHT]) - 2 * BORDER
        pixels = BORDER + (moments - low) * (room / np.where(span > 0, span, np.inf)).min(where=span > 0, initial=1e9)
        picture = Pictures.new("L", (NUM_SHOWN * WIDTH, HEIGHT), "white")
        pen = ImageDraw.Draw(picture)
        for moment, of_moment in enumerate(pixels + np.arange(NUM_SHOWN)[:, None, None, None] * [WIDTH, 0]):
            for person in range(self.people):
                if moments[moment, person].any():
                    self._draw(pen, of_moment[person])
        file = io.BytesIO()
        picture.save(file, "PNG")
        return Exhibit("image/png", file.getvalue())

    def describe(self, value: Any) -> dict[str, float | str]:
        """The number of frames."""
        return {"frames": float(len(self._places(value)))}

    def _draw(self, pen: Any, joints: np.ndarray) -> None:
        for joint, (x, y) in enumerate(joints.tolist()):
            pen.ellipse((x - 1, y - 1, x + 1, y + 1), fill="black")
            if self._parents is not None:
                pen.line((x, y, *joints[self._parents[joint]].tolist()), fill="black")

    @property
    def _parents(self) -> tuple[int, ...] | None:
        return PARENTS[self.parents] if isinstance(self.parents, str) else self.parents

    def _places(self, value: Any) -> np.ndarray:
        """(T, people, joints, coordinates) float32."""
        given = from_file(value) if is_file(value) else as_array(value)
        axes = ("joints", "coordinates", "T") if self.time_last else ("T", "joints", "coordinates")
        wanted = {"joints": self.joints, "coordinates": self.coordinates}
        needed = f"([people,] {', '.join(str(wanted.get(axis, axis)) for axis in axes)})"
        if given.ndim not in (3, 4) or 0 in given.shape:
            raise InputError(f"an array {needed} is needed, got the shape {given.shape}")
        found = dict(zip(axes, given.shape[-3:], strict=True))
        for name, number in wanted.items():
            if found[name] != number:
                raise InputError(f"{found[name]} {name} instead of {number}: {needed} is needed, got {given.shape}")
        people = given.reshape(-1, *given.shape[-3:])
        if len(people) > self.people:
            raise InputError(f"{len(people)} people, and {self.people} at most: {needed}, got {given.shape}")
        if self.time_last:
            people = np.moveaxis(people, -1, 1)
        absent = np.zeros((self.people - len(people), *people.shape[1:]), np.float32)
        return np.concatenate([singles(people), absent]).swapaxes(0, 1)


def centred(places: np.ndarray, joint: int | None) -> np.ndarray:
    """(T, people, joints, coordinates) counted from a joint of the first person; who is not there stays zero."""
    if joint is None:
        return places
    there = places.any(axis=(2, 3), keepdims=True)
    return np.asarray(np.where(there, places - places[:, :1, joint : joint + 1], 0))


def bones(places: np.ndarray, parents: tuple[int, ...]) -> np.ndarray:
    """Each joint of (T, people, joints, coordinates) from its parent."""
    return np.asarray(places - places[:, :, list(parents)])


def motions(places: np.ndarray) -> np.ndarray:
    """The way of (T, ...) from each step to the next; of the last one 0."""
    return np.concatenate([np.diff(places, axis=0), np.zeros_like(places[:1])])


def _in_a_ring(parents: tuple[int, ...]) -> int | None:
    """A joint from which no way along the parents ends at a joint without one."""
    for joint in range(len(parents)):
        at = joint
        for _ in parents:
            at = parents[at]
        if parents[at] != at:
            return joint
    return None
