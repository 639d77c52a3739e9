"""What the cells of a study say together: its table, its pages, and the accuracies that its methods are chosen by."""

from dataclasses import replace

import polars as pl

from bss.evaluation.active.curves import read_curves
from bss.evaluation.active.page import write_curves
from bss.evaluation.artifacts import metrics_of, tables_of
from bss.evaluation.comparing.table import comparison_table, fused_runs
from bss.evaluation.findings.remarks import remarks
from bss.evaluation.grid.inputs import joined
from bss.evaluation.grid.page import write_report
from bss.evaluation.grid.reader import read_grid
from bss.evaluation.reproduction.reader import effort, read_rows
from bss.evaluation.reproduction.table import Reproduction, write_reproduction
from bss.evaluation.study.comparison import Comparison
from bss.evaluation.study.page import write_comparison
from bss.params import load
from bss.types import BASELINE
from flows.studies.active_run import ActiveRun
from flows.studies.reproduce_run import ReproduceRun
from flows.studies.study_run import StudyRun, as_method
from flows.studies.workspaces import workspaces


def validation_accuracies(run: StudyRun) -> dict[str, float]:
    """Method -> the mean over the seeds of its validation accuracy in the baseline's order."""
    runs = []
    for workspace in workspaces(run).values():
        params = load(workspace.params)
        cells = [*params.cells, *params.alone]
        history = tables_of(workspace.run, "history", cells)
        runs.append(fused_runs(metrics_of(workspace, cells), history, params.train.keep))
    mean = pl.concat(runs).group_by("method", maintain_order=True).agg(pl.col("validation_accuracy").mean())
    return dict(mean.iter_rows())


def write_active(run: ActiveRun) -> None:
    """Write table and page of curves of active learning."""
    places = {repeat.seed: workspace for repeat, workspace in workspaces(run).items()}
    write_curves(read_curves(run.params, run.raw, places, run.about, run.command), run.name, run.results)


def write_reproduced(run: ReproduceRun) -> None:
    """Write the table of a reproduction, as far as it is."""
    places = {repeat.seed: workspace for repeat, workspace in workspaces(run).items()}
    params = run.params
    reproduction = Reproduction(
        data_set=params.preprocess.name,
        rows=read_rows(run.rows, places),
        left_out=run.left_out,
        effort=effort(run.rows, places, params.max_parallel),
        max_parallel=params.max_parallel,
        confidence=params.report.confidence,
        sources=run.sources,
        notes=params.preprocess.notes,
        command=run.command,
    )
    write_reproduction(reproduction, run.results)


def write_results(run: StudyRun) -> None:
    """Write table and page of a study, and the report of its whole grid, if that is of one split of the data."""
    grids = {repeat: read_grid(load(place.params), run.raw, place) for repeat, place in workspaces(run).items()}
    grid, variants = joined([*grids.values()], run.command), run.study.variants()
    runs = pl.concat(
        fused_runs(part.metrics, part.history, run.params.train.keep).with_columns(
            fold=pl.lit(repeat.fold, dtype=pl.Int64)
        )
        for repeat, part in grids.items()
    )
    comparison = Comparison(
        name=run.name,
        runs=runs,
        about=run.about,
        dataset=grid.dataset,
        notes=grid.notes,
        remarks=tuple(remarks(grid)) if run.study.folds is None else (),
        num_pairs=grid.num_pairs,
        variants=variants,
        table=comparison_table(runs, variants, BASELINE, grid.confidence),
        baseline=BASELINE,
        confidence=grid.confidence,
        command=run.command,
        parameters=run.raw,
        rule=grid.rule,
        chosen_of={as_method(variant): method for method, several in run.choices.items() for variant in several},
    )
    write_comparison(comparison, run.results)
    if run.study.folds is None:
        write_report(replace(grid, labels=comparison.labels), run.results / "report.html")
