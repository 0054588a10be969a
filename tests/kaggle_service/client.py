"""Pointing the real client at the stand-in.

With KAGGLE_API_ENVIRONMENT=LOCALHOST it talks to http://localhost, and with `http_proxy` all that
arrives here, whatever the host; https leads to a closed port, so that nothing can leave.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kaggle.api.kaggle_api_extended import KaggleApi

CLOSED = "http://127.0.0.1:9"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def environment(url: str, owner: str, key: str, folder: Path) -> dict[str, str]:
    """The variables to set; the client's files and the home are within `folder`."""
    home, temporary, config = folder / "home", folder / "tmp", folder / "config"
    for path in (home, temporary, config):
        path.mkdir(parents=True, exist_ok=True)
    return {
        "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
        "KAGGLE_USERNAME": owner,
        "KAGGLE_KEY": key,
        "KAGGLE_CONFIG_DIR": str(config),
        "HOME": str(home),
        "USERPROFILE": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "TMPDIR": str(temporary),
        "http_proxy": url,
        "https_proxy": CLOSED,
    }


def clean_environment() -> dict[str, str]:
    """This process's environment without credentials and proxies."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("KAGGLE_") and name.lower() not in PROXIES
    }


@contextmanager
def connected(variables: dict[str, str]) -> Iterator[KaggleApi]:
    """Set these variables, also for a client that was imported before; a fresh `KaggleApi`."""
    before, temporary = dict(os.environ), tempfile.tempdir
    try:
        wanted = clean_environment() | variables
        os.environ.clear()
        os.environ.update(wanted)
        tempfile.tempdir = variables["TMPDIR"]
        with _client_of(variables) as api:
            yield api
    finally:
        os.environ.clear()
        os.environ.update(before)
        tempfile.tempdir = temporary


@contextmanager
def _client_of(variables: dict[str, str]) -> Iterator[KaggleApi]:
    """What the client has read from the environment when it was imported, set again."""
    from kaggle.api.kaggle_api_extended import KaggleApi

    import kaggle

    names = ("args", "config_dir", "config")
    before = {name: getattr(KaggleApi, name) for name in names}
    KaggleApi.args = ["--local"]
    KaggleApi.config_dir = variables["KAGGLE_CONFIG_DIR"]
    KaggleApi.config = str(Path(KaggleApi.config_dir) / KaggleApi.config_file)
    try:
        api = KaggleApi()
        for one in (api, kaggle.api):
            one.config_values = {}
            with contextlib.suppress(SystemExit):  # no credentials
                one.authenticate()
        yield api
    finally:
        for name, value in before.items():
            setattr(KaggleApi, name, value)
