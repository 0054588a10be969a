"""README, the pages of docs/ and what they promise."""

import ast
import importlib.util
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from medsr_lib.assess.quality import metrics
from medsr_lib.case import Case
from medsr_lib.data import phantom
from medsr_lib.series import verify

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(ROOT / name / "README.md" for name in ("kaggle", "notebooks", "benchmarks")),
    *sorted(DOCS.glob("**/*.md")),
]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LINK = re.compile(r"""\]\(([^()\s]+)\)|(?:src|href)="([^"]+)\"""")
DOI = re.compile(r"""10\.\d{4,}/[^\s`"\]]+|arXiv[ :]+(\d{4}\.\d{4,5})""")
TERMS = [
    *("HR", "LR", "SR", "PSNR", "SSIM", "MSE", "Dice", "ICC", "CCC", "AUC", "CNR", "GAN", "ESPCN"),
    *("SRGAN", "SRResNet", "TOST", "Holm", "fold", "phantom", "k-space", "d′", "bootstrap", "seed"),
    *("matched", "deficit", "margin", "leakage", "invention", "omission", "contrast", "threshold"),
    *("calibration", "observer", "null band", "non-inferiority", "equivalence", "sensitivity"),
    *("specificity", "checkpoint", "mixed model", "sign-flip", "confidence interval", "p value"),
]


def prose(notebook):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells)


def headings(path):
    """The anchors of a page, as GitHub and MyST make them."""
    text = path.read_text(encoding="utf-8")
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles}


def test_readme_is_short_and_begins_with_the_picture():
    lines = README.splitlines()
    assert len(lines) <= 120
    assert "docs/pictures/hero.png" in "".join(lines[:6])


def test_badges_say_what_the_package_says():
    badges = script("badges")
    said = dict(re.findall(r"!\[(.+?): (.+?)\]\(docs/pictures/badge-", README))
    assert said == badges.texts()
    for left, right in said.items():
        drawn = (DOCS / "pictures" / f"badge-{left.lower()}.svg").read_text(encoding="utf-8")
        assert re.findall(r"<text .*>(.+)</text>", drawn) == [left, right]


def test_the_python_in_readme_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    folder = tmp_path / "data" / "phantom"
    phantom.write_figshare(folder, patients=4, slices_per_patient=2, seed=0, size=96)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert "bicubic" in capsys.readouterr().out


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_exist(path):
    for link in filter(None, sum(LINK.findall(path.read_text(encoding="utf-8")), ())):
        if link.startswith(("http", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_marked_number_does_not_begin_a_line_and_so_break_its_paragraph(path):
    assert re.findall(r"^\s*<!--n:[\w-]+-->\S.*", path.read_text(encoding="utf-8"), re.M) == []


def test_pictures_are_small_and_made_by_the_scripts():
    limits = dict.fromkeys(("hero.png", "page.png", "page_phone.png", "explorer.png"), 300_000)
    limits |= dict.fromkeys(("brain.png", "atlas.png"), 60_000)
    made = [*limits, *(f"{path.name[:2]}.png" for path in NOTEBOOKS)]
    made += [f"badge-{left.lower()}.svg" for left in script("badges").texts()]
    assert {path.name for path in (DOCS / "pictures").iterdir()} == set(made)
    for name in made:
        assert (DOCS / "pictures" / name).stat().st_size <= limits.get(name, 40_000), name


def test_every_notebook_is_listed():
    thumbnails = script("thumbnails")
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        assert f"(notebooks/{path.name})" in README
        assert f"../notebooks/{path.stem}\n" in index
        notebook = json.loads(path.read_text(encoding="utf-8"))
        assert thumbnails.figure(notebook, thumbnails.FIGURES[path.name[:2]]).size[0] > 300


def test_the_glossary_explains_the_terms_that_the_notebooks_use():
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    entries = dict(re.findall(r"^\*\*(.+?)\.\*\* (.+?)(?=\n\n|\Z)", text, re.MULTILINE | re.DOTALL))
    named = " ".join(entries).lower()
    assert [term for term in TERMS if term.lower() not in named] == []
    assert all(len(meaning.split()) < 60 for meaning in entries.values())


def test_references_name_every_paper_that_docstrings_and_notebooks_link():
    listed = (DOCS / "references.md").read_text(encoding="utf-8").lower()
    sources = [*(ROOT / "medsr_lib").rglob("*.py"), DOCS / "protocol.md"]
    texts = [path.read_text(encoding="utf-8") for path in sources] + list(map(prose, NOTEBOOKS))
    cited = {m[1] or m[0].rstrip(".,;:)") for text in texts for m in DOI.finditer(text)}
    assert len(cited) > 50
    assert [link for link in sorted(cited) if link.lower() not in listed] == []


def test_the_reference_documents_every_package():
    pages = "".join(p.read_text(encoding="utf-8") for p in (DOCS / "api").glob("*.md"))
    named = set(re.findall(r"\.\. modules:: (\S+)", pages))
    rooms = {f"medsr_lib.{p.parent.name}" for p in (ROOT / "medsr_lib").glob("*/__init__.py")}
    assert named >= rooms | {"medsr_lib"}
    for line in re.findall(r"\.\. modules:: (\S+ [a-z]+)", pages):  # folders with their own page
        assert line.replace(" ", ".") in named


def test_citation_has_the_keys_that_cff_wants():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["cff-version"] == "1.2.0"
    assert citation.keys() >= {"message", "title", "authors"}
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert all("name" in a or "family-names" in a for a in citation["authors"])
    for reference in citation["references"]:
        assert reference.keys() >= {"type", "title", "authors"}
        assert reference["doi"] in (DOCS / "references.md").read_text(encoding="utf-8")


def test_every_marked_number_is_what_the_kept_rows_give():
    checked = list(verify.verify(ROOT))
    assert len(checked) > 10
    assert [str(c) for c in checked if not c.right] == []


def test_every_kept_table_has_the_record_of_the_command_that_made_it():
    for table in (DOCS / "results").glob("*.csv.gz"):
        record = table.with_name(table.name.replace(".csv.gz", ".json"))
        runs = json.loads(record.read_text(encoding="utf-8"))
        assert runs, table.name
        for run in runs:
            program, *words = run["command"].split()
            assert program in ("medsr", "python"), table.name
            assert ("DATA" in run["inputs"]) == ("DATA" in words), table.name
            assert program == "medsr" or (ROOT / words[0]).is_file(), table.name


def test_every_result_in_readme_is_marked():
    """What has a unit, an interval or three digits after the point was measured, and has an id."""
    findings = README.split("## Four findings")[1].split("\n## ")[0]
    rest = verify.MARKED.sub("", findings)
    assert re.findall(r"\d+\.\d+|\[\S+, \S+\]|\d+ dB", rest) == []
    assert not re.search(r"^ *<!--n:[\w-]+-->\S", README, re.MULTILINE)  # would begin a new block


def test_every_score_in_the_hero_is_computed():
    hero = script("hero")
    hr = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[24:40, 24:40] = True
    erased = torch.where(mask, 0.5, hr)
    restored = {name: (hr * (0.95 - 0.05 * i)) for i, name in enumerate([*hero.SHOWN, "SRResNet"])}
    case = Case("7", "P1", "glioma", hr[0, 0], mask)
    figure = hero.draw(case, hr, erased, restored)
    texts = [a.get_xlabel() for part in figure.subfigs for a in part.axes]
    of_erased = metrics.ssim(erased, hr, data_range=1).item()
    best = metrics.ssim(restored["ESPCN"], hr, data_range=1).item()
    assert texts[1:3] == [f"whole-slice SSIM {x:.3f}" for x in (of_erased, best)]
    of_tumour = metrics.ssim_map(restored["SRGAN"], hr, data_range=1)[0][mask].mean()
    assert texts[-1] == f"SSIM {of_tumour:.3f}"
    source = ast.parse((DOCS / "hero.py").read_text(encoding="utf-8"))
    typed = [n.value for n in ast.walk(source) if isinstance(n, ast.Constant)]
    assert not any(re.search(r"0\.\d{2,}", t) for t in typed if isinstance(t, str))


def script(name):
    """A script of docs/, imported."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_thumbnails_keep_the_whole_width():
    thumbnails = script("thumbnails")
    from PIL import Image

    wide = Image.fromarray(np.full((100, 900), 7, np.uint8))
    small = thumbnails.thumbnail(wide)
    assert small.size == (thumbnails.WIDTH, round(thumbnails.WIDTH / 9))
    assert small.getpixel((310, 10)) == (7, 7, 7)
    with pytest.raises(LookupError, match="no cell saves"):
        thumbnails.figure({"cells": []}, "x.png")
