"""A comparison as a page, and its table for the terminal, for git and for programs."""

from pathlib import Path

from bss.evaluation.comparing.table import BESIDE
from bss.evaluation.page.section import Block, Charts, Code, Facts, Prose, Section, Table
from bss.evaluation.page.template import rendered
from bss.evaluation.page.text import markdown, plain
from bss.evaluation.page.words import ABSENT, RULES, interval, level, mean_sd, percent
from bss.evaluation.study.charts import curves, forests, rank_charts
from bss.evaluation.study.comparison import Comparison, Row
from bss.files import write_text
from bss.parsing import dumped


def write_comparison(given: Comparison, folder: Path) -> None:
    """Write `table.txt`, `table.md`, `table.json`, `runs.csv` (a row a run) and `page.html`."""
    write_text(format_comparison(given) + "\n", folder / "table.txt")
    write_text(markdown(*_cells(given)) + "\n", folder / "table.md")
    write_text(given.table.write_json() + "\n", folder / "table.json")
    write_text(given.named_runs.write_csv(), folder / "runs.csv")
    page = rendered(f"{given.name}: a comparison", given.name, given.about, sections(given))
    write_text(page, folder / "page.html")


def sections(given: Comparison) -> list[Section]:
    """The page: what was compared, every difference drawn, the table, and how to have it again."""
    parameters = dumped(given.parameters)
    notes: list[Block] = [Prose(given.notes, "notes")] if given.notes else []
    drawn = [Charts([*forests(given), *rank_charts(given)], look="full"), Charts(curves(given))]
    return [
        Section("", [Facts(_facts(given)), *notes]),
        Section("Differences", drawn),
        Section("Results", [Table("Results", *_cells(given), _note(given))]),
        Section(
            "Repeat",
            [Code("Command", given.command), Code("Parameters", parameters, folded=True)],
            heading="How to repeat",
        ),
    ]


def format_comparison(given: Comparison) -> str:
    """The main columns as plain text of at most 80 columns."""
    rows = given.table.iter_rows(named=True)
    if not given.has_methods:
        header = ("row", "test %", f"to {given.baseline} [{level(given.confidence)}]", "Holm p", "steps")
        return plain(header, [(given.label(row), *_main(row), f"{row['num_steps']:,}") for row in rows])
    of_methods = ("row", "test %", "to the first row", f"to {given.baseline}")
    return plain(of_methods, [(given.label(row), *_against_first(row)) for row in rows])


def _note(given: Comparison) -> str:
    return (
        "Means over the seeds, ± standard deviation, in %. Differences are paired by seed, in points, with the "
        f"{level(given.confidence)} interval of the paired bootstrap. “Holm p” is the p value of the sign-flip test "
        f"against {given.baseline}, corrected for all rows of the table; test and validation are two splits, and "
        "choices belong on validation. Steps and samples are those of the whole training."
    )


def _cells(given: Comparison) -> tuple[list[str], list[list[str]]]:
    twins = [variant.twins for variant in given.variants if variant.twin]
    header = ["row", "test %", f"to {given.baseline} [{level(given.confidence)}]", "Holm p"]
    header += [f"to its {twins[0]}"] if twins else []
    header += ["to the first row"] if given.has_methods else []
    header += ["validation %", f"validation to {given.baseline}", "macro F1"]
    beside = [name for name in given.table.columns if name.startswith(BESIDE)] if given.has_methods else []
    header += [name.partition("_")[2].replace("_", " ") for name in beside] + ["steps", "samples"]
    rows = []
    for row in given.table.iter_rows(named=True):
        cells = [given.label(row), *_main(row)]
        cells += [_interval(row, "twin_")] if twins else []
        cells += [_interval(row, "first_")] if given.has_methods else []
        cells += [percent(row["validation_accuracy"]), _interval(row, "validation_"), percent(row["macro_f1"])]
        cells += [percent(row[name]) for name in beside]
        rows.append([*cells, f"{row['num_steps']:,}", f"{row['num_samples']:,}"])
    return header, rows


def _main(row: Row) -> tuple[str, str, str]:
    p = ABSENT if row["p_holm"] is None else f"{row['p_holm']:.3f}"
    return mean_sd(row["accuracy"], row["accuracy_sd"]), _interval(row, ""), p


def _against_first(row: Row) -> tuple[str, str, str]:
    return mean_sd(row["accuracy"], row["accuracy_sd"]), _interval(row, "first_"), _interval(row, "")


def _interval(row: Row, prefix: str) -> str:
    return interval(*(row[f"{prefix}{name}"] for name in ("difference", "low", "high")))


def _facts(given: Comparison) -> list[tuple[str, str]]:
    return [
        ("data set", given.dataset),
        *((f"{split} pairs", f"{number:,}") for split, number in given.num_pairs.items()),
        ("rows", f"{len(given.table)}"),
        ("seeds", str(given.table["num_seeds"].max())),
        ("multimodal prediction", RULES[given.rule]),
    ]
