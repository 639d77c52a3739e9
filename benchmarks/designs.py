"""Designs of a curriculum that compares training pairs with held-out ones, on validation and on test.

`python -m benchmarks.designs .dvc/tmp/compare/order-avdigits-damaged/seed-*`, after `bss compare order --on
avdigits-damaged`: each workspace lends its packed data and the warm-up of its seed. A row a design, each trained with
`joint` from that warm-up; differences to random order, mean and standard error over the seeds.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import polars as pl
import torch
from torch.nn.functional import cross_entropy, log_softmax

from bss import params
from bss.curriculum.order import relative_rarity, systematic
from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.matched import LEAST, Matched
from bss.curriculum.schedulers.random import Random
from bss.curriculum.schedulers.scheduler import Scheduler
from bss.data.packed import PackedSplit, open_split
from bss.evaluation.page.text import markdown
from bss.exits import exits
from bss.files import read_tensors
from bss.measure.criteria.criterion import CRITERIA, PUBLISHED
from bss.measure.evidence import Evidence, read_evidence
from bss.model import build_model
from bss.paths import Workspace
from bss.seeds import generator
from bss.training.loader import cached
from bss.training.loop import fit, split_evidence, warm_up
from bss.training.methods.joint import Joint
from bss.training.methods.method import Order
from bss.training.runtime import Runtime
from bss.training.trainer import Trainer
from bss.training.weights import WEIGHTS
from bss.types import FUSED, Split

FLOOR = 0.02
MEASURES = ("validation %", "validation loss", "test %")


class Weighted(Scheduler):
    """Evenly spaced draws by weights that are given in place of scores."""

    def indices(self, scores: np.ndarray, epoch: int, generator: np.random.Generator) -> np.ndarray:
        """N draws."""
        return systematic(scores / scores.sum(), len(scores), generator)


class Hiding(Joint):
    """Random order, where of a pair the modality is hidden that is less sure of the label than held-out ones are.

    `Trainer.memory` holds modality -> (N,), how likely it is to be shown; of a pair the one with the least counts.
    """

    looks_at_validation: ClassVar[bool] = True
    again: bool = True
    """Whether it measures before every epoch; the geometric mean of all measurements counts."""

    def begin_epoch(self, trainer: Trainer, epoch: int, evidence: Any, validation: Any) -> None:
        """Measure again, and count the epoch."""
        memory = trainer.memory
        memory["epoch"] = torch.tensor(epoch)
        if epoch > 0 and self.again:
            for name, shown in surely(evidence(), validation()).items():
                fresh = torch.from_numpy(shown)
                memory[name] = (memory[name] ** epoch * fresh) ** (1 / (epoch + 1))

    def order(self, sequence: np.ndarray, memory: Mapping[str, torch.Tensor]) -> Order:
        """The sequence, with one modality or none hidden of each pair."""
        names = [name for name in memory if name != "epoch"]
        shown = np.stack([memory[name].numpy()[sequence] for name in names]).clip(FLOOR)
        is_hidden = generator(0, "hiding", int(memory["epoch"])).random(len(sequence)) > shown.min(axis=0)
        return Order(sequence, {name: is_hidden & (shown.argmin(axis=0) == m) for m, name in enumerate(names)})


class Design(NamedTuple):
    """How a seed is trained."""

    name: str
    method: Joint
    scheduler: Scheduler
    scores: np.ndarray | None = None
    shown: Mapping[str, np.ndarray] = {}
    """What `Hiding` begins with."""


def surely(train: Evidence, held_out: Evidence) -> dict[str, np.ndarray]:
    """Modality -> (N,), as the weights of `matched`, of the log probability of the label by that modality alone."""

    def sure(seen: Evidence, name: str) -> np.ndarray:
        return log_softmax(seen.logits[name].double(), 1).gather(1, seen.labels[:, None])[:, 0].numpy()

    return {
        name: np.maximum(relative_rarity(sure(train, name), sure(held_out, name)) ** 2, LEAST)
        for name in train.modalities
    }


def log_weights(train: Evidence, held_out: Evidence) -> np.ndarray:
    """(N,), the first scores of `matched`."""
    values, others = ({name: CRITERIA[name](seen) for name in PUBLISHED} for seen in (train, held_out))
    return Matched().scored(values, held_out=others).numpy()


@dataclass
class Seed:
    """The data and the warm-up of one seed, and trainings that go on from it."""

    workspace: Workspace

    @cached_property
    def number(self) -> int:
        return int(self.workspace.folder.name.rpartition("-")[2])

    @cached_property
    def settings(self) -> params.Params:
        return params.load(self.workspace.params)

    @cached_property
    def runtime(self) -> Runtime:
        return Runtime.start(self.settings.runtime)

    @cached_property
    def splits(self) -> dict[Split, PackedSplit]:
        return {split: cached(open_split(self.workspace.packed, split), "auto", self.runtime) for split in Split}

    def evidence(self, split: Split) -> Evidence:
        """That of the warm-up."""
        outputs = [*self.splits[split].meta.modalities, FUSED]
        return read_evidence(self.workspace.evidence(self.number, split), outputs)

    @cached_property
    def damaged(self) -> np.ndarray | None:
        """(N,), the modality that is damaged, or None; None where nothing says so."""
        table = pl.read_parquet(self.splits[Split.TRAIN].folder / Split.TRAIN / "manifest.parquet")
        return table["damaged"].to_numpy() if "damaged" in table.columns else None

    def folds(self, num_folds: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Log weights, and those of each modality, by warm-ups that have not seen the pair."""
        train, settings = self.splits[Split.TRAIN], self.settings.warmup
        fold = generator(self.number, "folds").permutation(len(train)) % num_folds
        weights, modalities = np.empty(len(train)), {name: np.empty(len(train)) for name in train.meta.modalities}
        for number in range(num_folds):
            out = np.flatnonzero(fold == number)
            trainer = self._trainer(settings.objective, settings)
            warm_up(trainer, train.only(np.flatnonzero(fold != number)), settings, self.number)
            unseen, held_out = (
                split_evidence(trainer.module, part, settings.batch_size, self.runtime)
                for part in (train.only(out), self.splits[Split.VALIDATION])
            )
            weights[out] = log_weights(unseen, held_out)
            for name, shown in surely(unseen, held_out).items():
                modalities[name][out] = shown
        return weights, modalities

    def designs(self) -> Iterator[Design]:
        """Random order, the designs, and what knows of the damage where there is any."""
        train, held_out = self.evidence(Split.TRAIN), self.evidence(Split.VALIDATION)
        first, hidden = log_weights(train, held_out), surely(train, held_out)
        unseen, hidden_unseen = self.folds(4)
        joint, random, weighted, once = Joint(), Random(), Weighted(), Hiding(again=False)

        def weights(logs: np.ndarray) -> np.ndarray:
            return np.asarray(np.exp(logs).clip(FLOOR))

        yield Design("random", joint, random)
        yield Design("matched", joint, Matched(), first)
        yield Design("matched, once", joint, weighted, weights(first))
        yield Design("matched, out of fold (2), once", joint, weighted, weights(self.folds(2)[0]))
        yield Design("matched, out of fold (4), once", joint, weighted, weights(unseen))
        yield Design("hide the modality", Hiding(), random, None, hidden)
        yield Design("hide the modality, once", once, random, None, hidden)
        yield Design("hide the modality, out of fold (4), once", once, random, None, hidden_unseen)
        if self.damaged is not None:
            intact = np.array([name is None for name in self.damaged])
            faults = {name: np.where(self.damaged == name, 0.0, 1.0) for name in hidden}
            yield Design("oracle: never draw damaged pairs", joint, weighted, np.where(intact, 1.0, 1e-9))
            yield Design("oracle: hide the damaged modality", once, random, None, faults)

    def trained(self, design: Design) -> tuple[float, float, float]:
        """The measures of the best epoch on validation."""
        train, validation, test = (self.splits[split] for split in (Split.TRAIN, Split.VALIDATION, Split.TEST))
        settings = self.settings.train
        trainer = self._trainer(design.method, settings)
        trainer.model.load_state_dict(read_tensors(self.workspace.warmup(self.number) / WEIGHTS))
        trainer.memory.update({name: torch.from_numpy(values) for name, values in design.shown.items()})
        sampler = CurriculumSampler(len(train), design.scheduler, self.number, scores=design.scores)
        fit(trainer, sampler, train, validation, settings, settings.epochs)
        seen, on_test = (split_evidence(trainer.module, part, 256, self.runtime) for part in (validation, test))
        loss = float(cross_entropy(seen.logits[FUSED], seen.labels))
        return _accuracy(seen), loss, _accuracy(on_test)

    def _trainer(self, method: Any, settings: Any) -> Trainer:
        meta = self.splits[Split.TRAIN].meta
        model = build_model(meta, self.settings.encoders, self.number, self.settings.fusion)
        return Trainer(model, method, settings, self.runtime, self.number)


def _accuracy(seen: Evidence) -> float:
    return 100 * float((seen.logits[FUSED].argmax(1) == seen.labels).double().mean())


def main() -> None:
    """Train all designs of all workspaces named, and print the table."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for place in sys.argv[1:]:
        seed = Seed(Workspace(Path(place)))
        for design in seed.designs():
            found.setdefault(design.name, []).append(seed.trained(design))
    rows = []
    for name, of_seeds in found.items():
        differences = np.subtract(of_seeds, found["random"])
        errors = differences.std(axis=0, ddof=1) / np.sqrt(len(of_seeds))
        means = np.mean(of_seeds, axis=0), differences.mean(axis=0)
        rows.append([name, *(f"{a:.2f} ({d:+.2f} ± {e:.2f})" for a, d, e in zip(*means, errors, strict=True))])
    print(markdown(["design", *MEASURES], rows))


if __name__ == "__main__":
    with exits():
        main()
