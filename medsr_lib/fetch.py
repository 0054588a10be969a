"""The figshare brain tumour data set, fetched from where its authors put it.

Cheng, Jun: brain tumor dataset, figshare, article 1512427, version 5 (2017), CC BY 4.0,
https://doi.org/10.6084/m9.figshare.1512427 - four zips of 766 slices each, and ``cvind.mat``.

About 880 MB come over the line, so a connection that breaks must not cost what is already there:
pooch checks the MD5 and puts the file in its place, the bytes are brought by `ResumingDownloader`.
"""

import re
import shutil
import stat
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import requests
from tqdm import tqdm

__all__ = ["CVIND", "DOI", "N_SLICES", "ZIPS", "RemoteFile", "ResumingDownloader", "download"]

DOI = "10.6084/m9.figshare.1512427"
# Tried in this order; both lead to the same stored file. figshare.com/ndownloader/... is not among
# them: other projects report (2026) that it answers programs with an empty page, HTTP status 202.
ADDRESSES = (
    "https://ndownloader.figshare.com/files/{file_id}",
    "https://api.figshare.com/v2/file/download/{file_id}",
)
N_SLICES = 3064
UNPACKED = 1.5  # bytes of slices per byte of zip: an estimate, each zip is checked exactly later
RETRIES = 5  # tries in a row that bring nothing new before it gives up
PAUSE = 1.0  # seconds before the next try, doubled each time
TIMEOUT = (10.0, 60.0)  # seconds: for the connection, for the next bytes
BLOCK = 1 << 18  # bytes read at a time
BUSY = (408, 429, 500, 502, 503, 504)  # HTTP answers that may be different in a moment

MEMBER = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_ .-]*/)?([1-9][0-9]*)\.mat")
FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .-]*/")


@dataclass(frozen=True)
class RemoteFile:
    """One file of the article: its name, its number at figshare, its MD5 and size, its slices."""

    name: str
    file_id: int
    md5: str
    n_bytes: int
    slices: range = range(0)


# Numbers, MD5 and sizes were read in several independent public programs that fetch this article
# (DOI above); they agree, but were not checked against the site. Only the MD5 decides; the sizes
# serve the check of the disk.
ZIPS = (
    RemoteFile(
        "brainTumorDataPublic_1-766.zip",
        3381290,
        "74b949ad33f042e6e103523091cd1428",
        214_401_279,
        range(1, 767),
    ),
    RemoteFile(
        "brainTumorDataPublic_767-1532.zip",
        3381296,
        "7e8a875500d2c8a346f270538e29890e",
        217_848_429,
        range(767, 1533),
    ),
    RemoteFile(
        "brainTumorDataPublic_1533-2298.zip",
        3381293,
        "8227bf6080cb71f15a88be8d25c79ae7",
        215_563_856,
        range(1533, 2299),
    ),
    RemoteFile(
        "brainTumorDataPublic_2299-3064.zip",
        3381302,
        "b378a80d6174e5317d59eb28430c6652",
        231_679_762,
        range(2299, 3065),
    ),
)
CVIND = RemoteFile("cvind.mat", 7005344, "5ea82eb3212c9fcb84290ccf0beb486d", 5_736)


def download(root: str | Path, *, progress: bool = True) -> Path:
    """Fetch the data set: afterwards ``root/data/1.mat`` to ``3064.mat`` and ``root/cvind.mat``.

    Call it as often as you like: what is there is not fetched again, a transfer that broke off goes
    on where it stopped, and when everything is there no request is made. The zips are fetched,
    unpacked and removed one after the other. Where figshare turns programs away, files that were
    fetched with a browser and put into ``root`` are taken as they are.

    Args:
        root: Folder for the data set; made if it is not there.
        progress: Show a bar with the bytes, and one while unpacking.

    Returns:
        ``root``.

    Raises:
        ConnectionError: A file could not be fetched; what came of it is kept for the next call.
        OSError: Too little space on the disk; nothing was fetched.
        ValueError: A file is not what it should be: MD5, names in a zip, content of cvind.mat.
        FileNotFoundError: The zips did not hold all the slices.
    """
    root = Path(root)
    (root / "data").mkdir(parents=True, exist_ok=True)
    pending = [remote for remote in ZIPS if _missing(root, remote.slices)]
    if pending:
        _require_space(root, _still_needed(root))
    if not (root / CVIND.name).is_file():
        _fetch(CVIND, root, progress=progress)
    _check_folds(root / CVIND.name)
    for remote in pending:
        archive = _fetch(remote, root, progress=progress)
        _unpack(archive, root / "data", progress=progress)
        archive.unlink()
    _check_slices(root)
    return root


@dataclass(frozen=True)
class ResumingDownloader:
    """A downloader for pooch that keeps what came and asks only for the rest.

    The bytes are gathered in `part`, a path that stays the same from one process to the next;
    beside it a ``.tag`` file remembers which version of the remote file they are from (its ETag, or
    else its date). Only a complete file is handed to pooch.

    Args:
        part: Where the bytes are gathered.
        progress: Show a bar with the bytes.
    """

    part: Path
    progress: bool = True

    def __call__(self, url: str, output_file: str | Path, pooch: object) -> None:
        """Bring `url` to `output_file`.

        Args:
            url: Address of the file.
            output_file: Where pooch wants it.
            pooch: Part of pooch's interface for downloaders; not used.

        Raises:
            ConnectionError: The server refused, or the line broke several times in a row.
        """
        furthest, failures = self.kept, 0
        while True:
            try:
                self._receive(url)
                break
            except requests.RequestException as error:
                failures = 0 if self.kept > furthest else failures + 1
                furthest = max(furthest, self.kept)
                if failures > RETRIES:
                    raise ConnectionError(self._explain(url, str(error))) from error
                time.sleep(PAUSE * 2**failures)
        self.part.replace(output_file)
        self._tag_file.unlink(missing_ok=True)

    @property
    def kept(self) -> int:
        """Bytes that are already here."""
        return _size(self.part)

    @property
    def _tag_file(self) -> Path:
        return self.part.with_name(self.part.name + ".tag")

    @property
    def _tag(self) -> str:
        return self._tag_file.read_text() if self._tag_file.is_file() else ""

    def _receive(self, url: str) -> None:
        """Append to `part` what one request brings; raise unless the file is complete then."""
        with requests.get(url, headers=self._headers(), stream=True, timeout=TIMEOUT) as answer:
            first, total = _span(answer)
            if answer.status_code == 416 and total == self.kept:
                return  # nothing is left to ask for
            self._prepare(answer, first)
            with self.part.open("ab") as file, self._bar(total) as bar:
                for block in answer.iter_content(BLOCK):
                    bar.update(file.write(block))
        if total is not None and self.kept != total:
            raise requests.ConnectionError(f"{self.kept} of {total} bytes came")

    def _headers(self) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity"}  # a range counts the bytes of the file itself
        if self.kept:
            headers["Range"] = f"bytes={self.kept}-"
            if self._tag:
                headers["If-Range"] = self._tag
        return headers

    def _prepare(self, answer: requests.Response, first: int | None) -> None:
        """Decide what the answer is: the rest, the whole file again, or no file at all."""
        tag = _validator(answer)
        other_version = bool(tag and self._tag and tag != self._tag)
        match answer.status_code:
            case 206 if first == self.kept and not other_version:
                return
            case 206 | 416:
                self._forget()
                raise requests.ConnectionError("the file has changed on the server")
            case 200 if not answer.headers.get("Content-Type", "").startswith("text/html"):
                self._forget()
                if tag:
                    self._tag_file.write_text(tag)
            case status if status in BUSY:
                raise requests.ConnectionError(f"the server is busy (HTTP status {status})")
            case status:
                url = (answer.history or [answer])[0].url  # not the signed one it leads to
                raise _RefusedError(self._explain(url, f"no file was sent (HTTP status {status})"))

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self._tag_file.unlink(missing_ok=True)

    def _bar(self, total: int | None) -> tqdm:
        return tqdm(
            total=total,
            initial=self.kept,
            desc=self.part.stem,
            unit="B",
            unit_scale=True,
            leave=False,
            disable=not self.progress,
        )

    def _explain(self, url: str, why: str) -> str:
        return (
            f"{self.part.stem} could not be fetched from {url}: {why}. {self.kept} bytes of it are "
            f"kept; calling download again continues from there. Or fetch the file with a browser "
            f"from https://doi.org/{DOI}, put it into {self.part.parent} and call download again."
        )


class _RefusedError(ConnectionError):
    """The server answered, and not with the file; asking again is of no use."""


def _span(answer: requests.Response) -> tuple[int | None, int | None]:
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


def _validator(answer: requests.Response) -> str:
    """What If-Range may name: a strong ETag (RFC 9110, 13.1.5), else the date, else nothing."""
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")


def _fetch(remote: RemoteFile, root: Path, *, progress: bool) -> Path:
    """The remote file in `root`, complete and with the right MD5."""
    import pooch  # here, since only downloads need it: where data are mounted it may be missing

    downloader = ResumingDownloader(_part(root, remote), progress)
    for address in ADDRESSES:
        try:
            path = pooch.retrieve(
                address.format(file_id=remote.file_id),
                known_hash=f"md5:{remote.md5}",
                fname=remote.name,
                path=root,
                downloader=downloader,
            )
        except _RefusedError as error:
            refused = error
        except ValueError as error:
            raise ValueError(
                f"{error} Call download again; if this comes back, the file at figshare is not the "
                f"one this version knows: compare the MD5 with the one shown at "
                f"https://doi.org/{DOI}."
            ) from error
        else:
            return Path(path)
    raise refused


def _unpack(archive: Path, folder: Path, *, progress: bool) -> None:
    """Unpack the slices of one zip; each appears under its name only when it is complete."""
    with zipfile.ZipFile(archive) as zipped:
        targets = {
            member: folder / f"{_slice_number(member, archive)}.mat"
            for member in zipped.infolist()
            if not (member.is_dir() and FOLDER.fullmatch(member.filename))
        }
        left = [member for member in targets if _size(targets[member]) != member.file_size]
        _require_space(folder, sum(member.file_size for member in left))
        for member in tqdm(left, desc=archive.name, leave=False, disable=not progress):
            _unpack_member(zipped, member, targets[member])


def _unpack_member(zipped: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    temporary = target.with_name(target.name + ".part")
    try:
        with zipped.open(member) as source, temporary.open("wb") as file:
            shutil.copyfileobj(source, file)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _slice_number(member: zipfile.ZipInfo, archive: Path) -> int:
    """The number in the name of a zip's member, which must be a plain file ``<number>.mat``."""
    name = MEMBER.fullmatch(member.filename)
    kind = stat.S_IFMT(member.external_attr >> 16)
    if name is None or int(name[1]) > N_SLICES or kind not in (0, stat.S_IFREG):
        raise ValueError(
            f"{archive.name} holds {member.filename!r}, which is not one of the slices 1.mat to "
            f"{N_SLICES}.mat; nothing of it was unpacked. Compare the file with https://doi.org/{DOI}."
        )
    return int(name[1])


def _check_folds(path: Path) -> None:
    """Make sure that cvind.mat holds a fold from 1 to 5 for every slice."""
    try:
        with h5py.File(path) as file:
            folds = np.asarray(file["cvind"]).ravel()
    except (OSError, KeyError) as error:
        found = f"it cannot be read ({error})"
    else:
        if folds.size == N_SLICES and np.isin(folds, [1, 2, 3, 4, 5]).all():
            return
        found = f"there are {folds.size} values, among them {np.unique(folds)[:8].tolist()}"
    raise ValueError(
        f"{path} should hold the data set 'cvind' with {N_SLICES} folds from 1 to 5, but {found}. "
        f"Delete it and call download again."
    )


def _check_slices(root: Path) -> None:
    missing = _missing(root, range(1, N_SLICES + 1))
    if missing:
        first = ", ".join(str(number) for number in missing[:5])
        raise FileNotFoundError(
            f"{len(missing)} of the {N_SLICES} slices are not in {root / 'data'}, the first of "
            f"them {first}. Call download again; if that does not help, the zips do not hold them."
        )


def _missing(root: Path, slices: range) -> list[int]:
    return [number for number in slices if not (root / "data" / f"{number}.mat").is_file()]


def _still_needed(root: Path) -> int:
    """Bytes the disk must still take: all slices and, for a while, one zip, less what is here."""
    sizes = [remote.n_bytes for remote in ZIPS]
    zips = [path for remote in ZIPS for path in (root / remote.name, _part(root, remote))]
    slices = [root / "data" / f"{number}.mat" for number in range(1, N_SLICES + 1)]
    return int(UNPACKED * sum(sizes)) + max(sizes) - sum(_size(path) for path in zips + slices)


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            f"{needed / 1e9:.2f} GB are needed for the data set in {folder}, {free / 1e9:.2f} GB "
            f"are free. Make room or choose a folder on another disk."
        )


def _part(root: Path, remote: RemoteFile) -> Path:
    return root / f"{remote.name}.part"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
