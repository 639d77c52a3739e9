"""docs/components.md is what the code says."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from bss.params import Params
from bss.parsing import assign, checked, read_mapping
from docs import components
from tests.helpers import ROOT


def test_the_page_is_up_to_date() -> None:
    text = components.PAGE.read_text(encoding="utf-8")
    assert components.written(text) == text, f"`{components.COMMAND}` makes it anew"


def test_every_component_has_its_idea_and_every_field_a_meaning() -> None:
    text = "\n".join(components.parts())
    for heading, (registry, _) in components.SECTIONS.items():
        section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
        for name in registry:
            idea = section.partition(f"### {name}\n")[2].partition("\n")[0]
            assert len(idea.split()) > 2, f"{name} has no docstring"
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("| `")]
    assert rows
    assert [row[0].strip() for row in rows if not row[2].strip()] == []


@pytest.mark.parametrize("heading", list(components.SECTIONS))
def test_examples_are_what_params_yaml_takes(heading: str) -> None:
    raw = read_mapping(ROOT / "params.yaml")
    for key, value in flat(yaml.safe_load(f"{{{components.SECTIONS[heading][1]}}}")):
        section = key.partition(".")[0]
        assert section in raw
        if section != "preprocess":  # a table of one's own is not here
            assign(raw, key, value, may_add=True)
    checked(raw, Params, ROOT / "params.yaml")


def flat(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Dotted key -> value, as deep as params.yaml has sections."""
    for section, value in values.items():
        for key, inner in value.items():
            if key in {"schedulers", "acquisitions"} and isinstance(inner, dict):
                yield from ((f"{section}.{key}.{name}", spec) for name, spec in inner.items())
            elif section in {"encoders", "fusion"}:
                yield section, value
                break
            else:
                yield f"{section}.{key}", inner
