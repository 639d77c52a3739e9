"""The pipeline on several machines: `bss distribute --pool NAME`.

The data are packed here, and each seed runs on a machine of a Prefect work pool. Their results come back through the
DVC remote, and the report is made here. docs/scale.md says how to set it up. Exit as for `bss run`.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from bss.errors import InputError
from bss.params import Params
from bss.paths import HERE
from flows.commands.exits import command, prepare_prefect, ready, show, succeeds
from flows.workspace.lock import occupied

if TYPE_CHECKING:
    from flows.machines.pool import MachinePool

SHARED = ["preprocess", "methods"]
"""Stages that the cells of all seeds need."""


def main(
    pool: Annotated[str, typer.Option(help="A work pool of the Prefect server.")],
    verbose: Annotated[bool, typer.Option(help="Show the whole output of the stages that run here.")] = False,
) -> None:
    """Run the grid on the machines of a work pool.

    Each runs a seed; the report is made here."""
    command(lambda: run(pool, verbose))


def run(pool: str, verbose: bool) -> bool:
    """Check everything, then run; whether all stages are up to date."""
    params = ready()
    prepare_prefect(verbose)
    from prefect.settings import get_current_settings

    if not get_current_settings().api.url:
        raise InputError("no server: PREFECT_API_URL has to name one that the machines reach (prefect server start)")
    from flows.graph.plan import plan
    from flows.machines.pool import opened
    from flows.machines.remote import has_remote
    from flows.workspace.repair import repair

    with occupied():
        repair()
        plan()
    if not has_remote():
        raise InputError("no DVC remote for the machines to share: dvc remote add -d NAME URL")
    with opened(pool) as machines:
        return distribute(params, machines)


def distribute(params: Params, machines: "MachinePool") -> bool:
    """Run the cells that the remote has no results of on the machines, the rest here; whether all is up to date."""
    from flows.graph.flow import judge, pipeline
    from flows.machines.remote import push, restore

    current = restore()
    if not succeeds(pipeline(SHARED, return_state=True)):
        return False
    push(SHARED)
    work = {
        f"seed {seed}": targets for seed, targets in last_stages(params).items() if not current.issuperset(targets)
    }
    if work:
        typer.echo(f"waiting for {', '.join(work)}")
        if not succeeds(judge(machines.run(work))):
            return False
        restore()
    state = pipeline(return_state=True)
    if state.is_completed():
        show(HERE.summary("txt"), HERE.report)
    return succeeds(state)


def last_stages(params: Params) -> dict[int, list[str]]:
    """Seed -> the last stages of its cells; seeds share nothing but the results of `SHARED`."""
    stages: dict[int, list[str]] = {seed: [] for seed in params.grid.seeds}
    for stage, cells in (("evaluate-alone", params.alone), ("evaluate", params.cells)):
        for cell in cells:
            stages[cell.seed].append(f"{stage}@{cell}")
    return stages
