"""A notebook as a Kaggle kernel: a folder that the service takes as it is.

Kaggle runs a notebook without parameters, so they are written into it as papermill would. Three
cells are added beside them and none is changed: the first installs the attached library, one behind
the parameters finds the inputs wherever they are mounted, and the last removes what is not output.
"""

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from medsr_lib.files import sha256
from medsr_lib.series import notebook as notebooks
from medsr_lib.series import outputs, report
from medsr_lib.series.kaggle import metadata, wheel
from medsr_lib.series.kaggle.metadata import LIBRARY, OWNER, Needs
from medsr_lib.series.notebook import Notebook
from medsr_lib.series.sessions.context import Context, Kind

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
pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile"]
subprocess.run([*pip, str(same[0])], check=True)"""
INPUTS = """\
# The inputs, wherever they are mounted; a session that lacks one ends here.
from medsr_lib.series.kaggle import mounts

data_dir = mounts.data_folder({data!r}, marker={marker!r})
out_dir = mounts.working()
mounts.bring_networks({notebook!r}, out_dir)"""
CHAIN = """

import json  # which session of a chain this is

chain = json.loads(r'''{context}''')
resume_from = mounts.earlier_session(chain)"""
TIDY = """\
# What is made again by every session is no output.
from medsr_lib.series.sessions import session

session.tidy(out_dir)"""


def build(
    notebook: Notebook,
    out: Path,
    *,
    needs: Needs,
    parameters: Mapping[str, object],
    ref: str,
    context: Context | None = None,
) -> Path:
    """Write a kernel folder, named by its slug, and the library's data set beside it.

    Args:
        notebook: of the series.
        out: folder for both.
        needs: of the notebook; `metadata.NEEDS` has those of the series.
        parameters: values for the notebook; `hours` and `processes` are set to what suits Kaggle
            where they are not given.
        ref: "owner/slug" of the kernel; the owner `metadata.OWNER` is filled in when it is pushed.
        context: of a session of a chain, whose image and library are used and whose input is
            attached; None for Kaggle's newest image, and a library that is packed now.

    Returns:
        The kernel's folder.

    Raises:
        ValueError: an unknown parameter or value, hours beyond Kaggle's limit, or a name that
            Kaggle would not take.
    """
    given = _given(notebook, parameters)
    owner, _, slug = ref.partition("/")
    library = f"{owner}/{LIBRARY}"
    datasets = [library]
    needs = replace(needs, kernels=tuple(name.replace(OWNER, owner) for name in needs.kernels))
    image = wanted = None
    if context:
        image, wanted = context.docker_image, context.plan.wheel
        if context.previous and context.previous.kind is Kind.NOTEBOOKS:
            needs = replace(needs, kernels=(context.previous.source,))
        elif context.previous:
            datasets.append(context.previous.source)
    name = notebook.path.name
    content = metadata.of_kernel(
        ref, notebook=name, needs=needs, datasets=datasets, docker_image=image
    )
    metadata.check(content)
    wanted = wanted or sha256(library_folder(out / LIBRARY, owner=owner))
    install = INSTALL.format(sha256=wanted, library=library)
    inputs = INPUTS.format(data=needs.data, marker=needs.marker, notebook=notebook.name)
    if context:
        values = json.dumps(context.values(), indent=1).replace("'", "\\u0027")
        inputs += CHAIN.format(context=values)
    folder = out / slug
    report.save(folder / metadata.KERNEL, content)
    report.write(folder / name, outputs.text(_kernel(notebook, given, install, inputs)))
    return folder


def library_folder(folder: Path, *, owner: str) -> Path:
    """Write the library's data set, its wheel and its metadata, into a folder; return the wheel."""
    report.save(folder / metadata.DATASET, metadata.of_dataset(f"{owner}/{LIBRARY}"))
    return wheel.write(folder)


def context_of(text: str) -> Context | None:
    """Which session the source of a kernel was built for; None if it is not of a chain."""
    try:
        after = [source.partition("\nchain = json.loads(r'''")[2] for source in cells(text)]
        found = [rest.rpartition("''')")[0] for rest in after]
        return next((Context.of(json.loads(one)) for one in found if one), None)
    except ValueError:
        return None


def cells(text: str) -> list[str]:
    """The sources of a notebook's cells, the service may change the rest; none of other text."""
    try:
        return ["".join(cell["source"]) for cell in json.loads(text)["cells"]]
    except (ValueError, KeyError, TypeError):
        return []


def _given(notebook: Notebook, parameters: Mapping[str, object]) -> dict[str, object]:
    """The parameters that are written into the notebook."""
    given = notebooks.accepted([notebook], parameters)[notebook.name]
    for name in ("resume_from", "chain"):
        if name in given:
            raise ValueError(f"{name} is set where the kernel runs; do not give it with -p")
    suited = {"hours": metadata.HOURS, "processes": "auto"}
    given = {name: value for name, value in suited.items() if name in notebook.parameters} | given
    if isinstance(hours := given.get("hours"), int | float):
        metadata.check_hours(float(hours), metadata.LIMIT)
    return given


def _kernel(notebook: Notebook, given: Mapping[str, object], install: str, inputs: str) -> Any:
    """The notebook with its parameters and the added cells, without outputs."""
    from nbformat.v4 import new_code_cell
    from papermill.translators import papermill_translators

    content = copy.deepcopy(notebook.content)
    (at,) = [n for n, cell in enumerate(content.cells) if "parameters" in notebooks.tags(cell)]
    translator = papermill_translators.find_translator("python3", "python")
    values = translator.codify(dict(given), "Parameters").rstrip("\n")
    injected = new_code_cell(values, id="medsr-parameters")
    injected.metadata.tags = [notebooks.INJECTED]  # as papermill would
    content.cells[at + 1 : at + 1] = [injected, new_code_cell(inputs, id="medsr-inputs")]
    content.cells.insert(0, new_code_cell(install, id="medsr-install"))
    content.cells.append(new_code_cell(TIDY, id="medsr-tidy"))
    for cell in content.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return outputs.neutral(content)
