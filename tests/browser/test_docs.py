"""The documentation site, built as `tasks.py docs` does and opened from disk without a network."""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from browser import jupyter

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site; a warning would have stopped the build."""
    out = tmp_path_factory.mktemp("site")
    command = [part.replace("docs/_build", str(out)) for part in jupyter.command("docs")]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return out / "html"


class Page(HTMLParser):
    """What a page loads, where it leads, and the anchors it has."""

    def __init__(self, path):
        super().__init__()
        self.loads, self.links, self.anchors = [], [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors.add(given.get("id"))
        if tag == "a":
            self.links.append(given.get("href") or "")
        else:
            self.loads += [v for k, v in attributes if k == "src" or (tag, k) == ("link", "href")]


@pytest.fixture(scope="module")
def read(site):
    """Every page of the site, by its path."""
    return {path: Page(path) for path in site.rglob("*.html")}


def test_nothing_is_loaded_from_elsewhere_and_all_that_is_loaded_is_there(site, read):
    for path, page in read.items():
        for address in map(urlsplit, page.loads):
            assert address.scheme in ("", "data") and not address.netloc, (path, address)  # noqa: PT018
            if address.path and not address.scheme:
                assert (path.parent / unquote(address.path)).is_file(), (path, address)


def test_links_lead_to_pages_and_anchors_that_exist(read):
    for path, page in read.items():
        for link in map(urlsplit, page.links):
            if link.scheme or link.netloc:
                continue
            target = (path.parent / unquote(link.path)).resolve() if link.path else path
            assert target.is_file(), (path, link)
            if link.fragment and target in read:
                assert unquote(link.fragment) in read[target].anchors, (path, link)


@pytest.mark.parametrize("size", SIZES)
def test_pages_open_without_a_network_and_fit_their_window(site, read, chromium, size):
    width, height = SIZES[size]
    context = chromium.new_context(viewport={"width": width, "height": height}, offline=True)
    tab = context.new_page()
    heard = jupyter.listen(tab)
    for path in sorted(read):
        if path == site / "index.html":  # which leads to docs/index.html at once
            continue
        tab.goto(path.as_uri())
        assert tab.evaluate("document.scrollingElement.scrollWidth - innerWidth") <= 0, path
    assert heard.hosts <= {None}  # of file:
    assert not heard.complaints
    context.close()


def test_the_search_finds_a_function_without_a_network(site, chromium):
    context = chromium.new_context(offline=True)
    tab = context.new_page()
    tab.goto(f"{(site / 'search.html').as_uri()}?q=fit_gan")
    tab.wait_for_selector("ul.search li a", timeout=20_000)
    context.close()


def test_equations_are_mathml_and_notebooks_have_their_pictures(read):
    (srgan,) = (path for path in read if path.name == "03_srgan.html")
    assert "<math" in srgan.read_text(encoding="utf-8")
    assert sum("_images/" in address for address in read[srgan].loads) > 2


def test_tables_in_docstrings_are_tables(site):
    text = (site / "docs" / "api" / "statistics.html").read_text(encoding="utf-8")
    assert "<p>not enough data</p>" in text


def test_the_reference_has_names_of_every_room(site):
    for name in ("data.store.prepare", "assess.quality.score.score", "show.images.comparison"):
        page = site / "docs" / "api" / f"{name.split('.')[0]}.html"
        assert f'id="medsr_lib.{name}"' in page.read_text(encoding="utf-8")
