"""`utd_mhad`: 27 actions of eight people, seen by a worn inertial sensor and by a Kinect at the same time.

UTD-MHAD (Chen, Jafari, Kehtarnavaz, ICIP 2015): https://www.utdallas.edu/~kehtar/UTD-MHAD.html (offered by its
authors as a public-domain data set). The triples are native. The sensor was worn on the right wrist for the first 21
actions and on the right thigh for the others.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bss.data.datasets._damage import Damageable
from bss.data.datasets._fetch import Source, obtain, raw_folder
from bss.data.kinds.depth import Depth
from bss.data.kinds.kind import Kind, Size
from bss.data.kinds.sequence import Sequence
from bss.data.kinds.skeleton import Skeleton
from bss.errors import InputError
from bss.types import Split

if TYPE_CHECKING:
    import polars as pl

ADDRESS = "https://www.utdallas.edu/~kehtar/UTD-MAD"
ACTIONS = (
    *("swipe_left", "swipe_right", "wave", "clap", "throw", "arm_cross", "basketball_shoot", "draw_x"),
    *("draw_circle_cw", "draw_circle_ccw", "draw_triangle", "bowling", "boxing", "baseball_swing", "tennis_swing"),
    *("arm_curl", "tennis_serve", "push", "knock", "catch", "pickup_throw", "jog", "walk", "sit2stand"),
    *("stand2sit", "lunge", "squat"),
)
PEOPLE, TAKES = range(1, 9), range(1, 5)
LOST = {(8, 1, 4), (23, 6, 4), (27, 8, 4)}
"""Action, person and take of the recordings that were never published."""
RECORDINGS = [
    (action, person, take)
    for action in range(1, len(ACTIONS) + 1)
    for person in PEOPLE
    for take in TAKES
    if (action, person, take) not in LOST
]
HIP_CENTRE = 3
"""Place of the joint in the published order, from 0."""
SENSORS = {"inertial": "Inertial", "skeleton": "Skeleton", "depth": "Depth"}
STREAMS = {name: name for name in SENSORS} | dict.fromkeys(("joint", "bone", "motion"), "skeleton")
"""Modality -> the sensor that it is read from."""
Stream = Literal["inertial", "skeleton", "joint", "bone", "motion", "depth"]


def file_name(action: int, person: int, take: int, sensor: str) -> str:
    """The base name of a published file."""
    return f"a{action}_s{person}_t{take}_{sensor}.mat"


def source(sensor: str, sha256: str | None, archive: str | None = None) -> Source:
    """The archive of a sensor; all three are made of the same recordings."""
    folder = SENSORS[sensor]
    names = tuple(sorted(file_name(*recording, sensor) for recording in RECORDINGS))
    return Source(f"{ADDRESS}/{folder}.zip", folder, sha256, f"a*_{sensor}.mat", names=names, archive=archive)


def _paths(sensor: str) -> list[str]:
    """The files of a sensor, in the order of the recordings."""
    return [f"{SENSORS[sensor]}/{file_name(*recording, sensor)}" for recording in RECORDINGS]


class UTDMHAD(Damageable):
    """861 recordings. The published split is cross-subject: people 1, 3, 5 and 7 train, 2, 4, 6 and 8 test.

    Validation is one of the people who train. The depth files may be the published ones or thinned out; frames are
    chosen and resized as the fields say.
    """

    sources: ClassVar[tuple[Source, ...]] = (
        source(
            "inertial",
            "70ce18d09e90c4ce8166d50f6b94e5152416957c9b8e342a71bbb9af08a7ee9e",
            archive="1900de05775c04626dee30b34638b79dd739d481786f0a788f2fbb00663abea4",
        ),
        source("skeleton", "4237d2dff669a193a6285e172b551439528d962fc903c798954f053b079e0add"),
        source("depth", None),  # known by its names alone: see docs/datasets.md
    )
    notes: ClassVar[tuple[str, ...]] = (
        "No person is in two splits. Without folds the tested people are the published ones, 2, 4, 6 and 8; the "
        "person of validation is our choice.",
    )
    streams: list[Stream] = Field(default=["inertial", "skeleton", "depth"], min_length=2)
    """The modalities; `joint`, `bone` and `motion` are three of one skeleton, which as `skeleton` is its joints."""
    validation: int | None = Field(default=None, ge=1, le=len(PEOPLE))
    """The person of validation; where left out the one before the last test person, 7 on the published split."""
    folds: int | None = Field(default=None, ge=2, le=len(PEOPLE))
    """Number of parts that the people are dealt into, one of which is tested: over all values of `fold` everybody is
    tested once. Fold 0 of 2 is the published split; 8 leave one person out."""
    fold: int = Field(default=0, ge=0)
    """The part that is the test split, in [0, folds)."""
    inertial_length: int = Field(default=128, ge=2)
    """Steps that each series of the inertial sensor is resized to; there are 107 to 326 at 50 Hz."""
    length: int = Field(default=64, ge=2)
    """Frames that each skeleton is resized to; there are 41 to 125 at 30 Hz."""
    centre: bool = True
    """Whether joints are counted from the hip centre of their frame; else from the camera."""
    depth_size: Size = (30, 40)
    """Pixels of a depth map: height and width; published are 240 and 320."""
    num_frames: int = Field(default=12, ge=1)
    """Maps of a depth video."""

    @model_validator(mode="after")
    def _people_are_apart(self) -> Self:
        if len(set(self.streams)) < len(self.streams) or {"joint", "skeleton"} <= set(self.streams):
            raise InputError(f"streams: {self.streams} name one modality twice (skeleton is the joints)")
        if self.fold >= (self.folds or 1):
            raise InputError(f"fold is {self.fold}, expected one in [0, folds), and folds is {self.folds}")
        if self.validation in self.test_people:
            raise InputError(f"validation: person {self.validation} is one of the test people {self.test_people}")
        return self

    @property
    def test_people(self) -> list[int]:
        """The people of the test split."""
        return [person for person in PEOPLE if person % (self.folds or 2) == self.fold]

    @property
    def validation_person(self) -> int:
        """The person of the validation split."""
        if self.validation is not None:
            return self.validation
        others = [person for person in PEOPLE if person not in self.test_people]
        return max((person for person in others if person < self.test_people[-1]), default=others[-1])

    @property
    def modalities(self) -> Mapping[str, Kind]:
        """The streams, in their order."""
        return {name: self._kind(name) for name in self.streams}

    @property
    def classes(self) -> tuple[str, ...]:
        """The 27 actions in the order of their numbers."""
        return ACTIONS

    def locate(self) -> Path:
        """The folder of the published files; the sensors that are used are fetched where missing, 180 MB of all."""
        used = {SENSORS[STREAMS[name]] for name in self.streams}
        return obtain(tuple(part for part in self.sources if part.path in used), raw_folder(self.name))

    def items(self, root: Path) -> "pl.DataFrame":
        """The recordings by action, person and take, with the columns `damaged`, `group` (the person) and `take`."""
        import polars as pl

        items = pl.DataFrame(
            {
                "id": [f"a{action}_s{person}_t{take}" for action, person, take in RECORDINGS],
                "label": [ACTIONS[action - 1] for action, _, _ in RECORDINGS],
                "split": [self._split(person) for _, person, _ in RECORDINGS],
            }
        ).with_columns(
            *(pl.Series(name, _paths(STREAMS[name])) for name in self.streams),
            group=pl.Series([f"person {person}" for _, person, _ in RECORDINGS]),
            take=pl.Series([take for _, _, take in RECORDINGS]),
        )
        return self.damaged(items)

    def _split(self, person: int) -> str:
        if person in self.test_people:
            return Split.TEST.value
        return (Split.VALIDATION if person == self.validation_person else Split.TRAIN).value

    def _kind(self, stream: Stream) -> Kind:
        if stream == "inertial":
            return Sequence(length=self.inertial_length, size=6, resize=True)
        if stream == "depth":
            return Depth(size=self.depth_size, num_frames=self.num_frames, time_last=True)
        view = "joint" if stream == "skeleton" else stream
        centre = HIP_CENTRE if self.centre else None
        return Skeleton(joints=20, length=self.length, view=view, parents="utd20", centre=centre, time_last=True)
