"""HTTP: calls, uploads and downloads, and how they go wrong on the way."""

from __future__ import annotations

import base64
import json
import re
import socketserver
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from kaggle_service import datasets, kernels
from kaggle_service.records import Json, RefusalError, Request

if TYPE_CHECKING:
    from kaggle_service.service import Service

CALLS: dict[str, Callable[[Service, Json], Json]] = {
    "kernels.KernelsApiService/SaveKernel": kernels.save_kernel,
    "kernels.KernelsApiService/GetKernelSessionStatus": kernels.get_status,
    "kernels.KernelsApiService/ListKernelSessionOutput": kernels.list_output,
    "kernels.KernelsApiService/GetKernel": kernels.get_kernel,
    "kernels.KernelsApiService/GetAcceleratorQuotaStatistics": kernels.get_quota,
    "datasets.DatasetApiService/GetDatasetStatus": datasets.get_status,
    "datasets.DatasetApiService/CreateDataset": datasets.create,
    "datasets.DatasetApiService/CreateDatasetVersion": datasets.create_version,
    "blobs.BlobApiService/StartBlobUpload": datasets.start_upload,
}
PIECES = 10  # of a slow download


@dataclass
class Reply:
    """An answer, and how much of it is sent."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None  # bytes sent before the connection closes
    seconds: float = 0.0  # over which the body is sent


def as_json(value: Json, status: int = 200) -> Reply:
    """An answer to a call."""
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def as_error(status: int, message: str) -> Reply:
    """A refusal of a call, in the form the client reads."""
    return as_json({"code": status, "message": message}, status)


class Dropped(Exception):
    """The connection closes without an answer."""


class Server:
    """The loopback server in its thread."""

    def __init__(self, service: Service):
        self._http = _Http(("127.0.0.1", 0), Handler)
        self._http.service = service
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def start(self) -> None:
        """Serve."""
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Close."""
        self._http.shutdown()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    service: Service

    def server_bind(self) -> None:
        """Without asking for a name of this machine."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nothing to report."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Http

    def do_GET(self) -> None:
        """A download."""
        self._serve()

    def do_POST(self) -> None:
        """A call."""
        self._serve()

    def do_PUT(self) -> None:
        """An upload."""
        self._serve()

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def _serve(self) -> None:
        service = self.server.service
        request = self._request()
        with service.lock:
            service.requests.append(request)
            service.counts[request.rpc] += 1
            number = service.counts[request.rpc]
        try:
            reply = answer(service, request, number)
        except Dropped:
            self.close_connection = True
            return
        except RefusalError as error:
            reply = as_error(error.status, str(error))
        self._send(reply)

    def _request(self) -> Request:
        parts = urlsplit(self.path)
        host = parts.netloc or self.headers.get("Host", "")
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b"".join(iter(self._chunk, b""))
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return Request(
            self.command,
            host,
            parts.path,
            name_of(parts.path),
            self.headers.get("Authorization", ""),
            dict(self.headers.items()),
            body,
        )

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline().split(b";")[0], 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in ({"Content-Length": str(len(reply.body))} | reply.headers).items():
            self.send_header(name, value)
        self.end_headers()
        body = reply.body[: reply.cut]
        size = max(1, -(-len(body) // PIECES)) if reply.seconds else max(1, len(body))
        for first in range(0, len(body), size):
            if reply.seconds:
                time.sleep(reply.seconds / PIECES)
            self.wfile.write(body[first : first + size])
            if reply.seconds:
                self.wfile.flush()
        if reply.cut is not None:
            self.close_connection = True


def name_of(path: str) -> str:
    """By which name a request is counted."""
    if path.startswith("/api/v1/"):
        return path.split("/")[-1]
    kinds = {"files": "download", "upload": "upload"}
    return kinds.get(path.strip("/").split("/")[0], "")


def answer(service: Service, request: Request, number: int) -> Reply:
    """Act on a request, unless a fault strikes it."""
    if request.host not in ("localhost", "localhost:80", urlsplit(service.url).netloc):
        return Reply(502, b"no such host")
    about = (request.rpc, number)
    for fault in service.striking("http", *about):
        after = fault.options["retry_after"]
        headers = {} if after is None else {"Retry-After": f"{after:g}"}
        return Reply(fault.options["status"], b"<html>Error</html>", headers)
    drops = service.striking("disconnected", *about)
    if drops and not drops[0].options["accepted"]:
        raise Dropped
    reply = _route(service, request)
    if drops:
        raise Dropped
    for fault in service.striking("slow", *about):
        if request.rpc != "download":
            time.sleep(fault.options["seconds"])
        else:
            reply.seconds = fault.options["seconds"]
    for fault in service.striking("truncated", *about):
        reply.cut = len(reply.body) // 2
        if fault.options["silent"]:
            reply.headers["Content-Length"] = str(reply.cut)
    return reply


def _route(service: Service, request: Request) -> Reply:
    path = unquote(request.path)
    if request.rpc == "upload":
        return upload(service, request)
    if path.startswith("/files/"):
        return output_file(service, request)
    if path == "/api/v1/security.OAuthService/IntrospectToken":
        known = json.loads(request.body).get("token") == service.token
        return as_json({"active": known, "username": service.owner if known else ""})
    check_key(service, request)
    return call(service, request)


def check_key(service: Service, request: Request) -> None:
    """Only the user of the service may call it."""
    pair = base64.b64encode(f"{service.owner}:{service.key}".encode()).decode()
    if request.authorization not in (f"Basic {pair}", f"Bearer {service.token}"):
        raise RefusalError(401, "Unauthenticated")


def call(service: Service, request: Request) -> Reply:
    """One RPC."""
    function = CALLS.get(request.path.removeprefix("/api/v1/"))
    if function is None or request.method != "POST":
        raise RefusalError(404, f"The stand-in does not play {request.method} {request.path}")
    with service.lock:
        result = function(service, json.loads(request.body or b"{}"))
    return as_json(result)


def output_file(service: Service, request: Request) -> Reply:
    """A file of a session's output; these addresses need no credentials."""
    _, _, number, index, *_ = request.path.split("/")
    session = next((s for s in service.sessions if str(s.id) == number), None)
    files = list(session.files().values()) if session else []
    if int(index) >= len(files):
        return Reply(404, b"<Error><Code>NoSuchKey</Code></Error>")
    content = files[int(index)]
    if isinstance(content, bytes):
        return ranged(request, content, 1_700_000_000)
    return ranged(request, content.read_bytes(), content.stat().st_mtime)


def ranged(request: Request, data: bytes, modified: float) -> Reply:
    """The bytes asked for: all, or from a given one on."""
    tag = f'"{sha256(data).hexdigest()[:32]}"'
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
        "ETag": tag,
        "Last-Modified": formatdate(modified, usegmt=True),
    }
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if not wanted or request.headers.get("If-Range", tag) not in (tag, headers["Last-Modified"]):
        return Reply(200, data, headers)
    first, last = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
    if first >= len(data):
        return Reply(416, b"", headers | {"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
    return Reply(206, data[first : last + 1], headers)


def upload(service: Service, request: Request) -> Reply:
    """Bytes of a file, or the question how many have come."""
    with service.lock:
        file = service.uploads.get(request.path.split("/")[-1])
        if file is None:
            return Reply(404)
        span = request.headers.get("Content-Range", "")
        if not span.startswith("bytes */"):
            start = re.match(r"bytes (\d+)-", span)
            file.received = file.received[: int(start[1]) if start else 0] + request.body
        if file.complete:
            return Reply(200)
        end = len(file.received) - 1
        return Reply(308, headers={"Range": f"bytes=0-{end}"} if end >= 0 else {})
