"""The command `bss`: what there is, how it explains itself, and how it ends."""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from bss import health, progress
from bss.__main__ import app
from bss.commands import completion
from bss.data.datasets.dataset import DATASETS
from bss.health import Check, checks
from tests.helpers import ROOT
from tests.helpers.pairs import KINDS, make_pairs

PAGE = (ROOT / "docs/command-line.md").read_text()
OF_LIBRARY = ["check", "preset", "fetch", "predict", "doctor"]
SECONDS = 2.0
"""Of processor time for all help texts together, the start of Python with them."""
HELP = """
import json, sys, time
from bss.__main__ import app
for arguments in json.loads(sys.argv[1]):
    app([*arguments, "--help"], prog_name="bss", standalone_mode=False)
    print(end="\\f")
heavy = {"torch", "polars", "prefect", "dvc", "sklearn", "rich"} & set(sys.modules)
print(json.dumps([sorted(heavy), time.process_time()]))
"""


def names() -> list[str]:
    """The commands in the order of the help."""
    group = typer.main.get_command(app)
    return group.list_commands(typer.Context(group))  # type: ignore[attr-defined, no-any-return]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BSS_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return tmp_path


def test_every_command_is_on_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert names()[-len(OF_LIBRARY) :] == OF_LIBRARY
    assert {"run", "report", "compare"} <= set(names())
    assert re.findall(r"^\| `bss (\w+)", PAGE, flags=re.MULTILINE) == names()
    sections = dict(re.findall(r"^## bss (\w+)\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL))
    assert list(sections) == names()
    group = typer.main.get_command(app)
    for name, section in sections.items():
        command = group.get_command(typer.Context(group), name)  # type: ignore[attr-defined]
        for option in command.params:
            flag = option.opts[0]
            assert not flag.startswith("--") or flag in section, f"bss {name} {flag}"


def test_help_is_quick_light_and_fits_the_terminal() -> None:
    names = ("run", "report", "compare", *OF_LIBRARY)
    calls = [[], *([name] for name in names)]
    environment = os.environ | {"COLUMNS": "80", "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    command = [sys.executable, "-c", HELP, json.dumps(calls)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    *texts, last = done.stdout.split("\f")
    heavy, seconds = json.loads(last)
    assert heavy == []
    assert seconds < SECONDS
    for text, arguments in zip(texts, calls, strict=True):
        lines = text.splitlines()
        assert max(map(len, lines)) <= 80
        assert not any(line.endswith("...") for line in lines if not line.startswith("Usage")), "cut"
        assert not arguments or any(line.strip().startswith("Example: bss") for line in lines)


def test_outside_of_a_workspace_it_says_where_to_go(here: Path) -> None:
    assert names() == OF_LIBRARY
    done = CliRunner().invoke(app, ["run"])
    assert done.exit_code == 2
    assert f"no command 'run' in {here}, which is no workspace" in done.stderr
    assert CliRunner().invoke(app, ["--version"]).output == f"bss {version('bss')}\n"
    assert CliRunner().invoke(app, ["--help"]).exit_code == 0


def test_a_workspace_brings_its_own_commands(here: Path) -> None:
    (here / "flows/commands").mkdir(parents=True)
    (here / "flows/commands/app.py").write_text(
        "import typer\napp = typer.Typer()\n"
        "@app.command()\ndef cook(): print('cooked')\n"
        "@app.command()\ndef eat(): raise typer.Exit(3)\n"
    )
    command = [sys.executable, "-c", "import sys; sys.path.remove(''); from bss.__main__ import app; app()"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    for name, expected in (("cook", (0, "cooked\n")), ("eat", (3, "")), ("coock", (2, ""))):
        done = subprocess.run([*command, name], capture_output=True, text=True, check=False, env=environment)
        assert (done.returncode, done.stdout) == expected, done.stderr
    assert done.stderr.startswith("error: unknown command 'coock'; did you mean 'cook'? (known: ")


def test_findings_as_json(here: Path) -> None:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    (here / "data/sample").mkdir(parents=True)
    make_pairs(here / "data/sample")
    raw["preprocess"] = {"name": "manifest", "file": "data/sample/pairs.csv", "kinds": KINDS}
    (here / "params.yaml").write_text(yaml.safe_dump(raw))
    assert CliRunner().invoke(app, ["check", "--json"]).stdout == '{\n  "dataset": "manifest",\n  "findings": []\n}\n'
    (here / "data/sample/20.png").write_text("no picture")
    done = CliRunner().invoke(app, ["check", "--json"])
    assert done.exit_code == 1
    [finding] = json.loads(done.stdout)["findings"]
    assert (finding["row"], finding["id"], finding["source"]) == (21, "clip 20", "20.png")


def test_fetch_says_where_the_files_lie(here: Path) -> None:
    (here / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (here / "data").mkdir()
    (here / "data/sample").symlink_to(ROOT / "data/sample")
    folder = (ROOT / "data/sample").resolve()
    assert CliRunner().invoke(app, ["fetch"]).stdout == f"digits: {folder}\n"
    told = json.loads(CliRunner().invoke(app, ["fetch", "digits", "--json"]).stdout)
    assert told == {"dataset": "digits", "folder": str(folder)}
    for arguments, code, message in (
        (["fetch", "avdigit"], 2, "unknown data set 'avdigit'; did you mean 'avdigits'?"),
        (["fetch", "manifest"], 2, "'manifest' needs file, kinds"),
        (["fetch", "cremad"], 1, "is missing. The folder"),
    ):
        done = CliRunner().invoke(app, arguments)
        assert (done.exit_code, done.stdout) == (code, "")
        assert message in done.stderr


def states(folder: Path) -> dict[str, str]:
    return {check.what: f"{check.state} {check.to_do}" for check in checks(folder)}


def one(folder: Path, part: str) -> str:
    [found] = [state for what, state in states(folder).items() if part in what]
    return found


def test_the_doctor_finds_nothing_wrong_in_a_fresh_clone(here: Path) -> None:
    for part in ("params.yaml", "data/sample"):
        (here / part).parent.mkdir(exist_ok=True)
        (here / part).symlink_to(ROOT / part)
    subprocess.run(["git", "init", "-q"], check=True)
    (here / ".dvc").mkdir()
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert "ok       digits: raw files in data/sample" in lines
    assert "ok       no dvc.lock: nothing was run yet" in lines
    assert any(line.startswith("ok       torch ") for line in lines)
    told = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    assert [check["what"] for check in told if check["state"] == "problem"] == []


def test_the_doctor_says_what_to_do(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(here, "no params.yaml here") == "warning go to the folder that holds it"
    assert one(here, "no DVC workspace") == "warning run in the folder of dvc.yaml"
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    (here / "params.yaml").write_text(yaml.safe_dump(raw | {"preprocess": {"name": "avdigits"}, "raw": "."}))
    assert one(here, "avdigits: data/raw/avdigits") == "warning bss fetch avdigits"
    (here / "params.yaml").write_text(yaml.safe_dump(raw | {"preprocess": {"name": "cremad"}, "raw": "."}))
    assert one(here, "data/raw/cremad").startswith("problem ")
    (here / "params.yaml").write_text(yaml.safe_dump(raw | {"train": raw["train"] | {"epoch": 1}}))
    assert one(here, "unknown key 'epoch'; did you mean 'epochs'?") == "problem put it right"
    (here / ".dvc").mkdir()
    (here / ".dvc/config").write_text("[cache]\n    dir = ../results\n    type = hardlink\n")
    assert one(here, f"cache by hardlink in {here}/.dvc/../results").startswith("ok")
    (here / "dvc.lock").write_text("schema: '2.0'\nstages:\n  pre")
    assert one(here, "dvc.lock is broken") == "problem bss run mends it"
    monkeypatch.setattr(health.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**11, 0, 10**8))  # type: ignore[attr-defined]
    assert one(here, "disk of the workspace: 0 GB free").startswith("problem make room")
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 1


def test_the_doctor_asks_the_prefect_server(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/api/health" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/api"
    (here / "prefect").mkdir()
    (here / "prefect/profiles.toml").write_text(f'active = "own"\n[profiles.own]\nPREFECT_API_URL = "{address}"\n')
    [found] = health._prefect()
    assert found == Check("ok", f"Prefect {health._version('prefect')}; the server {address} answers")
    server.shutdown()
    server.server_close()
    monkeypatch.setenv("PREFECT_API_URL", address)
    [found] = health._prefect()
    assert (found.state, found.to_do) == ("problem", "start it (prefect server start), or unset PREFECT_API_URL")


def test_the_doctor_works_without_the_pipeline(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = health._version
    away = {"prefect": None, "dvc": None, "fastapi": "0.160.0"}
    monkeypatch.setattr(health, "_version", lambda name: away[name] if name in away else known(name))
    assert one(here, "prefect is not installed: the pipeline needs it") == "warning pip install '.[pipeline]'"
    assert one(here, "dvc is not installed") == "warning pip install '.[pipeline]'"
    assert one(here, "fastapi 0.160.0: bss needs <0.151") == "problem pip install 'fastapi<0.151'"


def test_the_shell_completes_names(here: Path) -> None:
    assert completion.datasets("cremad") == ["cremad", "cremad_votes"]
    assert completion.datasets("") == sorted(DATASETS)
    assert (completion.presets(""), completion.stages(""), completion.studies("")) == ([], [], [])
    for part in ("presets", "dvc.yaml", "comparisons"):
        (here / part).symlink_to(ROOT / part)
    assert completion.presets("cremad") == ["cremad-published", "cremad-recommended"]
    assert completion.stages("re") == ["register", "report"]
    assert completion.studies("s") == ["schedulers", "sensitivity"]
    assert "avdigits-damaged" in completion.overlays("av")
    environment = {"_BSS_COMPLETE": "complete_bash", "COMP_WORDS": "bss preset cremad-p", "COMP_CWORD": "2"}
    done = CliRunner().invoke(app, [], env=environment, prog_name="bss")
    assert done.stdout.split() == ["cremad-published"]


def test_progress_is_a_line_now_and_then_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([0.0, 4.0, 12.0, 21.0, 24.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    with progress.progress(100, "pack pairs", "values") as advance:
        for _ in range(4):
            advance(20)
    assert capsys.readouterr().err == (
        "pack pairs: 40 of 100 values (40%), 18 s left\npack pairs: 80 of 100 values (80%), 6 s left\n"
    )
