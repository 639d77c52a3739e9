"""What tests share: nothing here is a test."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The folder of the repository."""


def python_path(*folders: Path) -> str:
    """PYTHONPATH of a process that looks into these folders first, and then where this one does."""
    return os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])])
