"""Everything that the grid left -> one HTML page, its table for the terminal, for git and for programs, and plots."""

import tasks
from bss.files import write_json, write_text
from bss.paths import HERE


def report() -> None:
    """Write the report of the grid of params.yaml."""
    params = tasks.params()

    from bss.evaluation.artifacts import remove_of_other_data
    from bss.evaluation.grid.page import write_report
    from bss.evaluation.grid.plots import plot_tables, validation_accuracies
    from bss.evaluation.grid.reader import read_grid
    from bss.evaluation.grid.text import format_markdown, format_table
    from bss.parsing import read_mapping

    remove_of_other_data(HERE, params.cells[0])
    inputs = read_grid(params, read_mapping(HERE.params), HERE)
    write_report(inputs, HERE.report)
    write_text(format_table(inputs) + "\n", HERE.summary("txt"))
    write_text(format_markdown(inputs) + "\n", HERE.summary("md"))
    write_text(inputs.table.write_json() + "\n", HERE.summary("json"))
    write_json(validation_accuracies(inputs, params.train.keep), HERE.validation)
    for name, rows in plot_tables(inputs).items():
        write_text(rows.write_csv(), HERE.plots / f"{name}.csv")


if __name__ == "__main__":
    tasks.run(report)
