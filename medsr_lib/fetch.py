"""Files from the internet: resumed where the transfer broke off, checked, and unpacked.

A connection that breaks must not cost what is already here: the bytes are gathered in
`<name>.part`. The file appears under its name only when it is complete and has the right MD5.
"""

import hashlib
import re
import shutil
import stat
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from medsr_lib.files import atomic

if TYPE_CHECKING:
    import requests

RETRIES = 5  # tries in a row that bring nothing new before it gives up
PAUSE = 1.0  # seconds before the next try, doubled each time
TIMEOUT = (10.0, 60.0)  # seconds: for the connection, for the next bytes
BLOCK = 1 << 18  # bytes read at a time
BUSY = (408, 429, 500, 502, 503, 504)  # HTTP answers that may be different in a moment

_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .-]*/")


def fetch(urls: Sequence[str], path: Path, *, md5: str, page: str) -> Path:
    """Bring a file to `path`; one that is there with the right MD5 is not fetched again.

    Args:
        urls: addresses of the file; the next is tried where one refuses to send it.
        path: where it goes.
        md5: its checksum, in hexadecimal.
        page: where people find the file with a browser, for messages.

    Returns:
        `path`.

    Raises:
        ConnectionError: no server sent the file; what came of it is kept for the next call.
        ValueError: another MD5; what came is deleted.
        ImportError: requests is not installed.
    """
    if path.is_file() and _md5(path) == md5:
        return path
    part = _Part(path.with_name(path.name + ".part"), page)
    refused: Exception | None = None
    for url in urls:
        try:
            part.complete(url)
            break
        except _RefusedError as error:
            refused = error
    else:
        raise refused or ValueError(f"{path}: no address to fetch it from")
    if (found := _md5(part.path)) != md5:
        part.path.unlink()
        raise ValueError(
            f"{path.name}: expected MD5 {md5}, got {found}; it was deleted. Try again; if this "
            f"comes back, it is not the file that this version knows: compare its MD5 with {page}"
        )
    part.path.replace(path)
    return path


def unpack(
    archive: Path, folder: Path, *, name_of: Callable[[str], str | None], wanted: str
) -> None:
    """Unpack a zip, each file atomically; those that are there with the right size are kept.

    Args:
        archive: the zip.
        folder: where the files go; all are put into this folder itself.
        name_of: the name that a member gets, given its name in the zip; None refuses it. Folders
            one level deep are passed over.
        wanted: what it should hold, for messages.

    Raises:
        ValueError: a member that is refused or no plain file; nothing is unpacked then.
        OSError: too little space.
    """
    with zipfile.ZipFile(archive) as zipped:
        targets: dict[zipfile.ZipInfo, Path] = {}
        for member in zipped.infolist():
            if member.is_dir() and _FOLDER.fullmatch(member.filename):
                continue
            name = name_of(member.filename)
            if name is None or stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
                raise ValueError(
                    f"{archive.name} holds {member.filename!r}, which is not one of {wanted}; "
                    "nothing of it was unpacked"
                )
            targets[member] = folder / name
        left = [member for member, target in targets.items() if size(target) != member.file_size]
        require_space(folder, sum(member.file_size for member in left))
        for member in tqdm(left, archive.name, leave=False):
            with (
                atomic(targets[member]) as temporary,
                zipped.open(member) as source,
                temporary.open("wb") as file,
            ):
                shutil.copyfileobj(source, file)


def require_space(folder: Path, needed: int) -> None:
    """Refuse to fill the disk of a folder.

    Raises:
        OSError: fewer than `needed` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            f"{needed / 1e9:.2f} GB are needed in {folder}, {free / 1e9:.2f} GB are free. "
            "Make room or choose a folder on another disk."
        )


def size(path: Path) -> int:
    """Bytes of a file, 0 where there is none."""
    return path.stat().st_size if path.is_file() else 0


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


class _RefusedError(ConnectionError):
    """The server answered, and not with the file; asking again is of no use."""


class _TransientError(ConnectionError):
    """The transfer broke, and asking again may help."""


@dataclass(frozen=True)
class _Part:
    """What has come of a file."""

    path: Path
    page: str

    def complete(self, url: str) -> None:
        """Ask until all of it is here.

        Raises:
            ConnectionError: the server refused, or the line broke several times in a row.
        """
        furthest, failures = self.kept, 0
        while True:
            try:
                return self._receive(url)
            except _TransientError as error:
                failures = 0 if self.kept > furthest else failures + 1
                furthest = max(furthest, self.kept)
                if failures > RETRIES:
                    raise ConnectionError(self._explain(url, str(error))) from error
                time.sleep(PAUSE * 2**failures)

    @property
    def kept(self) -> int:
        """Bytes that are already here."""
        return size(self.path)

    def _receive(self, url: str) -> None:
        """Append to the part what one request brings; raise unless the file is complete then."""
        try:
            import requests  # here, since only downloads need it
        except ImportError:
            raise ImportError(
                "downloads need requests; install it with `pip install 'medsr-lib[notebooks]'`"
            ) from None
        headers = {"Accept-Encoding": "identity"}  # a range counts the bytes of the file itself
        if self.kept:
            headers["Range"] = f"bytes={self.kept}-"
        try:
            with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
                first, total = _span(answer)
                if answer.status_code == 416 and total == self.kept:
                    return  # nothing is left to ask for
                self._prepare(url, answer, first)
                with self.path.open("ab") as file, self._bar(total) as bar:
                    for block in answer.iter_content(BLOCK):
                        bar.update(file.write(block))
        except requests.RequestException as error:
            raise _TransientError(str(error)) from error
        if total is not None and self.kept != total:
            raise _TransientError(f"{self.kept} of {total} bytes came")

    def _prepare(self, url: str, answer: "requests.Response", first: int | None) -> None:
        """Decide what the answer is: the rest, the whole file again, or no file at all."""
        match answer.status_code:
            case 206 if first == self.kept:
                return
            case 206 | 416:
                self.path.unlink(missing_ok=True)
                raise _TransientError("the file has changed on the server")
            case 200 if not answer.headers.get("Content-Type", "").startswith("text/html"):
                self.path.unlink(missing_ok=True)
            case status if status in BUSY:
                raise _TransientError(f"the server is busy (HTTP status {status})")
            case status:
                raise _RefusedError(self._explain(url, f"no file was sent (HTTP status {status})"))

    def _bar(self, total: int | None) -> tqdm:
        kept, name = self.kept, self.path.stem
        return tqdm(total=total, initial=kept, desc=name, unit="B", unit_scale=True, leave=False)

    def _explain(self, url: str, why: str) -> str:
        return (
            f"{self.path.stem} could not be fetched from {url}: {why}. {self.kept} bytes of it are "
            "kept; calling again continues from there. Or fetch the file with a browser from "
            f"{self.page}, put it into {self.path.parent} and call again."
        )


def _span(answer: "requests.Response") -> tuple[int | None, int | None]:
    """First byte of the answer and length of the whole file, where the server tells them."""
    span = re.fullmatch(
        r"bytes (?:([0-9]+)-[0-9]+|\*)/([0-9]+|\*)", answer.headers.get("Content-Range", "")
    )
    if span:
        first, total = span.groups()
        return int(first) if first else None, int(total) if total != "*" else None
    if answer.status_code != 200:
        return None, None
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None
