"""What the command `medsr` can be told; nothing heavy is loaded to show it."""

import argparse
from pathlib import Path
from typing import Any

from medsr_lib import __version__

CHAIN = """\
Each session goes on from the one before, bit for bit. Whatever ends it: the same command goes on.
"""
EXAMPLES = """\
examples:
  medsr run                                      all notebooks on the embedded data
  medsr run 02 -p scale=2 -p steps=500           one notebook, other values
  medsr run --data data/figshare --out runs/real the tumour slices
  medsr run --list                               what each notebook can be told
  medsr compare runs/a runs/b                    two runs side by side
  medsr sweep 02 -p scale=2,3,4 -p fold=1,2      a grid of parameters, tabulated
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


COMPARE = """\
Writes one page that holds its pictures, and prints a short table. Where both runs have scored the
same slices, differences are taken within each slice, with an interval over patients.

example:
  medsr compare runs/x4 runs/x4-kspace
"""
SWEEP = """\
Each combination is a run in a folder of its own. The same command goes on where it stopped: what
was done with the same code, parameters, data and library is skipped. A combination that fails is
noted, and the next one begins; the exit code is 1 then. Values are YAML; a list is one in brackets.

examples:
  medsr sweep 02 -p scale=2,3,4 -p degradation=bicubic,kspace
  medsr sweep 02 04 -p fold=1,2,3 --data data/figshare --out runs/folds
  medsr sweep 04 -p 'diameters=[4, 8],[6, 12]'
"""
RAW = argparse.RawDescriptionHelpFormatter


def parser(description: str | None) -> argparse.ArgumentParser:
    """Of the command `medsr`; `do` of what it parses names the function of `cli`."""
    whole = argparse.ArgumentParser(
        prog="medsr", description=description, epilog=EXAMPLES, formatter_class=RAW
    )
    whole.add_argument("--version", action="version", version=f"medsr {__version__}")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run the notebooks", epilog=RUN, formatter_class=RAW)
    run.add_argument("names", nargs="*", metavar="NB", help="number or name; all if none is given")
    run.add_argument(
        "--data",
        type=Path,
        action="append",
        metavar="DIR",
        help="slices or radiographs; may be given twice (default: the embedded ones)",
    )
    run.add_argument(
        "--out", type=Path, metavar="DIR", help="default: runs/demo, or runs/ and the data's name"
    )
    run.add_argument("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE")
    run.add_argument("--list", action="store_true", help="show the parameters and stop")
    run.add_argument("--refresh", action="store_true", help="keep the outputs in the notebooks")
    run.add_argument("--notebooks", type=Path, metavar="DIR", help="where the notebooks are")
    run.set_defaults(do="run")

    data = commands.add_parser("data", help="make or fetch data").add_subparsers(
        required=True, metavar="WHICH"
    )
    phantom = data.add_parser("phantom", help="write synthetic slices in the original layout")
    phantom.add_argument("folder", type=Path, metavar="DIR")
    phantom.add_argument("--patients", type=int, default=24)
    phantom.add_argument("--slices", type=int, default=4, help="of each patient (default: 4)")
    phantom.add_argument("--seed", type=int, default=0)
    phantom.set_defaults(do="phantom")
    chest = data.add_parser("chest", help="write synthetic chest radiographs in the original tree")
    chest.add_argument("folder", type=Path, metavar="DIR")
    chest.add_argument("--patients", type=int, default=40)
    chest.add_argument("--seed", type=int, default=0)
    chest.set_defaults(do="chest")
    figshare = data.add_parser("figshare", help="download the brain tumour slices (about 0.9 GB)")
    figshare.add_argument("folder", type=Path, metavar="DIR")
    figshare.set_defaults(do="figshare")
    _add_compare(commands)
    _add_sweep(commands)
    _add_chain(commands)
    _add_kaggle(commands)
    return whole


def _add_compare(commands: Any) -> None:
    compare = commands.add_parser(
        "compare", help="two runs side by side", epilog=COMPARE, formatter_class=RAW
    )
    compare.add_argument("a", type=Path, metavar="RUN_A", help="folder of a run")
    compare.add_argument("b", type=Path, metavar="RUN_B")
    compare.add_argument(
        "--out", type=Path, metavar="FILE", help="the page (default: A-B.html beside RUN_B)"
    )
    compare.set_defaults(do="compare")


def _add_sweep(commands: Any) -> None:
    sweep = commands.add_parser(
        "sweep", help="run a grid of parameters", epilog=SWEEP, formatter_class=RAW
    )
    sweep.add_argument("names", nargs="+", metavar="NB", help="number or name")
    sweep.add_argument(
        "-p", dest="parameters", action="append", required=True, metavar="NAME=VALUE,VALUE"
    )
    sweep.add_argument("--data", type=Path, action="append", metavar="DIR", help="as for run")
    sweep.add_argument("--out", type=Path, metavar="DIR", help="default: runs/sweep")
    sweep.add_argument("--notebooks", type=Path, metavar="DIR", help="where the notebooks are")
    sweep.set_defaults(do="sweep")


def _add_chain(commands: Any) -> None:
    chain = commands.add_parser("chain", help="run a notebook in sessions, here", epilog=CHAIN)
    _add_notebook(chain)
    chain.add_argument("--sessions", type=int, required=True, help="at most, over all calls")
    chain.add_argument("--hours", type=float, required=True, help="of each session")
    chain.add_argument(
        "--data", type=Path, metavar="DIR", help="what it reads (default: the embedded ones)"
    )
    chain.add_argument("--out", type=Path, metavar="DIR", help="default: runs/chain")
    chain.set_defaults(do="chain")


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
    build.set_defaults(do="build")

    metadata = commands.add_parser("metadata", help="write the metadata of the folder kaggle/")
    metadata.add_argument("folder", type=Path, metavar="DIR")
    metadata.set_defaults(do="metadata")

    push = commands.add_parser("push", help="push folders: a library or a kernel")
    push.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    push.set_defaults(do="push")

    status = commands.add_parser("status", help="the GPU hours that are left, and how kernels do")
    status.add_argument("kernels", nargs="*", metavar="[OWNER/]SLUG")
    status.set_defaults(do="status")

    pull = commands.add_parser("pull", help="fetch what a kernel left")
    pull.add_argument("kernel", metavar="[OWNER/]SLUG")
    pull.add_argument("--out", type=Path, metavar="DIR", required=True)
    pull.set_defaults(do="pull")

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
    chain.set_defaults(do="kaggle_chain")


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
    parser.add_argument("--slices", metavar="OWNER/SLUG", help="the data set it reads")
    parser.add_argument(
        "--gpu", action=argparse.BooleanOptionalAction, help="default: where it is needed"
    )
