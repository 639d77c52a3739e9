"""Whose variables of the environment reach which process, where the Prefect server is our own.

What the user has set for the network (a proxy, certificates) and for another Prefect server would break the talk with
ours, which is on this machine. So it is set aside in this process and in those that talk with the server; the stages,
and what else reaches into the network, have it back.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

VARIABLE = "BSS_SET_ASIDE"
"""The variable with those that were set aside, as JSON."""
NETWORK = {"SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
OF_ANY_SERVER = ("PREFECT_LOGGING_", "PREFECT_WORKER_")
"""Beginnings of Prefect's variables that say nothing of a server."""


def set_aside() -> None:
    """Take away from this process, and from what it starts, what the user has set for the network and for Prefect."""
    known, aside = _noted(os.environ), {name: os.environ[name] for name in os.environ if _is_of_elsewhere(name)}
    for name in aside:
        del os.environ[name]
    os.environ[VARIABLE] = json.dumps(aside | known)


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without anything that is said of the network or of Prefect."""
    return {
        name: value
        for name, value in environment.items()
        if not _is_of_elsewhere(name) and not name.startswith(OF_ANY_SERVER)
    }


def of_user(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment with what was set aside."""
    return {name: value for name, value in environment.items() if name != VARIABLE} | _noted(environment)


@contextmanager
def as_user() -> Iterator[None]:
    """Have in this process, for the length of a block, what was set aside."""
    before = dict(os.environ)
    _become(of_user(before))
    try:
        yield
    finally:
        _become(before)


def _is_of_elsewhere(name: str) -> bool:
    upper = name.upper()
    return (
        upper.endswith("_PROXY")
        or upper in NETWORK
        or (upper.startswith("PREFECT_") and not upper.startswith(OF_ANY_SERVER))
    )


def _noted(environment: Mapping[str, str]) -> dict[str, str]:
    noted: dict[str, str] = json.loads(environment.get(VARIABLE, "{}"))
    return noted


def _become(environment: Mapping[str, str]) -> None:
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)
