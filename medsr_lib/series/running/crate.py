"""What a run was made from, by sha256, and the run as an RO-Crate that other programs read."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from urllib.parse import quote

from medsr_lib.data import source
from medsr_lib.data.layouts import Options
from medsr_lib.files import sha256
from medsr_lib.series import report
from medsr_lib.series.parameters import dump
from medsr_lib.series.report import Run, Status

NAME = "ro-crate-metadata.json"


def of_files(names: Iterable[str], out: Path, parameters: Mapping[str, object]) -> dict[str, str]:
    """The sha256 of files that the notebooks `names` are given, by the names in their command.

    Those in parameters, as `restore.methods` names them (NAME=net.pt+consistent, NAME=code.py:of),
    and the networks that other notebooks left in `out`.
    """
    found: dict[str, str] = {}
    lists = (v if isinstance(v, list) else [v] for v in parameters.values())
    texts = (v.partition("=")[2] or v for v in chain(*lists) if isinstance(v, str))
    files = [Path(re.sub(r"((?<=\.py):\w+)?(\+consistent)?$", "", text)) for text in texts]
    files += [path for path in sorted(out.glob("*/*.pt")) if path.parent.name not in names]
    for path in files:
        with suppress(OSError, ValueError):  # a text that is no file
            found |= {} if path.stem.endswith("checkpoint") else {path.as_posix(): sha256(path)}
    return found


def of_data(places: Iterable[Path], reading: Options) -> dict[str, str]:
    """The sha256 of the folders of data that are there, by their names: see `source.content`."""
    each = dict.fromkeys(place for place in places if place.exists())
    return {str(place): source.content(place, reading=reading, whole=True) for place in each}


def write(run: Run) -> Path | None:
    """Describe the notebooks that a run has finished, in its `ro-crate-metadata.json`.

    Each is an action: command, parameters, versions, inputs and the files that came out, with their
    sha256. Written by `rocrate`; None without that package.
    """
    try:
        from rocrate.model.contextentity import ContextEntity
        from rocrate.rocrate import ROCrate
    except ImportError:
        return None
    crate = ROCrate()
    crate.name, crate.datePublished, crate.license = run.command, run.created, "not stated"
    crate.description = "A run of medsr_lib"

    def add(kind: str, name: str, **about: str) -> ContextEntity:
        properties = {"@type": kind, "name": name, **about}
        return crate.add(ContextEntity(crate, f"#{quote(name)}", properties))

    tools = [add("SoftwareApplication", k, softwareVersion=v) for k, v in run.versions.items()]
    given = [add("CreativeWork", name, sha256=digest) for name, digest in run.inputs.items()]
    for result in (one for one in run.results if one.status is Status.DONE):
        name = result.notebook
        of = result.parameters.items()
        values = [add("PropertyValue", f"{name}.{k}", value=dump(v)) for k, v in of]
        files = [*sorted((run.folder / name).rglob("*")), run.folder / f"{name}.ipynb"]
        made = [
            crate.add_file(path, path.relative_to(run.folder), properties={"sha256": sha256(path)})
            for path in files
            if path.is_file()
        ]
        about = {"name": result.title, "description": run.command, "endTime": run.created}
        crate.add_action(tools, f"#{name}", [*given, *values], made, properties=about)
    return report.save(run.folder / NAME, crate.metadata.generate())
