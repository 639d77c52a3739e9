"""What the first screen says, and what it does not say, from grids made up to show it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bss.evaluation.comparing.statistics import paired_difference, pairs_to_tell, summary
from bss.evaluation.comparing.verdict import Compared, comparison_verdict, interval_note, p_note, power_note, some
from bss.evaluation.findings.verdicts import score_verdict, verdicts
from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.grid.text import format_table
from bss.evaluation.judging.metrics import classification_metrics, detection_auc
from tests.evaluation.report.test_page import grid


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    return grid(tmp_path_factory.mktemp("raw"))


def with_accuracies(inputs: ReportInputs, accuracies: Mapping[tuple[str, str], Sequence[float]]) -> ReportInputs:
    """The grid with other test accuracies of some schedulers and outputs, a value a seed."""
    changed = pl.DataFrame(
        [
            (scheduler, output, seed, value)
            for (scheduler, output), values in accuracies.items()
            for seed, value in enumerate(values)
        ],
        schema=["scheduler", "output", "seed", "new"],
        orient="row",
    )
    metrics = inputs.metrics.join(changed, on=["scheduler", "output", "seed"], how="left", maintain_order="left")
    return replace(inputs, metrics=metrics.with_columns(accuracy=pl.coalesce("new", "accuracy")).drop("new"))


@pytest.mark.parametrize(
    ("fused", "says"),
    [
        ((0.95, 0.96, 0.95), "Fusion beats the best single modality, audio: +16.8 points [+"),
        ((0.60, 0.62, 0.61), "Fusion loses to the best single modality, audio: -17.5 points [-"),
        ((0.90, 0.62, 0.85), "Fusion is not shown to beat the best single modality, audio: +"),
        ((0.07, 0.06, 0.08), "Fusion (random) is no better than naming one class: 7.0 %, the majority class"),
    ],
)
def test_fusion_stands_against_the_best_modality_and_the_majority(
    made: ReportInputs, fused: Sequence[float], says: str
) -> None:
    found = verdicts(with_accuracies(made, {("random", "fused"): fused}))[2]
    assert found.sentence.startswith(says)
    assert "majority class" in found.sentence + found.trust


@pytest.mark.parametrize(
    ("learned", "heuristic", "says", "trust"),
    [
        ((0.95, 0.96, 0.97), (0.9, 0.9, 0.9), "learned beats random order by +5.", "Not corrected for comparing 2"),
        ((0.85, 0.86, 0.84), (0.7, 0.7, 0.71), "Every order is worse than random order: learned, the best of 2", ""),
        (
            (0.95, 0.82, 0.91),
            (0.7, 0.7, 0.71),
            "No order is shown to beat random order: learned,",
            "Worse than random",
        ),
    ],
)
def test_an_order_is_said_to_help_only_where_its_interval_says_so(
    made: ReportInputs, learned: Sequence[float], heuristic: Sequence[float], says: str, trust: str
) -> None:
    orders = {("random", "fused"): (0.9, 0.91, 0.9), ("learned", "fused"): learned, ("heuristic", "fused"): heuristic}
    found = verdicts(with_accuracies(made, orders))[3]
    assert found.sentence.startswith(says)
    assert trust in found.trust
    assert "95 % t interval over 3 paired seeds." in found.trust
    assert ("to find 0.5 points in 80 of 100 studies takes" in found.trust) is (" beats " not in found.sentence)
    assert "Samples seen, of random order's: heuristic 70.0 %." in found.trust


def test_no_finding_begins_with_a_method(made: ReportInputs) -> None:
    assert [verdict.sentence.split()[0] for verdict in verdicts(made)] == ["The", "30.1", "Fusion", "learned"]


def test_several_methods_are_compared_with_the_first(tmp_path: Path) -> None:
    inputs = grid(tmp_path, methods=("joint", "sum"))
    better = pl.when(method="sum").then(pl.col("accuracy") + 0.02 + 0.001 * pl.col("seed")).otherwise("accuracy")
    inputs = replace(inputs, metrics=inputs.metrics.with_columns(accuracy=better), labels={"sum": "added up"})
    assert verdicts(inputs)[4].sentence == "added up beats joint (each in random order) by +2.1 points [+1.9, +2.3]."
    assert {"joint · random", "added up · learned"} <= {*inputs.table["run"]}
    assert {look.label for look in inputs.looks} <= {*inputs.table["run"]}, "one name for a run"


@pytest.mark.parametrize(
    ("shift", "says"),
    [
        (-2.0, "The balance score finds the damaged pairs: AUC 1.00"),
        (-0.15, "The balance score finds some of the damaged pairs: AUC 0.7"),
        (0.0, "The balance score is not shown to find the damaged pairs: AUC 0.49 [0.44, 0.55]"),
        (0.5, "The balance score takes damaged pairs for balanced ones: AUC 0.0"),
    ],
)
def test_the_score_is_judged_by_the_damage_that_is_known(made: ReportInputs, shift: float, says: str) -> None:
    noise = pl.Series(np.random.default_rng(0).normal(0, 0.2, made.scores.height))
    damaged = made.scores.join(made.manifest.select("index", "damaged"), on="index", maintain_order="left")["damaged"]
    inputs = replace(made, scores=made.scores.with_columns(balance_score=noise + shift * damaged.cast(pl.Float64)))
    found = score_verdict(inputs)
    assert found.sentence.startswith(says)
    areas = [
        detection_auc(noise.filter(made.scores["seed"] == seed) + shift * chosen.cast(pl.Float64), chosen)
        for seed in made.seeds
        if (chosen := damaged.filter(made.scores["seed"] == seed)) is not None
    ]
    assert f"AUC {np.mean(areas):.2f}" in found.sentence


@pytest.mark.parametrize("damaged", [None, [False] * 400])
def test_a_score_with_no_known_damage_is_described(made: ReportInputs, damaged: list[bool] | None) -> None:
    manifest = made.manifest.drop("damaged")
    manifest = manifest if damaged is None else manifest.with_columns(damaged=pl.Series(damaged))
    found = score_verdict(replace(made, manifest=manifest))
    assert "of its variance lies between classes" in found.sentence
    assert "No pair is known to be damaged" in found.trust


def test_one_seed_shows_nothing(tmp_path: Path) -> None:
    score, tail, *others = verdicts(grid(tmp_path, seeds=(3,)))
    assert tail.trust.startswith("One seed.")
    assert "[" not in score.sentence and score.trust.startswith("One seed.")
    assert all(verdict.sentence.startswith("One seed cannot show whether") for verdict in others)
    assert "nan" not in " ".join(verdict.sentence + verdict.trust for verdict in others)


def test_a_difference_that_is_the_same_in_all_seeds_is_no_proof() -> None:
    found = comparison_verdict([Compared("a", paired_difference([0.6, 0.7], [0.5, 0.6], 0.95))], "row", "b", 0.95)
    assert found.sentence == "a is not shown to beat b: it differs by +10.0 points."
    assert "[-]" in interval_note(0.95, 2, pl.Series([None, float("nan")]))


def test_narrow_intervals_say_that_nothing_is_gained() -> None:
    narrow = [paired_difference([0.6 + gain, 0.601 + gain], [0.6, 0.6], 0.95) for gain in (0.0, -0.001)]
    runs = [Compared(name, found) for name, found in zip("ab", narrow, strict=True)]
    assert comparison_verdict(runs, "row", "c", 0.95).sentence.startswith("No row gains 1 point over c: a, the best")
    assert comparison_verdict(runs[:1], "row", "c", 0.95).sentence.startswith("a does not gain 1 point over c")
    wide = Compared("d", paired_difference([0.6, 0.605], [0.6, 0.6], 0.95))
    assert comparison_verdict([*runs, wide], "row", "c", 0.95).sentence.startswith("No row is shown to beat c: d")
    alike = Compared("e", paired_difference([0.7, 0.7], [0.6, 0.6], 0.95))
    assert comparison_verdict([*runs, alike], "row", "c", 0.95).sentence.startswith("No row is shown to beat c: e")


def test_of_many_runs_a_few_are_named() -> None:
    assert some(["a 1", "b 2", "c 3"]) == "a 1, b 2, c 3"
    assert some(["a 1", "b 2", "c 3", "d 4", "e 5"]) == "a 1, b 2, c 3 and 2 more"


def test_how_often_an_order_draws_damaged_pairs_is_said(made: ReportInputs) -> None:
    (order,) = (verdict for verdict in verdicts(made) if "order" in verdict.sentence)
    damaged = set(made.manifest.filter(pl.col("damaged"))["index"])
    means = [
        np.mean(
            [
                row["num_draws"]
                for row in made.draws.filter(scheduler="learned").to_dicts()
                if (row["index"] in damaged) == there
            ]
        )
        for there in (True, False)
    ]
    assert f"learned {means[0] / means[1]:.2f}" in order.trust
    manifest = made.manifest.drop("damaged")
    (order,) = (verdict for verdict in verdicts(replace(made, manifest=manifest)) if "order" in verdict.sentence)
    assert "damaged" not in order.trust


def test_of_many_comparisons_the_chance_of_a_false_one_is_named() -> None:
    rng = np.random.default_rng(0)
    none = [Compared(f"run {place}", paired_difference(rng.normal(0, 1, 5), [0.0] * 5, 0.95)) for place in range(9)]
    clear = Compared("best", paired_difference([3, 3.1, 3.2, 3, 3.1], [0.0] * 5, 0.95))
    found = comparison_verdict([*none, clear], "row", "random", 0.95)
    assert found.sentence.startswith("best beats random by +308.0 points")
    assert f"about {100 * (1 - 0.975**10):.0f} %" in found.trust


@pytest.mark.parametrize(
    ("num_seeds", "num_compared", "says"),
    [
        (1, 3, "the sign-flip test of 1 seed cannot give less than 1; from 6 seeds on it can reach 0.05"),
        (3, 1, "cannot give less than 0.25"),
        (5, 1, "cannot give less than 0.062"),
        (6, 1, ""),
        (6, 9, "Corrected for 9 rows, the sign-flip test of 6 seeds gives no Holm p below 0.28."),
        (10, 9, ""),
    ],
)
def test_what_so_many_seeds_cannot_show_is_said(num_seeds: int, num_compared: int, says: str) -> None:
    note = p_note(0.95, num_seeds, num_compared)
    assert says in note
    assert bool(note) == bool(says)


def test_the_terminal_says_it_in_80_columns(made: ReportInputs) -> None:
    long = replace(made, labels={"learned": "learned" * 12})
    lines = format_table(long).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("The balance score finds")
    text = "\n".join(lines)
    assert "to random [95 % t]" in text
    assert "The seeds share one split" in text.replace("\n  ", " ")
    start = next(place for place, line in enumerate(lines) if line.startswith("learned") and "±" in line)
    width = next(len(line.split()[0]) for line in lines if line.startswith("---"))
    name = "".join(line[:width].strip() for line in lines[start : start + 5])
    assert name.startswith("learned" * 12), "a long name goes on in the next line"


@pytest.mark.parametrize(("train", "test"), [([0] * 5 + [1] * 3, [0, 1, 1, 1]), ([0, 0, 1, 1], [1, 1, 1, 0])])
def test_the_majority_is_that_of_training(made: ReportInputs, train: list[int], test: list[int]) -> None:
    named = 0 if train.count(0) > train.count(1) else 1
    probabilities = np.eye(2)[[named] * len(test)]
    expected = classification_metrics(probabilities, np.array(test))
    runs = pl.DataFrame({"method": ["joint", "sum"], "scheduler": "random", "seed": 0, "output": "fused"})
    pairs = pl.DataFrame({"id": [f"{place}" for place in range(len(test))], "label": test}).with_columns(prediction=0)
    manifest = pl.DataFrame({"index": range(len(train)), "id": "a", "label": train, "class": "b"})
    majority = replace(
        made, classes=("a", "b"), manifest=manifest, predictions=runs.join(pairs, how="cross")
    ).majority
    assert majority.class_name == "ab"[named]
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert getattr(majority, name) == pytest.approx(expected[name])


def test_a_study_says_how_many_seeds_tell_half_a_point() -> None:
    rows = [paired_difference([0.01 * scale, 0.0, -0.01 * scale, 0.01], [0.0] * 4, 0.95) for scale in (0, 1, 2)]
    assert power_note(rows, 0.95) == (
        "Differences of a pair spread by 1.0 points (median of the rows): to find 0.5 points in 80 of 100 studies "
        f"takes {pairs_to_tell(0.005, summary([0.01, 0, -0.01, 0.01])[1], 0.95, 0.8)} seeds."
    )
    assert not power_note([paired_difference([0.1], [0.0], 0.95)], 0.95), "one seed has no spread"
