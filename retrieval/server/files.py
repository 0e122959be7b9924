"""A picture's file on its way out, whole or in part."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

import anyio.to_thread
from starlette.responses import Response, StreamingResponse

from retrieval.server.headers import unchanged
from retrieval.server.problems import Problem

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

CHUNK = 256 << 10
_RANGE = re.compile(r"bytes=\s*(\d{1,18})?\s*-\s*(\d{1,18})?\s*", re.ASCII)


def handed_out(request: Request, file: BinaryIO, *, name: str, kind: str, keep: bool) -> Response:
    """The answer to a request for an open file, which is closed with it.

    One range is honoured; several, or what is none, get the whole file, as is allowed to.
    `keep` has a browser store the file instead of showing it.
    """
    status = os.fstat(file.fileno())
    etag = f'"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": _disposition(name, keep=keep),
    }
    if unchanged(request.headers.get("if-none-match"), etag):
        file.close()
        return Response(status_code=304, headers=headers)
    wanted = request.headers.get("range")
    if request.headers.get("if-range", etag) != etag:
        wanted = None
    span = _span(wanted, status.st_size)
    if span is None:
        file.close()
        return Problem(
            416,
            f"The file has {status.st_size} bytes, and none of those that were asked for.",
            headers={"Content-Range": f"bytes */{status.st_size}"},
        )
    start, end, part = span
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{status.st_size}"
    headers["Content-Length"] = str(end - start)
    file.seek(start)
    return _FileResponse(file, end - start, 206 if part else 200, headers, kind)


class _FileResponse(StreamingResponse):
    """Sends what is left of an open file, and closes it whatever happens."""

    def __init__(self, file: BinaryIO, length: int, status: int, headers: dict[str, str], kind: str) -> None:
        super().__init__(_chunks(file, length), status, headers, kind)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


async def _chunks(file: BinaryIO, left: int) -> AsyncIterator[bytes]:
    while left > 0:
        data = await anyio.to_thread.run_sync(file.read, min(CHUNK, left))
        if not data:  # cut off meanwhile: a length that is not kept ends the connection
            return
        left -= len(data)
        yield data


def _span(wanted: str | None, size: int) -> tuple[int, int, bool] | None:
    """First byte, the one behind the last, and whether that is a part; None where the range is empty."""
    found = _RANGE.fullmatch(wanted) if wanted else None
    if found is None or found[1] is found[2] is None:
        return 0, size, False
    first, last = found.groups()
    if first is None:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), size if last is None else min(size, int(last) + 1)
        if last is not None and int(last) < start:
            return 0, size, False
    return (start, end, True) if start < end else None


def _disposition(name: str, *, keep: bool) -> str:
    plain = name.encode("utf-8", "replace").decode("utf-8")
    return f"{'attachment' if keep else 'inline'}; filename*=UTF-8''{quote(plain, safe='')}"
