"""`tasks.py lab`: an index page of the series, for this machine and its owner alone."""

from urllib.error import HTTPError
from urllib.request import urlopen

import psutil
import pytest
from browser import accessible

from medsr_lib.series import notebook as notebooks

pytestmark = pytest.mark.browser


@pytest.fixture
def index(lab):
    """The page that `tasks.py lab` opens, and what it has asked for."""
    page, heard = lab.visited(width=1280, height=900)
    page.locator(".jp-RenderedMarkdown table").wait_for()
    yield page, heard
    page.close()


def test_the_index_lists_the_notebooks_and_asks_nobody_else(index):
    page, heard = index
    text = page.locator(".jp-RenderedMarkdown")
    links = text.locator("a").evaluate_all("all => all.map(a => a.href)")
    for notebook in notebooks.find([]):
        assert any(notebook.path.name in link for link in links)
    assert text.locator("h1").count() == 1
    assert page.get_by_text("Would you like to receive").count() == 0  # news
    assert heard.hosts == {"127.0.0.1"}
    assert not heard.complaints


def test_the_index_is_readable_for_all(index):
    page, _ = index
    assert not accessible.violations(page, ".jp-RenderedMarkdown")


def test_without_the_token_nothing_is_shown(lab, chromium):
    page = chromium.new_page()
    page.goto(lab.address)
    page.get_by_label("Password or token").wait_for()
    assert "Who are the patients" not in page.content()
    page.context.close()
    with pytest.raises(HTTPError, match="403"):
        urlopen(f"http://127.0.0.1:{lab.port}/api/contents", timeout=10)


def test_only_this_machine_is_listened_to(lab):
    server = psutil.Process(lab.process.pid)
    sockets = [
        connection
        for process in (server, *server.children(recursive=True))
        for connection in process.net_connections("inet")
    ]
    listening = {s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
