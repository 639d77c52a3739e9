"""Raw files -> packed arrays and a manifest for each split."""

import tasks
from bss import paths
from bss.data.pack import pack


def preprocess() -> None:
    """Decode, transform and pack the data set that params.yaml names."""
    pack(tasks.params().preprocess, paths.PACKED)


if __name__ == "__main__":
    tasks.run(preprocess)
