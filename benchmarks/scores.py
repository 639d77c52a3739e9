"""The worth of a balance score, on real data: `python -m benchmarks.scores meaning|classes|updates`.

`meaning`: how well the score finds the damaged pairs of avdigits, and how it relates to whether people agree on voice
and face of the clips of cremad_votes, after 0, 1, 3 and 10 epochs of warm-up.
`classes`: how much of the score's variance lies between the classes, untrained and after three epochs.
`updates`: what `score_update` pass, online and mixed cost, and how far their rankings agree.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import polars as pl
import typer

from bss import params
from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.learned import Learned
from bss.curriculum.schedulers.random import Random
from bss.data.datasets.avdigits import AVDigits
from bss.data.datasets.cremad_votes import CremadVotes
from bss.data.datasets.dataset import Dataset
from bss.data.datasets.emoji_imgtext import EmojiImgText
from bss.data.packed import MANIFEST, PackedSplit, open_split
from bss.data.packing.pack import pack
from bss.evaluation.comparing.agreement import rank_correlation, rank_correlation_interval, top_overlap
from bss.evaluation.comparing.statistics import paired_difference, summary
from bss.evaluation.judging.metrics import detection_auc
from bss.evaluation.page.text import markdown
from bss.measure.score import balance_score
from bss.model import build_model
from bss.seeds import generator
from bss.training.loader import batches
from bss.training.loop import split_evidence
from bss.training.methods.joint import Joint
from bss.training.runtime import Runtime
from bss.training.trainer import Trainer
from bss.types import Split

WARMUPS = (0, 1, 3, 10)
CONFIDENCE = 0.95
SETTINGS = params.load(Path("params.yaml"))
RUNTIME = Runtime.start(SETTINGS.runtime)
app = typer.Typer()


def trainer(train: PackedSplit, seed: int) -> Trainer:
    """A fresh model of that seed, as the warm-up starts it."""
    return Trainer(build_model(train.meta, {}, seed), Joint(), SETTINGS.warmup, RUNTIME)


def scores_after_warmup(
    train: PackedSplit, seed: int, warmups: tuple[int, ...] = WARMUPS
) -> Iterator[tuple[int, np.ndarray]]:
    """The balance scores (N,) after each number of epochs of `warmups`, ascending, in one training."""
    model, done = trainer(train, seed), 0
    for epochs in warmups:
        for epoch in range(done, epochs):
            order = generator(seed, "warmup", epoch).permutation(len(train))
            model.train_epoch(batches(train, order, SETTINGS.warmup.batch_size, RUNTIME), SETTINGS.warmup.lr)
        done = epochs
        yield epochs, balance_score(split_evidence(model.model, train, 256, RUNTIME)).numpy()


def opened(dataset: Dataset, folder: Path) -> tuple[PackedSplit, pl.DataFrame]:
    """The packed training split and its manifest."""
    pack(dataset, folder)
    return open_split(folder, Split.TRAIN), pl.read_parquet(folder / Split.TRAIN / MANIFEST)


def with_interval(values: list[float]) -> str:
    """Mean over seeds with its 95 % interval (Student's t)."""
    interval = paired_difference(values, np.zeros(len(values)), CONFIDENCE)
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


@app.command()
def meaning(seeds: Annotated[int, typer.Option(min=2)] = 10) -> None:
    """The area under the ROC curve for damaged pairs, and the rank correlation with human agreement."""
    with TemporaryDirectory() as folder:
        train, manifest = opened(AVDigits(damage=0.4), Path(folder))
        damaged = manifest["damaged"].is_not_null().to_numpy()
        of_audio, of_image = (
            (manifest["damaged"].is_null() | (manifest["damaged"] == name)).to_numpy() for name in ("audio", "image")
        )
        areas: dict[int, list[tuple[float, ...]]] = {epochs: [] for epochs in WARMUPS}
        for seed in range(seeds):
            for epochs, scores in scores_after_warmup(train, seed):
                parts = (damaged | True, of_audio, of_image)
                areas[epochs].append(tuple(detection_auc(scores[part], damaged[part]) for part in parts))
    rows = [
        [str(epochs), *(with_interval(list(of_one)) for of_one in zip(*areas[epochs], strict=True))]
        for epochs in areas
    ]
    print(markdown(["warm-up epochs", "all damaged pairs", "audio damaged", "image damaged"], rows), "\n")

    with TemporaryDirectory() as folder:
        train, manifest = opened(CremadVotes(), Path(folder))
        sums = dict.fromkeys(WARMUPS, np.zeros(len(train)))
        for seed in range(seeds):
            for epochs, scores in scores_after_warmup(train, seed):
                sums[epochs] = sums[epochs] + scores / seeds
    for column in ("vote_similarity", "both_agreement"):
        human, classes = manifest[column].to_numpy(), manifest["class"].to_numpy()
        parts = {"all": np.ones(len(train), dtype=bool)} | {name: classes == name for name in train.meta.classes}
        rows = []
        for epochs in WARMUPS:
            intervals = [
                rank_correlation_interval(sums[epochs][part], human[part], CONFIDENCE) for part in parts.values()
            ]
            rows.append(
                [str(epochs), *(f"{part.mean:+.2f} [{part.low:+.2f}, {part.high:+.2f}]" for part in intervals)]
            )
        print(column, markdown(["warm-up epochs", *parts], rows), sep="\n\n", end="\n\n")


@app.command()
def classes(seeds: Annotated[int, typer.Option(min=2)] = 5) -> None:
    """The share of the score's variance that lies between the classes; 0 where a score says nothing of the class."""
    rows = []
    for name, dataset in {
        "avdigits, damaged": AVDigits(damage=0.4),
        "cremad_votes": CremadVotes(),
        "avdigits": AVDigits(),
        "emoji_imgtext": EmojiImgText(),
    }.items():
        shares: dict[int, list[float]] = {0: [], 3: []}
        with TemporaryDirectory() as folder:
            train, _ = opened(dataset, Path(folder))
            for seed in range(seeds):
                for epochs, scores in scores_after_warmup(train, seed, tuple(shares)):
                    shares[epochs].append(between_classes(scores, train.labels))
        rows.append([name, *map(with_interval, shares.values())])
    print(markdown(["data set", "untrained", "after 3 epochs"], rows))


def between_classes(scores: np.ndarray, labels: np.ndarray) -> float:
    """Variance of the class means, weighted by class size, as a share of the variance of all scores, in [0, 1]."""
    means = pl.DataFrame({"score": scores, "label": labels}).select(pl.col("score").mean().over("label"))
    return float(means["score"].to_numpy().var() / scores.var())


@app.command()
def updates(seeds: Annotated[int, typer.Option(min=2)] = 5, epochs: Annotated[int, typer.Option(min=2)] = 10) -> None:
    """Agreement of the rankings with that of a clean pass every epoch, and processor time of an epoch."""
    ways = {
        "pass, every epoch": Learned(),
        "pass, every 3 epochs": Learned(refresh_every=3),
        "online": Learned(score_update="online"),
        "mixed, pass every 3": Learned(score_update="mixed", refresh_every=3),
    }
    for dataset in (AVDigits(damage=0.4), CremadVotes()):
        with TemporaryDirectory() as folder:
            train, _ = opened(dataset, Path(folder))
            agreement = [agreements(train, ways, seed, epochs) for seed in range(seeds)]
            costs = [cost(train, ways, seed) for seed in range(seeds)]
        rows = []
        for way in ways:
            correlations, overlaps = zip(*(of_seed[way] for of_seed in agreement), strict=True)
            mean, sd = summary([of_seed[way] for of_seed in costs])
            rows.append(
                [way, with_interval(list(correlations)), with_interval(list(overlaps)), f"{mean:.3f} ± {sd:.3f}"]
            )
        print(
            dataset.name,
            markdown(["scores from", "Spearman", "top-decile overlap", "time, random = 1"], rows),
            sep="\n\n",
        )


def agreements(
    train: PackedSplit, ways: dict[str, Learned], seed: int, epochs: int
) -> dict[str, tuple[float, float]]:
    """Spearman and top-decile overlap of each way's scores with those of the first, mean over the epochs.

    One model is trained, in the order of the first; the others watch the same training.
    """
    model = trainer(train, seed)
    warmed = split_evidence(model.model, train, 256, RUNTIME)
    samplers = {
        way: CurriculumSampler(len(train), scheduler, seed, scores=balance_score(warmed))
        for way, scheduler in ways.items()
    }
    first, watching = samplers[next(iter(ways))], [sampler for sampler in samplers.values() if sampler.wants_batches]
    agreement: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(epochs):
        order = batches(train, first.sequence(), SETTINGS.train.batch_size, RUNTIME)
        model.train_epoch(order, SETTINGS.train.lr, lambda seen: [sampler.observe(*seen) for sampler in watching])
        evidence = split_evidence(model.model, train, 256, RUNTIME)
        for way, sampler in samplers.items():
            if sampler.wants_pass:
                sampler.observe(np.arange(len(train)), evidence.logits, evidence.labels)
            sampler.end_epoch()
            ours, clean = sampler.scores, first.scores
            agreement[way].append((rank_correlation(ours, clean), top_overlap(ours, clean)))
    return {way: tuple(np.mean(pairs, axis=0).tolist()) for way, pairs in agreement.items()}


def cost(train: PackedSplit, ways: dict[str, Learned], seed: int, epochs: int = 3) -> dict[str, float]:
    """Processor time of `epochs` epochs of each way, as a share of random order's, in one process."""
    seconds = {}
    for way, scheduler in {"random": Random(), **ways}.items():
        model, sampler = trainer(train, seed), CurriculumSampler(len(train), scheduler, seed)
        start = time.process_time()
        for _ in range(epochs):
            observe = (lambda seen, to=sampler: to.observe(*seen)) if sampler.wants_batches else None
            order = batches(train, sampler.sequence(), SETTINGS.train.batch_size, RUNTIME)
            model.train_epoch(order, SETTINGS.train.lr, observe)
            if sampler.wants_pass:
                evidence = split_evidence(model.model, train, SETTINGS.train.batch_size, RUNTIME)
                sampler.observe(np.arange(len(train)), evidence.logits, evidence.labels)
            sampler.end_epoch()
        seconds[way] = time.process_time() - start
    return {way: seconds[way] / seconds["random"] for way in ways}


if __name__ == "__main__":
    app()
