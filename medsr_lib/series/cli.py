"""The command `medsr`: run the notebooks, here or on Kaggle, make or fetch their data."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from medsr_lib.series import options


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; 0 for success, 1 a notebook failed, 2 the user's mistake."""
    arguments = options.parser(__doc__).parse_args(argv)
    try:
        return DO[arguments.do](arguments)
    except KeyboardInterrupt:
        print("medsr: stopped", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"medsr: {error}", file=sys.stderr)
        return 2


def _run(arguments: argparse.Namespace) -> int:
    from medsr_lib.series import run

    folder = arguments.notebooks or run.notebooks_folder()
    if arguments.list:
        return _list(run.find(arguments.names, folder))
    parameters = run.parse(arguments.parameters)
    if arguments.refresh and parameters:
        raise ValueError("--refresh keeps the run of the defaults; leave out -p")
    notebooks = run.find(arguments.names, folder)
    run.accepted(notebooks, parameters)  # before the embedded data are written
    data, out = arguments.data, arguments.out
    if data is None:
        data, out = _embedded(notebooks), out or Path("runs/demo")
    out = out or Path("runs") / "-".join(folder.resolve().name for folder in data)
    index = out / "index.html"
    try:
        results = run.run(arguments.names, data=data, out=out, parameters=parameters, folder=folder)
    except KeyboardInterrupt:
        if index.is_file():
            print(index)
        raise
    failed = [result for result in results if result.status == "failed"]
    for result in failed:
        print(f"\n{result.notebook}, cell {result.cell}: {result.source}", file=sys.stderr)
        print(f"  {result.error}", file=sys.stderr)
    if arguments.refresh and not failed:
        run.refresh(results, folder)
    print(index)
    return 1 if failed else 0


def _compare(arguments: argparse.Namespace) -> int:
    from medsr_lib.series import compare

    found = compare.compare(arguments.a, arguments.b)
    name = "-".join(n.replace("/", "_") for n in found.names)
    path = arguments.out or arguments.b.resolve().parent / f"{name}.html"
    compare.write(found, path)
    print(*compare.lines(found), "", path, sep="\n")
    return 0


def _sweep(arguments: argparse.Namespace) -> int:
    from medsr_lib.series import run, sweep

    folder = arguments.notebooks or run.notebooks_folder()
    combinations = sweep.grid(arguments.parameters)
    notebooks = run.find(arguments.names, folder)
    for values in combinations:
        run.accepted(notebooks, values)  # before the embedded data are written
    out = arguments.out or Path("runs/sweep")
    try:
        points = sweep.sweep(
            arguments.names,
            combinations,
            data=arguments.data or _embedded(notebooks),
            out=out,
            folder=folder,
            say=_say,
        )
    finally:
        if (out / sweep.TABLE).is_file():
            print(out / sweep.TABLE, out / "index.html", sep="\n")
    failed = [point for point in points if point.status == "failed"]
    for point in failed:
        print(f"{point.name}: {point.error}", file=sys.stderr)
    return 1 if failed else 0


def _list(notebooks: Sequence[Path]) -> int:
    from medsr_lib.series.parameters import parameters_of

    for path in notebooks:
        print(path.stem)
        for parameter in parameters_of(path).values():
            print(f"  {parameter}")
    return 0


def _embedded(notebooks: Sequence[Path]) -> list[Path]:
    """The folders of the embedded data that the notebooks read; written unless they are there."""
    from medsr_lib.series import sources

    folders = sources.embedded(notebooks)
    for folder in folders:
        if folder == sources.RADIOGRAPHS.embedded:
            _write_chest(folder, patients=40, seed=0)
        else:
            _write_phantom(folder, patients=24, slices=4, seed=0)
    return folders


def _write_chest(folder: Path, *, patients: int, seed: int) -> None:
    from medsr_lib.data import phantom

    phantom.write_chest_xray(folder, patients=patients, seed=seed)


def _write_phantom(folder: Path, *, patients: int, slices: int, seed: int) -> None:
    from medsr_lib.data import phantom

    phantom.write_figshare(folder, patients=patients, slices_per_patient=slices, seed=seed)


def _phantom(arguments: argparse.Namespace) -> int:
    _write_phantom(
        arguments.folder,
        patients=arguments.patients,
        slices=arguments.slices,
        seed=arguments.seed,
    )
    print(arguments.folder)
    return 0


def _chest(arguments: argparse.Namespace) -> int:
    _write_chest(arguments.folder, patients=arguments.patients, seed=arguments.seed)
    print(arguments.folder)
    return 0


def _figshare(arguments: argparse.Namespace) -> int:
    from medsr_lib.data import figshare

    figshare.download(arguments.folder)
    print(arguments.folder)
    return 0


def _chain(arguments: argparse.Namespace) -> int:
    from medsr_lib.series import chain, run, sources

    notebooks = run.find([arguments.name], arguments.notebooks or run.notebooks_folder())
    data = arguments.data or _embedded(notebooks)[0]
    sources.assign(notebooks, [data], named=True)
    state = chain.run_chain(
        arguments.name,
        sessions=arguments.sessions,
        hours=arguments.hours,
        data=data,
        out=arguments.out or Path("runs/chain"),
        parameters=run.parse(arguments.parameters),
        folder=arguments.notebooks,
        say=_say,
    )
    return _ended(state.done)


def _build(arguments: argparse.Namespace) -> int:
    from medsr_lib.series import kernel, run

    (notebook,) = run.find([arguments.name], arguments.notebooks or run.notebooks_folder())
    folder = kernel.build(
        notebook,
        arguments.out,
        parameters=run.parse(arguments.parameters),
        owner=arguments.owner or kernel.OWNER,
        slug=arguments.name_of_kernel,
        gpu=arguments.gpu,
        data=arguments.slices,
        kernels=arguments.kernel,
    )
    print(arguments.out / kernel.LIBRARY, folder, sep="\n")
    return 0


def _metadata(arguments: argparse.Namespace) -> int:
    from medsr_lib.series import kernel

    print(*kernel.write_templates(arguments.folder), sep="\n")
    return 0


def _push(arguments: argparse.Namespace) -> int:
    from medsr_lib.series import kaggle, kernel

    missing = [
        folder
        for folder in arguments.folders
        if not (folder / kernel.KERNEL).is_file() and not (folder / kernel.DATASET).is_file()
    ]
    if missing:
        raise FileNotFoundError(f"{missing[0]} is no folder that medsr kaggle build has made")
    account = kaggle.Account()
    _say(f"Kaggle: {account.quota()}")
    for folder in sorted(arguments.folders, key=lambda f: (f / kernel.KERNEL).is_file()):
        kernels = (folder / kernel.KERNEL).is_file()
        print(account.push(folder) if kernels else account.push_dataset(folder))
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from medsr_lib.series import kaggle

    account = kaggle.Account()
    print(account.quota())
    for ref in arguments.kernels:
        print(f"{ref}: {account.status(account.full(ref))}")
    return 0


def _pull(arguments: argparse.Namespace) -> int:
    from medsr_lib.series import kaggle

    account = kaggle.Account()
    for path in account.fetch_all(account.full(arguments.kernel), arguments.out):
        print(path)
    return 0


def _kaggle_chain(arguments: argparse.Namespace) -> int:
    from medsr_lib.series import kaggle, kaggle_chain, kernel, run

    kernel.check_hours(arguments.hours, arguments.limit)
    parameters = run.parse(arguments.parameters)
    run.find([arguments.name], arguments.notebooks or run.notebooks_folder())
    state = kaggle_chain.run_chain(
        arguments.name,
        account=kaggle.Account(),
        sessions=arguments.sessions,
        hours=arguments.hours,
        out=arguments.out,
        parameters=parameters,
        folder=arguments.notebooks,
        base=arguments.name_of_kernel,
        gpu=arguments.gpu,
        data=arguments.slices,
        from_checkpoint=arguments.from_checkpoint,
        take_over=arguments.take_over,
        limit=arguments.limit,
        say=_say,
        poll=arguments.poll,
    )
    return _ended(state.done)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _ended(done: bool) -> int:
    """0 if a chain has taken all its steps, 1 if it needs more sessions."""
    if not done:
        print("medsr: not done yet; the same command with more --sessions goes on", file=sys.stderr)
    return 0 if done else 1


DO = {
    "build": _build,
    "chain": _chain,
    "chest": _chest,
    "compare": _compare,
    "figshare": _figshare,
    "kaggle_chain": _kaggle_chain,
    "metadata": _metadata,
    "phantom": _phantom,
    "pull": _pull,
    "push": _push,
    "run": _run,
    "status": _status,
    "sweep": _sweep,
}
