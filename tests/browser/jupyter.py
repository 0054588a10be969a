"""JupyterLab as `tasks.py lab` starts it, and notebooks in it, opened and run by the mouse."""

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from nbformat.v4 import new_code_cell, new_notebook
from small import DENOISING, DETECTION, SLICES

from medsr_lib.data import phantom
from medsr_lib.series import notebook as notebooks
from medsr_lib.series import outputs
from medsr_lib.series.notebook import Notebook

ROOT = Path(__file__).parents[2]
STEPS = ("steps", "espcn_steps", "classifier_steps", "segmenter_steps", "robust_steps")
BRIEF = dict.fromkeys(STEPS, 10)  # what networks learn is of no matter here
CHEST = {
    "08": DENOISING | {"upscalers": ["ESPCN"], "levels": [0.1], "noises": ["mixed"]},
    "09": DETECTION,
}
MONITOR = "monitor"
TRAINING = """\
from pathlib import Path

import torch

from medsr_lib.restore import degrade, networks
from medsr_lib.restore.training import fit
from medsr_lib.show import explore

images, folder = torch.rand(4, 1, 64, 64), Path("../runs/monitor")
for steps in (30, 40):
    fit.fit(
        networks.ESPCN(scale=2), images, degrade=degrade.by_name("bicubic", scale=2),
        steps=steps, seed=0, checkpoint=folder / f"{steps}_checkpoint.pt", crop=32,
        recipe=fit.Recipe(batch=4), validation=1 - images[:2], validate_every=5, device="cpu",
        progress=False,
    )
explore.training(folder)"""
SECONDS = 300  # for a whole notebook; it is done in 20


def command(name: str = "lab") -> list[str]:
    """The command line of `tasks.py lab`, or of another of its commands."""
    spec = importlib.util.spec_from_file_location("tasks_of_the_lab", ROOT / "tasks.py")
    tasks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tasks)
    return tasks.COMMANDS[name][-1]


def free_port() -> int:
    """A port on the loopback interface that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def prepare(root: Path) -> None:
    """A folder like this project's, with small data.

    Notebooks with explorers have small parameters and no outputs, the others those that are kept.
    """
    brain, chest = root / "data" / "phantom", root / "data" / "phantom-chest"
    phantom.write_figshare(brain, patients=15, slices_per_patient=2, seed=1, size=128)
    phantom.write_chest_xray(chest, patients=30, seed=1, size=120)
    shutil.copytree(ROOT / ".lab", root / ".lab")
    folder = root / "notebooks"
    folder.mkdir()
    shutil.copy(notebooks.default_folder() / "README.md", folder)
    for notebook in notebooks.find([]):
        content = _small(notebook) if explorers_of(notebook) else notebook.content
        (folder / notebook.path.name).write_text(outputs.text(content), encoding="utf-8")
    monitor = outputs.neutral(new_notebook(cells=[new_code_cell(TRAINING)]))
    (folder / f"{MONITOR}.ipynb").write_text(outputs.text(monitor), encoding="utf-8")


def explorers_of(notebook: Notebook) -> int:
    """How many explorers it shows."""
    return sum(len(re.findall(r"(?m)^explore\.", cell.source)) for cell in notebook.code)


def small_parameters(notebook: Notebook) -> dict[str, object]:
    """Those that the notebook has."""
    given = CHEST.get(notebook.name[:2], SLICES) | BRIEF
    return {name: value for name, value in given.items() if name in notebook.parameters}


def _small(notebook: Notebook):
    lines = [f"{name} = {value!r}" for name, value in small_parameters(notebook).items()]
    for cell in notebook.code:
        cell.outputs, cell.execution_count = [], None
        if "parameters" in notebooks.tags(cell):
            cell.source = "\n".join([cell.source, *lines])
    return notebook.content


@dataclass
class Lab:
    """A running JupyterLab, and a context of the browser, which keeps what it has loaded."""

    root: Path
    process: subprocess.Popen
    port: int
    token: str
    context: object

    @property
    def address(self) -> str:
        """Of the index page, without the token."""
        return f"http://127.0.0.1:{self.port}/lab/tree/README.md"

    def visited(self, name: str = "README.md", *, width: int = 1400, height: int = 1000):
        """A page of the browser at a file, and what it asks for."""
        page = self.context.new_page()
        page.set_viewport_size({"width": width, "height": height})
        heard = listen(page)
        page.goto(f"{self.address}?token={self.token}&reset".replace("README.md", name))
        return page, heard

    def api(self, path: str, method: str = "GET"):
        """What the server's interface answers."""
        address = f"http://127.0.0.1:{self.port}/api/{path}?token={self.token}"
        with urlopen(Request(address, method=method), timeout=10) as answer:
            return json.loads(answer.read() or "null")

    def code_cells(self, name: str) -> list[dict]:
        """Those of the notebook as it was saved last."""
        cells = self.api(f"contents/{name}.ipynb")["content"]["cells"]
        return [cell for cell in cells if cell["cell_type"] == "code"]


@contextmanager
def serving(root: Path, context):
    """JupyterLab in the folder `root`, by the command line of `tasks.py lab`."""
    own = {f"JUPYTER_{name}_DIR": str(root / name.lower()) for name in ("RUNTIME", "CONFIG")}
    own |= {f"JUPYTERLAB_{n}_DIR": str(root / n.lower()) for n in ("SETTINGS", "WORKSPACES")}
    port = free_port()
    options = ["--no-browser", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    options += ["--allow-root"] if os.name != "nt" and os.geteuid() == 0 else []
    with (root / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *command(), *options],
            cwd=root, env=os.environ | own, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        told = root / "runtime" / f"jpserver-{process.pid}.json"
        wait(lambda: told.is_file() and told.read_text(), 60, (root / "log.txt").read_text)
        yield Lab(root, process, port, json.loads(told.read_text())["token"], context)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def wait(done, seconds: float, otherwise=lambda: "") -> None:
    """Wait until `done()`."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"not done in {seconds} s: {otherwise()}"
        time.sleep(0.1)


@dataclass
class Heard:
    """What a page has asked for, what it complained of, and how many messages it has sent."""

    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)
    sent: int = 0


def listen(page) -> Heard:
    """Note the requests and the errors of a page."""
    heard = Heard()

    def requested(request):
        if not request.url.startswith(("data:", "blob:")):
            heard.hosts.add(urlsplit(request.url).hostname)

    def said(message):
        if message.type == "error":
            heard.complaints.append(f"{message.text} ({message.location['url']})")

    page.on("request", requested)

    def connected(socket):
        heard.hosts.add(urlsplit(socket.url).hostname)
        socket.on("framesent", counted)

    def counted(_):
        heard.sent += 1

    page.on("websocket", connected)
    page.on("console", said)
    page.on("pageerror", lambda error: heard.complaints.append(str(error)))
    return heard


@dataclass
class Opened:
    """A notebook that was run in the browser: its name, the page, what the page has asked for."""

    name: str
    page: object
    heard: Heard
    lab: Lab
    seconds: float


@contextmanager
def opened(lab: Lab, name: str, *, run: bool = True):
    """A notebook, opened from the index page, all cells run, and saved; or only its outputs."""
    if name == MONITOR:
        page, heard = lab.visited(f"{name}.ipynb")
    else:
        page, heard = lab.visited()
        page.locator(f'.jp-RenderedMarkdown a[href*="{name}"]').first.click()
    page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for()
    start = time.monotonic()
    if run:
        run_all(page)
    seconds = time.monotonic() - start
    if run:
        page.keyboard.press("Control+s")
        page.locator(".lm-DockPanel .jp-mod-current:not(.jp-mod-dirty)").wait_for()
    yield Opened(name, page, heard, lab, seconds)
    page.close()
    for session in lab.api("sessions"):
        lab.api(f"sessions/{session['id']}", "DELETE")


PROMPTS = "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(e => e.textContent)"


def run_all(page) -> None:
    """Choose Run All Cells from the menu, and wait until no cell waits or runs."""
    page.locator(".lm-MenuBar-item", has_text="Run").click()
    page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()
    page.wait_for_function(f"{PROMPTS}.some(t => t.includes('*'))")
    page.wait_for_function(f"!{PROMPTS}.some(t => t.includes('*'))", timeout=1000 * SECONDS)
