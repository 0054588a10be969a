"""A notebook as a Kaggle kernel: a folder that the service takes as it is.

Kaggle runs a notebook without parameters, so that they are written into it as papermill would.
Three cells are added and none is changed: the first installs the attached library, one behind the
parameters finds the inputs wherever they are mounted, and the last leaves out what is not output.
"""

import ast
import json
import pprint
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsr_lib.series import clean, run, wheel
from medsr_lib.series.sources import RADIOGRAPHS, SLICES

OWNER = "<owner>"  # filled in from the credentials when it is pushed
LIBRARY = "medsr-lib"
FIGSHARE = "ashkhagan/figshare-brain-tumor-dataset"
CHEST = "paultimothymooney/chest-xray-pneumonia"
GPU = "NvidiaTeslaT4"  # two of them
HOURS = 8.5  # of a session, where a notebook can be told
LIMIT = 12.0  # hours after which Kaggle ends a session, on CPU or GPU
MARGIN = 0.25  # hours from the container's start to the notebook's, and for its output to be kept
KERNEL = "kernel-metadata.json"
DATASET = "dataset-metadata.json"


@dataclass(frozen=True)
class Kind:
    """What a notebook needs on Kaggle."""

    gpu: bool = False
    data: tuple[str, ...] = (FIGSHARE,)
    marker: str = SLICES.marker  # what the data must have in them
    kernels: tuple[str, ...] = ()


KINDS = {
    "01_data_exploration": Kind(),
    "02_espcn": Kind(),
    "03_srgan": Kind(gpu=True),
    "04_regional_ssim": Kind(kernels=(f"{OWNER}/medsr-02-espcn",)),
    "05_chest_xray": Kind(data=(CHEST,), marker=RADIOGRAPHS.marker),
    "06_disease_detection": Kind(
        data=(CHEST,),
        marker=RADIOGRAPHS.marker,
        kernels=(f"{OWNER}/medsr-05-chest-xray",),
    ),
}

INSTALL = """\
# The library, from the attached data set: no network, and torch stays as it is.
import hashlib
import os
import subprocess
import sys
from pathlib import Path

wanted = "{sha256}"
root = Path(os.environ.get("MEDSR_KAGGLE_ROOT", "/kaggle")) / "input"
wheels = sorted(root.rglob("medsr_lib-*.whl"))
same = [w for w in wheels if hashlib.sha256(w.read_bytes()).hexdigest() == wanted]
if not same:
    raise FileNotFoundError(
        f"the library this kernel was built with is not attached; found {{wheels}}. "
        "Push its data set ({library}) as it was built beside the kernel"
    )
pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
subprocess.run([*pip, str(same[0])], check=True)
"""
INPUTS = """\
# The inputs, wherever they are mounted; a session that lacks one ends here.
from medsr_lib.series import session

resume_from = session.begin(
{context}
)
data_dir = session.data_folder({data!r}, marker={marker!r})
out_dir = session.working()
session.bring_networks({notebook!r}, out_dir)
"""
TIDY = """\
# What is made anew by every session is no output.
session.tidy(out_dir)
"""


def build(
    notebook: Path,
    out: Path,
    *,
    parameters: Mapping[str, object] | None = None,
    owner: str = OWNER,
    slug: str | None = None,
    gpu: bool | None = None,
    data: str | None = None,
    kernels: Sequence[str] = (),
    datasets: Sequence[str] = (),
    context: Mapping[str, Any] | None = None,
    docker_image: str | None = None,
    library: str | None = None,
) -> Path:
    """Write a kernel folder `out/<slug>`, and the library's data set `out/medsr-lib` beside it.

    Args:
        notebook: of the series.
        out: folder for both.
        parameters: values for the notebook; `hours` and `processes` are set to what suits Kaggle
            where they are not given.
        owner: of kernel and library; by default a placeholder, which `push` fills in.
        slug: name of the kernel; by default `medsr-` and the notebook's.
        gpu: whether it is given GPUs; by default where the notebook needs them.
        data: the data set, "owner/slug"; by default the one the notebook was made for.
        kernels, datasets: further inputs, "owner/slug".
        context: which session of a chain this is; see `session.begin`.
        docker_image: the image to run in; by default Kaggle's newest.
        library: sha256 of the library's wheel; by default it is packed now.

    Returns:
        The kernel's folder.

    Raises:
        ValueError: an unknown parameter or value, hours beyond Kaggle's limit, or a name that
            Kaggle would not take.
    """
    kind = KINDS.get(notebook.stem, Kind())
    given = _given(notebook, parameters or {})
    slug = slug or slug_of(notebook.stem)
    source = data or kind.data[0]
    context = context or {
        "chain": None,
        "notebook": notebook.stem,
        "parameters": given,
        "session": 1,
        "previous": None,
    }
    kernels = kernels or [k.replace(OWNER, owner) for k in kind.kernels]
    content = metadata(
        f"{owner}/{slug}",
        notebook=f"{notebook.stem}.ipynb",
        gpu=kind.gpu if gpu is None else gpu,
        datasets=[source, f"{owner}/{LIBRARY}", *datasets],
        kernels=kernels,
        docker_image=docker_image,
    )
    check(content)
    sha256 = library or wheel.sha256(library_folder(out / LIBRARY, owner=owner))
    folder = out / slug
    _write(folder / KERNEL, content)
    cells = {
        "install": INSTALL.format(sha256=sha256, library=f"{owner}/{LIBRARY}"),
        "inputs": INPUTS.format(
            context=_indented(context), data=source, marker=kind.marker, notebook=notebook.stem
        ),
    }
    from medsr_lib.series import report

    report.write(folder / notebook.name, clean.text(_kernel(notebook, given, cells)))
    return folder


def library_folder(folder: Path, *, owner: str = OWNER) -> Path:
    """Write the library's data set, its wheel and its metadata, into a folder; return the wheel."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / DATASET, library_metadata(owner))
    return wheel.write(folder)


def library_metadata(owner: str = OWNER) -> dict[str, Any]:
    """The metadata of the library's data set."""
    return dataset_metadata(
        f"{owner}/{LIBRARY}", subtitle="The library of a notebook series on super-resolution"
    )


def dataset_metadata(ref: str, *, subtitle: str) -> dict[str, Any]:
    """The metadata of a data set, checked.

    Raises:
        ValueError: a name that Kaggle would not take.
    """
    slug = ref.rpartition("/")[2]
    if not 6 <= len(slug) <= 50 or slug != slugify(slug):
        raise ValueError(
            f"{slug!r} cannot be the name of a data set: 6 to 50 small letters, digits and hyphens"
        )
    return {
        "id": ref,
        "title": slug.replace("-", " "),
        "subtitle": subtitle,
        "licenses": [{"name": "other"}],  # MIT is not in Kaggle's list
    }


def metadata(
    ref: str,
    *,
    notebook: str,
    gpu: bool,
    datasets: Sequence[str],
    kernels: Sequence[str] = (),
    docker_image: str | None = None,
) -> dict[str, Any]:
    """The metadata of a kernel; all that has a default at Kaggle is stated."""
    return {
        "id": ref,
        "title": ref.rpartition("/")[2].replace("-", " "),
        "code_file": notebook,
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": gpu,
        "enable_tpu": False,
        "enable_internet": False,
        "machine_shape": GPU if gpu else None,
        "dataset_sources": list(datasets),
        "kernel_sources": list(kernels),
        "competition_sources": [],
        "model_sources": [],
        "keywords": [],
        "docker_image": docker_image,
        "docker_image_pinning_type": None,
    }


def check(content: Mapping[str, Any]) -> None:
    """Refuse the metadata of a kernel that Kaggle would refuse, rename, or run without its inputs.

    Raises:
        ValueError: says which rule is broken.
    """
    owner, _, slug = str(content.get("id", "")).partition("/")
    title = str(content.get("title", ""))
    if not owner or not slug:
        raise ValueError(f"id is {content.get('id')!r}; it must be owner/slug")
    if not 5 <= len(title) <= 50:
        raise ValueError(
            f"the title {title!r} has {len(title)} characters; Kaggle takes 5 to 50: give a "
            "shorter --name"
        )
    if slugify(title) != slug:
        raise ValueError(
            f"Kaggle would call a kernel titled {title!r} {slugify(title)!r} and not {slug!r}; "
            "take a name of small letters, digits and hyphens"
        )
    if "enable_internet" not in content or "enable_gpu" not in content:
        raise ValueError("enable_internet and enable_gpu must be stated: Kaggle's defaults differ")
    if content["enable_gpu"] and not content.get("machine_shape"):
        raise ValueError(f"enable_gpu needs machine_shape beside it, for example {GPU!r}")
    for name in ("dataset_sources", "kernel_sources"):
        for source in content.get(name, []):
            if not re.fullmatch(r"[^/\s]+/[^/\s]+", source):
                raise ValueError(f"{name}: {source!r} is not owner/slug")


def context_of(text: str) -> dict[str, Any] | None:
    """Which session the source of a kernel was built for; None of one that was not built here."""
    try:
        cells = json.loads(text)["cells"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return None
    for cell in cells:
        source = "".join(cell.get("source", ""))
        if cell.get("cell_type") == "code" and "session.begin(" in source:
            return _literal(source)
    return None


def slug_of(stem: str) -> str:
    """The name of a notebook's kernel.

    >>> slug_of("03_srgan")
    'medsr-03-srgan'
    """
    return slugify(f"medsr {stem}")


def slugify(title: str) -> str:
    """What Kaggle makes of a title.

    >>> slugify("medsr 03 SRGAN, s01")
    'medsr-03-srgan-s01'
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def check_hours(hours: float, limit: float = LIMIT) -> None:
    """Refuse a session that Kaggle would end before it has saved its output.

    Raises:
        ValueError: the hours are not positive, or too many.
    """
    if not 0 < hours <= limit - MARGIN:
        raise ValueError(
            f"{hours:g} hours: a session ends after {limit:g} h with all its output lost, so that "
            f"its notebook may take more than 0 and at most {limit - MARGIN:g} h"
        )


def templates() -> dict[str, dict[str, Any]]:
    """The metadata that are kept in the folder `kaggle/`, by path."""
    kept = {f"{LIBRARY}/{DATASET}": library_metadata()}
    for stem, kind in KINDS.items():
        kept[f"{stem}/{KERNEL}"] = metadata(
            f"{OWNER}/{slug_of(stem)}",
            notebook=f"{stem}.ipynb",
            gpu=kind.gpu,
            datasets=[*kind.data, f"{OWNER}/{LIBRARY}"],
            kernels=kind.kernels,
        )
    return kept


def write_templates(folder: Path) -> list[Path]:
    """Write them into a folder."""
    return [_write(folder / name, content) for name, content in templates().items()]


def _given(notebook: Path, parameters: Mapping[str, object]) -> dict[str, object]:
    """The parameters that are written into the notebook."""
    given = run.accepted([notebook], parameters)[notebook]
    if "resume_from" in given:
        raise ValueError("resume_from is found where it is mounted; do not give it with -p")
    have = run.parameters_of(notebook)
    suited = {"hours": HOURS, "processes": "auto"}
    given = {name: value for name, value in suited.items() if name in have} | given
    if isinstance(hours := given.get("hours"), int | float):
        check_hours(float(hours))
    return given


def _kernel(notebook: Path, given: Mapping[str, object], cells: Mapping[str, str]) -> Any:
    """The notebook with its parameters and the added cells, without outputs."""
    from papermill.translators import papermill_translators

    found = clean.read(notebook)
    (at,) = [n for n, cell in enumerate(found.cells) if "parameters" in clean.tags(cell)]
    translator = papermill_translators.find_translator("python3", "python")
    injected = _cell("medsr-parameters", translator.codify(dict(given), "Parameters"))
    injected.metadata.tags = [clean.INJECTED]  # as papermill would
    found.cells.insert(at + 1, injected)
    found.cells.insert(at + 2, _cell("medsr-inputs", cells["inputs"]))
    found.cells.insert(0, _cell("medsr-install", cells["install"]))
    found.cells.append(_cell("medsr-tidy", TIDY))
    for cell in found.cells:
        cell.metadata.pop("papermill", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    found.metadata.pop("papermill", None)
    found.metadata.kernelspec = clean.KERNEL
    found.metadata.language_info = clean.LANGUAGE
    return found


def _cell(name: str, source: str) -> Any:
    from nbformat.v4 import new_code_cell

    return new_code_cell(source.rstrip("\n"), id=name)


def _literal(source: str) -> dict[str, Any] | None:
    try:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "session.begin":
                value = ast.literal_eval(node.args[0])
                return value if isinstance(value, dict) else None
    except (SyntaxError, ValueError, IndexError):
        return None
    return None


def _indented(context: Mapping[str, Any]) -> str:
    text = pprint.pformat(dict(context), width=76, sort_dicts=False)
    return "\n".join("    " + line for line in text.splitlines())


def _write(path: Path, content: Mapping[str, Any]) -> Path:
    from medsr_lib.series import report

    return report.write(path, json.dumps(content, indent=1) + "\n")
