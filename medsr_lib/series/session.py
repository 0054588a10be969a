"""Inside a session: its inputs, wherever they are mounted, and what it leaves for the next one.

A notebook calls `resume` when it begins and `record` when it ends. Run by itself it needs no more.
In a chain, whoever starts the session tells in the environment variable `MEDSR_SESSION` which one
it is and what it must go on from; on Kaggle a cell of the built notebook does that, with `begin`.
"""

import json
import os
import shutil
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from medsr_lib.series import state as chain_state
from medsr_lib.series.state import State

if TYPE_CHECKING:
    from medsr_lib.restore.training.fit import History

CONTEXT = "MEDSR_SESSION"
ROOT = "MEDSR_KAGGLE_ROOT"  # set in tests; /kaggle where there is none
PACK = "slices.h5"  # made anew in every session, and large
PACKS = (PACK, "radiographs*.h5", "*/squares_*.h5")
NETWORKS = {  # what a notebook takes in from others that have run
    "03_srgan": ("02_espcn/espcn.pt",),
    "04_regional_ssim": ("02_espcn/espcn.pt", "03_srgan/srresnet.pt", "03_srgan/srgan.pt"),
    "06_disease_detection": (
        "05_chest_xray/autoencoder.pt",
        "05_chest_xray/espcn_x2.pt",
        "05_chest_xray/espcn_x4.pt",
        "05_chest_xray/srresnet_x2.pt",
        "05_chest_xray/srresnet_x4.pt",
    ),
}


def begin(context: Mapping[str, Any]) -> str | None:
    """Say which session this is, and find what it goes on from.

    Args:
        context: `notebook`, `chain`, `session`, `parameters`, `docker_image`, and `previous`: None,
            or the `source` ("owner/slug") that must be mounted, of which `kind` ("notebooks" or
            "datasets"), with the `step`, the `fingerprint` and the `checkpoints` it must hold.

    Returns:
        The folder to resume from; None in a first session.

    Raises:
        FileNotFoundError: the expected input is not mounted.
        ValueError: several inputs could be meant, or the one that is mounted is of another chain,
            step or configuration.
    """
    os.environ[CONTEXT] = json.dumps(dict(context))
    _warn_of_another_image(context.get("docker_image"))
    previous = context.get("previous")
    if previous is None:
        return None
    folder = find(chain_state.NAME, previous["source"], kind=previous["kind"]).parent
    _refuse_unexpected(chain_state.read(folder), context, folder)
    return str(folder)


def resume(resume_from: str | Path | None, out: str | Path) -> None:
    """Bring the checkpoints of an earlier session to `out`, after they were verified.

    Nothing is done where `resume_from` is None, except that a later session of a chain refuses to
    start from zero.

    Args:
        resume_from: the folder of the notebook in that session's output; read-only, perhaps.
        out: the folder of the notebook in this session.

    Raises:
        FileNotFoundError: no such folder, or it lacks a checkpoint.
        ValueError: a checkpoint is damaged, or of another step or configuration than expected.
    """
    from medsr_lib.restore.training import checkpoint

    context = _context()
    if resume_from is None:
        if context.get("previous"):
            raise ValueError(
                f"session {context['session']} of this chain goes on from an earlier one, but "
                "resume_from is None: it would start from zero; attach the earlier session's output"
            )
        return
    folder = Path(resume_from)
    if context or (folder / chain_state.NAME).is_file():  # a folder of before has none
        state = chain_state.read(folder)
        _refuse_unexpected(state, context, folder)
        chain_state.verify(folder, state)
        _set({"hours_before": state.hours_before + state.hours})
    checkpoint.carry(folder, Path(out))


def record(out: str | Path, trainings: Mapping[str, "History"]) -> Path:
    """Write `chain_state.json`: the last thing that a session does.

    Args:
        out: the folder of the notebook in this session.
        trainings: the history of each training by the name of its checkpoint.

    Raises:
        ValueError: a checkpoint has not come as far as its history: the disk is full, perhaps.
    """
    from medsr_lib.restore.training import clock
    from medsr_lib.series import report

    out, context = Path(out), _context()
    found = chain_state.describe(out)
    for name, history in trainings.items():
        step = found.checkpoints.get(name, {"step": 0})["step"]
        if step != history.steps_done:
            raise ValueError(
                f"{out / name} was saved after step {step}, but the training came to "
                f"{history.steps_done}; the session is not complete: run the notebook again"
            )
    state = State(
        notebook=out.resolve().name,
        chain=context.get("chain"),
        session=int(context.get("session", 1)),
        done=all(history.done for history in trainings.values()),
        step=sum(history.steps_done for history in trainings.values()),
        steps=sum(history.steps for history in trainings.values()),
        fingerprint=found.fingerprint,
        files=found.files | _others(out, found.files),
        checkpoints=found.checkpoints,
        parameters=chain_state.kept(context.get("parameters", {})),
        docker_image=os.environ.get("KAGGLE_DOCKER_IMAGE"),
        versions=report.versions() | _gpus(),
        hours=round(clock.session_age() / 3600, 4),
        hours_before=float(context.get("hours_before", 0.0)),
    )
    return chain_state.write(out, state)


def recovered(folder: Path, context: Mapping[str, Any]) -> State:
    """Write the state of a session that did not end well, from the checkpoints that it left.

    Raises:
        FileNotFoundError: there are none.
        ValueError: one that cannot be read.
    """
    found = chain_state.describe(folder)
    if not found.checkpoints:
        raise FileNotFoundError(f"{folder}: no checkpoints to go on from (*_checkpoint.pt)")
    state = State(
        notebook=context["notebook"],
        chain=context["chain"],
        session=int(context["session"]),
        done=False,
        step=found.step,
        steps=found.steps,
        fingerprint=found.fingerprint,
        files=found.files,
        checkpoints=found.checkpoints,
        parameters=chain_state.kept(context["parameters"]),
        docker_image=context.get("docker_image"),
    )
    chain_state.write(folder, state)
    return state


def inputs() -> Path:
    """The folder that inputs are mounted in."""
    return Path(os.environ.get(ROOT, "/kaggle")) / "input"


def working() -> str:
    """The folder whose content is a kernel's output."""
    return str(Path(os.environ.get(ROOT, "/kaggle")) / "working")


def find(marker: str, source: str, *, kind: Literal["datasets", "notebooks"] = "datasets") -> Path:
    """The one file or folder `marker` (a pattern) in what is mounted of `source`, in any layout.

    Mounts are `input/datasets/<owner>/<slug>`, `input/notebooks/<owner>/<slug>`, and the older flat
    `input/<slug>`. Where `marker` names folders, a second copy of the tree inside the first one is
    passed over, as is what lies in `__MACOSX`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are several.
    """
    found = _outermost(_matches(marker, source, kind), marker)
    if not found:
        raise FileNotFoundError(
            f"{source}: no {marker} below {inputs()}, where there is {_listing()}. "
            f"Attach {source} to this kernel as one of its {kind}, and start it again"
        )
    if len(found) > 1:
        listed = ", ".join(str(path.relative_to(inputs())) for path in found[:5])
        raise ValueError(
            f"{source}: {len(found)} files {marker} below {inputs()}: {listed}. It cannot be told "
            "which is meant: detach what is not needed, and start the kernel again"
        )
    return found[0]


def data_folder(source: str, *, marker: str = "1.mat") -> str:
    """The mounted folder of a data set, known by a file or folder that it must have.

    Args:
        source: "owner/slug".
        marker: see `find`; `sources` has one for each kind of data.

    Raises:
        FileNotFoundError, ValueError: as `find`.
    """
    path = find(marker, source)
    return str(inputs().joinpath(*_mount(path.relative_to(inputs()).parts, source)))


def bring_networks(notebook: str, out_dir: str) -> list[str]:
    """Copy what other notebooks have trained, where their output is mounted, to `out_dir`.

    Returns:
        The files that were found.

    Raises:
        ValueError: one of them is there several times.
    """
    brought = []
    for name in NETWORKS.get(notebook, ()):
        found = _distinct(inputs().rglob(name))
        if len(found) > 1:
            listed = ", ".join(str(path.relative_to(inputs())) for path in found)
            raise ValueError(f"{name} is mounted several times: {listed}; detach all but one")
        for path in found:
            target = Path(out_dir) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            brought.append(name)
    return brought


def tidy(out_dir: str) -> None:
    """Leave out of a kernel's output what is large and made anew by every session."""
    for path in [found for pattern in PACKS for found in Path(out_dir).glob(pattern)]:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _warn_of_another_image(pinned: str | None) -> None:
    image = os.environ.get("KAGGLE_DOCKER_IMAGE")
    if pinned and image and image != pinned:
        warnings.warn(
            f"this session runs in the image {image!r}, not in {pinned!r} as the first one of its "
            "chain: the weights may differ in their last bits",
            stacklevel=3,
        )


def _refuse_unexpected(state: State, context: Mapping[str, Any], folder: Path) -> None:
    """Refuse an input that is not the one which this session was to go on from."""
    if not context:
        return
    remedy = "A chain goes on with the parameters it was started with."
    chain_state.refuse_other(
        chain_state.kept(context["parameters"]), state.parameters, what=str(folder), remedy=remedy
    )
    expected = context.get("previous") or {}
    known = {name: state.files[name]["sha256"] for name in state.checkpoints}
    there = {
        "notebook": (context["notebook"], state.notebook),
        "chain": (context["chain"], state.chain),
        "step": (expected.get("step", state.step), state.step),
        "fingerprint": (expected.get("fingerprint", state.fingerprint), state.fingerprint),
        "checkpoints": (expected.get("checkpoints", known), known),
    }
    wrong = [f"{name} {got!r}, not {want!r}" for name, (want, got) in there.items() if want != got]
    if wrong:
        raise ValueError(
            f"{folder} is not what session {context['session']} goes on from: it has "
            f"{'; '.join(wrong)}. Attach the output of the session before"
        )


def _matches(marker: str, source: str, kind: str) -> list[Path]:
    base = inputs()
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


def _distinct(paths: Any) -> list[Path]:
    """The same file under two layouts is one."""
    return sorted({path.resolve(): path for path in sorted(paths, reverse=True)}.values())


def _mount(parts: tuple[str, ...], source: str) -> tuple[str, ...]:
    slug = source.rpartition("/")[2].lower()
    return parts[: [part.lower() for part in parts].index(slug) + 1]


def _listing() -> str:
    """What is mounted, for an error."""
    base = inputs()
    folders = [p for p in base.glob("*") if p.name not in ("datasets", "notebooks")]
    folders += [*base.glob("datasets/*/*"), *base.glob("notebooks/*/*")]
    names = sorted(str(p.relative_to(base)) for p in folders)
    return ", ".join(names[:20]) or "nothing"


def _others(out: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    """The files beside the networks: tables, figures, results."""
    paths = [p for p in sorted(out.iterdir()) if p.is_file() and not p.name.startswith(".")]
    left_out = {chain_state.NAME, *known}
    return {p.name: chain_state.sums(p) for p in paths if p.name not in left_out}


def _gpus() -> dict[str, str]:
    import torch

    if not torch.cuda.is_available():
        return {}
    names = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    return {"gpu": ", ".join(names)}


def _context() -> dict[str, Any]:
    text = os.environ.get(CONTEXT)
    if not text:
        return {}
    context = json.loads(text)
    return context if isinstance(context, dict) else {}


def _set(more: Mapping[str, Any]) -> None:
    os.environ[CONTEXT] = json.dumps(_context() | dict(more))
