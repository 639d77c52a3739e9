"""The settings of active learning: the section of params.yaml that its stages read."""

from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from bss.curriculum.acquisitions.acquisition import ACQUISITIONS, Acquisition
from bss.errors import InputError
from bss.registry import Count, MethodName, Name, Strict


class RoundNumber(Strict):
    """A round of active learning, and the one before it."""

    number: Count
    before: Annotated[int, Field(ge=0)]


class ActiveGrid(Strict, use_attribute_docstrings=True):
    """The curves of active learning that are run: every acquisition with every seed."""

    acquisitions: list[Name]
    """By their names under `active.acquisitions`, or by those of their files."""
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]]
    """Each has first labels of its own."""


class Active(Strict, use_attribute_docstrings=True):
    """Active learning: training pairs get their labels in rounds, and an acquisition says which are next."""

    initial: Annotated[int, Field(ge=2)]
    """Labels drawn at random for the first model, the same for every acquisition."""
    per_round: Count
    """Labels that are asked for in a round."""
    rounds: Annotated[list[RoundNumber], Field(min_length=1)]
    """In each, labels are asked for; DVC cannot count, so each says which one is before it."""
    epochs: Count
    """Epochs of the model of a round, from new weights; the last counts."""
    method: MethodName
    """Training method, by its name under `methods`, or by that of its file."""
    grid: ActiveGrid
    acquisitions: Annotated[
        dict[Name, Annotated[Acquisition, BeforeValidator(ACQUISITIONS.build)]], BeforeValidator(ACQUISITIONS.every)
    ]
    """Those with other fields than their defaults; every other is there as it is."""

    @field_validator("rounds")
    @classmethod
    def _rounds_follow_each_other(cls, rounds: list[RoundNumber]) -> list[RoundNumber]:
        for number, found in enumerate(rounds, 1):
            if (found.number, found.before) != (number, number - 1):
                raise InputError(
                    f"{{number: {found.number}, before: {found.before}}}: expected "
                    f"{{number: {number}, before: {number - 1}}}"
                )
        return rounds
