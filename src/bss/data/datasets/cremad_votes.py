"""`cremad_votes`: what people heard in the voice and saw in the face of the 7,442 clips of CREMA-D.

Votes: CREMA-D (ODbL 1.0), 91 actors, six intended emotions; each clip was judged by its sound alone, by its
picture alone and by both, about ten people each. The list of the random split: OGM-GE (MIT). The features are
human judgements, not signals; say so wherever a number is shown.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from bss.data.datasets._damage import Damageable
from bss.data.datasets._fetch import Source, obtain, raw_folder
from bss.data.datasets.dataset import Allowed
from bss.data.kinds.features import Features
from bss.data.kinds.kind import Kind
from bss.errors import InputError
from bss.seeds import generator
from bss.types import Split

if TYPE_CHECKING:
    import polars as pl

GITHUB = "https://raw.githubusercontent.com"
CREMAD = f"{GITHUB}/CheyneyComputerScience/CREMA-D/1658cd342dff90010aa843eaeebd53610a08b1dc"
OGM_GE = f"{GITHUB}/GeWu-Lab/OGM-GE_CVPR2022/343dc1d95c9bda88f105c0da8d24f185e0e98b54"

VOTES = Source(
    address=f"{CREMAD}/processedResults/tabulatedVotes.csv",
    path="tabulatedVotes.csv",
    sha256="774d9d759cb5caf2542758a39eca8c0f1d2777f9987ff5d5adf8066d192f377b",
)
TRAIN_LIST = Source(
    address=f"{OGM_GE}/data/CREMAD/train.csv",
    path="ogmge_train.csv",
    sha256="68d0d3fd253830328fc92c68f3cf2e215db8c5b86757ad9c5112d2c76ba68bde",
)
TEST_LIST = Source(
    address=f"{OGM_GE}/data/CREMAD/test.csv",
    path="ogmge_test.csv",
    sha256="14866c99301fd56fb4a16f8a7048a8a6372a47069aee9f216443bc718be45f1f",
)
EMOTIONS = {"A": "ANG", "D": "DIS", "F": "FEA", "H": "HAP", "N": "NEU", "S": "SAD"}
"""Column of a vote -> the intended emotion in a clip's name, both in the order of the file."""
QUERIES = {"voice": "1", "face": "2", "both": "3"}
"""What people judged -> first digit of the number of its rows."""
NUM_HELD_OUT = 14
"""Actors of validation, and as many of test; 63 of the 91 remain."""
SPLIT_SEED = 0


class CremadVotes(Damageable):
    """One pair a clip: actor split 63 / 14 / 14 actors, random split 6,028 / 670 / 744 clips."""

    sources: ClassVar[tuple[Source, ...]] = (VOTES, TRAIN_LIST, TEST_LIST)
    notes: ClassVar[tuple[str, ...]] = (
        "The features are human judgements, not signals: the shares of people who heard, and who saw, each emotion.",
        "In the split 'random' all 91 actors are in every part; in 'actor' none is in two.",
    )
    allow: list[Allowed] = Field(default=["same_content"])
    """Shares of a few votes are alike for many clips, and no leak."""
    split: Literal["actor", "random"] = "actor"
    """`actor`: disjoint actors, drawn once and for all. `random`: the published lists of OGM-GE;
    validation = a tenth of each class of their training list, our choice."""

    @property
    def modalities(self) -> Mapping[str, Kind]:
        """The shares of the votes on the voice alone and on the face alone."""
        return {name: Features(size=len(EMOTIONS), names=tuple(EMOTIONS)) for name in ("voice", "face")}

    @property
    def classes(self) -> tuple[str, ...]:
        """The six emotions that were to be acted."""
        return tuple(EMOTIONS.values())

    def locate(self) -> Path:
        """The folder of the published tables; 4 MB are fetched where it is missing."""
        return obtain(self.sources, raw_folder(self.name))

    def items(self, root: Path) -> "pl.DataFrame":
        """One row a clip, sorted by name, with columns for studies.

        `actor`; `damaged`; `agree`: whether an emotion with the most votes on the voice is one with the most
        on the face, any of them where several tie; `vote_similarity`: the cosine of the two modalities, in
        0 .. 1; `both_agreement`: share of the votes on voice and face together that went to the intended
        emotion. Of a pair with a swapped modality, `agree` and `vote_similarity`
        compare what is in the pair, and `both_agreement` is that of the clip; of one damaged otherwise all three are.
        """
        import polars as pl

        clips, shares = vote_shares(root)
        items = pl.DataFrame({"id": clips, "voice": pl.Series(shares["voice"]), "face": pl.Series(shares["face"])})
        name = pl.col("id").str.split("_").list
        items = items.with_columns(actor=name.get(0), label=name.get(2, null_on_oob=True))
        split = by_actor(items["actor"].to_list()) if self.split == "actor" else by_list(items, root)
        intended = items["label"].to_numpy()[:, None] == np.array(self.classes)
        items = self.damaged(items.with_columns(split=pl.Series(split)))
        voice, face = items["voice"].to_numpy(), items["face"].to_numpy()
        return items.with_columns(
            agree=pl.Series((winners(voice) & winners(face)).any(axis=1)),
            vote_similarity=pl.Series(cosine(voice, face)),
            both_agreement=pl.Series((shares["both"] * intended).sum(axis=1)),
        )


def vote_shares(root: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """The names of the clips, sorted, and for each query the share of every emotion, (clips, 6), rows sum to 1.

    Raises:
        InputError: a clip has no votes, or two rows of them, for a query; the message names both.
    """
    import polars as pl

    columns = ["", *EMOTIONS, "fileName"]
    table = pl.read_csv(root / VOTES.path, columns=columns, schema_overrides={"": pl.String}).sort("fileName")
    clips = table["fileName"].unique().sort().to_list()
    shares = {}
    for query, digit in QUERIES.items():
        rows = table.filter(pl.col("").str.starts_with(digit), pl.sum_horizontal(*EMOTIONS) > 0)
        names = rows["fileName"]
        if missing := set(clips) - set(names):
            raise InputError(f"{VOTES.path}: {min(missing)} has no votes for the query '{query}' ({digit})")
        if names.is_duplicated().any():
            double = names.filter(names.is_duplicated())[0]
            raise InputError(f"{VOTES.path}: {double} has several rows for the query '{query}' ({digit})")
        votes = rows.select(*EMOTIONS).to_numpy()
        shares[query] = votes / votes.sum(axis=1, keepdims=True)
    return clips, shares


def by_actor(actors: Sequence[str]) -> list[str]:
    """The split of each clip from its actor."""
    order = generator(SPLIT_SEED, "actors of cremad_votes").permutation(sorted(set(actors))).tolist()
    held_out = dict.fromkeys(order[:NUM_HELD_OUT], Split.TEST.value)
    held_out |= dict.fromkeys(order[NUM_HELD_OUT : 2 * NUM_HELD_OUT], Split.VALIDATION.value)
    return [held_out.get(actor, Split.TRAIN.value) for actor in actors]


def by_list(items: "pl.DataFrame", root: Path) -> list[str]:
    """The split of each clip of `items` (id, label) from the published lists.

    Raises:
        InputError: a clip is in neither list, is listed twice, or has no votes; the message names it.
    """
    import polars as pl

    train, test = (
        pl.read_csv(root / source.path, has_header=False, new_columns=["id", "label"])["id"].to_list()
        for source in (TRAIN_LIST, TEST_LIST)
    )
    times = Counter([*train, *test])
    times.subtract(items["id"])
    if strange := [clip for clip, surplus in times.items() if surplus]:
        lists = f"{TRAIN_LIST.path} and {TEST_LIST.path}"
        raise InputError(f"{min(strange)} has to be once in {VOTES.path} and once in {lists} together")
    draw = generator(SPLIT_SEED, "validation of cremad_votes")
    split = dict.fromkeys(train, Split.TRAIN.value) | dict.fromkeys(test, Split.TEST.value)
    for label in EMOTIONS.values():
        clips = items.filter(pl.col("label") == label, pl.col("id").is_in(train))["id"].to_numpy()
        chosen = draw.permutation(clips)[: round(len(clips) / 10)]
        split |= dict.fromkeys(chosen, Split.VALIDATION.value)
    return [split[clip] for clip in items["id"]]


def winners(shares: np.ndarray) -> np.ndarray:
    """Whether each emotion has the most votes of its clip, (clips, 6) bool; several have where they tie."""
    return np.asarray(shares == shares.max(axis=1, keepdims=True))


def cosine(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Cosine between the rows of two arrays (N, D) of shares, shape (N,), in 0 .. 1."""
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.asarray((left * right).sum(axis=1) / lengths).clip(0, 1)
