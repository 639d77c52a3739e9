"""Raw files -> packed arrays and a manifest for each split."""

import os

import tasks
from bss.paths import HERE


def preprocess() -> None:
    """Decode, transform and pack the data set that params.yaml names."""
    params = tasks.params()

    from bss.data.packing.pack import pack

    pack(params.preprocess, HERE.packed, len(os.sched_getaffinity(0)))


if __name__ == "__main__":
    tasks.run(preprocess)
