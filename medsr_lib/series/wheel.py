"""The library as a wheel: the very package that is imported here, packed without network or tools.

A wheel is a zip archive of the package and of its metadata (PyPA, binary distribution format 1.0).
The same files give the same bytes, so that its sha256 tells libraries apart.
"""

import base64
import hashlib
import zipfile
from pathlib import Path

import medsr_lib

TAG = "py3-none-any"
EPOCH = (2020, 1, 1, 0, 0, 0)  # of every file in the archive


def write(folder: Path) -> Path:
    """Write the library's wheel into a folder, in place of any other there.

    It names no dependencies: it is installed where they are, with `--no-deps`.
    """
    from medsr_lib.files import atomic

    files = _package() | _metadata()
    name = f"medsr_lib-{medsr_lib.__version__}-{TAG}.whl"
    for other in folder.glob("medsr_lib-*.whl"):
        if other.name != name:
            other.unlink()
    with atomic(folder / name) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        record = f"{_info()}/RECORD"
        lines = [_line(path, content) for path, content in files.items()] + [f"{record},,"]
        for path, content in (files | {record: _text(lines)}).items():
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return folder / name


def sha256(path: Path) -> str:
    """The sha256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _package() -> dict[str, bytes]:
    root = Path(medsr_lib.__file__).parent
    paths = [p for p in sorted(root.rglob("*")) if p.is_file() and "__pycache__" not in p.parts]
    return {
        f"medsr_lib/{p.relative_to(root).as_posix()}": p.read_bytes()
        for p in paths
        if not p.name.startswith(".")
    }


def _metadata() -> dict[str, bytes]:
    about = ["Metadata-Version: 2.1", "Name: medsr-lib", f"Version: {medsr_lib.__version__}"]
    wheel = ["Wheel-Version: 1.0", "Generator: medsr", "Root-Is-Purelib: true", f"Tag: {TAG}"]
    return {f"{_info()}/METADATA": _text(about), f"{_info()}/WHEEL": _text(wheel)}


def _info() -> str:
    return f"medsr_lib-{medsr_lib.__version__}.dist-info"


def _line(path: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(content)}"


def _text(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()
