"""Methods and acquisitions -> what a training depends on: a change of one makes only its own cells stale."""

import tasks
from bss.files import write_json
from bss.paths import HERE
from bss.types import WARMUP


def methods() -> None:
    """Write the fields of every method and acquisition, and the checksums of the files that it is made of."""
    params = tasks.params()

    from pathlib import Path

    from bss import training
    from bss.curriculum.acquisitions.acquisition import ACQUISITIONS
    from bss.files import checksum
    from bss.training.methods.joint import Joint
    from bss.training.methods.method import METHODS

    for name, acquisition in params.active.acquisitions.items():
        sums = {file.name: checksum(file) for file in ACQUISITIONS.sources(acquisition.name)}
        facts = {"acquisition": acquisition.name, "fields": acquisition.model_dump(mode="json"), "files": sums}
        write_json(facts, HERE.acquisition(name))
    (folder,) = map(Path, training.__path__)
    for name, method in {**params.methods, WARMUP: Joint()}.items():
        files = [*sorted(folder.glob("*.py")), *METHODS.sources(method.name)]
        sums = {file.relative_to(folder).as_posix(): checksum(file) for file in files}
        write_json(
            {"method": method.name, "fields": method.model_dump(mode="json"), "files": sums}, HERE.method(name)
        )


if __name__ == "__main__":
    tasks.run(methods)
