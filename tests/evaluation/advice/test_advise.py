"""Advice before training: what it counts, what it names, and what it recommends."""

import html
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bss.evaluation.advice.advise import advise, in_words, low_shares, suspects, tail_verdict
from bss.evaluation.advice.page import advice_page
from bss.evaluation.advice.warmed_up import WarmedUp
from bss.evaluation.grid.examples import TrainingPairs
from bss.params import Params
from bss.parsing import assign, checked, read_mapping, setting
from tests.helpers import ROOT

SEEDS = (3, 8)


def seen(num_bad: int = 60, num_good: int = 240, num_held_out: int = 100, gap: float = 1.0) -> WarmedUp:
    """Good pairs are as held-out ones; bad ones score `gap` lower, and image is least sure of their label."""
    rng, number = np.random.default_rng(0), num_bad + num_good
    is_bad = np.arange(number) < num_bad
    scores, held_out, train, validation = [], [], [], []
    for seed in SEEDS:
        balance = rng.normal(0.5, 0.1, number) - gap * is_bad
        rows = {"seed": seed, "index": range(number)}
        ids = [f"pair-{index}" for index in range(number)]
        scores.append(pl.DataFrame({**rows, "id": ids, "label": np.arange(number) % 3, "balance_score": balance}))
        held_out.append(pl.DataFrame({"seed": seed, "balance_score": rng.normal(0.5, 0.1, num_held_out)}))
        image = np.where(is_bad, 0.1, 0.9)
        train.append(pl.DataFrame({**rows, "audio": 0.5, "image": image}))
        validation.append(pl.DataFrame({"seed": seed, "index": range(4), "audio": 0.3, "image": 0.6}))
    labels = np.arange(number) % 3
    manifest = pl.DataFrame({"index": range(number), "label": labels, "class": [f"class {k}" for k in labels]})
    return WarmedUp(
        scores=pl.concat(scores),
        held_out=pl.concat(held_out),
        manifest=manifest,
        train=pl.concat(train),
        validation=pl.concat(validation),
        modalities=("audio", "image"),
    )


def test_the_share_is_that_of_a_loop() -> None:
    given = seen()
    for seed, share in zip(SEEDS, low_shares(given.scores, given.held_out), strict=True):
        limit = np.quantile(given.held_out.filter(seed=seed)["balance_score"].to_numpy(), 0.05)
        values = given.scores.filter(seed=seed)["balance_score"].to_list()
        assert share == pytest.approx(sum(value < limit for value in values) / len(values))
        assert 0.2 < share < 0.3, "the 20 % that are bad, and a twentieth of the others"


def test_what_stands_out_is_named_with_the_modality_that_contradicts() -> None:
    given = seen()
    found = suspects(given)
    bad = {f"pair-{index}" for index in range(60)}
    assert bad <= set(found["id"])
    assert set(found.head(60)["id"]) == bad, "the worst first"
    assert set(found.head(60)["least_sure"]) == {"image"}
    assert found["num_seeds"].min() == 2, "in most seeds, so of two in both"
    advice = advise(given)
    assert "`matched`" in advice.recommendation
    assert "An order may help" in advice.recommendation
    assert "image in" in advice.findings[0].trust
    assert advice.findings[2].sentence == "image leads: 2.00 times as sure of the true class as the others."


def test_the_budget_is_judged_once_there_are_trainings() -> None:
    assert advise(seen()).findings[3].sentence == "Whether train.epochs is enough shows once the grid was run."
    rising = [0.1 * epoch for epoch in range(8)]
    for accuracies, sentence in ((rising, "The training may be too short."), (rising[::-1], "The budget is enough:")):
        rows = {"method": "joint", "scheduler": "random", "seed": 0, "output": "fused", "epoch": range(8)}
        rows |= {"num_steps": range(10, 18)}
        history = pl.DataFrame({**rows, "validation_accuracy": accuracies, "validation_loss": 0.5})
        assert advise(replace(seen(), history=history)).findings[3].sentence.startswith(sentence)


def test_the_page_says_whether_there_are_trainings() -> None:
    given = seen()
    pairs = TrainingPairs(given.manifest, {}, Path())
    rows = {"method": "joint", "scheduler": "random", "seed": 0, "output": "fused", "epoch": range(8)}
    rows |= {"num_steps": range(10, 18), "validation_accuracy": 0.5, "validation_loss": 0.5}
    for history, says in ((None, "No training followed an order yet"), (pl.DataFrame(rows), "the budget alone")):
        whole = replace(given, history=history)
        page = advice_page("toys", advise(whole), whole, pairs, num_shown=0)
        assert says in page
        assert ("No training followed" in page) == (history is None)


def test_where_nothing_stands_out_random_order_is_kept() -> None:
    advice = advise(seen(num_bad=0, num_good=600))
    assert advice.recommendation.startswith("Keep random order.")
    assert "No group of training pairs stands out" in advice.findings[0].trust


def test_the_words_fit_a_terminal_and_have_their_numbers() -> None:
    given = seen()
    text = in_words(advise(given))
    assert max(map(len, text.splitlines())) <= 80
    (command,) = (line.strip() for line in text.splitlines() if "bss run" in line)
    program, verb, typed = shlex.split(command)
    raw = read_mapping(ROOT / "params.yaml")
    assign(raw, *setting(typed))
    assert (program, verb) == ("bss", "run")
    assert checked(raw, Params, Path("params.yaml")).grid.schedulers == ["random", "matched"]
    assert "bss run" not in in_words(advise(seen(num_bad=0, num_good=600)))
    assert tail_verdict(given.scores, given.held_out).sentence in " ".join(text.split())


def test_the_page_shows_the_worst_pairs_and_what_is_to_be_made_of_them() -> None:
    for num_bad, says in ((60, "mending it is worth more than any order"), (12, "Chance alone brings about as many")):
        given = seen(num_bad=num_bad, num_good=600)
        ids = given.scores.filter(seed=SEEDS[0]).select("index", "id")
        shown = TrainingPairs(given.manifest.join(ids, on="index"), {}, Path())
        advice = advise(given)
        page = advice_page("toys", advice, given, shown, num_shown=5)
        assert says in page
        assert ("grid.schedulers=[random, matched]" in html.unescape(page)) == (num_bad == 60)
        worst = advice.suspects.head(5)["id"].to_list()
        assert re.findall(r'<p class="id muted">([^ <]+)', page) == worst
        assert page.count("least sure of the label: image") == 5
        assert 'class="examples"' not in advice_page("toys", advice, given, shown, num_shown=0)
