"""Time and memory of one epoch's sequence for up to 10^8 samples, on one core.

    python benchmarks/scale.py [--largest 8]

Each case is a process of its own, so that its peak memory is its own; what the scores themselves take is left out.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

from bss.curriculum.schedulers.heuristic import Heuristic
from bss.curriculum.schedulers.learned import Learned

CASES = {
    "heuristic, all in play": Heuristic(grow_epochs=0),
    "heuristic, a tenth in play": Heuristic(),
    "learned, multinomial": Learned(),
    "learned, systematic": Learned(draw="systematic"),
    "learned, released": Learned(variant="released"),
}


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(case: str, num_samples: int) -> None:
    scores = np.random.default_rng(0).uniform(-1, 1, num_samples)
    before, start = peak_bytes(), time.perf_counter()
    indices = CASES[case].indices(scores, 0, np.random.default_rng(1))
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "gigabytes": (peak_bytes() - before) / 1e9, "draws": len(indices)}))


def main(largest: int) -> None:
    print("| scheduler | samples | draws | seconds | GB beside the scores |\n| --- | --: | --: | --: | --: |")
    for case in CASES:
        for power in range(6, largest + 1):
            command = [sys.executable, __file__, "--case", case, "--num-samples", str(10**power)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout)
            print(
                f"| {case} | 10^{power} | {found['draws']:,} | {found['seconds']:.1f} | {found['gigabytes']:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=8, help="power of ten of the largest number of samples")
    parser.add_argument("--case", choices=list(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--num-samples", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        measure(arguments.case, arguments.num_samples)
    else:
        main(arguments.largest)
