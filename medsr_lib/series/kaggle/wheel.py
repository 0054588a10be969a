"""The library as a wheel: the very package that is imported here, packed without network or tools.

A wheel is a zip archive of the package and of its metadata (PyPA, binary distribution format 1.0).
The same files give the same bytes, so that its sha256 identifies the library.
"""

import base64
import hashlib
import zipfile
from pathlib import Path

import medsr_lib
from medsr_lib.files import atomic

TAG = "py3-none-any"
EPOCH = (2020, 1, 1, 0, 0, 0)  # of every file in the archive


def write(folder: Path) -> Path:
    """Write the library's wheel into a folder, in place of any other there.

    It names no dependencies: it is installed where they are, with `--no-deps`.
    """
    version = medsr_lib.__version__
    path, info = folder / f"medsr_lib-{version}-{TAG}.whl", f"medsr_lib-{version}.dist-info"
    for other in folder.glob("medsr_lib-*.whl"):
        if other != path:
            other.unlink()
    root = Path(medsr_lib.__file__).parent
    files = {
        f"medsr_lib/{found.relative_to(root).as_posix()}": found.read_bytes()
        for found in sorted(root.rglob("*"))
        if found.is_file() and found.name[0] != "." and "__pycache__" not in found.parts
    }
    about = ["Metadata-Version: 2.1", "Name: medsr-lib", f"Version: {version}"]
    wheel = ["Wheel-Version: 1.0", "Generator: medsr", "Root-Is-Purelib: true", f"Tag: {TAG}"]
    files |= {f"{info}/METADATA": _text(about), f"{info}/WHEEL": _text(wheel)}
    record = [_line(name, content) for name, content in files.items()] + [f"{info}/RECORD,,"]
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in (files | {f"{info}/RECORD": _text(record)}).items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return path


def _line(name: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}"


def _text(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()
