"""The page, from a made-up grid of runs that looks like a real one."""

import math
import wave
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest
from PIL import Image

from bss.data.kinds.kind import Exhibit, Kind
from bss.evaluation.grid.examples import TrainingPairs, examples
from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.grid.page import write_report
from bss.evaluation.page.section import Charts
from bss.evaluation.page.template import words
from bss.evaluation.report.scores import class_chart, section

pytestmark = pytest.mark.xdist_group("page")  # one drawing of it for all

NUM_TRAIN, NUM_TEST, NUM_EPOCHS, NUM_FILES = 400, 200, 6, 20
GAIN = pl.DataFrame({"scheduler": ["random", "heuristic", "learned"], "gain": [0.0, 0.012, 0.03]})
GOAL, HEURISTIC = pl.col("goal"), pl.col("scheduler") == "heuristic"


class Media(Kind):
    """A kind that is only looked at."""

    encoder: ClassVar[str] = "none"
    media_type: str

    @property
    def shape(self) -> tuple[int, ...]:
        return (1,)

    @property
    def dtype(self) -> type[np.generic]:
        return np.uint8

    def read(self, value: Any) -> np.ndarray:
        raise NotImplementedError

    def exhibit(self, value: Any) -> Exhibit:
        return Exhibit(self.media_type, Path(value).read_bytes())


SOUND, PICTURE, WORDS = (Media(media_type=name) for name in ("audio/wav", "image/png", "text/plain"))


def write_files(root: Path, num_classes: int) -> None:
    rows, columns = np.mgrid[:28, :28] - 13.5
    for number in range(NUM_FILES):
        angle = math.pi * (number % num_classes) / num_classes
        stroke = 255 * np.exp(-((rows * math.cos(angle) + columns * math.sin(angle)) ** 2) / 4)
        Image.fromarray(stroke.astype(np.uint8)).save(root / f"{number}.png")
        with wave.open(str(root / f"{number}.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes((9000 * np.sin(np.arange(1600) * (0.1 + 0.1 * angle))).astype("<i2").tobytes())
        (root / f"{number}.plain").write_text(f"said <i>{number}</i> & more")


def train_pairs(rng: np.random.Generator, kinds: Mapping[str, Media], classes: Sequence[str]) -> pl.DataFrame:
    names = pl.DataFrame({"label": range(len(classes)), "class": classes})
    pairs = pl.DataFrame({"index": range(NUM_TRAIN), "damaged": rng.random(NUM_TRAIN) < 0.4})
    file = (pl.col("index") % NUM_FILES).cast(pl.String)
    return (
        pairs.with_columns(label=pl.col("index") % len(classes), id=pl.format("pair-{}", "index"))
        .join(names, on="label", maintain_order="left")
        .with_columns((file + "." + kind.media_type.partition("/")[2]).alias(name) for name, kind in kinds.items())
    )


def balance_scores(rng: np.random.Generator, pairs: pl.DataFrame, seeds: Sequence[int]) -> pl.DataFrame:
    rows = pl.DataFrame({"seed": seeds}).join(pairs, how="cross")
    noise = pl.Series(rng.normal(0.5, 0.18, rows.height))
    score = (noise - 0.45 * pl.col("damaged") + 0.2 * (pl.col("label") * 0.7).sin()).clip(-1, 1)
    return rows.select("seed", "index", "id", "label", balance_score=score)


def run_outputs(modalities: Sequence[str], seeds: Sequence[int], methods: Sequence[str]) -> pl.DataFrame:
    """Every run and output, with the accuracy `goal` that it is made to reach."""
    alone = pl.DataFrame({"method": "unimodal", "scheduler": "random", "gain": 0.0})
    runs = pl.concat([pl.DataFrame({"method": methods}).join(GAIN, how="cross"), alone])
    for column, values in {"seed": seeds, "output": ["fused", *modalities]}.items():
        runs = runs.join(pl.DataFrame({column: values}), how="cross")
    is_fused, of_seed = pl.col("output") == "fused", 0.01 * (7 * pl.col("seed") + 40 * pl.col("gain")).sin()
    runs = runs.filter((pl.col("method") != "unimodal") | ~is_fused)
    return runs.with_columns(goal=0.78 + pl.col("gain") + 0.12 * is_fused + of_seed)


def predicted(rng: np.random.Generator, runs: pl.DataFrame, num_classes: int) -> pl.DataFrame:
    test = pl.DataFrame({"label": rng.integers(num_classes, size=NUM_TEST)})
    rows = runs.join(test.with_columns(id=pl.format("test-{}", pl.int_range(pl.len()))), how="cross")
    guess = pl.Series(rng.integers(num_classes, size=rows.height))
    right = pl.Series(rng.random(rows.height)) < GOAL
    return rows.with_columns(prediction=pl.when(right).then("label").otherwise(guess))


def measured(runs: pl.DataFrame) -> pl.DataFrame:
    budget = pl.when(HEURISTIC).then(70).otherwise(100)
    return runs.with_columns(
        accuracy=GOAL,
        balanced_accuracy=GOAL - 0.004,
        macro_f1=GOAL - 0.002,
        mean_average_precision=GOAL + 0.01,
        auc=GOAL + 0.04,
        num_steps=budget,
        num_samples=32 * budget,
    )


def grid(
    root: Path,
    kinds: Mapping[str, Media] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    methods: Sequence[str] = ("joint",),
    classes: Sequence[str] = tuple("0123456789"),
) -> ReportInputs:
    kinds, rng = kinds or {"audio": SOUND, "image": PICTURE}, np.random.default_rng(7)
    write_files(root, len(classes))
    pairs = train_pairs(rng, kinds, classes)
    scores = balance_scores(rng, pairs, seeds)
    runs = run_outputs(list(kinds), seeds, methods)
    epochs = pl.DataFrame({"epoch": range(NUM_EPOCHS)})
    curve = GOAL - 0.5 * (-0.8 * pl.col("epoch")).exp() + 0.02 * (9 * pl.col("seed") + pl.col("epoch")).sin()
    pace = pl.when(HEURISTIC).then((0.25 * pl.col("epoch") + 0.01).sqrt().clip(upper_bound=1)).otherwise(1.0)
    draws = (
        pl.when(HEURISTIC)
        .then(4 + pl.col("balance_score") * 2)
        .otherwise(6 + pl.col("gain") * 50 * pl.col("balance_score"))
        .round()
        .cast(pl.Int64)
    )
    fused = runs.filter(pl.col("output") == "fused").drop("output")
    return ReportInputs(
        dataset="digits",
        notes=("Speech is synthetic.", "The two halves of a pair share only the class."),
        classes=tuple(classes),
        modalities=tuple(kinds),
        num_pairs={"train": NUM_TRAIN, "validation": 100, "test": NUM_TEST},
        metrics=measured(runs),
        history=runs.join(epochs, how="cross").with_columns(
            validation_accuracy=curve,
            validation_loss=1 - curve,
            validation_confidence=curve**2,
            num_steps=pl.col("epoch") + 1,
        ),
        predictions=predicted(rng, runs, len(classes)),
        scores=scores,
        held_out=scores.filter(~pl.col("index").is_in(pairs.filter("damaged")["index"].to_list())),
        pacing=GAIN.join(epochs, how="cross").with_columns(
            fraction=pace, num_samples=(NUM_TRAIN * pace).cast(pl.Int64)
        ),
        draws=fused.join(scores, on="seed").with_columns(num_draws=draws),
        manifest=pairs,
        examples=examples(scores, TrainingPairs(pairs, kinds, root), num=4),
        command="make run",
        parameters={"train": {"epochs": NUM_EPOCHS, "lr": 0.002}, "grid": {"seeds": list(seeds)}},
        versions={"python": "3.11", "torch": "2.11", "bss": "0.1.0"},
        runtimes=("cpu, float32, 1 thread",),
        commit="1a2b3c4d5e",
        baseline="random",
        confidence=0.95,
        rule="fused",
        keep="best",
    )


class Page(HTMLParser):
    """What a browser would load and show."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.rows: dict[str, list[str]] = {}
        for part in text.split("<tr")[1:]:
            name, *cells = [cell.split("</t")[0].split(">")[-1] for cell in part.split("</tr")[0].split("<t")[1:]]
            self.rows.setdefault(name, cells)
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset")]

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    return grid(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def shown(inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> "tuple[Page, str]":
    """The page of that grid, drawn once, for drawing takes seconds."""
    return opened(inputs, tmp_path_factory.mktemp("shown"))


def opened(inputs: ReportInputs, folder: Path) -> tuple[Page, str]:
    write_report(inputs, folder / "new" / "report.html")
    text = (folder / "new" / "report.html").read_text(encoding="utf-8")
    assert len(text) < 2_000_000
    return Page(text), text


def test_page_needs_nothing_beside_it(shown: tuple[Page, str]) -> None:
    page, text = shown
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert not page.attributes("script") + page.attributes("link")
    assert not {"url(http", "@import"} & set(text.split())


def test_page_can_be_read_without_seeing_it(shown: tuple[Page, str]) -> None:
    page, _ = shown
    drawings = [svg for svg in page.attributes("svg") if not svg.get("aria-hidden")]
    assert drawings
    assert all(svg.get("role") == "img" and svg.get("aria-label") for svg in drawings)
    assert len(page.attributes("img")) == len(page.attributes("audio")) == 12
    assert all(image.get("alt") for image in page.attributes("img"))
    assert all(audio.get("aria-label") for audio in page.attributes("audio"))
    assert all(header.get("scope") in ("col", "row") for header in page.attributes("th"))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_every_section_is_there_and_linked(shown: tuple[Page, str]) -> None:
    page, _ = shown
    names = [
        *("summary", "results", "learning", "imbalance", "decision", "scores", "examples"),
        *("draws", "pacing", "confusion", "changes", "cost", "repeat"),
    ]
    assert [section.get("id") for section in page.attributes("section")] == names
    assert [link["href"] for link in page.attributes("a")] == [f"#{name}" for name in names]


def test_table_equals_an_independent_computation(inputs: ReportInputs, shown: tuple[Page, str]) -> None:
    page, _ = shown
    rows = [row for row in inputs.metrics.to_dicts() if row["method"] == "joint" and row["output"] == "fused"]
    learned, random = ([row["accuracy"] for row in rows if row["scheduler"] == s] for s in ("learned", "random"))
    gaps = [100 * (a - b) for a, b in zip(learned, random, strict=True)]
    mean, gap = 100 * sum(learned) / 3, sum(gaps) / 3
    sd = math.sqrt(sum((100 * value - mean) ** 2 for value in learned) / 2)
    margin = 4.302653 * math.sqrt(sum((value - gap) ** 2 for value in gaps) / 2 / 3)
    cells = page.rows["learned"]
    assert cells[:2] == [f"{mean:.1f} ± {sd:.1f}", f"{gap:+.1f} [{gap - margin:+.1f}, {gap + margin:+.1f}]"]
    assert cells[-2:] == ["100", "3,200"]


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    page, _ = opened(grid(tmp_path, seeds=(3,)), tmp_path)
    assert page.rows["learned"][1].endswith("[-]")
    assert "±" not in page.rows["learned"][0]
    assert not any("nan" in words.lower().split() for words in page.words)


@pytest.mark.nightly
def test_six_modalities_two_methods_and_text(tmp_path: Path) -> None:
    kinds = {
        "audio": SOUND,
        "speech": SOUND,
        "caption": WORDS,
        "image": PICTURE,
        "depth": PICTURE,
        "flow": PICTURE,
    }
    page, text = opened(grid(tmp_path, kinds=kinds, methods=("joint", "sum")), tmp_path)
    assert {"joint · random", "sum · learned", "flow alone"} <= page.rows.keys()
    assert len(page.attributes("img")) == 12 * 3
    assert len(page.attributes("audio")) == 12 * 2
    assert "said &lt;i&gt;" in text


@pytest.mark.nightly
def test_of_many_charts_the_first_are_open(tmp_path: Path) -> None:
    page, text = opened(grid(tmp_path, methods=("joint", "sum", "best")), tmp_path)
    confusion = text.split('id="confusion"')[1].split("</section>")[0]
    assert (confusion.count("<figure"), confusion.split("<details")[0].count("<figure")) == (9, 6)
    assert "3 more" in page.words


def test_names_are_escaped(tmp_path: Path) -> None:
    page, text = opened(grid(tmp_path, classes=("<b>bold</b>", "$x_1$ & co")), tmp_path)
    assert not page.attributes("b")
    assert "&lt;b&gt;bold" in text
    assert "$x_1$ & co" in page.words


def test_of_many_classes_the_ends_are_shown(tmp_path: Path) -> None:
    many = grid(tmp_path, classes=[f"action {number}" for number in range(40)])
    assert "16 between them are left out" in class_chart(many.scores, many.manifest).caption


def test_a_manifest_that_knows_of_no_damage(inputs: ReportInputs) -> None:
    _, charts = section(replace(inputs, manifest=inputs.manifest.drop("damaged"))).blocks
    assert isinstance(charts, Charts)
    assert [chart.title for chart in charts.charts] == ["Balance score of all pairs", "Balance score by class"]


def test_same_inputs_give_the_same_bytes(inputs: ReportInputs, shown: tuple[Page, str], tmp_path: Path) -> None:
    assert opened(inputs, tmp_path)[1] == shown[1]


def test_missing_column_is_named(inputs: ReportInputs) -> None:
    with pytest.raises(ValueError, match="scores lacks the columns balance_score; it has seed"):
        replace(inputs, scores=inputs.scores.drop("balance_score"))
    with pytest.raises(ValueError, match="at least one evaluated run"):
        replace(inputs, metrics=inputs.metrics.clear())


def test_a_sentence_has_code_in_backticks_and_nothing_else_of_it_is_markup() -> None:
    assert (
        words("see `bss methods` for <b> & 5 %")
        == "see <code>bss methods</code> for &lt;b&gt; &amp; 5\N{NO-BREAK SPACE}%"
    )
    assert words("`<i>`") == "<code>&lt;i&gt;</code>" and words("a ` b") == "a ` b"
