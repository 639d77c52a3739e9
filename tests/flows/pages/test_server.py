"""A Prefect server of our own is ruled by us alone, whatever the user has set for the network and other servers."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bss.errors import Unavailable
from bss.paths import HERE
from flows.commands.exits import show
from flows.graph.outcome import report_address
from flows.pages.server import Server, check, environment, use
from flows.workspace.environment import VARIABLE, as_user, of_user

pytestmark = pytest.mark.xdist_group("flow")  # one worker, so that one server serves them all
PROFILE = """
active = "work"
[profiles.work]
PREFECT_API_KEY = "pnu_secret"
PREFECT_SERVER_API_AUTH_STRING = "admin:pw"
PREFECT_API_SSL_CERT_FILE = "/nowhere/ca.pem"
"""
HOSTILE = [
    {"ALL_PROXY": "socks5://127.0.0.1:1080"},
    {"all_proxy": "socks://127.0.0.1:1080"},
    {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "NO_PROXY": "example.org"},
    {"https_proxy": "no address", "no_proxy": ""},
    {"SSL_CERT_FILE": "/nowhere/ca.pem"},
    {"SSL_CERT_DIR": "/nowhere", "REQUESTS_CA_BUNDLE": "/nowhere", "CURL_CA_BUNDLE": "/nowhere"},
    {"SSLKEYLOGFILE": "/nowhere/keys"},
    {"PREFECT_API_SSL_CERT_FILE": "/nowhere/ca.pem"},
    {"PREFECT_SERVER_API_AUTH_STRING": "admin:pw", "PREFECT_API_AUTH_STRING": "admin:other"},
    {"PREFECT_SERVER_API_BASE_PATH": "/elsewhere"},
    {"PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg://nobody@nowhere/prefect"},
    {"PREFECT_API_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:////nowhere/prefect.db"},
    {"PREFECT_MESSAGING_BROKER": "prefect_redis.messaging"},
    {"PREFECT_CLIENT_CUSTOM_HEADERS": '{"Authorization": "Basic bm9ib2R5"}'},
    {"PREFECT_HOME": "/proc/nowhere", "PREFECT_PROFILES_PATH": "/proc/nowhere/profiles.toml"},
    {"PREFECT_TEST_MODE": "1"},
    {"PREFECT_SERVER_API_PORT": "many", "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "perhaps"},
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, in a process whose environment is afterwards what it was."""
    from prefect.context import refresh_global_settings_context

    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    yield tmp_path
    os.environ.clear()
    os.environ.update(before)
    refresh_global_settings_context()


@pytest.mark.parametrize("settings", HOSTILE, ids="-".join)
def test_settings_of_the_network_and_of_other_servers_reach_the_stages_alone(
    here: Path, api: str, settings: dict[str, str]
) -> None:
    os.environ.update(settings)
    assert not settings.items() & environment({}, here).items(), "of the server"
    use(api)
    assert not settings.items() & os.environ.items(), "of the client"
    check()
    httpx.get(f"{api}/health").raise_for_status()
    assert settings.items() <= of_user(os.environ).items(), "of the stages"
    assert VARIABLE not in of_user(os.environ)
    with as_user():
        assert settings.items() <= os.environ.items(), "of the remote"
    assert not settings.items() & os.environ.items()


def test_profiles_and_settings_in_files_do_not_reach_it(here: Path, api: str) -> None:
    (here / "profiles.toml").write_text(PROFILE)
    (here / "home").mkdir()
    (here / "home/profiles.toml").write_text(PROFILE)
    os.environ["PREFECT_PROFILES_PATH"] = str(here / "profiles.toml")
    os.environ["PREFECT_HOME"] = str(here / "home")
    use(api)
    check()
    from prefect.settings import get_current_settings

    assert get_current_settings().api.key is None
    assert get_current_settings().server.api.auth_string is None


def test_what_the_user_wants_of_logs_and_workers_stays_with_the_runs(here: Path, api: str) -> None:
    os.environ |= {"PREFECT_LOGGING_LEVEL": "WARNING", "PREFECT_WORKER_QUERY_SECONDS": "1"}
    use(api)
    assert os.environ["PREFECT_LOGGING_LEVEL"] == "WARNING"
    assert os.environ["PREFECT_WORKER_QUERY_SECONDS"] == "1"
    assert "PREFECT_LOGGING_LEVEL" not in environment({}, here), "a level that is none would end the server"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (
            "raise ValueError('the data base is of a newer Prefect')",
            "ValueError: the data base is of a newer Prefect",
        ),
        ("print('Address already in use'); exit(3)", "Address already in use"),
    ],
)
def test_a_server_that_does_not_start_says_why(tmp_path: Path, program: str, reason: str) -> None:
    log = tempfile.TemporaryFile("w+")  # noqa: SIM115
    process = subprocess.Popen([sys.executable, "-c", program], stdout=log, stderr=log)
    server = Server(process, "http://127.0.0.1:9/api", log, tmp_path)
    with pytest.raises(Unavailable) as refused:
        server.wait()
    first, second = str(refused.value).splitlines()
    assert first == f"the Prefect server did not start: {reason}"
    assert str(tmp_path) in second


@pytest.mark.nightly
def test_a_data_base_that_prefect_refuses_is_named(tmp_path: Path) -> None:
    Path(tmp_path, Path(environment({}, tmp_path)["PREFECT_SERVER_DATABASE_CONNECTION_URL"]).name).write_text(
        "no base"
    )
    server = Server.start(home=tmp_path)
    with pytest.raises(Unavailable, match="file is not a database"):
        server.wait()


def test_its_pages_may_ask_no_other_address(api: str) -> None:
    for path in ("/api/health", "/api/nothing"):
        policy = httpx.get(f"{api.removesuffix('/api')}{path}").headers["content-security-policy"]
        assert policy.startswith("default-src 'self' ") and "http" not in policy and "*" not in policy


def test_a_report_that_is_a_link_into_the_cache_is_shown_and_called_by_its_own_name(
    api: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As DVC leaves outputs with `cache.type symlink`."""
    (tmp_path / "63").mkdir()
    (cached := tmp_path / "63/ab12").write_text("the report")
    (home / "reports").mkdir()
    (home / "reports/report.html").symlink_to(cached)
    assert httpx.get(f"{api.removesuffix('/api')}/reports/report.html").text == "the report"
    monkeypatch.chdir(home)
    assert report_address() == (home / "reports/report.html").as_uri()
    show(cached, HERE.report)
    assert f"report: {home / 'reports/report.html'}\n" in capsys.readouterr().out
