"""Curves of active learning, ready to run: acquisitions, seeds and the parameters they come of."""

from collections.abc import Sequence

from bss.curriculum.acquisitions.acquisition import ACQUISITIONS
from bss.errors import InputError
from bss.params import Params
from bss.parsing import checked, read_mapping, setting
from bss.paths import HERE
from bss.training.methods.method import METHODS
from bss.types import BASELINE
from flows.studies.study import FOLDER, Overlay, Raw, find, overlaid
from flows.studies.study_run import Repeat, Repeated


class ActiveRun(Repeated):
    """All that a run of active learning needs."""

    @property
    def repeats(self) -> list[Repeat]:
        """Every seed."""
        return [Repeat(seed) for seed in self.params.active.grid.seeds]

    def of(self, repeat: Repeat) -> Raw:
        """The content of params.yaml for one repeat."""
        grid = self.raw["active"]["grid"] | {"seeds": [repeat.seed]}
        return self.raw | {"active": self.raw["active"] | {"grid": grid}}

    def targets(self, repeat: Repeat) -> list[str]:
        """The judgements of all curves."""
        return ["evaluate-active"]


def composed(
    on: str | None,
    *,
    command: str,
    name: str | None = None,
    seeds: int = 5,
    rounds: int | None = None,
    settings: Sequence[str] = (),
) -> ActiveRun:
    """Every acquisition, or those of `active.grid.acquisitions`, on params.yaml.

    The data set comes first, then the settings.

    Args:
        on: the data set, a file of `comparisons/on/`; that of params.yaml by default.
        command: what repeats the run.
        name: of the results; by default that of the data set.
        seeds: how many.
        rounds: in which labels are asked for; those of `active.rounds` by default.
        settings: texts `key=value`.

    Raises:
        InputError: what is not there, or does not fit together; one line a fault.
    """
    raw = read_mapping(HERE.params)
    raw["methods"] = METHODS.every(raw.get("methods", {}))
    about = []
    if on is not None:
        overlay = checked(read_mapping(place := find(on, FOLDER / "on", "data set for --on")), Overlay, place)
        raw, about = overlaid(raw, overlay.params), [overlay.about]
        on = place.stem
    raw = overlaid(raw, dict(map(setting, settings)), may_add=True)
    active = raw["active"]
    active["acquisitions"] = ACQUISITIONS.every(active["acquisitions"])
    if not active["grid"]["acquisitions"]:
        active["grid"]["acquisitions"] = [BASELINE, *(kind for kind in active["acquisitions"] if kind != BASELINE)]
    active["grid"]["seeds"] = list(range(seeds))
    if rounds is not None:
        active["rounds"] = [{"number": number, "before": number - 1} for number in range(1, rounds + 1)]
    params = checked(raw, Params, HERE.params)
    if BASELINE not in params.active.grid.acquisitions:
        raise InputError(f"active.grid.acquisitions: '{BASELINE}' is missing; the others are compared with it")
    return ActiveRun(
        name=name or f"active-{on or params.preprocess.name}",
        params=params,
        raw=raw,
        about=tuple(about),
        command=command,
    )
