"""The part of prefect.yaml that Prefect leaves to us."""

from pathlib import Path
from typing import Literal

from bss.parsing import checked, read_mapping
from bss.registry import Strict

PATH = Path("prefect.yaml")


class Pool(Strict):
    """The work pool of the deployments."""

    name: str


class Definitions(Strict):
    """How the runs of a workspace come to a worker."""

    second_run: Literal["queue", "refuse"]
    """What becomes of a run while another is at work: it waits, or ends as Cancelled."""
    pool: Pool


class Configuration(Strict):
    """Of the sections of prefect.yaml, ours."""

    definitions: Definitions


def definitions() -> Definitions:
    """What prefect.yaml defines.

    Raises:
        ValueError: it is missing or wrong.
    """
    ours = {key: value for key, value in read_mapping(PATH).items() if key in Configuration.model_fields}
    return checked(ours, Configuration, PATH).definitions


def deployments() -> set[str]:
    """The names of the deployments of a prefect.yaml that Prefect has read."""
    return {each["name"] for each in read_mapping(PATH)["deployments"]}
