"""The flows that prefect.yaml deploys: their parameters are the sections of params.yaml, its values the defaults.

This module is loaded in a workspace, by `prefect deploy` and by each run of a worker.
"""

import shlex
from pathlib import Path
from typing import Annotated

from prefect import flow as as_flow
from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Failed
from pydantic import Field, WithJsonSchema

from bss import params
from bss.errors import InputError
from bss.params import Evaluate, FlowSettings
from bss.parsing import read_mapping
from bss.paths import HERE
from bss.registry import Count, Name
from bss.training.settings import Train, Warmup
from bss.types import ALONE
from flows.graph import flow as graph
from flows.graph.machine import usable_gpus
from flows.pages.form import lay_over, offered
from flows.pages.turns import in_turn
from flows.studies import flow as studies
from flows.studies.study import FOLDER
from flows.studies.study_run import composed_each

NOW = params.load(HERE.params)


def _choice(*names: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": sorted(names)})


Stage = Annotated[str, _choice(*read_mapping(Path("dvc.yaml"))["stages"])]
Study = Annotated[str, _choice(*(path.stem for path in FOLDER.glob("*.yaml")))]
Data = Annotated[str, _choice(*(path.stem for path in FOLDER.glob("on/*.yaml")))]


class OfferedGrid(params.Grid, use_attribute_docstrings=True, title="Grid"):
    """The cells that are run: every method with every scheduler and every seed."""

    methods: Annotated[list[Annotated[Name, _choice(*NOW.methods.keys() - {ALONE})]], Field(min_length=1)]
    """Training methods, by their names under `methods` of params.yaml."""
    schedulers: Annotated[list[Annotated[Name, _choice(*NOW.curriculum.schedulers)]], Field(min_length=1)]
    """By their names under `curriculum.schedulers` of params.yaml; `random` is among them."""


GRID = OfferedGrid(**NOW.grid.model_dump())


@as_flow(name="pipeline", persist_result=False, retries=0)
def pipeline(
    stages: list[Stage] | None = None,
    grid: OfferedGrid = GRID,
    warmup: Warmup = NOW.warmup,
    train: Train = NOW.train,
    evaluate: Evaluate = NOW.evaluate,
    flow: FlowSettings = NOW.flow,
    retries: Annotated[int, Field(ge=0)] = graph.NUM_RETRIES,
) -> State[None]:
    """Bring the stages of the workspace up to date, side by side where the graph allows it.

    Args:
        stages: Only these and what they need; all where none is chosen.
        grid: The cells that are run. A value that is changed, here or in a section below, is written to params.yaml.
        warmup: Training in random order before the pairs are scored.
        train: Training after the warm-up.
        evaluate: The one look at the test split.
        flow: How the stages run; nothing here changes a result.
        retries: How often a stage that was killed and goes on from a checkpoint is started again.
    """
    sections = {"grid": grid, "warmup": warmup, "train": train, "evaluate": evaluate, "flow": flow}

    def run() -> State[None]:
        try:
            values = {name: section.model_dump() for name, section in sections.items()}
            changes = lay_over(HERE.params, values, offered())
        except InputError as error:
            return Failed(message=str(error))
        for change in changes:
            get_run_logger().info("params.yaml: %s", change)
        now = params.load(HERE.params)
        return graph.reproduce(stages or [], now.max_parallel, usable_gpus(now.runtime.device), retries)

    return in_turn(run)


@as_flow(name="compare", persist_result=False, retries=0)
def compare(study: Study, on: Data | None = None, seeds: Count | None = None) -> State[None]:
    """Run a study and write its table and its page to reports/compare; params.yaml stays as it is.

    Args:
        study: A file of comparisons/.
        on: A file of comparisons/on/, the data set; that of params.yaml where none is chosen.
        seeds: How many, instead of what the study says.
    """
    options = [*(["--on", on] if on else []), *(["--seeds", str(seeds)] if seeds else [])]
    command = shlex.join(["bss", "compare", study, *options])

    def run() -> State[None]:
        try:
            runs = composed_each(study, on, command=command, seeds=seeds)
        except InputError as error:
            return Failed(message=str(error))
        for run in runs:
            state = studies.compare.fn(run)
            if not state.is_completed():
                break
        return state

    return in_turn(run)
