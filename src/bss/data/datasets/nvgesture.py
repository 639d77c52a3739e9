"""`nvgesture`: 25 gestures of drivers, seen by a colour and a depth camera.

NVGesture (Molchanov et al. 2016): https://research.nvidia.com/publication/2016-06_online-detection-and-classification
(CC BY-NC-SA 4.0). Optical flow is not handed out; the published loaders read arrays made of the colour videos.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import Field

from bss.data.datasets._collected import TENTH, Collected, Layout, broken, first, hold_out, lines
from bss.data.kinds.flow import Flow
from bss.data.kinds.kind import Kind
from bss.data.kinds.video import Video
from bss.errors import MissingInput
from bss.types import Split

if TYPE_CHECKING:
    import polars as pl

LISTS = {split: f"nvgesture_{split}_correct_v2.lst" for split in (Split.TRAIN, Split.TEST)}
FLOW = "Video_data/flow_data|flow_data"
SENSORS = {"rgb": "color", "depth": "depth"}
NUM_CLASSES = 25


class Gesture(NamedTuple):
    """One line of a list."""

    split: Split
    number: int
    """Place in its list, from 0; the arrays of the flow are named by it."""
    folder: str
    label: int
    videos: dict[str, tuple[str, int, int]]
    """Modality -> file, first frame, and the one after the last."""


class NVGesture(Collected):
    """1,050 pairs in train and validation and 482 in test, the published split.

    The defaults are those of the published loaders but for the frames: they cut 64 in a row from the 80 at random for
    training and take all 80 for the test, from pictures of 256 pixels cut to 224. Here it is the middle 64 always,
    of whole pictures.
    """

    layouts: ClassVar[Mapping[str, Layout]] = {
        "videos": Layout(
            (*LISTS.values(), "Video_data"),
            "as handed out: nvgesture_{train,test}_correct_v2.lst, Video_data/CLASS/SUBJECT/{sk_color,sk_depth}.avi",
        ),
        "flow": Layout(
            (*LISTS.values(), "Video_data", FLOW),
            "published loaders: the same and flow_data/{train,test}/NUMBER.npy (T, H, W, 2), also below Video_data",
        ),
    }
    origin: ClassVar[str] = "NVGesture comes from https://research.nvidia.com, search for nvGesture (CC BY-NC-SA 4.0)"
    flow: bool = True
    """Whether the arrays of the optical flow are a third modality."""
    num_frames: int = Field(default=64, ge=1)
    """Frames of a recording, of the videos and of the flow."""
    image_size: int = Field(default=224, ge=8)
    """Pixels a side of a frame."""
    rule: Literal["uniform", "first", "centre"] = "centre"
    """How frames of the videos are chosen, see the kind `video`; those of the flow are always spread evenly."""

    @property
    def _notes(self) -> tuple[str, ...]:
        """Who drew the splits, and which frames count."""
        return ("The test split is the published one.", TENTH, "The frames are those between the marks of the lists.")

    @property
    def modalities(self) -> Mapping[str, Kind]:
        """Colour, depth, and the flow where it is wanted."""
        size, num_frames = self.image_size, self.num_frames
        videos = {
            name: Video(size=size, num_frames=num_frames, rule=self.rule, channels=3, spans=self._spans(name))
            for name in SENSORS
        }
        depth = videos["depth"].model_copy(update={"channels": 1})
        flow = {"flow": Flow(size=size, num_frames=num_frames)} if self.flow else {}
        return {"rgb": videos["rgb"], "depth": depth, **flow}

    @property
    def classes(self) -> tuple[str, ...]:
        """The 25 gestures by their number."""
        return tuple(f"class_{number:02}" for number in range(1, NUM_CLASSES + 1))

    def locate(self) -> Path:
        """The folder of the raw files; raises as `Collected.locate`, and where the flow is missing."""
        root = super().locate()
        if self.flow and first(root, FLOW) is None:
            raise MissingInput(
                f"{root / 'flow_data'} is missing: the flow is not handed out, it is made of the colour videos. "
                "Put flow_data/{train,test}/NUMBER.npy there, or set preprocess.flow: false"
            )
        return root

    def items(self, root: Path) -> "pl.DataFrame":
        """The lines of both lists, with the column `subject`."""
        import polars as pl

        gestures = self._gestures
        labels = [self.classes[gesture.label - 1] for gesture in gestures]
        splits = [gesture.split.value for gesture in gestures]
        columns = {
            "id": [gesture.folder for gesture in gestures],
            "label": labels,
            "split": hold_out(labels, splits, Split.VALIDATION, "validation of nvgesture"),
            **{name: [gesture.videos[name][0] for gesture in gestures] for name in SENSORS},
            "subject": [gesture.folder.rpartition("/")[2].partition("_")[0] for gesture in gestures],
        }
        if self.flow:
            flow = first(root, FLOW)
            columns["flow"] = [f"{flow}/{gesture.split}/{gesture.number}.npy" for gesture in gestures]
        return pl.DataFrame(columns)

    @cached_property
    def _gestures(self) -> list[Gesture]:
        return [gesture for split, name in LISTS.items() for gesture in read_list(self.root / name, split)]

    def _spans(self, modality: str) -> dict[str, tuple[int, int]]:
        """Path of each video -> its span; empty before the lists are there, for the modalities are known without."""
        if not all((self.root / name).is_file() for name in LISTS.values()):
            return {}
        videos = [gesture.videos[modality] for gesture in self._gestures]
        return {str(self.root / path): (start, end) for path, start, end in videos}


def read_list(path: Path, split: Split) -> Iterator[Gesture]:
    """The lines `path:./Video_data/class_01/subject3_r1 depth:sk_depth:0:80 color:sk_color:0:80 ... label:1`.

    Raises:
        InputError: a line is broken; the message has its number.
    """
    for place, (number, line) in enumerate(lines(path)):
        fields = dict(part.partition(":")[::2] for part in line.split())
        try:
            label, folder = int(fields["label"]), fields["path"].removeprefix("./")
            videos = {name: _video(folder, fields[sensor]) for name, sensor in SENSORS.items()}
        except (KeyError, ValueError):
            raise broken(path, number, line, "path:FOLDER depth:FILE:0:80 color:FILE:0:80 label:1") from None
        if not 1 <= label <= NUM_CLASSES or any(not 0 <= start < end for _, start, end in videos.values()):
            raise broken(path, number, line, f"a label of 1 .. {NUM_CLASSES} and frames from START to END")
        yield Gesture(split, place, folder.removeprefix("Video_data/"), label, videos)


def _video(folder: str, text: str) -> tuple[str, int, int]:
    file, start, end = text.split(":")
    return f"{folder}/{file.removesuffix('.avi')}.avi", int(start), int(end)
