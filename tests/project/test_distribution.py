"""What the project is handed on as: its version, a container image, a dev container, a server for several."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager
from prefect import settings

from tests.helpers import ROOT

INSTRUCTIONS = [
    (name, rest.strip())
    for line in re.sub(
        r"\\\n", "", re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M)
    ).splitlines()
    if line
    for name, rest in [line.split(maxsplit=1)]
]
IGNORED = (ROOT / ".dockerignore").read_text().splitlines()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())


def of(name: str) -> list[str]:
    """What the instructions of a name in the Dockerfile say, in its order."""
    return [rest for instruction, rest in INSTRUCTIONS if instruction == name]


def version(folder: Path) -> str:
    return str(ProjectMetadata(str(folder), PluginManager()).version)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    name = ("-c", "user.name=n", "-c", "user.email=e")
    subprocess.run(["git", *name, *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "c")


def test_the_version_is_that_of_the_tag(source: Path) -> None:
    git(source, "init", "-q")
    commit(source)
    git(source, "tag", "v0.3.0")
    git(source, "tag", "best@v7.0.0")  # a model, by GTO
    assert version(source) == "0.3.0"
    commit(source)
    git(source, "tag", "best@v8.0.0")
    assert re.fullmatch(r"0\.3\.1\.dev1\+g[0-9a-f]+", version(source))


def test_without_tags_or_without_git_there_is_a_version_before_the_first(source: Path) -> None:
    assert version(source) == "0.1.0.dev0"
    git(source, "init", "-q")
    commit(source)
    commit(source)
    assert re.fullmatch(r"0\.1\.0\.dev2\+g[0-9a-f]+", version(source))


def test_what_git_ignores_is_not_in_the_image() -> None:
    for line in (ROOT / ".gitignore").read_text().splitlines():
        if line.startswith("#"):
            continue
        keep, name = line[:1] == "!", line.removeprefix("!").strip("/")
        assert {name, f"**/{name}"} & {each.removeprefix("!") for each in IGNORED if each.startswith("!") == keep}, (
            line
        )
    assert ".git" not in IGNORED


def test_the_image_copies_what_there_is_and_runs_as_a_user_without_rights() -> None:
    assert of("FROM") == ["${BASE}"] and of("ARG") == ["BASE=ubuntu:24.04", "TORCH=cpu"]
    first, everything = (shlex.split(rest) for rest in of("COPY"))
    assert first[0] == everything[0] == "--chown=bss:bss" and everything[1:] == [".", "."]
    for path in first[1:-1]:
        assert (ROOT / path).is_file() and path not in IGNORED
    [user], [folder], (system, *rest) = of("USER"), of("WORKDIR"), of("RUN")
    assert f"useradd --create-home --uid 1000 {user}" in system and folder in system.split()
    names = [name for name, _ in INSTRUCTIONS]
    assert names.index("USER") < names.index("COPY") and "sudo" not in system and len(names) - 1 == names.index("CMD")
    assert (json.loads(of("ENTRYPOINT")[0]), json.loads(of("CMD")[0])) == (["bss"], ["run"])
    for line, target in zip(rest, ("packages", "ready"), strict=True):
        assert line.split()[-2:] == ["make", f"/home/{user}/venv/{target}"]


def test_make_finds_the_environment_of_the_image() -> None:
    [variables] = of("ENV")
    [given] = re.findall(r'MAKEFLAGS="([^"]+)"', variables)
    environment = {"PATH": "/usr/bin:/bin", "MAKEFLAGS": given.replace("${TORCH}", "cpu")}
    done = subprocess.run(
        ["make", "-n", "run"], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    assert "venv --clear /home/bss/venv\n" in done.stdout and "--torch-backend cpu" in done.stdout
    assert ".venv" not in done.stdout and done.stdout.endswith("bss run\n")


def test_the_dev_container_is_the_image_with_a_mounted_clone() -> None:
    described = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    build = {key: ROOT / ".devcontainer" / path for key, path in described["build"].items()}
    assert build["dockerfile"].samefile(ROOT / "Dockerfile") and build["context"].samefile(ROOT)
    assert described["remoteUser"] == of("USER")[0] and described["workspaceFolder"] == of("WORKDIR")[0]
    assert f"target={described['workspaceFolder']}" in described["workspaceMount"]
    assert described["postCreateCommand"] == "make /home/bss/venv/integrations"


def test_the_server_for_several_is_of_the_version_and_its_settings_are_prefects() -> None:
    services = COMPOSE["services"]
    assert services.keys() == {"postgres", "server", "worker"}
    assert services["postgres"]["volumes"][0].split(":")[0] in COMPOSE["volumes"]
    [locked] = re.findall(r"^prefect==(\S+)$", (ROOT / "requirements.lock").read_text(), flags=re.M)
    assert re.fullmatch(rf"prefecthq/prefect:{re.escape(locked)}-python3\.\d+", services["server"]["image"])
    given = {name for service in services.values() for name in service["environment"] if name.startswith("PREFECT")}
    assert given and all(hasattr(settings, name) for name in given)
    assert services["worker"]["build"]["args"].keys() == {rest.partition("=")[0] for rest in of("ARG")}
    assert services["worker"]["command"] == ["ui"]
    for service in services.values():
        assert all(port.startswith("${LISTEN:-127.0.0.1}:") for port in service.get("ports", ()))
