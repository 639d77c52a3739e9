"""A comparison as a page, and its table for the terminal, for git and for programs."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from bss.evaluation.comparing.table import BESIDE
from bss.evaluation.comparing.verdict import compared, comparison_verdict, has_p, p_note, power_note
from bss.evaluation.page.section import Block, Charts, Code, Facts, Prose, Section, Table, Verdict, Verdicts
from bss.evaluation.page.template import rendered
from bss.evaluation.page.text import markdown, plain, wrapped
from bss.evaluation.page.words import ABSENT, RULES, interval, mean_sd, percent, to_reference
from bss.evaluation.study.charts import curves, forests, rank_charts
from bss.evaluation.study.comparison import Comparison, Row
from bss.files import write_text
from bss.parsing import dumped


def write_comparison(given: Comparison, folder: Path) -> None:
    """Write `table.txt`, `table.md`, `table.json`, `runs.csv` (a row a run) and `page.html`."""
    write_text(format_comparison(given) + "\n", folder / "table.txt")
    write_text(markdown(*_whole(given)) + "\n", folder / "table.md")
    write_text(given.table.write_json() + "\n", folder / "table.json")
    write_text(given.named_runs.write_csv(), folder / "runs.csv")
    page = rendered(f"{given.name}: a comparison", given.name, given.about, sections(given))
    write_text(page, folder / "page.html")


def sections(given: Comparison) -> list[Section]:
    """The page: what was found, every difference drawn, the tables, and how to have it again."""
    parameters = dumped(given.parameters)
    found: list[Block] = [Verdicts(verdicts(given))] if verdicts(given) else []
    known = [*given.remarks, *given.notes]
    notes: list[Block] = [Prose(known, "notes")] if known else []
    drawn = [Charts([*forests(given), *rank_charts(given)], look="wide"), Charts(curves(given))]
    return [
        Section("", [*found, Facts(_facts(given)), *notes]),
        Section("Differences", drawn),
        Section("Results", _tables(given)),
        Section(
            "Repeat",
            [Code("Command", given.command), Code("Parameters", parameters, folded=True)],
            heading="How to repeat",
        ),
    ]


BESIDE_NOTE = (
    "Test accuracy in %, mean over the seeds, of a modality's own output inside the model, and of the method's own "
    "rule where it has one."
)


def verdicts(given: Comparison) -> list[Verdict]:
    """Whether any row is better than the baseline, and of several methods whether any is better than the first."""
    rows = given.table.to_dicts()
    reference = f"{given.baseline} order" + (" with the same method" if given.has_methods else "")
    found = [_verdict(given, rows, "", "row", reference)]
    if given.has_methods:
        found.append(_verdict(given, rows, "first_", "row", f"the first row ({given.label(rows[0])})"))
    return [verdict for verdict in found if verdict]


def _verdict(given: Comparison, rows: Sequence[Row], prefix: str, noun: str, reference: str) -> Verdict | None:
    runs = [compared(given.label(row), row, prefix) for row in rows if row[f"{prefix}difference"] is not None]
    return comparison_verdict(runs, noun, reference, given.confidence, given.repeat) if runs else None


def format_comparison(given: Comparison) -> str:
    """The findings, the main columns, and what has to be known of them, in at most 80 columns."""
    rows = given.table.to_dicts()
    if given.has_methods:
        header = ["row", "test %", "to the first row", to_reference(given.baseline, given.confidence)]
        cells = [[given.label(row), *_against_first(row)] for row in rows]
    else:
        header = ["row", *_main_header(given), "steps"]
        cells = [[given.label(row), *_main(given, row), f"{row['num_steps']:,}"] for row in rows]
    notes = [*given.remarks, given.interval_note, _p_note(given), _power_note(given)]
    parts = [[verdict.sentence for verdict in verdicts(given)], [plain(header, cells)], notes]
    wrapping = [[line if "\n" in line else wrapped(line) for line in lines if line] for lines in parts]
    return "\n\n".join("\n".join(lines) for lines in wrapping if lines)


def _notes(given: Comparison) -> Iterator[str]:
    yield f"Means over all runs, ± standard deviation, in %. Differences are paired by {given.repeat}, in points."
    yield given.interval_note
    if has_p(given.confidence, given.num_seeds):
        yield f"“Holm p”: the p value of the sign-flip test against {given.baseline}, corrected for all rows."
    yield _p_note(given)
    yield _power_note(given)
    yield (
        "Test and validation are two splits, and choices belong on validation. Steps and samples are those of the "
        "whole training."
    )


def _p_note(given: Comparison) -> str:
    num_compared = given.table["p"].count()
    return p_note(given.confidence, given.num_seeds, num_compared, given.repeat) if num_compared else ""


def _power_note(given: Comparison) -> str:
    if given.num_folds:
        return ""
    rows = given.table.filter(pl.col("difference").is_not_null()).to_dicts()
    return power_note([compared(given.label(row), row).found for row in rows], given.confidence)


def _cells(given: Comparison) -> tuple[list[str], list[list[str]]]:
    twins = [variant.twins for variant in given.variants if variant.twin]
    header = ["row", *_main_header(given)]
    header += [f"to its {twins[0]}"] if twins else []
    header += ["to the first row"] if given.has_methods else []
    header += ["validation %", f"validation to {given.baseline}"]
    rows = []
    for row in given.table.iter_rows(named=True):
        cells = [given.label(row), *_main(given, row)]
        cells += [_interval(row, "twin_")] if twins else []
        cells += [_interval(row, "first_")] if given.has_methods else []
        rows.append([*cells, percent(row["validation_accuracy"]), _interval(row, "validation_")])
    return header, rows


def _beside(given: Comparison) -> tuple[list[str], list[list[str]]]:
    """Macro F1, the accuracies of other outputs of the same runs where there are several methods, and the budget."""
    names = [name for name in given.table.columns if name.startswith(BESIDE)] if given.has_methods else []
    header = ["row", "macro F1", *(name.partition("_")[2].replace("_", " ") for name in names), "steps", "samples"]
    rows = [
        [
            given.label(row),
            *(percent(row[name]) for name in ("macro_f1", *names)),
            *(f"{row[name]:,}" for name in ("num_steps", "num_samples")),
        ]
        for row in given.table.iter_rows(named=True)
    ]
    return header, rows


def _whole(given: Comparison) -> tuple[list[str], list[list[str]]]:
    """Both tables side by side."""
    (header, rows), (beside, more) = _cells(given), _beside(given)
    return [*header, *beside[1:]], [[*row, *other[1:]] for row, other in zip(rows, more, strict=True)]


def _tables(given: Comparison) -> list[Block]:
    """One table, or of several methods two, so that neither is wider than a desktop."""
    note = " ".join(_notes(given))
    if not given.has_methods:
        return [Table("Results", *_whole(given), note)]
    beside = Table("Other outputs of the same runs, and their budget", *_beside(given), BESIDE_NOTE, headed=True)
    return [Table("Results", *_cells(given), note), beside]


def _main_header(given: Comparison) -> list[str]:
    p = ["Holm p"] if has_p(given.confidence, given.num_seeds) else []
    return ["test %", to_reference(given.baseline, given.confidence), *p]


def _main(given: Comparison, row: Row) -> list[str]:
    p = (
        [ABSENT if row["p_holm"] is None else f"{row['p_holm']:.3f}"]
        if has_p(given.confidence, given.num_seeds)
        else []
    )
    return [mean_sd(row["accuracy"], row["accuracy_sd"]), _interval(row, ""), *p]


def _against_first(row: Row) -> tuple[str, str, str]:
    return mean_sd(row["accuracy"], row["accuracy_sd"]), _interval(row, "first_"), _interval(row, "")


def _interval(row: Row, prefix: str) -> str:
    return interval(*(row[f"{prefix}{name}"] for name in ("difference", "low", "high")))


def _facts(given: Comparison) -> list[tuple[str, str]]:
    return [
        ("data set", given.dataset),
        *((f"{split} pairs", f"{number:,}") for split, number in given.num_pairs.items()),
        ("rows", f"{len(given.table)}"),
        *([("folds", str(given.num_folds))] if given.num_folds else []),
        ("seeds", str(given.runs["seed"].n_unique())),
        ("multimodal prediction", RULES[given.rule]),
    ]
