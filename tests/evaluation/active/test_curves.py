"""Curves of active learning: their table, and the page of it."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bss.evaluation.active.curves import Curves
from bss.evaluation.active.page import format_curves, verdicts, write_curves
from bss.evaluation.comparing.statistics import paired_difference

LABELS = [10, 20, 30]
ACCURACY = {"random": [0.4, 0.5, 0.6], "badge": [0.4, 0.6, 0.7], "balance": [0.4, 0.45, 0.5]}


def curves(num_seeds: int = 6) -> Curves:
    rounds, asked, seconds = [], [], []
    for name, values in ACCURACY.items():
        for seed in range(num_seeds):
            for number, (labels, value) in enumerate(zip(LABELS, values, strict=True)):
                moved = value + 0.01 * seed + (0.002 * seed * number if name == "badge" else 0)
                row = {"acquisition": name, "seed": seed, "number": number, "num_labels": labels}
                rounds += [
                    row | {"output": out, "accuracy": moved, "macro_f1": moved - 0.1} for out in ("a", "fused")
                ]
            for place in range(30):
                damaged = place % 2 == 0 if name == "badge" else place % 10 == 0
                asked.append(
                    {
                        "acquisition": name, "seed": seed, "index": place, "label": place % 3,
                        "round": place // 10, "predicted": None if place < 10 else 0,
                        "dominance": None if place < 10 else 0.75, "damage": "a" if damaged else "",
                    }
                )  # fmt: skip
            seconds += [{"acquisition": name, "seed": seed, "number": number, "seconds": 0.5} for number in (1, 2)]
    return Curves(
        dataset="toy",
        about=("Made up.",),
        notes=(),
        classes=("x", "y", "z"),
        acquisitions=tuple(ACCURACY),
        rounds=pl.DataFrame(rounds),
        asked=pl.DataFrame(asked),
        seconds=pl.DataFrame(seconds),
        pool_damage=0.3,
        has_damage=True,
        confidence=0.95,
        command="bss active",
        parameters={"active": {"initial": 10}},
    )


def test_a_row_says_what_by_hand_is_so() -> None:
    given = curves()
    table = {row["acquisition"]: row for row in given.table().iter_rows(named=True)}
    areas = {name: [(v[0] + 2 * v[1] + v[2]) / 4 + 0.01 * s for s in range(6)] for name, v in ACCURACY.items()}
    areas["badge"] = [area + 0.002 * seed for seed, area in enumerate(areas["badge"])]
    assert table["random"]["aubc"] == pytest.approx(np.mean(areas["random"]))
    found = paired_difference(areas["badge"], areas["random"], 0.95)
    badge = table["badge"]
    assert (badge["difference"], badge["low"], badge["high"]) == pytest.approx((found.mean, found.low, found.high))
    assert table["random"]["difference"] is None
    assert badge["p_holm"] == pytest.approx(2 * 2 / 2**6)
    # Mean curve of badge .425, .630, .735; the last of random is .625: 10 + 10 (.625 - .425) / .205.
    assert badge["labels_needed"] == pytest.approx(10 + 2 / 0.205)
    assert badge["saving"] == pytest.approx(1 - badge["labels_needed"] / 30)
    assert table["balance"]["labels_needed"] is None
    assert (badge["damaged"], table["random"]["damaged"]) == (0.5, 0.1)
    assert badge["right"] == pytest.approx(6 / 20, abs=0.05)
    assert badge["dominance"] == 0.75
    assert badge["class_entropy"] == pytest.approx(np.log(3))


def test_the_findings_fit_a_terminal() -> None:
    given = curves()
    text = format_curves(given, given.table())
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith("badge beats random labels by +")
    assert "30.0 % of the training pairs are damaged; of those that were asked for 10.0 %" in text


@pytest.mark.parametrize("num_seeds", [1, 6])
def test_the_page_has_a_chart_for_each_acquisition(num_seeds: int, tmp_path: Path) -> None:
    given = curves(num_seeds)
    write_curves(given, "active-toy", tmp_path)
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 1 + 2 + 2 + 2, "differences; fused, of the modality, classes: one each but random"
    assert re.search(r"<th scope=\"row\">badge</th>", page)
    assert {path.name for path in tmp_path.iterdir()} == {
        "page.html", "rounds.csv", "table.json", "table.md", "table.txt",
    }  # fmt: skip
    write_curves(given, "active-toy", tmp_path)
    assert (tmp_path / "page.html").read_text() == page
    if num_seeds == 1:
        assert "One seed cannot show" in verdicts(given, given.table())[0].sentence
