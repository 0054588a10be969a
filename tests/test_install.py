"""`pip install .` alone: what scores works with the core packages, in a fresh environment."""

import os
import re
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
USE = """
import importlib.util
import torch
from medsr_lib.assess import psnr, regions, score, ssim
from medsr_lib.case import Case
from medsr_lib.restore import degrade, methods
for extra in ("matplotlib", "ipywidgets", "papermill", "psutil", "pooch"):
    assert importlib.util.find_spec(extra) is None, extra
image = torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
mask = torch.zeros(64, 64, dtype=torch.bool)
mask[20:40, 20:40] = True
case = Case("1", "P1", "glioma", image, mask)
to_lr = degrade.by_name("bicubic", scale=2)
table = score(
    methods.find(["bicubic"], scale=2), [case], degrade=to_lr, scale=2, device="cpu",
)
whole = table.set_index("region").loc["whole"]
sr = methods.find(["bicubic"], scale=2)["bicubic"](to_lr(image[None, None]))
assert abs(whole["psnr"] - psnr(sr, image[None, None], data_range=1).item()) < 1e-3
assert abs(whole["ssim"] - ssim(sr, image[None, None], data_range=1).item()) < 1e-5
assert regions(image, mask)["tumour"].sum() == 400
"""


def needed(name, seen):
    """The distributions that one of a name asks for, itself included, without extras."""
    name = re.sub(r"[-_.]+", "-", name).lower()
    if name in seen:
        return
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:  # for another platform or version of Python
        return
    seen[name] = found
    for line in found.requires or ():
        if "extra ==" not in line:
            needed(re.match(r"[\w.-]+", line)[0], seen)


@pytest.fixture
def fresh(tmp_path):
    """Python of an environment with `pip install .` and what that asks for, and nothing else.

    The packages are linked from this environment, which has them, in place of being fetched.
    """
    venv.create(tmp_path / "venv", symlinks=os.name == "posix")
    python = next((tmp_path / "venv").glob("[bS]*/python*"))
    site = next((tmp_path / "venv").rglob("site-packages"))
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    pip.append("--no-compile")
    source = tmp_path / "source"
    source.mkdir()
    for name in ("medsr_lib", "pyproject.toml", "README.md", "LICENSE"):
        (source / name).symlink_to(ROOT / name)
    subprocess.run([*pip, "--target", site, "."], cwd=source, check=True)
    asked = {}
    for line in next(site.glob("medsr_lib-*/METADATA")).read_text().splitlines():
        if line.startswith("Requires-Dist:") and "extra ==" not in line:
            needed(re.match(r"Requires-Dist: ([\w.-]+)", line)[1], asked)
    for distribution in asked.values():
        for file in distribution.files or ():
            top = file.parts[0]
            if top != ".." and not (site / top).exists():
                (site / top).symlink_to(distribution.locate_file(top))
    return python


def test_what_scores_needs_the_core_packages_alone(fresh):
    done = subprocess.run([fresh, "-I", "-c", USE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
