"""What the shell completes."""

from collections.abc import Iterable
from pathlib import Path


def presets(typed: str) -> list[str]:
    """Names of the presets here."""
    return _beginning(typed, (path.stem for path in Path("presets").glob("*.yaml")))


def datasets(typed: str) -> list[str]:
    """Names of the data sets."""
    from bss.data.datasets.dataset import DATASETS

    return _beginning(typed, DATASETS)


def stages(typed: str) -> list[str]:
    """Names of the stages of dvc.yaml here, without their cells."""
    return _beginning(typed, _keys(Path("dvc.yaml"), "stages"))


def studies(typed: str) -> list[str]:
    """Names of the comparisons here."""
    return _beginning(typed, (path.stem for path in Path("comparisons").glob("*.yaml")))


def overlays(typed: str) -> list[str]:
    """Names of what a comparison is made on."""
    return _beginning(typed, (path.stem for path in Path("comparisons/on").glob("*.yaml")))


def revisions(typed: str) -> list[str]:
    """Branches and tags of git, and experiments of DVC, here."""
    import subprocess

    command = ["git", "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags", "refs/exps"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return []
    return _beginning(
        typed,
        ["HEAD", *(name.rpartition("/")[2] if name.startswith("exps/") else name for name in done.stdout.split())],
    )


def _beginning(typed: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(typed))


def _keys(path: Path, section: str) -> list[str]:
    import yaml

    try:
        return list(yaml.safe_load(path.read_text(encoding="utf-8"))[section])
    except (OSError, yaml.YAMLError, KeyError, TypeError):  # nothing to complete, and nobody to tell
        return []
