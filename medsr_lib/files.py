"""Atomic writes of files and folders, the checksum of a file, and the user's own folder."""

import errno
import hashlib
import os
import platform
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

DAY = 86_400  # seconds
FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)  # the disk, the largest file, the user's share
_HOST = f"{zlib.crc32(platform.node().encode()):08x}"  # processes of other computers are not known
_TEMPORARY = re.compile(r"\..+\.(?P<host>[0-9a-f]{8})-(?P<pid>\d{1,9})\.tmp")


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, which takes its place when the block ends well.

    If the block fails, for example on a full disk, the temporary file is removed and the former
    file stays as it was. A process that is killed leaves at most a temporary file, which `sweep`
    removes; it is called here once for each folder.

    Raises:
        OSError: the disk is full; says whether a former file is there. Or what the block raises.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> [p.name for p in folder.iterdir()]
    ['a.txt']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep_once(path.parent.absolute())
    temporary = path.parent / _temporary_name(path)
    try:
        with full_disk_named(path, "the former file is kept"):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
            _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder, whose content is in the folder `path` when the block ends well.

    `path` is new or empty. If the block fails, or the process is killed, it is as with `atomic`.
    """
    path = Path(path).absolute()
    place = path if path.is_dir() else path.parent
    place.mkdir(parents=True, exist_ok=True)
    sweep(place)
    temporary = place / _temporary_name(path)
    try:
        with full_disk_named(path, "it is empty"):
            temporary.mkdir()
            yield temporary
            if place == path:
                for child in temporary.iterdir():
                    child.rename(path / child.name)
            else:
                temporary.rename(path)
            _flush_folder(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def full_disk_named(path: Path, kept: str) -> Iterator[None]:
    """Say of a full disk which file it was for, and what is `kept` where the file is there."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        kept = kept if path.exists() else "nothing was written"
        raise OSError(error.errno, f"disk full, {path} could not be written; {kept}") from error


def sweep(folder: Path) -> None:
    """Remove what killed processes have left of `atomic` and `atomic_folder` in a folder.

    A temporary file or folder is named `.<name>.<computer>-<process>.tmp`. It is removed where that
    process of this computer has ended, and when it is a day old.
    """
    for left in folder.glob(".*.tmp"):
        if found := _TEMPORARY.fullmatch(left.name):
            with suppress(OSError):
                ended = found["host"] == _HOST and not _runs(int(found["pid"]))
                if ended or time.time() - left.stat().st_mtime > DAY:
                    shutil.rmtree(left) if left.is_dir() else left.unlink()


_sweep_once = cache(sweep)


def _temporary_name(path: Path) -> str:
    return f".{path.name}.{_HOST}-{os.getpid()}.tmp"


def _runs(process: int) -> bool:
    """Whether a process of this computer runs; Windows, where asking may end it, says True."""
    if os.name == "posix":
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
    return True


def home() -> Path:
    """The user's own folder; for a user who has none, in a container, a private temporary one.

    That is the variable HOME from then on, for the programs of others that ask for themselves.
    """
    try:
        return Path.home()
    except RuntimeError:
        folder = Path(tempfile.gettempdir(), f"medsr-home-{os.getuid()}")
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.lstat().st_uid != os.getuid():  # what others can write may hold their code
            folder = Path(tempfile.mkdtemp(prefix="medsr-home-"))
        os.environ["HOME"] = str(folder)
        return folder


def sha256(path: Path) -> str:
    """The sha256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush_folder(folder: Path) -> None:
    """Have the new name on the disk too; Windows, which cannot, does that by itself."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
