"""Time and memory of one epoch's sequence for up to 10^8 samples, on one core.

Each case is a process of its own, so that its peak memory is its own; what the scores themselves take is left out.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure
from bss.curriculum.schedulers.heuristic import Heuristic
from bss.curriculum.schedulers.learned import Learned

CASES = {
    "heuristic, all in play": Heuristic(grow_epochs=0),
    "heuristic, a tenth in play": Heuristic(),
    "learned, multinomial": Learned(),
    "learned, systematic": Learned(draw="systematic"),
    "learned, released": Learned(variant="released"),
}


def measure(quick: bool = False) -> list[Figure]:
    """Each scheduler at each size."""
    figures = []
    for case in CASES:
        for power in (4,) if quick else (6, 7, 8):
            command = [sys.executable, "-m", "benchmarks.scale", case, str(10**power)]
            measured = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            what = f"{case}: {measured['draws']:,} of 10^{power} samples"
            figures += [
                Figure(what, [measured["seconds"]], " s"),
                Figure(f"{what}, memory", [measured["gigabytes"]], " GB"),
            ]
    return figures


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


if __name__ == "__main__":
    one_case(sys.argv[1], int(sys.argv[2]))
