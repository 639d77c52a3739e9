"""Balance-aware sequence sampling: balance scores, curricula and fair comparisons for multimodal training.

The arrow of data, of the folders and of the imports:
`data -> encoders -> measure -> curriculum -> training -> evaluation`.

The public names below need torch, numpy, polars and pydantic alone, and are imported when they are asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bss.curriculum.sampler import CurriculumSampler
    from bss.curriculum.schedulers.heuristic import Heuristic
    from bss.curriculum.schedulers.learned import Learned
    from bss.curriculum.schedulers.random import Random
    from bss.curriculum.schedulers.self_paced import SelfPaced
    from bss.measure.evidence import Evidence, collect
    from bss.measure.score import balance_score

_HOMES = {
    "CurriculumSampler": "bss.curriculum.sampler",
    "Evidence": "bss.measure.evidence",
    "Heuristic": "bss.curriculum.schedulers.heuristic",
    "Learned": "bss.curriculum.schedulers.learned",
    "Random": "bss.curriculum.schedulers.random",
    "SelfPaced": "bss.curriculum.schedulers.self_paced",
    "balance_score": "bss.measure.score",
    "collect": "bss.measure.evidence",
}
__all__ = [
    "CurriculumSampler",
    "Evidence",
    "Heuristic",
    "Learned",
    "Random",
    "SelfPaced",
    "balance_score",
    "collect",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'bss' has no attribute '{name}' (it has {', '.join(__all__)})")
    return getattr(import_module(_HOMES[name]), name)
