"""Files from the internet: resumed where the transfer broke off, checked, and unpacked.

A connection that breaks must not cost what is already here: the bytes are gathered in
`<name>.part`. The file appears under its name only when it is complete and has the right MD5.
"""

import hashlib
import re
import shutil
import time
import zipfile
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from tqdm import tqdm

from medsr_lib.files import atomic, full_disk_named

RETRIES = 5  # tries in a row that bring nothing new before it gives up
PAUSE = 1.0  # seconds before the next try, doubled each time
TIMEOUT = (10.0, 60.0)  # seconds: for the connection, for the next bytes
BLOCK = 1 << 18  # bytes read at a time
BUSY = (408, 429, 500, 502, 503, 504)  # HTTP answers that may be different in a moment


def fetch(urls: Sequence[str], path: Path, *, md5: str, page: str) -> Path:
    """Bring a file to `path`; one that is there with the right MD5 is not fetched again.

    Args:
        urls: addresses of the file; the next is tried where one does not send it.
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
    part = path.with_name(path.name + ".part")
    failure: ConnectionError | None = None
    for url in urls:
        try:
            with full_disk_named(part, "what came of it is kept"):
                _complete(part, url)
            break
        except ConnectionError as error:
            failure = error
    else:
        raise ConnectionError(
            f"{path.name} could not be fetched from {url}: {failure}. {_size(part)} bytes of it "
            "are kept; calling again continues from there. Or fetch the file with a browser from "
            f"{page}, put it into {path.parent} and call again."
        ) from failure
    if (found := _md5(part)) != md5:
        part.unlink()
        raise ValueError(
            f"{path.name}: expected MD5 {md5}, got {found}; it was deleted. Try again; if this "
            f"comes back, it is not the file that this version knows: compare its MD5 with {page}"
        )
    part.replace(path)
    return path


def unpack(archive: Path, folder: Path, *, wanted: Set[str], page: str) -> dict[str, int]:
    """Unpack a zip, each file atomically; those that are there with the right size are kept.

    Args:
        archive: the zip; its files may lie in one folder.
        folder: where the files go; all are put into this folder itself.
        wanted: the names that its files may have.
        page: where people can look what it should hold, for messages.

    Returns:
        The CRC-32 of each of its files, as the zip states it.

    Raises:
        ValueError: a file of another name or place; nothing is unpacked then.
    """
    with zipfile.ZipFile(archive) as zipped:
        left, sums = [], {}
        for member in zipped.infolist():
            *above, name = member.filename.split("/")
            if member.is_dir():
                continue
            if name not in wanted or len(above) > 1 or above in ([""], [".."]):
                raise ValueError(
                    f"{archive.name} holds {member.filename!r}, which is not one of its "
                    f"{len(wanted)} files (compare it with {page}); nothing of it was unpacked"
                )
            sums[name] = member.CRC
            if _size(folder / name) != member.file_size:
                left.append((member, folder / name))
        for member, target in tqdm(left, archive.name, leave=False):
            with (
                atomic(target) as temporary,
                zipped.open(member) as source,
                temporary.open("wb") as file,
            ):
                shutil.copyfileobj(source, file)
    return sums


def _size(path: Path) -> int:
    """Bytes of a file, 0 where there is none."""
    return path.stat().st_size if path.is_file() else 0


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _complete(part: Path, url: str) -> None:
    """Ask until all of it is here.

    Raises:
        ConnectionError: the server refused, or the line broke several times in a row.
    """
    try:
        import requests  # here, since only downloads need it
    except ImportError:
        raise ImportError(
            "downloads need requests; install it with `pip install 'medsr-lib[notebooks]'`"
        ) from None
    furthest, failures = _size(part), 0
    while True:
        try:
            return _receive(part, url)
        except requests.RequestException as error:
            failures = 0 if _size(part) > furthest else failures + 1
            furthest = max(furthest, _size(part))
            if failures > RETRIES:
                raise ConnectionError(str(error)) from error
            time.sleep(PAUSE * 2**failures)


def _receive(part: Path, url: str) -> None:
    """Append to the part what one request brings.

    Raises:
        requests.RequestException: the file is not complete then, and asking again may help.
        ConnectionError: the server answered, and not with the file.
    """
    import requests

    headers = {"Accept-Encoding": "identity"}  # a range counts the bytes of the file itself
    if kept := _size(part):
        headers["Range"] = f"bytes={kept}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        status = answer.status_code
        first, total = _span(status, answer.headers)
        if status == 416 and total == kept:
            return  # nothing is left to ask for
        if status in BUSY:
            raise requests.ConnectionError(f"the server is busy (HTTP status {status})")
        if status in (206, 416) and first != kept:
            part.unlink(missing_ok=True)
            raise requests.ConnectionError("the file has changed on the server")
        page = answer.headers.get("Content-Type", "").startswith("text/html")
        if status not in (200, 206) or page:
            raise ConnectionError(f"no file was sent (HTTP status {status})")
        if status == 200:  # the whole file again
            part.unlink(missing_ok=True)
        bar = tqdm(
            total=total, initial=_size(part), desc=part.stem, unit="B", unit_scale=True, leave=False
        )
        with part.open("ab") as file, bar:
            for block in answer.iter_content(BLOCK):
                bar.update(file.write(block))
    if total is not None and _size(part) != total:
        raise requests.ConnectionError(f"{_size(part)} of {total} bytes came")


def _span(status: int, headers: Mapping[str, str]) -> tuple[int | None, int | None]:
    """First byte of the answer and length of the whole file, where the server tells them."""
    numbers: Sequence[str | None] = ("0", headers.get("Content-Length"))
    if status != 200:
        form = r"bytes (?:([0-9]+)-[0-9]+|\*)/([0-9]+|\*)"
        span = re.fullmatch(form, headers.get("Content-Range", ""))
        numbers = span.groups() if span else (None, None)
    first, total = (int(n) if n and n.isdecimal() else None for n in numbers)
    return first, total
