"""Everything that the grid left -> one HTML page, its table for the terminal, for git and for programs, and plots."""

from pathlib import Path

import tasks
from bss import paths
from bss.files import write_json, write_text


def report() -> None:
    """Write the report of the grid of params.yaml."""
    params = tasks.params()

    from bss.evaluation.report.grid import read_grid
    from bss.evaluation.report.page import write_report
    from bss.evaluation.report.plots import plot_tables, validation_accuracies
    from bss.evaluation.report.table import format_markdown, format_table, summary_table
    from bss.parsing import read_mapping

    inputs = read_grid(params, read_mapping(Path("params.yaml")))
    table = summary_table(inputs.metrics, inputs.baseline, inputs.confidence)
    write_report(inputs, paths.REPORT)
    write_text(format_table(table) + "\n", paths.SUMMARY.with_suffix(".txt"))
    write_text(format_markdown(table) + "\n", paths.SUMMARY.with_suffix(".md"))
    write_text(table.write_json() + "\n", paths.SUMMARY.with_suffix(".json"))
    write_json(validation_accuracies(inputs, params.train.keep), paths.VALIDATION)
    for name, rows in plot_tables(inputs).items():
        write_text(rows.write_csv(), paths.PLOTS / f"{name}.csv")


if __name__ == "__main__":
    tasks.run(report)
