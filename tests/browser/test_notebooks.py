"""Every notebook in JupyterLab: all cells, and every control by mouse and by keyboard."""

from functools import partial

import pytest
from browser import accessible, jupyter
from browser.controls import NO_PICTURE, explorers

from medsr_lib.series import notebook as notebooks

pytestmark = pytest.mark.browser

FOUND = notebooks.find([])
SHOWN = {one.name: one.path.read_text(encoding="utf-8").count('"explore.') for one in FOUND}
SHOWN |= {jupyter.MONITOR: 1}
NAMES = [*SHOWN]
NETWORK_OF = dict.fromkeys(["04_regional_ssim", "05_appearance", "06_decisions"], "02_espcn")
PLACES = ((0.3, 0.6), (0.2, 0.35), (0.7, 0.4))  # in a picture: parts of its width and height
OF_IPYWIDGETS = (  # which offers no way to name these two; their labels and notes stand beside
    ("aria-input-field-name", '<div class="noUi-handle '),
    ("image-alt", '<img class="lm-Widget jupyter-widgets widget-image"'),
)
ALIKE = {"04_regional_ssim": 1, "08_chest_xray": 2}
"""How many explorers of a notebook, the last ones, are like those of 01 and 02: mouse only."""
WITH_EXPLORERS = [name for name, count in SHOWN.items() if count]


@pytest.fixture(scope="module")
def notebook(request, lab, chromium):
    """A notebook of which all cells have run, after the one whose network it needs."""
    before = NETWORK_OF.get(request.param)
    if before and not (lab.root / "runs/lab/phantom" / before / "results.json").exists():
        with jupyter.opened(lab, chromium, before):
            pass
    with jupyter.opened(lab, chromium, request.param) as opened:
        yield opened


def every(names):
    return pytest.mark.parametrize("notebook", names, indirect=True, scope="module")


@every(NAMES)
def test_every_cell_runs_without_an_error(notebook):
    print(f"{notebook.name}: {notebook.seconds:.1f} s")
    cells = notebook.lab.code_cells(notebook.name)
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [o["evalue"] for o in outputs if o["output_type"] == "error"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert "Traceback" not in notebook.page.locator(".jp-Notebook").text_content()


@every(WITH_EXPLORERS)
@pytest.mark.parametrize("way", ["by_mouse", "by_keyboard"])
def test_every_control_changes_the_picture(notebook, way):
    found = explorers(notebook.page)
    assert len(found) == SHOWN[notebook.name]
    if way == "by_keyboard":
        found = found[: len(found) - ALIKE.get(notebook.name, 0)]
    for explorer in found:
        explorer.enter()
        for control in explorer.controls:
            explorer.prepare(control)
            if not control.movable or control.label.startswith(tuple(NO_PICTURE)):
                print("not moved:", control.label)
                continue
            for _ in range(2 if control.kind == "checkbox" else 1):  # and back again
                seconds = explorer.seconds_to_change(getattr(control, way))
                assert seconds is not None, f"{control.label} {way}"
            print(f"{control.label} {way}: {seconds:.2f} s")


@every(WITH_EXPLORERS)
def test_the_mouse_over_a_picture_tells_what_is_there(notebook):
    for explorer in explorers(notebook.page):
        for place in PLACES:
            point = partial(explorer.point_at, *place)
            assert explorer.seconds_to_change(point, look=explorer.text) is not None


@every(WITH_EXPLORERS)
@pytest.mark.parametrize("deed", ["click", "drag"])
def test_the_mouse_in_a_picture_does_what_is_said_beneath(notebook, deed):
    for explorer in explorers(notebook.page):
        if deed in explorer.text():
            deeds = (partial(getattr(explorer, deed), *at) for at in PLACES)
            assert any(explorer.seconds_to_change(each) is not None for each in deeds)


@every(WITH_EXPLORERS)
def test_contrast_and_labels_of_explorers_are_as_wcag_wants_them(notebook):
    within = ".jp-CodeCell:has(img.widget-image) .jp-Cell-outputArea"
    assert not accessible.violations(notebook.page, within, but=OF_IPYWIDGETS)


@every(NAMES)
def test_nothing_is_asked_of_others_and_nothing_complains(notebook):
    assert notebook.heard.hosts == {"127.0.0.1"}
    assert not notebook.heard.complaints
