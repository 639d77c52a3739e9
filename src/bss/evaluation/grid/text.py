"""The table of a grid as text: for the terminal and for git, with what its reader has to know below it."""

from bss.evaluation.findings.remarks import remarks
from bss.evaluation.findings.verdicts import verdicts
from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.page.text import markdown, plain, wrapped
from bss.evaluation.page.words import ABSENT, interval, mean_sd, percent, to_reference


def format_table(inputs: ReportInputs) -> str:
    """The findings, the main columns in percent, and the remarks, in at most 80 columns."""
    found = [verdict.sentence for verdict in verdicts(inputs)]
    notes = [*remarks(inputs), inputs.interval_note]
    above, below = ("\n".join(map(wrapped, lines)) for lines in (found, notes))
    return "\n\n".join([above, plain(_header(inputs), _rows(inputs)), below])


def format_markdown(inputs: ReportInputs) -> str:
    """The main columns as a Markdown table, in percent."""
    return markdown(_header(inputs), _rows(inputs))


def _header(inputs: ReportInputs) -> tuple[str, ...]:
    return "run", "accuracy %", to_reference(inputs.baseline, inputs.confidence), "macro F1", "steps"


def _rows(inputs: ReportInputs) -> list[tuple[str, ...]]:
    rows = [
        (
            row["run"],
            mean_sd(row["accuracy"], row["accuracy_sd"]),
            interval(row["difference"], row["low"], row["high"]),
            percent(row["macro_f1"]),
            f"{row['num_steps']:,}",
        )
        for row in inputs.table.iter_rows(named=True)
    ]
    majority = inputs.majority
    return [*rows, (majority.name, percent(majority.accuracy), ABSENT, percent(majority.macro_f1), ABSENT)]
