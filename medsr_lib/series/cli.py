"""The command `medsr`: run the notebooks, make or fetch their data."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from medsr_lib import __version__

PHANTOM = Path("data/phantom")
EXAMPLES = """\
examples:
  medsr run                                      all notebooks on the embedded data
  medsr run 02 -p scale=2 -p steps=500           one notebook, other values
  medsr run --data data/figshare --out runs/real the tumour slices
  medsr run --list                               what each notebook can be told
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
    return parser


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
