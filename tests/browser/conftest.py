"""Chromium, JupyterLab with small notebooks, and the pages of a small run, for `-m browser`."""

import os
import shutil
from importlib.util import find_spec

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
INSTALL = "python3 tasks.py setup -- browser"
OPTIONS = [
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nothing leaves this machine
    "--disable-component-update",
    "--disable-gpu",
    *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
]


def program() -> str | None:
    """The installed browser."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def missing() -> list[str]:
    """What is not installed, and how it is."""
    packages = [name for name in ("playwright", "axe_playwright_python") if not find_spec(name)]
    found = [f"{', '.join(packages)} ({INSTALL})"] if packages else []
    return found + ([] if program() else ["Chromium (on Debian: apt-get install chromium)"])


def pytest_collection_finish(session):
    """Say what is missing before anything runs, if tests in a browser were asked for."""
    asked = any(item.get_closest_marker("browser") for item in session.items)
    if asked and (what := missing()):
        pytest.exit(f"The tests in a browser need {' and '.join(what)}.", returncode=2)


@pytest.fixture(scope="session")
def chromium():
    """The browser, without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab(chromium, tmp_path_factory):
    """JupyterLab as `tasks.py lab` starts it, with small notebooks."""
    from browser import jupyter

    root = tmp_path_factory.mktemp("lab")
    jupyter.prepare(root)
    with jupyter.serving(root, chromium.new_context()) as lab:
        yield lab
