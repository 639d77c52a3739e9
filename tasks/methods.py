"""Methods and acquisitions -> what a training depends on: a change of one makes only its own cells stale."""

import tasks
from bss.files import write_json
from bss.paths import HERE
from bss.types import WARMUP


def methods() -> None:
    """Write the fields of every method, acquisition and the warm-up's objective, and the checksums of their files."""
    params = tasks.params()

    from pathlib import Path

    from bss import training
    from bss.curriculum.acquisitions.acquisition import ACQUISITIONS
    from bss.files import checksum
    from bss.training.methods.method import METHODS
    from bss.training.objectives.objective import OBJECTIVES

    for name, acquisition in params.active.acquisitions.items():
        sums = {file.name: checksum(file) for file in ACQUISITIONS.sources(acquisition.name)}
        facts = {"acquisition": acquisition.name, "fields": acquisition.model_dump(mode="json"), "files": sums}
        write_json(facts, HERE.acquisition(name))
    (folder,) = map(Path, training.__path__)
    for name, method in {**params.methods, WARMUP: params.warmup.objective}.items():
        files = [*sorted(folder.glob("*.py")), *METHODS.sources("probe" if name == WARMUP else method.name)]
        files += OBJECTIVES.sources(method.name) if name == WARMUP else []
        sums = {file.relative_to(folder).as_posix(): checksum(file) for file in files}
        write_json(
            {"method": method.name, "fields": method.model_dump(mode="json"), "files": sums}, HERE.method(name)
        )


if __name__ == "__main__":
    tasks.run(methods)
