"""Training methods -> the code of a training with each, so that a change of one makes only its own cells stale."""

import tasks
from bss import paths
from bss.files import write_json


def methods() -> None:
    """Write the checksums of the files that training uses with every method that params.yaml names."""
    params = tasks.params()

    from hashlib import sha256
    from pathlib import Path

    from bss import training
    from bss.training.methods.method import METHODS

    (folder,) = map(Path, training.__path__)
    for name, method in params.methods.items():
        files = [*sorted(folder.glob("*.py")), *METHODS.sources(method.name)]
        sums = {file.relative_to(folder).as_posix(): sha256(file.read_bytes()).hexdigest() for file in files}
        write_json(sums, paths.method(name))


if __name__ == "__main__":
    tasks.run(methods)
