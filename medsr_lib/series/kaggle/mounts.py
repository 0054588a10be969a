"""Inside a kernel: its inputs, wherever they are mounted.

Mounts are `input/datasets/<owner>/<slug>`, `input/notebooks/<owner>/<slug>`, and the older flat
`input/<slug>`. They are read-only.
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medsr_lib.series import report
from medsr_lib.series.sessions import state as states
from medsr_lib.series.sessions.context import Context, Kind

ROOT = "MEDSR_KAGGLE_ROOT"  # set in tests; /kaggle where it is not
SLICES = tuple(path.as_posix() for path in report.trained("").values())
NETWORKS = {  # the files that a notebook reads from the output of others
    "03_srgan": SLICES[:1],
    "04_regional_ssim": SLICES,
    "05_appearance": SLICES,
    "06_decisions": SLICES,
    "09_disease_detection": (
        "08_chest_xray/autoencoder.pt",
        "08_chest_xray/espcn_x2.pt",
        "08_chest_xray/espcn_x4.pt",
        "08_chest_xray/srresnet_x2.pt",
        "08_chest_xray/srresnet_x4.pt",
    ),
}


def working() -> str:
    """The folder whose content is a kernel's output."""
    return str(_inputs().with_name("working"))


def data_folder(source: str, *, marker: str) -> str:
    """The mounted folder of the data set "owner/slug", which has `marker` in it; see `find`."""
    parts = find(marker, source, kind=Kind.DATASETS).relative_to(_inputs()).parts
    slug = source.rpartition("/")[2].lower()
    depth = [part.lower() for part in parts].index(slug) + 1
    return str(_inputs().joinpath(*parts[:depth]))


def earlier_session(chain: Mapping[str, Any]) -> str | None:
    """The folder that a session of a chain resumes from (see `find`); None in a first one."""
    previous = Context.of(chain).previous
    if previous is None:
        return None
    return str(find(states.NAME, previous.source, kind=previous.kind).parent)


def bring_networks(notebook: str, out_dir: str) -> list[str]:
    """Copy what other notebooks have trained, where their output is mounted, to `out_dir`.

    Returns:
        The files that were found.

    Raises:
        ValueError: one of them is there several times.
    """
    brought = []
    for name in NETWORKS.get(notebook, ()):
        found = _distinct(_inputs().rglob(name))
        if len(found) > 1:
            listed = ", ".join(str(path.relative_to(_inputs())) for path in found)
            raise ValueError(f"{name} is mounted several times: {listed}; detach all but one")
        for path in found:
            target = Path(out_dir) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            brought.append(name)
    return brought


def find(marker: str, source: str, *, kind: Kind) -> Path:
    """The one file or folder `marker` (a pattern) in what is mounted of `source`, in any layout.

    Where `marker` names folders, a second copy of the tree inside the first one is passed over, as
    is what lies in `__MACOSX`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are several.
    """
    found = _outermost(_matches(marker, source, kind), marker)
    if not found:
        raise FileNotFoundError(
            f"{source}: no {marker} below {_inputs()}, where there is {_listing()}. "
            f"Attach {source} to this kernel as one of its {kind}, and start it again"
        )
    if len(found) > 1:
        listed = ", ".join(str(path.relative_to(_inputs())) for path in found[:5])
        raise ValueError(
            f"{source}: {len(found)} files {marker} below {_inputs()}: {listed}. It is not clear "
            "which is meant: detach what is not needed, and start the kernel again"
        )
    return found[0]


def _inputs() -> Path:
    return Path(os.environ.get(ROOT, "/kaggle"), "input")


def _matches(marker: str, source: str, kind: Kind) -> list[Path]:
    base = _inputs()
    owner, _, slug = source.lower().rpartition("/")
    found = []
    for path in base.rglob(marker):
        parts = [part.lower() for part in path.relative_to(base).parts[:-1]]
        if slug not in parts or "__macosx" in parts:
            continue
        above = parts[: parts.index(slug)]
        if above[:1] in (["datasets"], ["notebooks"]) and (above[0] != kind or owner not in above):
            continue
        found.append(path)
    return _distinct(found)


def _outermost(paths: list[Path], marker: str) -> list[Path]:
    """Without the copies of a tree that lie inside of it."""
    depth = len(Path(marker).parts)
    if depth == 1:
        return paths
    roots = {path: path.parents[depth - 1] for path in paths}
    return [
        path
        for path, root in roots.items()
        if not any(other in root.parents for other in roots.values())
    ]


def _distinct(paths: Iterable[Path]) -> list[Path]:
    """The same file under two layouts is one."""
    return sorted({path.resolve(): path for path in sorted(paths, reverse=True)}.values())


def _listing() -> str:
    """What is mounted, for an error."""
    base = _inputs()
    folders = [p for p in base.glob("*") if p.name not in ("datasets", "notebooks")]
    folders += [*base.glob("datasets/*/*"), *base.glob("notebooks/*/*")]
    names = sorted(str(p.relative_to(base)) for p in folders)
    return ", ".join(names[:20]) or "nothing"
