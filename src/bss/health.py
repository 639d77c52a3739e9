"""Whether this machine and this workspace can run, and what to do where they cannot."""

import os
import shutil
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bss.errors import InputError
from bss.params import Params, load
from bss.paths import HERE

if TYPE_CHECKING:
    from packaging.requirements import Requirement

GIGABYTE = 10**9
LITTLE, TOO_LITTLE = 5.0, 1.0
"""Gigabytes of free disk."""
EXTRAS = {"stages": "every stage", "pipeline": "the pipeline", "pretrained": "an encoder from a collection"}
OPTIONAL = {"pipeline", "pretrained"}
SECONDS_TO_ANSWER = 3.0


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    state: Literal["ok", "warning", "problem"]
    what: str
    to_do: str = ""
    """Empty where nothing is."""


def checks(workspace: Path) -> Iterator[Check]:
    """All that was looked at, in a fixed order; `workspace` need not be one."""
    yield Check("ok", f"Python {sys.version.split()[0]} ({sys.executable})")
    yield from _packages()
    params, said = _params(workspace)
    yield from _torch(params)
    yield from _disk(workspace)
    yield _git(workspace)
    yield from _dvc(workspace)
    yield from _prefect()
    yield said
    if params is not None:
        yield _data(params)


def _packages() -> Iterator[Check]:
    """What bss asks for, by what is installed."""
    from packaging.requirements import Requirement

    wanted = [Requirement(line) for line in requires("bss") or ()]
    faults = 0
    for requirement in wanted:
        extra = next((one for one in ("", *EXTRAS) if _asks(requirement, one)), None)
        if extra is None or requirement.name == "bss":
            continue
        found = _version(requirement.name)
        if found is None:
            faults += 1
            what = f"{requirement.name} is not installed: {EXTRAS.get(extra, 'all')} needs it"
            yield Check("warning" if extra in OPTIONAL else "problem", what, f"pip install '.[{extra or 'stages'}]'")
        elif not requirement.specifier.contains(found, prereleases=True):
            faults += 1
            yield Check(
                "problem",
                f"{requirement.name} {found}: bss needs {requirement.specifier}",
                f"pip install '{requirement.name}{requirement.specifier}'",
            )
    if not faults:
        yield Check("ok", f"bss {_version('bss')}, and what it needs")


def _asks(requirement: "Requirement", extra: str) -> bool:
    """Whether bss wants it with that extra; "" is none."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _torch(params: Params | None) -> Iterator[Check]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Check("problem", f"torch cannot be imported: {error}", "install it anew: make run")
        return
    if not torch.cuda.is_available():
        what = f"torch {torch.__version__}, no CUDA device: the CPU does all"
        if params is not None and params.runtime.device == "cuda":
            yield Check("problem", what, "set runtime.device to auto, or install a driver and a torch with CUDA")
        else:
            yield Check("ok", what)
        return
    yield Check("ok", f"torch {torch.__version__}, CUDA {torch.version.cuda}")
    for number in range(torch.cuda.device_count()):
        free, total = (size / GIGABYTE for size in torch.cuda.mem_get_info(number))
        name = torch.cuda.get_device_name(number)
        what = f"GPU {number}: {name}, {free:.0f} of {total:.0f} GB free"
        way_out = "end what uses it, or set CUDA_VISIBLE_DEVICES"
        yield Check("ok", what) if free > total / 4 else Check("warning", what, way_out)


def _disk(workspace: Path) -> Iterator[Check]:
    cache = _cache(workspace)
    for name, folder in {"workspace": workspace, **({"DVC cache": cache} if cache else {})}.items():
        there = next(one for one in (folder, *folder.parents) if one.exists())
        free = shutil.disk_usage(there).free / GIGABYTE
        what = f"disk of the {name}: {free:.0f} GB free ({there})"
        if free < LITTLE:
            state: Literal["problem", "warning"] = "problem" if free < TOO_LITTLE else "warning"
            yield Check(state, what, "make room; dvc gc -w removes results that no run of this workspace uses")
        else:
            yield Check("ok", what)


def _git(workspace: Path) -> Check:
    if shutil.which("git") is None:
        return Check("problem", "git is not installed", "install it; DVC and the report need it")
    if not any((folder / ".git").exists() for folder in (workspace, *workspace.parents)):
        return Check("warning", "this folder is in no git repository", "run in a clone of the project")
    return Check("ok", "git")


def _dvc(workspace: Path) -> Iterator[Check]:
    if (found := _version("dvc")) is None:
        return  # told with the packages
    if not (workspace / ".dvc").is_dir():
        yield Check("warning", f"DVC {found}; this folder is no DVC workspace", "run in the folder of dvc.yaml")
        return
    cache = _cache(workspace) or workspace
    there = next(one for one in (cache, *cache.parents) if one.exists())
    kinds = _setting(workspace, "cache", "type") or "reflink,copy"
    apart = there.stat().st_dev != workspace.stat().st_dev
    yield Check("ok", f"DVC {found}, cache by {kinds} in {cache}" + (", on another disk: copies" if apart else ""))
    yield _lock(workspace / "dvc.lock")


def _lock(path: Path) -> Check:
    import yaml

    if not path.is_file():
        return Check("ok", "no dvc.lock: nothing was run yet")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("stages"), dict):
        return Check("problem", "dvc.lock is broken, as a killed `dvc repro` leaves it", "bss run mends it")
    return Check("ok", f"dvc.lock knows {len(content['stages'])} stages")


def _prefect() -> Iterator[Check]:
    if (found := _version("prefect")) is None:
        return  # told with the packages
    if (address := _prefect_address()) is None:
        yield Check("ok", f"Prefect {found}; each run starts a server of its own")
        return
    try:
        with urllib.request.urlopen(f"{address.rstrip('/')}/health", timeout=SECONDS_TO_ANSWER):  # noqa: S310
            yield Check("ok", f"Prefect {found}; the server {address} answers")
    except (OSError, ValueError) as error:
        what = f"Prefect {found}; PREFECT_API_URL is {address}, which does not answer ({error})"
        yield Check("problem", what, "start it (prefect server start), or unset PREFECT_API_URL")


def _prefect_address() -> str | None:
    """Of the environment, or of Prefect's active profile."""
    if given := os.environ.get("PREFECT_API_URL"):
        return given
    path = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser() / "profiles.toml"
    try:
        profiles = tomllib.loads(path.read_text(encoding="utf-8"))
        address = profiles["profiles"][profiles["active"]]["PREFECT_API_URL"]
    except (OSError, KeyError, TypeError, ValueError):
        return None
    return str(address)


def _params(workspace: Path) -> tuple[Params | None, Check]:
    path = workspace / "params.yaml"
    if not path.is_file():
        return None, Check("warning", "no params.yaml here: no workspace", "go to the folder that holds it")
    try:
        params = load(path)
    except InputError as error:
        first, *rest = str(error).splitlines()
        return None, Check("problem", first, f"put it right ({len(rest)} more)" if rest else "put it right")
    return params, Check("ok", f"params.yaml: {params.preprocess.name}")


def _data(params: Params) -> Check:
    """Without fetching anything."""
    dataset = params.preprocess
    if dataset.sources:
        from bss.data.datasets._fetch import raw_folder

        folder = raw_folder(dataset.name)
        if missing := [source.path for source in dataset.sources if not (folder / source.path).exists()]:
            return Check(
                "warning", f"{dataset.name}: {folder / missing[0]} is not here yet", f"bss fetch {dataset.name}"
            )
    try:
        folder = dataset.locate()
        absent = next((path for path in dataset.inputs if not path.exists()), None)
    except InputError as error:
        first, *rest = str(error).splitlines()
        advice = " ".join(line.strip() for line in rest)
        return Check("problem", first, advice or "docs/datasets.md and docs/your-data.md say what it needs")
    if absent is not None:
        return Check(
            "problem", f"{dataset.name}: {absent} is missing", "put it there, or say another place in params.yaml"
        )
    return Check("ok", f"{dataset.name}: raw files in {folder}" + (", packed" if HERE.packed.is_dir() else ""))


def _cache(workspace: Path) -> Path | None:
    """Where DVC keeps results, if this is a DVC workspace."""
    if not (workspace / ".dvc").is_dir():
        return None
    return workspace / ".dvc" / (_setting(workspace, "cache", "dir") or "cache")


def _setting(workspace: Path, section: str, key: str) -> str | None:
    settings = ConfigParser(interpolation=None)
    settings.read([workspace / ".dvc/config", workspace / ".dvc/config.local"], encoding="utf-8")
    return settings.get(section, key, fallback=None)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
