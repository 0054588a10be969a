import builtins
import hashlib
import re
import shutil

import numpy as np
import pytest
from servers import serving, zipped

from medsr_lib import fetch

CONTENT = np.random.default_rng(0).bytes(100_000)
PAGE = "https://example.org/page"


@pytest.fixture
def site(monkeypatch):
    for name, value in {"PAUSE": 0.0, "RETRIES": 2, "BLOCK": 1000}.items():
        monkeypatch.setattr(fetch, name, value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as site:
        yield site


@pytest.fixture
def get(site, tmp_path):
    """`get(content)` puts it on the site and fetches it as x.bin."""

    def get(content, addresses=("files",), md5=None):
        site.files["7"] = content
        urls = [f"{site.address}/{address}/7" for address in addresses]
        md5 = md5 or hashlib.md5(content).hexdigest()
        return fetch.fetch(urls, tmp_path / "x.bin", md5=md5, page=PAGE).read_bytes()

    return get


def names(folder):
    return {path.name for path in folder.iterdir()}


# the transfer


def test_a_file_that_is_there_is_not_fetched(site, get, tmp_path, capsys):
    assert get(CONTENT) == CONTENT
    assert "x.bin" in (shown := capsys.readouterr().err)
    assert "B/s" in shown
    assert get(CONTENT) == CONTENT
    assert len(site.asked) == 1
    (tmp_path / "x.bin").write_bytes(b"another")
    assert get(CONTENT) == CONTENT


def test_broken_line_continues_where_it_stopped(site, get):
    site.stop_after = [30_000, 20_000]
    assert get(CONTENT) == CONTENT
    assert site.ranges_asked == [None, "bytes=30000-", "bytes=50000-"]
    assert site.sent == len(CONTENT)


def test_next_call_continues_where_the_last_one_gave_up(site, get, tmp_path):
    site.stop_after = [40_000, 0, 0, 0]
    with pytest.raises(ConnectionError, match=r"x\.bin could .* 40000 bytes .* continues"):
        get(CONTENT)
    assert names(tmp_path) == {"x.bin.part"}
    assert get(CONTENT) == CONTENT
    assert site.sent == len(CONTENT)
    assert names(tmp_path) == {"x.bin"}


def test_interrupt_keeps_what_came(site, get, tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    site.stop_after = [40_000]
    monkeypatch.setattr(fetch.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        get(CONTENT)
    assert (tmp_path / "x.bin.part").read_bytes() == CONTENT[:40_000]
    assert get(CONTENT) == CONTENT


@pytest.mark.parametrize(("more", "sent"), [(b"", 0), (b"more", len(CONTENT))])
def test_a_part_that_is_complete_or_too_long(site, get, tmp_path, more, sent):
    (tmp_path / "x.bin.part").write_bytes(CONTENT + more)
    assert get(CONTENT) == CONTENT
    assert site.sent == sent


def test_server_without_ranges_starts_again(site, get):
    site.ranges = False
    site.stop_after = [30_000]
    assert get(CONTENT) == CONTENT
    assert site.ranges_asked == [None, "bytes=30000-"]
    assert site.sent == 30_000 + len(CONTENT)


def test_server_without_ranges_that_always_breaks_is_given_up(site, get):
    site.ranges = False
    site.stop_after = [30_000, 20_000] * 9
    with pytest.raises(ConnectionError, match="20000 bytes of it are kept"):
        get(CONTENT)
    assert len(site.asked) == 1 + fetch.RETRIES + 1


def test_file_changed_between_two_calls_starts_again(site, get):
    site.stop_after = [30_000, 0, 0, 0]
    with pytest.raises(ConnectionError):
        get(CONTENT)
    with pytest.raises(ValueError, match="it was deleted"):  # half old, half new
        get(CONTENT[::-1])
    assert get(CONTENT[::-1]) == CONTENT[::-1]


def test_answer_from_another_place_starts_again(site, get):
    site.shift, site.stop_after = 10, [30_000]
    assert get(CONTENT) == CONTENT
    assert site.ranges_asked == [None, "bytes=30000-", None]


def test_busy_server_is_asked_again(site, get):
    site.status = {"files": 503}
    with pytest.raises(ConnectionError, match=r"busy \(HTTP status 503\)"):
        get(CONTENT)
    assert len(site.asked) == fetch.RETRIES + 1


@pytest.mark.parametrize("status", [202, 403, 404])
def test_refusal_is_not_repeated_but_leads_to_the_next_address(site, get, status):
    site.status = {"first": status}
    with pytest.raises(ConnectionError, match=rf"status {status}.* with a browser from {PAGE}"):
        get(CONTENT, ["first"])
    assert len(site.asked) == 1
    assert get(CONTENT, ["first", "second"]) == CONTENT
    assert [path for path, _ in site.asked[1:]] == ["/first/7", "/second/7"]


def test_web_page_does_not_replace_what_was_kept(site, get, tmp_path):
    (tmp_path / "x.bin.part").write_bytes(CONTENT[:40_000])
    site.ranges, site.content_type = False, "text/html; charset=utf-8"
    with pytest.raises(ConnectionError, match="40000 bytes of it are kept"):
        get(CONTENT)
    assert (tmp_path / "x.bin.part").stat().st_size == 40_000


def test_no_server(site, tmp_path):
    with pytest.raises(ConnectionError, match=r"x\.bin could not be fetched .* 0 bytes"):
        fetch.fetch(["http://127.0.0.1:9/7"], tmp_path / "x.bin", md5="", page=PAGE)


def test_wrong_checksum_removes_the_file(get, tmp_path):
    got = hashlib.md5(CONTENT).hexdigest()
    with pytest.raises(ValueError, match=rf"expected MD5 0f0f, got {got}; it was deleted"):
        get(CONTENT, md5="0f0f")
    assert names(tmp_path) == set()


def test_without_requests_the_error_names_the_extra(get, monkeypatch):
    find = builtins.__import__

    def lacking(name, *args):
        if name == "requests":
            raise ImportError
        return find(name, *args)

    monkeypatch.setattr(builtins, "__import__", lacking)
    with pytest.raises(ImportError, match=r"downloads need requests.*medsr-lib\[notebooks\]"):
        get(CONTENT)


# unpacking


@pytest.fixture
def unpack(tmp_path):
    """`unpack(content)` unpacks it as a.zip into out/, where files a to c are wanted."""
    (tmp_path / "out").mkdir()

    def unpack(content):
        (tmp_path / "a.zip").write_bytes(content)
        fetch.unpack(
            tmp_path / "a.zip",
            tmp_path / "out",
            wanted={"a", "b", "c"},
            page=PAGE,
        )
        return names(tmp_path / "out")

    return unpack


def test_files_of_a_zip_come_into_the_folder_itself(unpack):
    assert unpack(zipped({"x/": b"", "x/a": b"1", "b": b"2"})) == {"a", "b"}


@pytest.mark.parametrize("name", ["d", "../c", "/c", "x/y/c"])
def test_other_members_are_refused_before_anything_is_unpacked(unpack, tmp_path, name):
    with pytest.raises(ValueError, match=re.escape(f"a.zip holds {name!r}, which is not one of")):
        unpack(zipped({"a": b"good", name: b""}))
    assert names(tmp_path / "out") == set()


def test_interrupted_unpacking_leaves_no_half_file(unpack, tmp_path, monkeypatch):
    def interrupted(source, file):
        file.write(source.read(10))
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfileobj", interrupted)
    with pytest.raises(KeyboardInterrupt):
        unpack(zipped({"a": CONTENT}))
    assert names(tmp_path / "out") == set()


def test_files_that_are_there_are_not_unpacked_again(unpack, tmp_path):
    (tmp_path / "out" / "a").write_bytes(b"same")
    (tmp_path / "out" / "b").write_bytes(b"too short")
    unpack(zipped({"a": b"SAME", "b": b"the whole of it"}))
    assert (tmp_path / "out" / "a").read_bytes() == b"same"
    assert (tmp_path / "out" / "b").read_bytes() == b"the whole of it"
