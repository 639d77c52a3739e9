"""Curves of active learning as a page, and their table for the terminal, for git and for programs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from bss.evaluation.active.curves import Curves
from bss.evaluation.comparing.verdict import Compared, comparison_verdict, has_p, interval_note, p_note
from bss.evaluation.page.canvas import INK, MUTED, SERIES, WIDE, Chart, canvas, finish, name_rows, row_height
from bss.evaluation.page.section import Block, Charts, Code, Facts, Prose, Section, Table, Verdict, Verdicts
from bss.evaluation.page.template import rendered
from bss.evaluation.page.text import markdown, plain, wrapped
from bss.evaluation.page.words import ABSENT, interval, level, percent, t_interval, to_reference
from bss.files import write_text
from bss.parsing import dumped
from bss.types import BASELINE, FUSED

RANDOM_LABELS = "random labels"


def write_curves(given: Curves, name: str, folder: Path) -> None:
    """Write `table.txt`, `table.md`, `table.json`, `rounds.csv` (a row a round and output) and `page.html`."""
    table = given.table()
    write_text(format_curves(given, table) + "\n", folder / "table.txt")
    write_text(markdown(*_main(given, table)) + "\n\n" + markdown(*_asked(given, table)) + "\n", folder / "table.md")
    write_text(table.write_json() + "\n", folder / "table.json")
    write_text(given.rounds.write_csv(), folder / "rounds.csv")
    write_text(rendered(f"{name}: active learning", name, given.about, sections(given, table)), folder / "page.html")


def sections(given: Curves, table: pl.DataFrame) -> list[Section]:
    """The page: what was found, the curves, what was asked for, and how to have it again."""
    notes: list[Block] = [Prose(given.notes, "notes")] if given.notes else []
    modalities = [output for output in given.rounds["output"].unique(maintain_order=True) if output != FUSED]
    others = [chart for output in modalities for chart in _differences(given, output)]
    return [
        Section("", [Verdicts(verdicts(given, table), _forest(given)), Facts(_facts(given)), *notes]),
        Section(
            "Curves",
            [
                Charts(_differences(given, FUSED), note=_curves_note(given)),
                Table("Curves", *_main(given, table), " ".join(_main_notes(given))),
            ],
        ),
        Section("Each modality's own output", [Charts(others)] if others else []),
        Section(
            "What was asked for",
            [
                Table("What was asked for", *_asked(given, table), ASKED_NOTE),
                Charts(_classes(given), title="By class"),
            ],
        ),
        Section(
            "Repeat",
            [Code("Command", given.command), Code("Parameters", dumped(given.parameters), folded=True)],
            heading="How to repeat",
        ),
    ]


ASKED_NOTE = (
    "Means over all pairs that were asked for after the first labels. “Already right”: the share of which the model "
    "knew the class before it was told. “Dominance”: the larger share of a modality in the fused probability of the "
    "predicted class, by Shapley values: 50 % where two modalities decide together, 100 % where one decides alone. "
    "“Class entropy”: of all labels at the end, in nats; the logarithm of the number of classes where all are alike. "
    "“Seconds”: to choose the pairs of a round."
)


def verdicts(given: Curves, table: pl.DataFrame) -> list[Verdict]:
    """Whether any acquisition beats random labels, and whether any keeps away from damaged pairs."""
    others = [name for name in given.acquisitions if name != BASELINE]
    found = []
    if others:
        runs = [Compared(name, given.to_baseline(name)) for name in others]
        verdict = comparison_verdict(runs, "acquisition", RANDOM_LABELS, given.confidence)
        measure = "Measured by the area under accuracy against labels, in points of accuracy."
        found.append(Verdict(verdict.sentence, " ".join(filter(None, [measure, verdict.trust]))))
    if given.has_damage and 0 < given.pool_damage < 1 and others:
        rows = table.filter(pl.col("acquisition") != BASELINE).sort("damaged")
        least, most = rows.row(0, named=True), rows.row(-1, named=True)
        found.append(
            Verdict(
                f"{percent(given.pool_damage)} % of the training pairs are damaged; of those that were asked for "
                f"{percent(least['damaged'])} % ({least['acquisition']}) to {percent(most['damaged'])} % "
                f"({most['acquisition']}) are."
            )
        )
    return found


def format_curves(given: Curves, table: pl.DataFrame) -> str:
    """The findings and the main columns, in at most 80 columns."""
    header, rows = _main(given, table)
    keep = [place for place, name in enumerate(header) if name not in ("macro F1 AUBC %", "Holm p")]
    parts = [
        "\n".join(wrapped(verdict.sentence) for verdict in verdicts(given, table)),
        plain([header[place] for place in keep], [[row[place] for place in keep] for row in rows]),
        wrapped(_interval_note(given)),
    ]
    return "\n\n".join(filter(None, parts))


def _main(given: Curves, table: pl.DataFrame) -> tuple[list[str], list[list[str]]]:
    has = has_p(given.confidence, given.num_seeds)
    header = ["acquisition", "AUBC %", to_reference("random", given.confidence), *(["Holm p"] if has else [])]
    header += ["macro F1 AUBC %", "last %", "labels saved"]
    rows = []
    for row in table.iter_rows(named=True):
        p = [ABSENT if row["p_holm"] is None else f"{row['p_holm']:.3f}"] if has else []
        difference = ABSENT if row["difference"] is None else interval(row["difference"], row["low"], row["high"])
        saved = ABSENT if row["acquisition"] == BASELINE or row["saving"] is None else f"{percent(row['saving'])} %"
        rows.append(
            [
                row["acquisition"],
                percent(row["aubc"]),
                difference,
                *p,
                percent(row["macro_f1_aubc"]),
                percent(row["last_accuracy"]),
                saved,
            ]
        )
    return header, rows


def _main_notes(given: Curves) -> Iterator[str]:
    yield (
        "“AUBC”: the mean test accuracy over all numbers of labels between the first round and the last (area under "
        "the curve). “Last”: the test accuracy of the last round. “Labels saved”: how many fewer than random labels "
        "reach the last accuracy of random labels, as a share; - where it is not reached."
    )
    yield _interval_note(given)
    others = len(given.acquisitions) - 1
    if others:
        yield p_note(given.confidence, given.num_seeds, others)


def _interval_note(given: Curves) -> str:
    return interval_note(given.confidence, given.num_seeds, pl.Series([0.0]))


def _asked(given: Curves, table: pl.DataFrame) -> tuple[list[str], list[list[str]]]:
    header = ["acquisition", *(["damaged %"] if given.has_damage else []), "already right %", "dominance %"]
    header += ["class entropy", "seconds"]
    rows = [
        [
            row["acquisition"],
            *([percent(row["damaged"])] if given.has_damage else []),
            percent(row["right"]),
            percent(row["dominance"]),
            f"{row['class_entropy']:.2f}",
            f"{row['seconds']:.2f}",
        ]
        for row in table.iter_rows(named=True)
    ]
    return header, rows


def _facts(given: Curves) -> list[tuple[str, str]]:
    labels = given.rounds["num_labels"].unique().sort().to_list()
    return [
        ("data set", given.dataset),
        ("labels", f"{labels[0]:,} to {labels[-1]:,}"),
        ("rounds", str(len(labels) - 1)),
        ("acquisitions", str(len(given.acquisitions))),
        ("seeds", str(given.num_seeds)),
    ]


def _curves_note(given: Curves) -> str:
    band = f" Band: its {t_interval(given.confidence)} over seeds." if given.num_seeds > 1 else ""
    return f"Test accuracy against labels: each acquisition in colour, {RANDOM_LABELS} in grey.{band}"


def _differences(given: Curves, output: str) -> list[Chart]:
    """A chart an acquisition: its accuracy against labels, beside that of random labels."""
    random = given.mean_curve(BASELINE, output)
    top = 100 * max(float(given.mean_curve(name, output)["mean"].max()) for name in given.acquisitions)  # type: ignore[arg-type]
    low = 100 * min(float(given.mean_curve(name, output)["mean"].min()) for name in given.acquisitions)  # type: ignore[arg-type]
    return [_curve(given, name, output, random, (low, top)) for name in given.acquisitions if name != BASELINE]


def _curve(given: Curves, name: str, output: str, random: pl.DataFrame, extent: tuple[float, float]) -> Chart:
    from scipy.stats import t

    curve, low, high = given.mean_curve(name, output), *extent
    with canvas() as (figure, axes):
        axes.plot(random["num_labels"], 100 * random["mean"], color=MUTED, linestyle=(0, (4, 2)), label="random")
        axes.plot(curve["num_labels"], 100 * curve["mean"], color=SERIES[1], marker="o", markersize=3.5, label=name)
        if given.num_seeds > 1:
            margin = float(t.ppf((1 + given.confidence) / 2, given.num_seeds - 1)) / given.num_seeds**0.5
            mean, sd = 100 * curve["mean"].to_numpy(), 100 * curve["sd"].to_numpy()
            axes.fill_between(
                curve["num_labels"], mean - margin * sd, mean + margin * sd, color=SERIES[1], alpha=0.15, linewidth=0
            )
        room = 0.06 * (high - low) + 0.5
        axes.set_ylim(max(0, low - room), min(100, high + room))
        axes.set_xlabel("labels")
        axes.set_ylabel("test accuracy, %" if output == FUSED else f"accuracy of {output}, %")
        axes.legend(loc="lower right", frameon=False)
        title = name if output == FUSED else f"{output}: {name}"
        last, other = (100 * float(each["mean"][-1]) for each in (curve, random))
        return finish(figure, title, description=f"{last:.1f} % at the end, random labels {other:.1f} %")


def _forest(given: Curves) -> Chart | None:
    """The difference of every acquisition's area to that of random labels."""
    names = [name for name in given.acquisitions if name != BASELINE]
    if not names:
        return None
    found = sorted(((given.to_baseline(name), name) for name in names), key=lambda pair: -pair[0].mean)
    with canvas(WIDE, 0.9 + row_height(names) * len(names)) as (figure, axes):
        axes.axvline(0, color=INK, linewidth=0.8)
        for place, (difference, _) in enumerate(found):
            if not np.isnan(difference.low):
                ends = [100 * difference.low, 100 * difference.high]
                axes.plot(ends, [place] * 2, color=SERIES[1], linewidth=2.4, alpha=0.55)
            axes.plot(100 * difference.mean, place, "o", color=SERIES[1], markersize=5)
        name_rows(axes, [name for _, name in found])
        axes.set_xlabel(f"area under the curve against {RANDOM_LABELS}, points")
        caption = f"Dot: mean of the paired differences; bar: its {level(given.confidence)} t interval."
        return finish(figure, f"Against {RANDOM_LABELS}", caption)


def _classes(given: Curves) -> list[Chart]:
    """A chart an acquisition: the share of each class among what was asked for."""
    asked = given.asked.filter(pl.col("round") > 0)
    shares = {
        name: _shares(asked.filter(pl.col("acquisition") == name), len(given.classes)) for name in given.acquisitions
    }
    top = 100 * max(float(share.max()) for share in shares.values())
    charts = []
    for name in given.acquisitions:
        if name == BASELINE:
            continue
        with canvas() as (figure, axes):
            places = np.arange(len(given.classes))
            axes.bar(places, 100 * shares[name], color=SERIES[1], width=0.7, label=name)
            axes.step(places, 100 * shares[BASELINE], where="mid", color=INK, linewidth=1, label="random")
            axes.set_ylim(0, 1.25 * top)
            axes.set_xlabel("class, by its place in the list of classes")
            axes.set_ylabel("share of what was asked for, %")
            axes.legend(loc="upper right", frameon=False, ncol=2)
            most = given.classes[int(shares[name].argmax())]
            charts.append(finish(figure, f"Classes: {name}", f"Most often: {most}."))
    return charts


def _shares(asked: pl.DataFrame, num_classes: int) -> "np.ndarray":
    counts = np.bincount(asked["label"].to_numpy(), minlength=num_classes)
    return np.asarray(counts / max(1, counts.sum()))
