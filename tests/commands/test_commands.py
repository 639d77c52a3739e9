"""The command `bss`: what there is, how it explains itself, and how it ends."""

import json
import os
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from bss import progress
from bss.__main__ import ELSEWHERE, app
from bss.commands import completion
from bss.data.datasets.dataset import DATASETS
from tests.helpers import ROOT
from tests.helpers.pairs import KINDS, make_pairs

PAGE = (ROOT / "docs/command-line.md").read_text()
OF_LIBRARY = ["init", "check", "preset", "fetch", "methods", "predict", "export", "doctor"]
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
    known = ", ".join(sorted(OF_LIBRARY))
    for word, hint in (("run", ""), ("metods", "; did you mean 'methods'?")):
        done = CliRunner().invoke(app, [word])
        line = f"error: unknown command '{word}'{hint} (known: {known}); {ELSEWHERE}, and {here} is none\n"
        assert (done.exit_code, done.stdout, done.stderr) == (2, "", line)
    assert CliRunner().invoke(app, ["--version"]).output == f"bss {version('bss')}\n"
    assert ELSEWHERE[1:] in " ".join(CliRunner().invoke(app, ["--help"]).output.split())


def test_what_needs_a_clone_says_so_in_a_line(here: Path) -> None:
    for words in (["check"], ["fetch"], ["preset", "cremad-published"]):
        done = CliRunner().invoke(app, words)
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), words
        assert re.match(r"error: (params\.yaml|presets): no such (file|folder); ", done.stderr)


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
    classes = [
        {"class": "happy", "train": 14, "validation": 2, "test": 4},
        {"class": "sad", "train": 14, "validation": 2, "test": 4},
    ]
    assert json.loads(CliRunner().invoke(app, ["check", "--json"]).stdout) == {
        "dataset": "manifest", "findings": [], "classes": classes,
    }  # fmt: skip
    (here / "data/sample/20.png").write_text("no picture")
    done = CliRunner().invoke(app, ["check", "--json"])
    assert done.exit_code == 1
    [finding] = json.loads(done.stdout)["findings"]
    assert (finding["row"], finding["id"], finding["source"]) == (21, "clip 20", "20.png")


def test_fetch_says_where_the_files_lie(here: Path) -> None:
    (here / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (here / "data").mkdir()
    (here / "data/sample").symlink_to(ROOT / "data/sample")
    folder = here / "data/sample"  # by its own name, though it is a link
    assert CliRunner().invoke(app, ["fetch"]).stdout == f"digits: {folder}\n"
    printed = json.loads(CliRunner().invoke(app, ["fetch", "digits", "--json"]).stdout)
    assert printed == {"dataset": "digits", "folder": str(folder)}
    for arguments, code, message in (
        (["fetch", "avdigit"], 2, "unknown data set 'avdigit'; did you mean 'avdigits'?"),
        (["fetch", "manifest"], 2, "'manifest' needs kinds"),
        (["fetch", "cremad"], 1, "is missing. The folder"),
    ):
        done = CliRunner().invoke(app, arguments)
        assert (done.exit_code, done.stdout) == (code, "")
        assert message in done.stderr


def test_the_doctor_finds_nothing_wrong_in_a_fresh_clone(here: Path) -> None:
    for part in ("params.yaml", "data/sample"):
        (here / part).parent.mkdir(exist_ok=True)
        (here / part).symlink_to(ROOT / part)
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 0, done.output
    first, *_, last = done.output.splitlines()
    assert first.startswith(f"Python {sys.version.split()[0]}, bss {version('bss')}, torch {version('torch')}")
    assert last == "digits: raw files in data/sample"


@pytest.mark.parametrize(
    ("changes", "code", "line"),
    [
        ({"preprocess": {"name": "avdigits"}, "raw": "."}, 0, "avdigits: its raw files are not here yet; bss fetch"),
        ({"preprocess": {"name": "cremad"}, "raw": "."}, 1, "problem: data/raw/cremad"),
        ({"trian": {}}, 1, "problem: params.yaml: unknown key 'trian'; did you mean 'train'?"),
    ],
)
def test_the_doctor_says_what_is_wrong(here: Path, changes: dict[str, object], code: int, line: str) -> None:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    (here / "params.yaml").write_text(yaml.safe_dump(raw | changes))
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == code
    assert f"\n{line}" in done.stdout


def test_the_doctor_compares_versions(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["typer>=99", "nowhere-to-be-found>=2; extra == 'far'"]
    monkeypatch.setattr("bss.commands.doctor.requires", lambda _: lines)
    monkeypatch.setattr("importlib.metadata.requires", lambda _: lines)
    printed = CliRunner().invoke(app, ["doctor"]).stdout
    assert f"problem: typer {version('typer')}, but bss needs >=99: pip install 'typer>=99'" in printed
    assert "not installed: nowhere-to-be-found; pip install 'bss[far]' brings them" in printed
    assert "problem: params.yaml: no such file" in printed


@pytest.mark.parametrize(
    "typed",
    [
        "compare methods --seeds",
        "active --rounds",
        "tune --trials",
        "reproduce cremad --seeds",
        "diff --top",
        "predict data/example/pairs.csv --batch-size",
    ],
)
def test_a_count_of_none_is_refused_with_its_value(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, [*typed.split(), "0"])
    assert done.exit_code == 2
    assert f"'{typed.rsplit(maxsplit=1)[-1]}': 0: expected a whole number of at least 1" in done.output


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
