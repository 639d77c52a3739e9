"""`cremad`: 7,442 clips in which 91 actors say one of twelve sentences with one of six emotions.

CREMA-D (Cao et al. 2014; ODbL 1.0, the clips under DbCL 1.0): https://github.com/CheyneyComputerScience/CREMA-D, by
git-lfs. The lists of the random split are those of OGM-GE (MIT), data/CREMAD/{train,test}.csv.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from bss.data.datasets._collected import SPLIT_SEED, AudioVisual, Layout, broken, hold_out, rows
from bss.data.datasets.cremad_votes import EMOTIONS
from bss.errors import InputError, MissingInput
from bss.registry import UnknownName
from bss.seeds import generator
from bss.types import Split

if TYPE_CHECKING:
    import polars as pl

LISTS = {Split.TRAIN: "annotations/train.csv", Split.TEST: "annotations/test.csv"}
HELD_OUT = 14 / 91
"""Share of the actors in validation, and as many in test."""


class Cremad(AudioVisual):
    """One pair a clip: random split 6,028 / 670 / 744 clips, actor split 63 / 14 / 14 actors.

    The defaults are those of the published loaders: the sound repeated to 20 s, one frame; theirs is any frame of
    those at one a second, ours the middle one.
    """

    layouts: ClassVar[Mapping[str, Layout]] = {
        "frames": Layout(
            ("AudioWAV", "Image-01-FPS"),
            "frames (published loaders): AudioWAV/CLIP.wav, Image-01-FPS/CLIP/*.jpg, annotations/{train,test}.csv",
        ),
        "clips": Layout(
            ("AudioWAV", "VideoFlash"),
            "clips (as handed out): AudioWAV/CLIP.wav, VideoFlash/CLIP.flv, if you like annotations/ as well",
        ),
    }
    origin: ClassVar[str] = "CREMA-D comes from https://github.com/CheyneyComputerScience/CREMA-D (ODbL, git-lfs)"
    split: Literal["random", "actor"] = "random"
    """`random`: the published lists where annotations/ is there, else a tenth of each class for test, drawn once;
    validation is a tenth of each class of the rest. `actor`: disjoint actors, the ones of `cremad_votes`."""

    @property
    def _notes(self) -> tuple[str, ...]:
        """Which split is in use, and how it flatters the accuracy."""
        if self.split == "actor":
            return ("Split 'actor': 63, 14 and 14 of the 91 actors are in train, validation and test, none in two.",)
        lists = "the published lists" if self._listed(self.root) else "drawn here, because annotations/ is not there"
        return (
            f"Split 'random' ({lists}): all actors are in every part, which is worth about 9 points of accuracy.",
            "Validation is a tenth of each class of train, drawn once and for all; none is published.",
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """The six emotions that were to be acted."""
        return tuple(EMOTIONS.values())

    def items(self, root: Path) -> "pl.DataFrame":
        """The clips, with the columns `actor`, `sentence` and `level`, and `group` in the split by actors."""
        import polars as pl

        pattern = "VideoFlash/{}.flv" if self.layout(root) == "clips" else "Image-01-FPS/{}"
        clips, labels, splits = self._clips(root)
        named = [parts(clip) for clip in clips]
        items = pl.DataFrame(
            {
                "id": clips,
                "label": labels,
                "split": splits,
                "audio": [f"AudioWAV/{clip}.wav" for clip in clips],
                "video": [pattern.format(clip) for clip in clips],
                "actor": [actor for actor, *_ in named],
                "sentence": [sentence for _, sentence, *_ in named],
                "level": [level for *_, level in named],
            }
        )
        return items.with_columns(group=pl.col("actor")) if self.split == "actor" else items

    def _clips(self, root: Path) -> tuple[list[str], list[str], list[str]]:
        """Names, emotions and splits."""
        if self.split == "random" and self._listed(root):
            listed = [row for split, path in LISTS.items() for row in read_list(root / path, split)]
            clips, labels, splits = (list(column) for column in zip(*listed, strict=True))
            return clips, labels, hold_out(labels, splits, Split.VALIDATION, "validation of cremad")
        clips = sorted(path.stem for path in (root / "AudioWAV").glob("*.wav"))
        labels = [parts(clip)[2] for clip in clips]
        if self.split == "actor":
            return clips, labels, by_actor([parts(clip)[0] for clip in clips])
        splits = hold_out(labels, [Split.TRAIN.value] * len(clips), Split.TEST, "test of cremad")
        return clips, labels, hold_out(labels, splits, Split.VALIDATION, "validation of cremad")

    def _listed(self, root: Path) -> bool:
        """Whether the published lists are there; one without the other is an error."""
        if not (root / "annotations").is_dir():
            return False
        for path in LISTS.values():
            if not (root / path).is_file():
                raise MissingInput(f"{root / path} is missing; without the folder annotations/ a split is drawn")
        return True


def parts(clip: str) -> list[str]:
    """Actor, sentence, emotion and level of a clip: 1001_IEO_NEU_XX.

    Raises:
        InputError: the name has other parts, or the emotion is none of the six.
    """
    named = clip.split("_")
    if len(named) != 4:
        raise InputError(f"the clip '{clip}' is not named ACTOR_SENTENCE_EMOTION_LEVEL")
    if named[2] not in EMOTIONS.values():
        raise UnknownName(f"emotion of the clip {clip}:", named[2], EMOTIONS.values())
    return named


def read_list(path: Path, split: Split) -> list[tuple[str, str, str]]:
    """Clip, emotion and split of each row `clip,EMO`.

    Raises:
        InputError: a row is broken, or its emotion is not that of the clip's name; the message has the line.
    """
    listed = []
    for number, (clip, emotion, *_) in rows(path, 2):
        if emotion not in EMOTIONS.values():
            raise InputError(f"{path}, line {number}: {UnknownName('emotion', emotion, EMOTIONS.values())}")
        if parts(clip)[2] != emotion:
            raise broken(path, number, f"{clip},{emotion}", "a clip and its own emotion")
        listed.append((clip, emotion, split.value))
    return listed


def by_actor(actors: Sequence[str]) -> list[str]:
    """The split of each clip from its actor; of all 91 the same as in `cremad_votes`."""
    names = sorted(set(actors))
    order = generator(SPLIT_SEED, "actors of cremad_votes").permutation(names).tolist()
    num_held = max(1, round(HELD_OUT * len(names)))
    held_out = dict.fromkeys(order[:num_held], Split.TEST.value)
    held_out |= dict.fromkeys(order[num_held : 2 * num_held], Split.VALIDATION.value)
    return [held_out.get(actor, Split.TRAIN.value) for actor in actors]
