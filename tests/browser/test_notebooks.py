"""Notebooks in JupyterLab. Those with explorers are run once: all cells, every control, the keys of
the viewer. The others, which `tests/test_notebooks.py` runs, are shown with their kept outputs.
"""

from functools import partial

import pytest
from browser import accessible, jupyter
from browser.controls import EVERY, NO_PICTURE, explorers

from medsr_lib.series import notebook as notebooks

pytestmark = pytest.mark.browser

EXPLORERS = {of.name: n for of in notebooks.find([]) if (n := jupyter.explorers_of(of))}
EXPLORERS |= {jupyter.MONITOR: 1}
KEPT = [of.name for of in notebooks.find([]) if of.name not in EXPLORERS]
NETWORK_OF = {"04_regional_ssim": "02_espcn"}
ALIKE = {"04_regional_ssim": 1, "08_chest_xray": 2}
"""How many explorers of a notebook, the last ones, are like those of 01 and 02: mouse only."""
KEYS, KEYS_OF_METHODS = ("ArrowUp", "b", "+", "0"), ("d", "d", "2", "1")
"""Of the viewer; JupyterLab would delete a cell for two d, and insert one for b."""


@pytest.fixture(scope="module")
def notebook(request, lab):
    """A notebook of which all cells have run, after the one whose network it needs."""
    before = NETWORK_OF.get(request.param)
    if before and not (lab.root / "runs/lab/phantom" / before / "results.json").exists():
        with jupyter.opened(lab, before):
            pass
    with jupyter.opened(lab, request.param) as opened:
        yield opened


def every(names):
    return pytest.mark.parametrize("notebook", names, indirect=True, scope="module")


@every(EXPLORERS)
def test_every_cell_runs_without_an_error(notebook):
    print(f"{notebook.name}: {notebook.seconds:.1f} s")
    cells = notebook.lab.code_cells(notebook.name)
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [o["evalue"] for o in outputs if o["output_type"] == "error"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert "Traceback" not in notebook.page.locator(".jp-Notebook").text_content()


@every(EXPLORERS)
def test_contrast_and_labels_of_explorers_are_as_wcag_wants_them(notebook):
    within = f".jp-CodeCell:has({EVERY}) .jp-Cell-outputArea"
    assert not accessible.violations(notebook.page, within)


@every(EXPLORERS)
@pytest.mark.parametrize("way", ["by_mouse", "by_keyboard"])
def test_every_control_changes_the_picture(notebook, way):
    found = explorers(notebook.page)
    assert len(found) == EXPLORERS[notebook.name]
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


@every(EXPLORERS)
def test_the_viewer_answers_without_the_kernel_and_keeps_its_keys(notebook):
    cells = notebook.page.locator(".jp-Cell").count()
    for explorer in explorers(notebook.page):
        if explorer.has_viewer:
            explorer.stage.focus()
            sent = notebook.heard.sent
            methods = explorer.cell.get_by_role("button", name="Curtain").count()
            for key in KEYS + KEYS_OF_METHODS * methods:
                press = partial(notebook.page.keyboard.press, key)
                assert explorer.seconds_to_change(press) is not None, key
            assert notebook.heard.sent == sent
    assert notebook.page.locator(".jp-Cell").count() == cells


@every(EXPLORERS)
def test_nothing_is_asked_of_others_and_nothing_complains(notebook):
    assert notebook.heard.hosts == {"127.0.0.1"}
    assert not notebook.heard.complaints


@pytest.mark.parametrize("name", KEPT)
def test_kept_outputs_are_shown_without_asking_others(lab, name):
    with jupyter.opened(lab, name, run=False) as opened:
        opened.page.locator(".jp-OutputArea-output img").first.wait_for()
        assert "Traceback" not in opened.page.locator(".jp-Notebook").text_content()
        assert opened.heard.hosts == {"127.0.0.1"}
        assert not opened.heard.complaints
