"""Writes into params.yaml what was changed in the form of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.runtime import deployment

from bss.preset import lay

ORIGIN = Path("parameters of the run")
Sections = Mapping[str, Mapping[str, Any]]


def offered() -> Sections:
    """The values that the form of this run showed before anyone changed them; none for a run without a form."""
    if deployment.id is None:
        return {}
    with get_client(sync_client=True) as client:
        schema = client.read_deployment(UUID(deployment.id)).parameter_openapi_schema or {}
    fields = schema.get("properties", {})
    return {name: field["default"] for name, field in fields.items() if isinstance(field.get("default"), dict)}


def lay_over(path: Path, given: Sections, offered: Sections) -> list[str]:
    """Write the values that differ from those offered to a parameter file; a line for each change.

    The others stay as the file has them, because it may be newer than the form.

    Raises:
        ValueError: the result would not be valid; the file is as it was.
    """
    chosen = {section: different(values, offered.get(section, {})) for section, values in given.items()}
    return lay({section: values for section, values in chosen.items() if values}, path, ORIGIN)


def different(given: Mapping[str, Any], offered: Mapping[str, Any]) -> dict[str, Any]:
    """The values that differ from the offered ones."""
    return {key: value for key, value in given.items() if key not in offered or offered[key] != value}
