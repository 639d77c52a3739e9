"""Training methods -> the files that each is made of, so that a change of one makes only its own cells stale."""

import tasks
from bss import paths
from bss.files import write_json


def methods() -> None:
    """Write the checksums of the files of every method that params.yaml names."""
    params = tasks.params()

    from hashlib import sha256

    from bss.training.methods.method import METHODS

    for name, method in params.methods.items():
        files = METHODS.sources(method.name)
        write_json({file.name: sha256(file.read_bytes()).hexdigest() for file in files}, paths.method(name))


if __name__ == "__main__":
    tasks.run(methods)
