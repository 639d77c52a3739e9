"""The catalogue says of each method what its class does."""

from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field

from bss.registry import UnknownName
from bss.training import catalogue
from bss.training.methods.joint import Joint
from bss.training.methods.method import METHODS, Record


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_is_described_by_itself(name: str) -> None:
    entry = catalogue.entry(name)
    assert "record" in vars(METHODS[name]), "its own, and not that of its base"
    assert entry.record.families
    assert set(entry.record.families) <= set(catalogue.FAMILIES)
    assert entry.idea.endswith(".")
    assert entry.text
    for percent in [*entry.record.reported.values(), *entry.record.benchmark.values()]:
        assert 1 < percent < 100, "percent, and no share"


def test_what_it_needs_is_what_it_declares() -> None:
    assert catalogue.entry("joint").needs == ()
    assert catalogue.entry("relearning").needs == ("validation", "a start of its own")
    assert "whole weights (no fsdp)" in catalogue.entry("ogm").needs


def test_the_default_variant_comes_first() -> None:
    assert catalogue.entry("ogm").variants == ("published", "released")
    assert catalogue.entry("joint").variants == ()


def test_families_are_filtered_by_any_that_a_method_has() -> None:
    names = [entry.name for entry in catalogue.entries("gradient")]
    assert "ogm" in names
    assert "mla" in names, "whose first family is another one"
    assert "mbsd" not in names
    with pytest.raises(UnknownName, match="did you mean 'gradient'"):
        catalogue.entries("gradients")


class Derived(Joint):
    """A method of a user, who has said nothing for the catalogue."""

    record_like: ClassVar[int] = 0
    strength: Annotated[float, Field(ge=0)] = 0.5
    """How much, over
    two lines."""
    kind: Literal["a", "b"]
    plain: bool = True


def test_settings_have_their_meaning_also_those_of_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(METHODS), "__getitem__", lambda _, name: Derived)
    found = catalogue.entry("mine")
    settings = {setting.name: setting for setting in found.settings}
    assert settings["strength"] == ("strength", "0.5", "How much, over two lines.")
    assert settings["kind"].default == "must be set"
    assert settings["plain"] == ("plain", "true", "")
    assert "fused_weight" in settings
    assert found.record == Record(), "no record of its base"
    assert found.line == found.idea
