"""What the rounds of active learning have left, and the numbers that sum a curve up."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from bss.data.packed import MANIFEST, Meta
from bss.errors import InputError
from bss.evaluation.artifacts import as_judged, read_json, read_table
from bss.evaluation.comparing.statistics import PairedDifference, holm, paired_difference, sign_flip_p
from bss.evaluation.grid.examples import damage
from bss.params import Params
from bss.paths import Round, Workspace
from bss.types import BASELINE, FUSED, Split


def area_under_budget_curve(num_labels: ArrayLike, values: ArrayLike) -> float:
    """AUBC: the mean of a metric over the labels between the first round and the last, by the trapezoid rule.

    Args:
        num_labels: (rounds,), rising.
        values: (rounds,); the area has the same unit.

    Raises:
        ValueError: fewer than two rounds, or labels that do not rise.
    """
    labels, values = np.asarray(num_labels, dtype=float), np.asarray(values, dtype=float)
    if len(labels) < 2 or len(labels) != len(values) or not (np.diff(labels) > 0).all():
        raise ValueError(
            f"numbers of labels {labels.tolist()} for {len(values)} values: expected two or more, rising"
        )
    return float(np.trapezoid(values, labels) / (labels[-1] - labels[0]))


def labels_needed(num_labels: ArrayLike, values: ArrayLike, wanted: float) -> float | None:
    """The number of labels at which a curve first reaches a value, linear between rounds; None if it never does."""
    labels, values = np.asarray(num_labels, dtype=float), np.asarray(values, dtype=float)
    reached = np.flatnonzero(values >= wanted)
    if not len(reached):
        return None
    if (place := int(reached[0])) == 0:
        return float(labels[0])
    before, after = values[place - 1], values[place]
    return float(labels[place - 1] + (wanted - before) / (after - before) * (labels[place] - labels[place - 1]))


def class_entropy(labels: ArrayLike) -> float:
    """Entropy in nats of the shares of the classes among labels (n,): log C where all are alike."""
    counts = np.unique_counts(np.asarray(labels)).counts
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())


@dataclass(frozen=True, kw_only=True)
class Curves:
    """All curves of one data set."""

    dataset: str
    about: tuple[str, ...]
    notes: tuple[str, ...]
    classes: tuple[str, ...]
    acquisitions: tuple[str, ...]
    """In their order; the baseline is among them."""
    rounds: pl.DataFrame
    """acquisition, seed, number, num_labels, output, accuracy, macro_f1."""
    asked: pl.DataFrame
    """A row a pair that was asked for: acquisition, seed, round, index, label, predicted, dominance, damage."""
    seconds: pl.DataFrame
    """acquisition, seed, number, seconds to choose."""
    pool_damage: float
    """Share of the training pairs that are known to be damaged."""
    has_damage: bool
    """Whether the data set knows which pairs are damaged."""
    confidence: float
    command: str
    parameters: Mapping[str, object]

    @property
    def num_seeds(self) -> int:
        """Seeds of every curve."""
        return int(self.rounds["seed"].n_unique())

    def areas(self, acquisition: str, metric: str = "accuracy") -> NDArray[np.float64]:
        """The AUBC of the fused output, one a seed, in the order of the seeds."""
        of_one = self.rounds.filter(acquisition=acquisition, output=FUSED).sort("seed", "number")
        return np.array(
            [
                area_under_budget_curve(part["num_labels"], part[metric])
                for _, part in of_one.group_by("seed", maintain_order=True)
            ]
        )

    def to_baseline(self, acquisition: str) -> PairedDifference:
        """The difference of its areas to those of random labels, paired by seed."""
        return paired_difference(self.areas(acquisition), self.areas(BASELINE), self.confidence)

    def mean_curve(self, acquisition: str, output: str = FUSED) -> pl.DataFrame:
        """num_labels, mean and sample standard deviation `sd` of the accuracy over the seeds, a row a round."""
        of_one = self.rounds.filter(acquisition=acquisition, output=output)
        return (
            of_one.group_by("num_labels")
            .agg(mean=pl.col("accuracy").mean(), sd=pl.col("accuracy").std())
            .sort("num_labels")
        )

    def table(self) -> pl.DataFrame:
        """A row an acquisition.

        Columns: acquisition, num_seeds, aubc, difference, low, high, p, p_holm (to random labels, null for those),
        macro_f1_aubc, last_accuracy, labels_needed (for the last mean accuracy of random labels, null where it is
        not reached), saving (share of random's labels), damaged, right, dominance (means over what was asked for),
        class_entropy (of all labels at the end), seconds (a round).
        """
        rows = [self._row(name) for name in self.acquisitions]
        p_values = [row["p"] for row in rows if row["p"] is not None]
        corrected = iter(holm(p_values).tolist())
        return pl.DataFrame(
            [row | {"p_holm": None if row["p"] is None else next(corrected)} for row in rows],
            infer_schema_length=None,
        )

    def _row(self, name: str) -> dict[str, Any]:
        curve, random = self.mean_curve(name), self.mean_curve(BASELINE)
        needed = labels_needed(curve["num_labels"], curve["mean"], float(random["mean"][-1]))
        asked = self.asked.filter(pl.col("acquisition") == name)
        chosen = asked.filter(pl.col("round") > 0)
        found = None if name == BASELINE else self.to_baseline(name)
        p = None if name == BASELINE else sign_flip_p(self.areas(name), self.areas(BASELINE))
        seeds = asked.group_by("seed").agg(entropy=pl.col("label").map_batches(class_entropy, returns_scalar=True))
        return {
            "acquisition": name,
            "num_seeds": self.num_seeds,
            "aubc": float(self.areas(name).mean()),
            "difference": found.mean if found else None,
            "low": found.low if found else None,
            "high": found.high if found else None,
            "p": p,
            "macro_f1_aubc": float(self.areas(name, "macro_f1").mean()),
            "last_accuracy": float(curve["mean"][-1]),
            "labels_needed": needed,
            "saving": None if needed is None else 1 - needed / float(random["num_labels"][-1]),
            "damaged": _share(chosen["damage"] != "") if self.has_damage else None,
            "right": _share(chosen["label"] == chosen["predicted"]),
            "dominance": chosen["dominance"].mean(),
            "class_entropy": seeds["entropy"].mean(),
            "seconds": self.seconds.filter(acquisition=name)["seconds"].mean(),
        }


def read_curves(
    params: Params,
    parameters: Mapping[str, object],
    places: Mapping[int, Workspace],
    about: tuple[str, ...],
    command: str,
) -> Curves:
    """All that the stages of active learning have left.

    Args:
        params: what was run.
        parameters: the same as a reader sees it.
        places: seed -> its workspace.
        about: what the page says first.
        command: that repeats the run.

    Raises:
        InputError: a file is missing or damaged.
    """
    names, numbers = params.active.grid.acquisitions, range(len(params.active.rounds) + 1)
    first = next(iter(places.values()))
    meta = Meta.read(first.packed)
    manifest = read_table(first.packed / Split.TRAIN / MANIFEST)
    damaged = damage(manifest)
    marks = pl.DataFrame({"index": manifest["index"].cast(pl.Int64), "damage": damaged})
    rounds, asked, seconds = [], [], []
    for name in names:
        for seed, workspace in places.items():
            rounds += _rounds(workspace.curve(name, seed), name, seed)
            last = Round(name, seed, numbers[-1])
            table = read_table(workspace.round(last) / "labelled.parquet").with_columns(
                pl.col("index").cast(pl.Int64)
            )
            asked.append(
                table.join(marks, on="index", how="left", maintain_order="left").select(
                    pl.lit(name).alias("acquisition"), pl.lit(seed).alias("seed"), pl.exclude("id")
                )
            )
            for number in numbers[1:]:
                taken = read_json(workspace.seconds(last._replace(number=number)))["seconds"]
                seconds.append({"acquisition": name, "seed": seed, "number": number, "seconds": taken})
    data = params.preprocess
    return Curves(
        dataset=data.titled(Path(params.raw)),
        about=about,
        notes=data.notes,
        classes=meta.classes,
        acquisitions=tuple(names),
        rounds=pl.DataFrame(rounds),
        asked=pl.concat(asked),
        seconds=pl.DataFrame(seconds),
        pool_damage=_share(damaged != ""),
        has_damage="damaged" in manifest.columns,
        confidence=params.report.confidence,
        command=command,
        parameters=parameters,
    )


def _share(flags: pl.Series) -> float:
    return int(flags.sum()) / max(1, len(flags))


def _rounds(path: Path, name: str, seed: int) -> list[dict[str, Any]]:
    content = read_json(path)
    if "rounds" not in content:
        raise InputError(f"{path} is damaged: no rounds")
    found = []
    for number, of_round in enumerate(content["rounds"]):
        outputs = as_judged(pl.DataFrame([{"output": key, **values} for key, values in of_round["outputs"].items()]))
        for row in outputs.iter_rows(named=True):
            kept = {key: row[key] for key in ("output", "accuracy", "macro_f1")}
            found.append(
                {"acquisition": name, "seed": seed, "number": number, "num_labels": of_round["num_labels"], **kept}
            )
    return found
