"""The part of prefect.yaml that is not for Prefect but for `bss ui`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from bss.parsing import checked, read_mapping
from bss.registry import Strict

PATH = Path("prefect.yaml")


class WorkPool(Strict):
    """The work pool of the deployments."""

    name: str


class Definitions(Strict):
    """The section `definitions`: how the runs of a workspace are handed to a worker."""

    second_run: Literal["queue", "refuse"]
    """What becomes of a run while another is at work: it waits, or ends as Cancelled."""
    pool: WorkPool
    notify: Annotated[str, Field(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")] | None = None
    """The notification block of the server that is told of failures, TYPE/NAME; none tells nobody."""


class Configuration(Strict):
    """The sections of prefect.yaml that are not for Prefect."""

    definitions: Definitions


def definitions() -> Definitions:
    """The section `definitions` of prefect.yaml.

    Raises:
        ValueError: it is missing or wrong.
    """
    ours = {key: value for key, value in read_mapping(PATH).items() if key in Configuration.model_fields}
    return checked(ours, Configuration, PATH).definitions


def deployments() -> set[str]:
    """The names of the deployments of a prefect.yaml that Prefect has read."""
    return {deployment["name"] for deployment in read_mapping(PATH)["deployments"]}
