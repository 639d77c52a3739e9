"""Time and memory of one epoch's sequence for up to 10^8 samples, on one core; and of one rank's share of 10^9.

Each case is a process of its own, so that its peak memory is its own; what the scores themselves take is left out.

With `shard="local"` it is all that one of 64 ranks holds and does: scores, criteria, counts, the draw, fresh scores,
a state. The other 63 are stand-ins that answer at once, with a thousandth less: messages cost no time here.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
from numpy.typing import ArrayLike

from benchmarks.figures import Figure
from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.heuristic import Heuristic
from bss.curriculum.schedulers.learned import Learned
from bss.measure.ranks import AllRanks

CASES = {
    "heuristic, all in play": Heuristic(grow_epochs=0),
    "heuristic, a tenth in play": Heuristic(),
    "learned, multinomial": Learned(),
    "learned, systematic": Learned(draw="systematic"),
    "learned, released": Learned(variant="released"),
}
NUM_RANKS = 64
ONE_SHARE = "one share"


def measure(quick: bool = False) -> list[Figure]:
    """Each scheduler at each size, and one rank's share."""
    figures = []
    for case in CASES:
        for power in (4,) if quick else (6, 7, 8):
            measured = apart(case, 10**power)
            what = f"{case}: {measured['draws']:,} of 10^{power} samples"
            figures += [
                Figure(what, [measured["seconds"]], " s"),
                Figure(f"{what}, memory", [measured["gigabytes"]], " GB"),
            ]
    return figures + share_of(10**6 if quick else 10**9)


def share_of(num_samples: int) -> list[Figure]:
    """What one rank does in an epoch, and all that its sampler ever takes."""
    rounds = [apart(ONE_SHARE, num_samples) for _ in range(7)]
    what = f"one rank of {NUM_RANKS}, {num_samples:.0e} samples, learned, shard local"
    gigabytes = [measured["gigabytes"] for measured in rounds]
    return [
        Figure(f"{what}: an epoch", [measured["seconds"] for measured in rounds], " s", ("at most", 3)),
        Figure(f"{what}: memory", gigabytes, " GB", ("at most", 1)),
        Figure(
            f"{what}: memory a sample of the share",
            [value * 1e9 * NUM_RANKS / num_samples for value in gigabytes],
            " bytes",
            ("at most", 40),
        ),
    ]


def apart(case: str, num_samples: int) -> dict[str, float]:
    """What a case takes in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale", case, str(num_samples)]
    measured: dict[str, float] = json.loads(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout
    )
    return measured


def peak_bytes() -> int:
    """Peak memory of this process so far; getrusage would count the process that started it."""
    match = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), flags=re.MULTILINE)
    assert match is not None
    return int(match[1]) * 1024


def one_case(case: str, num_samples: int) -> None:
    """Print what one sequence takes, as JSON."""
    scores = np.random.default_rng(0).uniform(-1, 1, num_samples)
    before, start = peak_bytes(), time.perf_counter()
    indices = CASES[case].indices(scores, 0, np.random.default_rng(1))
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "gigabytes": (peak_bytes() - before) / 1e9, "draws": len(indices)}))


class Alike(AllRanks):
    """A rank whose others have what it has, less a thousandth: so it hands them a few draws."""

    def check_group(self) -> None: ...

    def each(self, values: ArrayLike) -> np.ndarray:
        table = np.stack([np.asarray(values, dtype=np.float64)] * self.num_replicas)
        table[1:] *= 0.999
        return table

    def exchange(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        return parts[self.rank]


def one_share(num_samples: int) -> None:
    """Print what the sampler of one rank takes, as JSON: two epochs, of which the second is timed, and a state."""
    random, before = np.random.default_rng(0), peak_bytes()
    with patch("bss.curriculum.sampler.AllRanks", Alike):
        sampler = CurriculumSampler(num_samples, Learned(), num_replicas=NUM_RANKS, shard="local")
    for criterion in sampler._samples.criteria:
        random.random(out=criterion, dtype=np.float32)
    sampler.end_epoch()
    start = time.perf_counter()
    draws = len(sampler)
    sampler.end_epoch()
    seconds = time.perf_counter() - start
    sampler.sequence()
    sampler.state_dict()
    print(json.dumps({"seconds": seconds, "gigabytes": (peak_bytes() - before) / 1e9, "draws": draws}))


if __name__ == "__main__":
    case, num_samples = sys.argv[1], int(sys.argv[2])
    if case == ONE_SHARE:
        one_share(num_samples)
    else:
        one_case(case, num_samples)
