"""Balance-aware sequence sampling: balance scores, curricula and fair comparisons for multimodal training.

The arrow of data, of the folders and of the imports:
`data -> encoders -> measure -> curriculum -> training -> evaluation`.

The public names below need torch, numpy, polars and pydantic alone, and are imported when they are asked for. Every
scheduler is public by its file: `curriculum/schedulers/self_paced.py` is `bss.SelfPaced`.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # precise types; a scheduler that is not among them is public all the same, and of the type Any
    from bss.curriculum.sampler import CurriculumSampler as CurriculumSampler
    from bss.curriculum.schedulers.heuristic import Heuristic as Heuristic
    from bss.curriculum.schedulers.learned import Learned as Learned
    from bss.curriculum.schedulers.matched import Matched as Matched
    from bss.curriculum.schedulers.progressive import Progressive as Progressive
    from bss.curriculum.schedulers.random import Random as Random
    from bss.curriculum.schedulers.self_paced import SelfPaced as SelfPaced
    from bss.measure.evidence import Evidence as Evidence
    from bss.measure.evidence import collect as collect
    from bss.measure.score import balance_score as balance_score

_HOMES = {
    "CurriculumSampler": "bss.curriculum.sampler",
    "Evidence": "bss.measure.evidence",
    "balance_score": "bss.measure.score",
    "collect": "bss.measure.evidence",
}
_SCHEDULERS = {
    path.stem.title().replace("_", ""): path.stem
    for path in sorted((Path(__file__).parent / "curriculum/schedulers").glob("[!_]*.py"))
    if path.stem != "scheduler"
}
__all__ = [*_HOMES, *_SCHEDULERS]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _SCHEDULERS:
        from bss.curriculum.schedulers.scheduler import SCHEDULERS

        return SCHEDULERS[_SCHEDULERS[name]]
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'bss' has no attribute '{name}' (it has {', '.join(__all__)})")


def __dir__() -> list[str]:
    return sorted(__all__)
