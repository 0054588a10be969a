"""A server of files on this machine that misbehaves as it is told."""

import io
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What the server has, how it misbehaves, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    shift: int = 0  # a range is answered from this many bytes further on
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
        start = int(asked[6:-1]) if asked and site.ranges else 0
        status = next((code for part, code in site.status.items() if part in self.path), 200)
        if status == 200 and start:
            start += site.shift
            status = 206 if start < len(body) else 416
        self.send_response(status)
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


@contextmanager
def serving() -> Iterator[Site]:
    """A site, served on a port of its own."""
    site = Site()
    handler = type("Bound", (Handler,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def zipped(members: Mapping[str, bytes]) -> bytes:
    """A zip of files, by name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()
