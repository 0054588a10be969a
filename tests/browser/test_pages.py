"""The pages of a run, a comparison and a sweep, opened from disk with the network cut."""

import re
import shutil

import pytest
from browser import accessible, jupyter
from nbformat.v4 import new_code_cell
from PIL import Image

from medsr_lib.data import phantom
from medsr_lib.series import compare, outputs, report, sweep
from medsr_lib.series import notebook as notebooks
from medsr_lib.series.pages import index, page
from medsr_lib.series.report import Run, Status

pytestmark = pytest.mark.browser

LOOKS = {"desktop": (1280, 900, "light"), "phone": (390, 844, "dark")}
NOTEBOOKS = notebooks.find([])
VERDICTS = ("harms", "no harm shown", "not inferior within margin", "not enough data")
RECORD = """from pathlib import Path
from PIL import Image
from medsr_lib.series import report
folder = Path(out_dir) / "02_espcn"
methods = ["nearest", "bicubic", "lanczos", "zero_fill", "linear", "ESPCN"]
rows = [f"{n},P{n // 2},{m},whole,{9000 + n},{30 + n / 10 + k * (1 + n / 9)},{0.9 + k / 100}"
        for n in range(8) for k, m in enumerate(methods)]
header = "id,patient,method,region,pixels,psnr,ssim"
(folder / "scores.csv").write_text("\\n".join([header, *rows]))
for name in ("curves.png", "comparison.png"):
    Image.new("RGB", (1600, 700), "grey").save(folder / name)
gain = {"value": 0.8123, "low": 0.2, "high": 1.4, "p": 0.03, "patients": 4, "cases": 8}
table = [{"method": m, "psnr": 30.25 + k, "ssim": 0.9, "psnr_min": 30.125, "psnr_max": 31.5,
          "cases": 8, "patients": 4} for k, m in enumerate(methods)]
values = {"gain_psnr_over_bicubic": gain, "table": table, "slices": 8, "patients": 4,
          "done": True, "weights": {"espcn": "0123456789abcdef" * 4},
          "milliseconds": {"ESPCN": 1.5}}
_ = report.record(folder, values, {"curves.png": "Training and validation of ESPCN",
                                   "comparison.png": "Slice 7: LR, interpolation, ESPCN, HR"})"""
PAGES = ["index", "sweep", "compare", *(notebook.name for notebook in NOTEBOOKS)]


def judged(out):
    """The index of a run in which another notebook has come to every verdict, and then failed."""
    numbers = {"value": -0.02, "low": -0.05, "high": 0.01, "margin": 0.01, "patients": 20}
    verdicts = [
        numbers | {"method": "ESPCN", "metric": "ssim", "words": words, "reason": "The interval."}
        for words in VERDICTS
    ]
    name = "04_regional_ssim"
    values = {"slices": 40, "patients": 20, "verdicts": verdicts}
    (out / name).mkdir()
    for file, size in {"slide.png": (1333, 750), "slide_upright.png": (510, 1080)}.items():
        Image.new("RGB", size, "white").save(out / name / file)
    report.record(out / name, values, {"slide.png": "Slice 7 on one page"})
    failed = report.Result(
        name, Status.FAILED, error="ValueError: too few", cell=3, source="x = 1", seconds=3.0,
        parameters={"scale": 2}, record=report.load_record(out / name), page=out / f"{name}.html",
    )  # fmt: skip
    return index.write(Run(out, [*report.read_run(out).results, failed], data=["slices"]))


def without_training(folder):
    """A folder with notebook 02, which trains nothing: one cell records what its cells would."""
    (espcn,) = notebooks.find(["02"])
    content = espcn.content
    kept = [c for c in content.cells if c.cell_type != "code" or "parameters" in notebooks.tags(c)]
    content.cells = [*kept, new_code_cell(RECORD, id="record")]
    folder.mkdir()
    (folder / espcn.path.name).write_text(outputs.text(content), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page of each kind, by name: of small runs, and of the notebooks as they are kept."""
    root = tmp_path_factory.mktemp("pages")
    data, grid, folder = root / "data", root / "grid", without_training(root / "notebooks")
    phantom.write_figshare(data, patients=3, slices_per_patient=1, seed=1, size=128)
    (point,) = sweep.sweep(["02"], [{"scale": 2}], data=[data], out=grid, folder=folder)
    a, b = point.folder, root / "b"
    shutil.copytree(a, b)  # one run stands for two: pages are looked at, not numbers
    about = (b / report.RUN).read_text(encoding="utf-8")
    assert '"scale": 2' in about
    (b / report.RUN).write_text(about.replace('"scale": 2', '"scale": 4'), encoding="utf-8")
    compared = compare.write(compare.compare(a, b, seed=0), root / "compare.html")
    found = {"index": judged(a), "sweep": grid / "index.html", "compare": compared}
    for notebook in NOTEBOOKS:
        found[notebook.name] = page.write(notebook, root / f"{notebook.name}.html")
    return found


@pytest.fixture(scope="module", params=LOOKS)
def tab(request, chromium):
    """A tab without a network: light on a desktop, dark on a phone."""
    width, height, colours = LOOKS[request.param]
    size = {"width": width, "height": height}
    context = chromium.new_context(color_scheme=colours, viewport=size)
    context.set_offline(True)
    yield context.new_page()
    context.close()


UNFOLD = "s => document.querySelectorAll(s).forEach(d => { d.open = true; })"


@pytest.fixture(scope="module", params=PAGES)
def shown(request, pages, tab):
    """A page with what is folded unfolded, its address, and what it has asked for."""
    page, here = tab.context.new_page(), pages[request.param].as_uri()
    heard = jupyter.listen(page)
    page.goto(here)
    page.evaluate(UNFOLD, "details")
    yield page, here, heard
    page.close()


def test_a_page_needs_no_network_and_fits_its_window(shown):
    page, _, heard = shown
    assert heard.hosts <= {None}  # of file:
    assert not heard.complaints
    assert page.evaluate("document.scrollingElement.scrollWidth - innerWidth") <= 0


def test_pictures_are_shown_and_described_and_links_lead_somewhere(shown):
    page, here, _ = shown
    page.evaluate("document.querySelectorAll('img').forEach(i => { i.loading = 'eager'; })")
    page.wait_for_function("[...document.images].every(i => i.complete)")
    assert page.evaluate("[...document.images].every(i => i.naturalWidth && i.alt.trim())")
    links = page.locator("a[href]").evaluate_all("all => all.map(a => a.href)")
    anchors = {link.removeprefix(f"{here}#") for link in links if link.startswith(f"{here}#")}
    assert anchors <= set(page.locator("[id]").evaluate_all("all => all.map(e => e.id)"))


def test_the_first_column_of_a_wide_table_stays_beside_what_is_scrolled(shown):
    page, *_ = shown
    moved = page.evaluate(
        """[...document.querySelectorAll('.scroll, .output_html')]
        .filter(f => f.scrollWidth > f.clientWidth + 60 && f.querySelector('tbody th'))
        .map(f => { f.scrollLeft = 50; const cell = f.querySelector('tbody th');
          return cell.getBoundingClientRect().left - f.getBoundingClientRect().left; })"""
    )
    assert all(abs(left) < 2 for left in moved)


@pytest.mark.parametrize("name", PAGES)
def test_contrast_and_labels_are_as_wcag_wants_them(pages, tab, name):
    if name[0].isdigit() and tab.viewport_size["width"] > 1000:
        pytest.skip("axe takes seconds for a notebook, which is looked at on the phone")
    tab.goto(pages[name].as_uri())
    tab.evaluate(UNFOLD, ".data, .toc details, #cell-1 .code")  # one stands for all code
    assert not accessible.violations(tab)


def test_the_first_screen_holds_data_answer_numbers_and_on_a_desktop_the_slide(pages, tab):
    tab.goto(pages["index"].as_uri())
    width, height = tab.viewport_size["width"], tab.viewport_size["height"]
    last = ".first figure" if width > 1000 else ".numbers > :last-child"
    for what in (".of", ".answer", ".numbers > :first-child", last):
        box = tab.locator(what).first.bounding_box()
        assert box["y"] + box["height"] <= height, what
    assert tab.locator(".first figure").bounding_box()["y"] < height  # a phone shows its top


def test_the_slide_is_upright_on_a_phone(pages, tab):
    tab.goto(pages["index"].as_uri())
    image = tab.locator(".first figure img")
    shown = image.evaluate("async i => (await i.decode(), i.currentSrc.split('/').pop())")
    phone = tab.viewport_size["width"] < 1000
    assert shown == ("slide_upright.png" if phone else "slide.png")
    tab.locator("button.zoom").first.click()
    large = tab.locator("dialog img").evaluate("i => i.currentSrc.split('/').pop()")
    assert large == shown
    tab.keyboard.press("Escape")


def test_a_table_is_as_wide_as_a_phone_with_headings_beside_the_values(shown):
    page, *_ = shown
    if page.viewport_size["width"] > 1000:
        pytest.skip("there is room")
    page.wait_for_timeout(100)  # tables are measured after they are unfolded
    wide = page.evaluate(
        """[...document.querySelectorAll('.scroll, .output_html')]
        .filter(f => f.scrollWidth > f.clientWidth + 1)
        .map(f => f.textContent.trim().slice(0, 99))"""
    )
    assert not wide
    heads = page.evaluate(
        """[...document.querySelectorAll('.stacked td[data-head]')]
        .map(c => getComputedStyle(c, '::before').content)"""
    )
    assert all(len(head) > 2 for head in heads)


def test_a_figure_is_enlarged_by_a_tap_and_by_the_keyboard(pages, tab):
    tab.goto(pages["index"].as_uri())
    button = tab.locator("button.zoom").first
    button.focus()
    tab.keyboard.press("Enter")
    large = tab.locator("dialog img")
    large.evaluate("i => i.decode()")
    assert large.is_visible()
    whole = min(large.evaluate("i => i.naturalWidth"), 0.9 * tab.viewport_size["width"])
    assert large.bounding_box()["width"] >= max(whole, button.bounding_box()["width"] + 1)
    assert not accessible.violations(tab, "dialog")
    tab.keyboard.press("Escape")
    tab.locator("dialog").wait_for(state="detached")
    button.click()
    large.click()
    tab.locator("dialog").wait_for(state="detached")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_prints_without_what_only_a_screen_needs(pages, chromium, name):
    page = chromium.new_page()
    page.goto(pages[name].as_uri())
    page.emulate_media(media="print")
    unwanted = ".bar, .toc, .skip, .facts a, button:not(.zoom)"
    assert not page.locator(unwanted).filter(visible=True).count()
    sheets = re.findall(rb"/Type */Page\b", page.pdf(prefer_css_page_size=True))
    assert 1 <= len(sheets) <= 40
    page.context.close()
