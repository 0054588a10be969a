import hashlib
import io
import re
import shutil
import stat
import threading
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import pytest

from medsr_lib import fetch as dl

N = 6
SLICES = {n: bytes([n]) * (50_000 + n) for n in range(1, N + 1)}


@dataclass
class Site:
    """What the server has, how it misbehaves, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    if_range: bool = True
    shift: int = 0  # a range is answered from this many bytes further on
    etag: bool = True
    status: dict[str, int] = field(default_factory=dict)
    content_type: str = "application/octet-stream"
    stop_after: list[int] = field(default_factory=list)  # bytes per answer, then the line breaks
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    sent: int = 0
    address: str = ""

    @property
    def ranges_asked(self) -> list[str | None]:
        return [asked for _, asked in self.asked]


class Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *args: object) -> None: ...

    def do_GET(self) -> None:
        site, asked = self.site, self.headers["Range"]
        site.asked.append((self.path, asked))
        body = site.files[self.path.rsplit("/")[-1]]
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        same = not site.if_range or self.headers["If-Range"] in (None, etag)
        start = int(asked[6:-1]) if asked and site.ranges and same else 0
        status = next((code for part, code in site.status.items() if part in self.path), 200)
        if status == 200 and start:
            start += site.shift
            status = 206 if start < len(body) else 416
        self.send_response(status)
        if site.etag:
            self.send_header("ETag", etag)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if status == 416:
            self.send_header("Content-Range", f"bytes */{len(body)}")
        rest = body[start:] if status in (200, 206) else b""
        self.send_header("Content-Length", str(len(rest)))
        self.send_header("Content-Type", site.content_type)
        self.end_headers()
        out = rest[: site.stop_after.pop(0)] if site.stop_after else rest
        site.sent += len(out)
        self.wfile.write(out)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site()
    handler = type("Bound", (Handler,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(dl, "ADDRESSES", (f"{site.address}/files/{{file_id}}",))
    monkeypatch.setattr(dl, "PAUSE", 0.0)
    monkeypatch.setattr(dl, "RETRIES", 2)
    monkeypatch.setattr(dl, "BLOCK", 1000)
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def cvind(folds: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["cvind"] = folds[None].astype(float)
    return buffer.getvalue()


def remote(site: Site, name: str, file_id: int, content: bytes, slices: range) -> dl.RemoteFile:
    site.files[str(file_id)] = content
    md5 = hashlib.md5(content).hexdigest()
    return dl.RemoteFile(name, file_id, md5, len(content), slices)


@pytest.fixture
def article(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Two zips of three slices, the second with a folder in its names, and cvind.mat."""
    first = zipped({f"{n}.mat": SLICES[n] for n in (1, 2, 3)})
    second = zipped({"part/": b""} | {f"part/{n}.mat": SLICES[n] for n in (4, 5, 6)})
    zips = (
        remote(site, "a.zip", 11, first, range(1, 4)),
        remote(site, "b.zip", 12, second, range(4, 7)),
    )
    folds = remote(site, "cvind.mat", 13, cvind(np.arange(N) % 5 + 1), range(0))
    monkeypatch.setattr(dl, "ZIPS", zips)
    monkeypatch.setattr(dl, "CVIND", folds)
    monkeypatch.setattr(dl, "N_SLICES", N)
    return site


@pytest.fixture
def fetch(site: Site, tmp_path: Path):
    """Fetch `content` as one file x.bin, without a zip around it."""

    def fetch(content: bytes) -> bytes:
        file = remote(site, "x.bin", 7, content, range(0))
        return dl._fetch(file, tmp_path, progress=False).read_bytes()

    return fetch


@pytest.fixture
def unpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dl, "N_SLICES", N)
    (tmp_path / "data").mkdir()

    def unpack(content: bytes) -> set[str]:
        (tmp_path / "a.zip").write_bytes(content)
        dl._unpack(tmp_path / "a.zip", tmp_path / "data", progress=False)
        return names(tmp_path / "data")

    return unpack


CONTENT = np.random.default_rng(0).bytes(100_000)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# everything together


def test_all_the_files_are_in_their_places(article: Site, tmp_path: Path) -> None:
    assert dl.download(tmp_path, progress=False) == tmp_path
    assert names(tmp_path) == {"data", "cvind.mat"}
    assert {p.stem: p.read_bytes() for p in (tmp_path / "data").iterdir()} == {
        str(n): content for n, content in SLICES.items()
    }


def test_second_call_makes_no_request(article: Site, tmp_path: Path) -> None:
    dl.download(tmp_path, progress=False)
    article.asked.clear()
    dl.download(tmp_path, progress=False)
    assert article.asked == []


def test_only_what_is_missing_is_fetched(article: Site, tmp_path: Path) -> None:
    dl.download(tmp_path, progress=False)
    (tmp_path / "data" / "5.mat").unlink()
    article.asked.clear()
    dl.download(tmp_path, progress=False)
    assert article.asked == [("/files/12", None)]


def test_zip_fetched_by_hand_is_taken(article: Site, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(article.files["11"])
    dl.download(tmp_path, progress=False)
    assert [path for path, _ in article.asked] == ["/files/13", "/files/12"]


def test_progress_bars_name_the_files(article: Site, tmp_path: Path, capsys) -> None:
    dl.download(tmp_path)
    shown = capsys.readouterr().err
    assert "a.zip" in shown
    assert "B/s" in shown


def test_slices_missing_from_the_zips(article: Site, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(dl, "N_SLICES", N + 2)
    folds = remote(article, "cvind.mat", 13, cvind(np.ones(N + 2)), range(0))
    monkeypatch.setattr(dl, "CVIND", folds)
    with pytest.raises(FileNotFoundError, match=r"2 of the 8 slices .* first of them 7, 8\."):
        dl.download(tmp_path, progress=False)


def test_the_numbers_of_the_article_fit_together() -> None:
    numbers = [n for file in dl.ZIPS for n in file.slices]
    assert numbers == list(range(1, dl.N_SLICES + 1))
    assert [re.findall(r"\d+", f.name) for f in dl.ZIPS] == [
        [str(f.slices[0]), str(f.slices[-1])] for f in dl.ZIPS
    ]
    assert all(re.fullmatch("[0-9a-f]{32}", f.md5) for f in (*dl.ZIPS, dl.CVIND))


# the transfer


def test_broken_line_continues_where_it_stopped(site: Site, fetch) -> None:
    site.stop_after = [30_000, 20_000]
    assert fetch(CONTENT) == CONTENT
    assert site.ranges_asked == [None, "bytes=30000-", "bytes=50000-"]
    assert site.sent == len(CONTENT)


def test_next_call_continues_where_the_last_one_gave_up(site: Site, fetch, tmp_path) -> None:
    site.stop_after = [40_000, 0, 0, 0]
    with pytest.raises(ConnectionError, match=r"x\.bin could .* 40000 bytes .* continues"):
        fetch(CONTENT)
    assert names(tmp_path) == {"x.bin.part", "x.bin.part.tag"}
    assert fetch(CONTENT) == CONTENT
    assert site.sent == len(CONTENT)
    assert names(tmp_path) == {"x.bin"}


def test_interrupt_keeps_what_came(site: Site, fetch, tmp_path, monkeypatch) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    site.stop_after = [40_000]
    monkeypatch.setattr(dl.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(CONTENT)
    assert (tmp_path / "x.bin.part").read_bytes() == CONTENT[:40_000]
    assert fetch(CONTENT) == CONTENT


def test_complete_part_is_not_fetched_again(site: Site, fetch, tmp_path) -> None:
    (tmp_path / "x.bin.part").write_bytes(CONTENT)
    assert fetch(CONTENT) == CONTENT
    assert site.sent == 0


def test_server_without_ranges_starts_again(site: Site, fetch) -> None:
    site.ranges = False
    site.stop_after = [30_000]
    assert fetch(CONTENT) == CONTENT
    assert site.ranges_asked == [None, "bytes=30000-"]
    assert site.sent == 30_000 + len(CONTENT)


def test_server_without_ranges_that_always_breaks_is_given_up(site: Site, fetch) -> None:
    site.ranges = False
    site.stop_after = [30_000, 20_000] * 9
    with pytest.raises(ConnectionError, match="20000 bytes of it are kept"):
        fetch(CONTENT)
    assert len(site.asked) == 1 + dl.RETRIES + 1


@pytest.mark.parametrize("if_range", [True, False])
def test_file_changed_between_two_calls_starts_again(site: Site, fetch, if_range: bool) -> None:
    site.if_range = if_range
    site.stop_after = [30_000, 0, 0, 0]
    with pytest.raises(ConnectionError):
        fetch(CONTENT)
    site.asked.clear()
    assert fetch(CONTENT[::-1]) == CONTENT[::-1]
    assert site.ranges_asked == ["bytes=30000-"] + [None] * (not if_range)


def test_answer_from_another_place_starts_again(site: Site, fetch) -> None:
    site.shift, site.stop_after = 10, [30_000]
    assert fetch(CONTENT) == CONTENT
    assert site.ranges_asked == [None, "bytes=30000-", None]


def test_shorter_part_than_kept_starts_again(site: Site, fetch, tmp_path) -> None:
    (tmp_path / "x.bin.part").write_bytes(CONTENT + b"more")
    assert fetch(CONTENT) == CONTENT


def test_busy_server_is_asked_again(site: Site, fetch) -> None:
    site.status = {"files": 503}
    with pytest.raises(ConnectionError, match=r"busy \(HTTP status 503\)"):
        fetch(CONTENT)
    assert len(site.asked) == dl.RETRIES + 1


@pytest.mark.parametrize("status", [202, 403, 404])
def test_refusal_is_not_repeated(site: Site, fetch, status: int) -> None:
    site.status = {"files": status}
    with pytest.raises(ConnectionError, match=rf"status {status}.* with a browser"):
        fetch(CONTENT)
    assert len(site.asked) == 1


def test_refusal_leads_to_the_second_address(site: Site, fetch, monkeypatch) -> None:
    addresses = (f"{site.address}/first/{{file_id}}", f"{site.address}/second/{{file_id}}")
    monkeypatch.setattr(dl, "ADDRESSES", addresses)
    site.status = {"first": 403}
    assert fetch(CONTENT) == CONTENT
    assert [path for path, _ in site.asked] == ["/first/7", "/second/7"]


def test_web_page_does_not_replace_what_was_kept(site: Site, fetch, tmp_path) -> None:
    (tmp_path / "x.bin.part").write_bytes(CONTENT[:40_000])
    site.ranges, site.content_type = False, "text/html; charset=utf-8"
    with pytest.raises(ConnectionError, match="40000 bytes of it are kept"):
        fetch(CONTENT)
    assert (tmp_path / "x.bin.part").stat().st_size == 40_000


def test_no_server(site: Site, fetch, monkeypatch) -> None:
    monkeypatch.setattr(dl, "ADDRESSES", ("http://127.0.0.1:9/{file_id}",))
    with pytest.raises(ConnectionError, match=r"x\.bin could not be fetched .* 0 bytes"):
        fetch(CONTENT)


def test_wrong_checksum_removes_the_file(site: Site, tmp_path: Path) -> None:
    file = remote(site, "x.bin", 7, CONTENT, range(0))
    site.files["7"] = CONTENT[::-1]
    got = hashlib.md5(CONTENT[::-1]).hexdigest()
    with pytest.raises(ValueError, match=rf"expected md5:{file.md5} but got {got}.* again"):
        dl._fetch(file, tmp_path, progress=False)
    assert names(tmp_path) == set()


# cvind.mat


@pytest.mark.parametrize("folds", [np.ones(N - 1), np.arange(N)])
def test_wrong_folds(article: Site, tmp_path: Path, monkeypatch, folds: np.ndarray) -> None:
    monkeypatch.setattr(dl, "CVIND", remote(article, "cvind.mat", 13, cvind(folds), range(0)))
    with pytest.raises(ValueError, match=rf"6 folds from 1 to 5, but there are {len(folds)}"):
        dl.download(tmp_path, progress=False)


def test_unreadable_folds(article: Site, tmp_path: Path) -> None:
    (tmp_path / "cvind.mat").write_bytes(b"no HDF5")
    with pytest.raises(ValueError, match=r"cannot be read .* Delete it"):
        dl.download(tmp_path, progress=False)


# the disk


def test_too_little_space_is_said_before_anything_is_fetched(
    article: Site, tmp_path: Path, monkeypatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**9, 10**9, 1000))
    with pytest.raises(OSError, match=r"0\.00 GB are needed .* 0\.00 GB are free\. Make room"):
        dl.download(tmp_path, progress=False)
    assert article.asked == []


def test_space_that_was_enough_stays_enough(article: Site, tmp_path: Path) -> None:
    needed = dl._still_needed(tmp_path)
    (tmp_path / "a.zip.part").write_bytes(bytes(1000))
    assert dl._still_needed(tmp_path) == needed - 1000


def test_space_is_checked_again_with_the_true_sizes(unpack, monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**9, 10**9, 1000))
    with pytest.raises(OSError, match="Make room"):
        unpack(zipped({"1.mat": SLICES[1]}))


# unpacking


@pytest.mark.parametrize(
    "name",
    [
        *("../2.mat", "/2.mat", "a/../2.mat", "a/b/2.mat", "..\\2.mat", "C:/2.mat", ".a/2.mat"),
        *("7.mat", "0.mat", "02.mat", "٢.mat", "x.mat", "2.mat.exe", "2.mat\n", "../"),
    ],
)
def test_other_names_are_refused(unpack, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"a.zip holds {name!r}, which is not one")):
        unpack(zipped({"1.mat": b"good", name: b"bad"}))
    assert names(tmp_path) == {"a.zip", "data"}
    assert names(tmp_path / "data") == set()


def test_symbolic_link_is_refused(unpack) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("2.mat")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/hostname")
    with pytest.raises(ValueError, match=r"a\.zip holds '2\.mat'"):
        unpack(buffer.getvalue())


def test_interrupted_unpacking_leaves_no_half_slice(unpack, tmp_path: Path, monkeypatch) -> None:
    def interrupted(source, file) -> None:
        file.write(source.read(10))
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfileobj", interrupted)
    with pytest.raises(KeyboardInterrupt):
        unpack(zipped({"1.mat": SLICES[1]}))
    assert names(tmp_path / "data") == set()


def test_slices_that_are_there_are_not_unpacked_again(unpack, tmp_path: Path) -> None:
    (tmp_path / "data" / "1.mat").write_bytes(b"same")
    (tmp_path / "data" / "2.mat").write_bytes(b"too short")
    unpack(zipped({"1.mat": b"SAME", "2.mat": b"the whole of it"}))
    assert (tmp_path / "data" / "1.mat").read_bytes() == b"same"
    assert (tmp_path / "data" / "2.mat").read_bytes() == b"the whole of it"


def test_interrupted_unpacking_keeps_the_zip(article: Site, tmp_path: Path, monkeypatch) -> None:
    def full(*args: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", full)
        with pytest.raises(OSError, match="No space"):
            dl.download(tmp_path, progress=False)
    article.asked.clear()
    dl.download(tmp_path, progress=False)
    assert article.asked == [("/files/12", None)]
