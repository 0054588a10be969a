"""The command `medsr`: run the notebooks, here or on Kaggle, make or fetch their data."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medsr_lib import __version__

PHANTOM = Path("data/phantom")
CHAIN = """\
Each session goes on from the one before, bit for bit. Whatever ends it: the same command goes on.
"""
EXAMPLES = """\
examples:
  medsr run                                      all notebooks on the embedded data
  medsr run 02 -p scale=2 -p steps=500           one notebook, other values
  medsr run --data data/figshare --out runs/real the tumour slices
  medsr run --list                               what each notebook can be told
  medsr chain 03 --sessions 3 --hours 2          one notebook in sessions that go on from each other
  medsr kaggle chain 03 --sessions 9 -p epochs=20000 --out runs/kaggle   the same on Kaggle's GPUs
"""
RUN = (
    """\
Values of -p are YAML: numbers, text, true, false, null, [1, 2]. Unknown names and wrong types
are refused before anything runs. --refresh puts the outputs into the notebooks themselves.

"""
    + EXAMPLES
)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; 0 for success, 1 a notebook failed, 2 the user's mistake."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.do(arguments))
    except KeyboardInterrupt:
        print("medsr: stopped", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"medsr: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="medsr", description=__doc__, epilog=EXAMPLES, formatter_class=raw
    )
    parser.add_argument("--version", action="version", version=f"medsr {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run the notebooks", epilog=RUN, formatter_class=raw)
    run.add_argument("names", nargs="*", metavar="NB", help="number or name; all if none is given")
    run.add_argument("--data", type=Path, metavar="DIR", help=f"the slices (default: {PHANTOM})")
    run.add_argument(
        "--out", type=Path, metavar="DIR", help="default: runs/demo, or runs/ and the data's name"
    )
    run.add_argument("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE")
    run.add_argument("--list", action="store_true", help="show the parameters and stop")
    run.add_argument("--refresh", action="store_true", help="keep the outputs in the notebooks")
    run.add_argument("--notebooks", type=Path, metavar="DIR", help="where the notebooks are")
    run.set_defaults(do=_run)

    data = commands.add_parser("data", help="make or fetch data").add_subparsers(
        required=True, metavar="WHICH"
    )
    phantom = data.add_parser("phantom", help="write synthetic slices in the original layout")
    phantom.add_argument("folder", type=Path, metavar="DIR")
    phantom.add_argument("--patients", type=int, default=24)
    phantom.add_argument("--slices", type=int, default=4, help="of each patient (default: 4)")
    phantom.add_argument("--seed", type=int, default=0)
    phantom.set_defaults(do=_phantom)
    figshare = data.add_parser("figshare", help="download the brain tumour slices (about 0.9 GB)")
    figshare.add_argument("folder", type=Path, metavar="DIR")
    figshare.set_defaults(do=_figshare)
    _add_chain(commands)
    _add_kaggle(commands)
    return parser


def _add_chain(commands: Any) -> None:
    chain = commands.add_parser("chain", help="run a notebook in sessions, here", epilog=CHAIN)
    _add_notebook(chain)
    chain.add_argument("--sessions", type=int, required=True, help="at most, over all calls")
    chain.add_argument("--hours", type=float, required=True, help="of each session")
    chain.add_argument("--data", type=Path, metavar="DIR", help=f"the slices (default: {PHANTOM})")
    chain.add_argument("--out", type=Path, metavar="DIR", help="default: runs/chain")
    chain.set_defaults(do=_chain)


def _add_kaggle(commands: Any) -> None:
    kaggle = commands.add_parser("kaggle", help="publish and run the notebooks on Kaggle")
    commands = kaggle.add_subparsers(required=True, metavar="WHAT")

    build = commands.add_parser("build", help="write a kernel folder, and the library beside it")
    _add_notebook(build)
    build.add_argument("--out", type=Path, metavar="DIR", default=Path("runs/kaggle"))
    build.add_argument("--owner", help="Kaggle user; by default filled in when it is pushed")
    _add_kernel(build)
    build.add_argument(
        "--kernel", action="append", default=[], metavar="OWNER/SLUG", help="further input"
    )
    build.set_defaults(do=_build)

    metadata = commands.add_parser("metadata", help="write the metadata of the folder kaggle/")
    metadata.add_argument("folder", type=Path, metavar="DIR")
    metadata.set_defaults(do=_metadata)

    push = commands.add_parser("push", help="push folders: a library or a kernel")
    push.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    push.set_defaults(do=_push)

    status = commands.add_parser("status", help="the GPU hours that are left, and how kernels do")
    status.add_argument("kernels", nargs="*", metavar="[OWNER/]SLUG")
    status.set_defaults(do=_status)

    pull = commands.add_parser("pull", help="fetch what a kernel left")
    pull.add_argument("kernel", metavar="[OWNER/]SLUG")
    pull.add_argument("--out", type=Path, metavar="DIR", required=True)
    pull.set_defaults(do=_pull)

    chain = commands.add_parser("chain", help="run a notebook in sessions", epilog=CHAIN)
    _add_notebook(chain)
    chain.add_argument("--sessions", type=int, required=True, help="at most, over all calls")
    chain.add_argument("--hours", type=float, default=8.5, help="of each session (default: 8.5)")
    chain.add_argument("--out", type=Path, metavar="DIR", required=True)
    _add_kernel(chain)
    chain.add_argument(
        "--from-checkpoint",
        nargs="?",
        const="furthest",
        metavar="DIR",
        help="after a failed session: go on from the furthest state known, or from a folder",
    )
    chain.add_argument("--take-over", action="store_true", help="its --out folder is lost")
    chain.add_argument("--limit", type=float, default=12.0, help="Kaggle's, in hours (default: 12)")
    chain.add_argument("--poll", type=float, default=60.0, help="seconds between two looks")
    chain.set_defaults(do=_kaggle_chain)


def _add_notebook(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NB", help="number or name")
    parser.add_argument("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--notebooks", type=Path, metavar="DIR", help="where the notebooks are")


def _add_kernel(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--name",
        dest="name_of_kernel",
        metavar="SLUG",
        help="of the kernel (default: the notebook's)",
    )
    parser.add_argument("--slices", metavar="OWNER/SLUG", help="the data set of slices")
    parser.add_argument(
        "--gpu", action=argparse.BooleanOptionalAction, help="default: where it is needed"
    )


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
        data, out = PHANTOM, out or Path("runs/demo")
        _write_phantom(PHANTOM, patients=24, slices=4, seed=0)  # returns at once if it is there
    out = out or Path("runs") / data.resolve().name
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


def _list(notebooks: Sequence[Path]) -> int:
    from medsr_lib.series.parameters import parameters_of

    for path in notebooks:
        print(path.stem)
        for parameter in parameters_of(path).values():
            print(f"  {parameter}")
    return 0


def _write_phantom(folder: Path, *, patients: int, slices: int, seed: int) -> None:
    from medsr_lib.data import phantom

    phantom.write_figshare(
        folder,
        patients=patients,
        slices_per_patient=slices,
        seed=seed,
        progress=sys.stderr.isatty(),
    )


def _phantom(arguments: argparse.Namespace) -> int:
    _write_phantom(
        arguments.folder,
        patients=arguments.patients,
        slices=arguments.slices,
        seed=arguments.seed,
    )
    print(arguments.folder)
    return 0


def _figshare(arguments: argparse.Namespace) -> int:
    from medsr_lib.data import figshare

    figshare.download(arguments.folder)
    print(arguments.folder)
    return 0


def _chain(arguments: argparse.Namespace) -> int:
    from medsr_lib.series import chain, run

    data = arguments.data
    if data is None:
        run.find([arguments.name], arguments.notebooks or run.notebooks_folder())
        data = PHANTOM
        _write_phantom(PHANTOM, patients=24, slices=4, seed=0)
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
