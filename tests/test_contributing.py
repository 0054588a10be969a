"""What CONTRIBUTING.md says is done here, word by word, in a copy of the library."""

import re
import shutil
from pathlib import Path

import apart
import pytest

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"`(medsr_lib/[\w/]+\.py)`:\n\n```(python|diff)\n(.*?)```", re.DOTALL)
HERE = """
import medsr_lib, os
assert os.path.samefile(medsr_lib.__path__[0], "medsr_lib")
"""
USES = {
    "A data set": """
from pathlib import Path
import numpy as np
from PIL import Image
from medsr_lib.data import source, store
for patient in ("P1", "P2"):
    Path("lungs", patient).mkdir(parents=True)
    grey = np.random.default_rng(len(patient)).integers(0, 255, (20, 30)) + int(patient[1])
    Image.fromarray(grey.astype(np.uint8)).save(f"lungs/{patient}/nodule_{patient}.png")
table = source.index("lungs")
assert table["patient"].tolist() == ["P1", "P2"], table
assert set(table["label"]) == {"nodule"}
assert source.of("lungs").name == "lung images"
assert [case.patient for case in store.prepare("lungs", "lungs.h5")] == ["P1", "P2"]
""",
    "A method": """
import torch
from medsr_lib.restore import methods
found = methods.find(["bicubic", "crisp=sharpened:0.5", "same=sharpened:0"], scale=2)
lr = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))
bicubic, crisp, same = (found[name](lr) for name in ("bicubic", "crisp", "same"))
assert torch.equal(bicubic, same)
assert crisp.std() > bicubic.std()
""",
    "A measure": """
import torch
from medsr_lib.assess import score
from medsr_lib.case import Case
y = torch.linspace(0, 1, 32).repeat(32, 1)
table = score(
    {"same": lambda lr: lr, "halved": lambda lr: lr / 2}, [Case("1", "P1", "", y)],
    degrade=lambda hr: hr, scale=1, metrics=["psnr", "gradients"], device="cpu",
)
same, halved = table["gradients"]
assert same == 0
assert abs(halved - 0.5 / 31) < 1e-6
""",
}


def section(title):
    return GUIDE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def follow(text, library):
    """Write the new files and change the lines that a section of the guide says."""
    for place, kind, content in BLOCK.findall(text):
        path = library.parent / place
        if kind == "python":
            assert not path.exists()
            path.write_text(content, encoding="utf-8")
            continue
        code = path.read_text(encoding="utf-8")
        for removed, added in re.findall(r"^-(.*\n)((?:\+.*\n)+)", content, re.MULTILINE):
            old, new = removed.rstrip("\n"), re.sub(r"^\+", "", added, flags=re.MULTILINE)
            assert code.count(old) == 1, f"{place} has {old!r} {code.count(old)} times"
            code = code.replace(old, new.rstrip("\n"))
        path.write_text(code, encoding="utf-8")


@pytest.mark.parametrize("title", USES)
def test_what_the_guide_says_is_enough(title, tmp_path):
    compiled = shutil.ignore_patterns("__pycache__")  # other tests may be writing there
    shutil.copytree(ROOT / "medsr_lib", tmp_path / "medsr_lib", ignore=compiled)
    follow(section(title), tmp_path / "medsr_lib")
    assert not apart.run(HERE + USES[title], folder=tmp_path).error
