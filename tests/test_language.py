"""Wordings that readers had to read twice are kept out of all texts."""

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(ROOT / name / "README.md" for name in ("kaggle", "notebooks", "benchmarks")),
    *sorted((ROOT / "docs").glob("**/*.md")),
]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MODULES = sorted((ROOT / "medsr_lib").rglob("*.py"))
EVERYWHERE = {  # what was found -> what says it better
    r"(told|named) rightly": "correctly classified",
    r"(for|by) want of": "because there is no ...",
    r"profits?\b": "benefits, gains",
    r"(images|contrast|masks|files) that (is|are) none": "invalid",
    r"\bdealt\b|\bdeals? (the |patients|folds|anew|out\b)": "assigned at random, created",
    r"has for nothing": "gets for free",
    r"honest (interval|probabilit)|probabilities honest": "valid, calibrated",
    r"leaves? it true": "stays faithful to the original",
    r"likeness is not appearance": "a high SSIM does not mean that it looks the same",
    r"judge and party": "judge and jury",
    r"without a look at": "without seeing",
    r"\b(\d+|eight) looks\b": "checks, evaluations",
    r"nor too timid": "under-confident",
    r"tell the ill|share that is ill": "separate diseased from normal",
    r"travels badly": "does not transfer to other patients",
    r"where a reviewer finds it": "reviewer's checklist",
    r"gone on from": "resumed",
    r"kept in hand": "reserved",
    r"so that no result is flattered": "so that results are not over-optimistic",
    r"\bin truth\b": "true",
    r"at most so many": "maximum number of",
    r"kills the process costs": "a crash loses",
}
IN_PAGES = EVERYWHERE | {
    r"\btold\b": "given, said, stated",
    r"\bstands? (in the|above|below|beside|twice)\b": "is given in",
    r"\bgiven? away\b|\bgives? away\b": "reveal",
    r"\bmend(s|ed)?\b": "fix, adapt",
    r"made otherwise": "made by a different degradation",
    r"goes on bit for bit": "resumes bit for bit",
    r"\blays? (two|the) runs?\b": "compares",
    r"of before\b": "from an earlier run",
    r"beside other programs": "on a shared machine",
}


def words(text):
    return " ".join(text.split())


def found(texts, wordings):
    """Each wording that occurs: where, in what, and what says it better."""
    any_of_them = re.compile("|".join(wordings), re.IGNORECASE)
    texts = [(place, text) for place, text in texts if any_of_them.search(text)]
    return [
        f"{place}: ...{text[max(0, m.start() - 30) : m.end() + 30]}... -> {better}"
        for place, text in texts
        for wording, better in wordings.items()
        for m in re.finditer(wording, text, re.IGNORECASE)
    ]


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_pages_are_in_plain_english(path):
    wordings = EVERYWHERE if path.name == "protocol.md" else IN_PAGES
    assert not found([(path.name, words(path.read_text(encoding="utf-8")))], wordings)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_in_plain_english(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    prose = [c for c in cells if c["cell_type"] == "markdown"]
    assert not found([(path.name, words("".join(c["source"]))) for c in prose], EVERYWHERE)


def test_docstrings_and_messages_are_in_plain_english():
    texts = [
        (f"{path.relative_to(ROOT)}:{node.lineno}", words(node.value))
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not found(texts, EVERYWHERE)
