"""A typed client of the server, which gives the library's own types.

    from retrieval.client import Client

    client = Client("http://127.0.0.1:7788", token=None)
    for hit in client.search("two dogs in the snow", limit=5):
        print(f"{hit.score:.3f}  {hit.path}")

Nothing but the standard library is imported, and that only when a question is asked.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from retrieval import errors
from retrieval.config import ASK_LIMIT, ASK_SECONDS, DEFAULT_LIMIT
from retrieval.errors import QueryError, RetrievalError
from retrieval.types import (
    Answer,
    Citation,
    Cost,
    Description,
    Hit,
    Hits,
    Span,
    Status,
    Step,
    Tag,
    TextHit,
    TextHits,
    Timeline,
)

if TYPE_CHECKING:
    from http.client import HTTPResponse

    from retrieval.config import Location
    from retrieval.query.filters import Filter
    from retrieval.query.terms import Query
    from retrieval.types import Unit

    Picture = int | str | os.PathLike[str]
    """A picture of the catalog by its id, or a file by its path."""
    Params = list[tuple[str, str]]

API = "/api/v1"
SECONDS = 300.0
QUICK_SECONDS = 2.0
MOST_PICTURES = 4
MOST_LIMIT = 500


class ServerUnavailable(RetrievalError):
    """No server answers there, or something that is none."""


class Unsendable(QueryError):
    """The question has something in it that only the library itself can be asked."""


class Client:
    """Asks a server as one asks a `Catalog`. Safe to use from several threads."""

    def __init__(self, url: str, *, token: str | None = None, seconds: float = SECONDS) -> None:
        from urllib.parse import urlsplit

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise QueryError(f"'{url}' is no address of a server. Write it as http://127.0.0.1:7788")
        self.url = url.rstrip("/")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path.rstrip("/")
        self._token = token
        self._seconds = seconds

    @classmethod
    def of(cls, location: Location, *, answering: str | None = None) -> Client | None:
        """A client of the local server of a catalog, if one runs that is of this very version.

        With `answering`, only one where the same answers questions.
        """
        import retrieval
        from retrieval.running import find

        found = find(location, version=retrieval.__version__)
        if found is None or (answering is not None and found.answering != answering):
            return None
        from urllib.parse import urlsplit

        from retrieval.access import is_loopback

        if not is_loopback(urlsplit(found.url).hostname or ""):
            return None
        client = cls(found.url, token=found.token)
        return client if client._proves(found.key) else None

    def search(
        self,
        query: str | Query,
        *,
        limit: int = DEFAULT_LIMIT,
        where: Filter | None = None,
        rerank: str | None = None,
        cutoff: bool = True,
        min_match: float | None = None,
        sort: Literal["relevance", "date"] = "relevance",
    ) -> Hits:
        """Find pictures by words, or by a sum of words and learnt concepts."""
        text = query if isinstance(query, str) else written(query)
        params = _ranking(limit, where, cutoff=cutoff, min_match=min_match, sort=sort)
        params += [("q", text), *([("rerank", rerank)] if rerank is not None else [])]
        return _hits(self._get("/search", params))

    def similar(
        self,
        image: Picture | Sequence[Picture],
        *,
        limit: int = DEFAULT_LIMIT,
        where: Filter | None = None,
        cutoff: bool = False,
        min_match: float | None = None,
        sort: Literal["relevance", "date"] = "relevance",
    ) -> Hits:
        """Find pictures that look like one of the catalog, or like up to four files."""
        params = _ranking(limit, where, cutoff=cutoff, min_match=min_match, sort=sort)
        if isinstance(image, int):
            return _hits(self._get(f"/images/{image}/similar", params))
        several = [image] if isinstance(image, str | os.PathLike) else list(image)
        if not all(isinstance(one, str | os.PathLike) for one in several) or len(several) > MOST_PICTURES:
            raise Unsendable(f"A server is asked with one id, or with up to {MOST_PICTURES} files.")
        return _hits(self._send("/similar", params, [Path(one) for one in several]))  # type: ignore[arg-type]

    def match(
        self,
        image: Picture,
        *,
        limit: int = DEFAULT_LIMIT,
        cutoff: bool = False,
        min_match: float | None = None,
    ) -> TextHits:
        """The texts of the catalog that fit a picture best."""
        params = _ranking(limit, None, cutoff=cutoff, min_match=min_match)
        if isinstance(image, int):
            row = self._get(f"/images/{image}/texts", params)
        else:
            row = self._send("/match", params, [Path(image)])
        return TextHits(
            [_text(one) for one in row["texts"]],
            closest=[_text(one) for one in row["closest"]],
            cutoff=row["cutoff"],
        )

    def ask(
        self,
        question: str,
        *,
        limit: int = ASK_LIMIT,
        where: Filter | None = None,
        follow_up: bool = False,
        after: Answer | None = None,
        keep: bool = False,
        seconds: float = ASK_SECONDS,
        check: bool = True,
        rules: bool = False,
        progress: Callable[[str, dict[str, Any]], None] | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Answer a question from the pictures; `rules` has no model asked.

        `follow_up` goes on from what was kept in the catalog, `after` from an answer of this server.
        `progress` gets each step as it is done, and `on_text` a model's draft as it comes.
        """
        body: dict[str, Any] = {
            "question": question,
            "limit": limit,
            "conversation": follow_up,
            "keep": keep,
            "seconds": seconds,
            "check": check,
            **({"answerer": "rules"} if rules else {}),
            **({} if after is None else {"turn": _turn(after)}),
        }
        for name, value in _filter(where):
            if name == "tag":
                body.setdefault("tag", []).append(value)
            else:
                body[name] = value
        data = json.dumps(body).encode("ascii")
        headers = {"Content-Type": "application/json"}
        if progress is None and on_text is None:
            return _answer(self._json("POST", "/ask", data, headers))
        headers["Accept"] = "text/event-stream"
        with self._open("POST", "/ask", data, headers) as answer:
            for name, row in _events(answer):
                if name == "text" and on_text is not None:
                    on_text(row["delta"])
                elif name in ("step", "note") and progress is not None:
                    progress(name, row)
                elif name == "answer":
                    return _answer(row)
                elif name == "problem":
                    raise _error(row)
        raise self._unavailable("broke off in the middle of an answer")

    def describe(self, image: Picture, *, style: Literal["caption", "alt"] = "caption") -> Description:
        """A picture in words."""
        params: Params = [("style", style)]
        if isinstance(image, int):
            return _description(self._get(f"/images/{image}/description", params))
        return _description(self._send("/describe", params, [Path(image)]))

    def timeline(
        self, by: Unit = "month", *, where: Filter | None = None, query: str | Query | None = None
    ) -> Timeline:
        """How many pictures are from each year, month or day; with a query, of what it finds."""
        params: Params = [("by", by), *_filter(where)]
        if query is not None:
            params.append(("q", query if isinstance(query, str) else written(query)))
        row = self._get("/timeline", params)
        return Timeline(row["by"], tuple(Span(**one) for one in row["spans"]), row["undated"])

    def status(self) -> Status:
        """What the catalog holds."""
        row = self._get("/status", [])
        row = {name: value for name, value in row.items() if name not in ("readonly", "version")}
        return Status(**{**row, "encoders": tuple(row["encoders"]), "roots": tuple(row["roots"])})

    def _proves(self, key: str) -> bool:
        """Whether who listens there is the server that left word: nobody else is told the token."""
        import hmac

        nonce = secrets.token_hex(16)
        wanted = hmac.new(key.encode("utf-8"), nonce.encode("ascii"), "sha256").hexdigest()
        plain = Client(self.url, seconds=QUICK_SECONDS)
        try:
            row = plain._json("GET", f"/healthz?proof={nonce}", None, {}, prefix="")
        except RetrievalError:
            return False
        return hmac.compare_digest(str(row.get("proof", "")).encode("utf-8"), wanted.encode("ascii"))

    def _get(self, path: str, params: Params) -> dict[str, Any]:
        return self._json("GET", path + _query(params), None, {})

    def _send(self, path: str, params: Params, files: Sequence[Path]) -> dict[str, Any]:
        from retrieval.regular_files import read_regular

        boundary = secrets.token_hex(16)
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="picture"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n".encode("ascii")
            + read_regular(path.expanduser())
            + b"\r\n"
            for path in files
        ]
        body = b"".join(parts) + f"--{boundary}--\r\n".encode("ascii")
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self._json("POST", path + _query(params), body, headers)

    def _json(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], *, prefix: str = API
    ) -> dict[str, Any]:
        from http.client import HTTPException

        with self._open(method, path, body, headers, prefix=prefix) as answer:
            try:
                found = json.loads(answer.read())
            except (OSError, ValueError, HTTPException) as error:
                raise self._unavailable("answers with what is no answer of this program") from error
        if not isinstance(found, dict):
            raise self._unavailable("answers with what is no answer of this program")
        return found

    def _open(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], *, prefix: str = API
    ) -> HTTPResponse:
        """The answer to a request, once it has begun and is a good one."""
        from http.client import HTTPConnection, HTTPException, HTTPSConnection

        kind = HTTPSConnection if self._secure else HTTPConnection
        connection = kind(self._host, self._port, timeout=self._seconds)
        # One question a connection: the answer then holds the socket, and closes it at its end.
        sent = {"Accept": "application/json", "Connection": "close", **headers}
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        try:
            connection.request(method, self._path + prefix + path, body, sent)
            answer = connection.getresponse()
            if connection.sock is not None:  # whoever answers does not close by itself
                connection.sock.close()
            if answer.status < 300:
                return answer
            with answer:
                said = answer.read(1 << 20)
        except (OSError, HTTPException) as error:
            connection.close()
            raise self._unavailable(f"does not answer ({error})") from error
        try:
            row = json.loads(said)
            row["detail"], row["status"]
        except (ValueError, TypeError, KeyError):
            raise self._unavailable(f"answers with the status {answer.status} and no reason") from None
        raise _error(row)

    def _unavailable(self, what: str) -> ServerUnavailable:
        return ServerUnavailable(f"The server at {self.url} {what}. Start it: search serve")


def written(query: Query) -> str:
    """A query in the grammar that a server reads; `Unsendable` for one with pictures in it."""
    from retrieval.query.terms import Query as Parsed

    parts = []
    for term in query.terms:
        sign, value = "-" if term.weight < 0 else "+", str(term.value)
        if term.kind == "image":
            raise Unsendable("A picture in a sum of terms can only be asked of the library itself.")
        if term.kind == "concept":
            value = f"@{value}"
        else:
            value = f"“{value}”" if '"' in value else f'"{value}"'
        weight = abs(term.weight)
        parts.append(f"{sign} {value if weight == 1 else f'{weight!r}:{value}'}")
    text = " ".join(parts)
    try:
        same = Parsed.parse(text, paths=False) == query
    except QueryError:
        same = False
    if not same:
        raise Unsendable("The terms of the query cannot be written as a text.")
    return text


def _ranking(
    limit: int,
    where: Filter | None,
    *,
    cutoff: bool,
    min_match: float | None,
    sort: str | None = None,
) -> Params:
    if not 1 <= limit <= MOST_LIMIT:
        raise Unsendable(f"A server gives 1 to {MOST_LIMIT} at once, not {limit}.")
    params = [("limit", str(limit)), ("all", "false" if cutoff else "true"), *_filter(where)]
    if min_match is not None:
        params.append(("min_match", repr(float(min_match))))
    if sort is not None:
        params += [("sort", sort), ("explain", "true")]
    return params


def _filter(where: Filter | None) -> Params:
    """A filter as the parameters of a request, its folder from where this process is."""
    if not where:
        return []
    from retrieval.query.filters import moment

    found: list[tuple[str, str | None]] = [
        ("after", None if where.after is None else moment(where.after)),
        ("before", None if where.before is None else moment(where.before)),
        ("camera", where.camera),
        ("near", where.near if isinstance(where.near, str | None) else ",".join(map(repr, where.near))),
        ("orientation", None if where.orientation is None else where.orientation.lower()),
        ("type", where.type),
    ]
    if where.folder is not None:
        found.append(("in", os.path.abspath(os.path.expanduser(os.fspath(where.folder)))))
    if where.min_size is not None:
        size = where.min_size
        found.append(("min_size", "x".join(map(str, size)) if isinstance(size, tuple) else str(size)))
    found += [("tag", tag) for tag in ([where.tags] if isinstance(where.tags, str) else where.tags)]
    return [(name, _sendable(value)) for name, value in found if value is not None]


def _sendable(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Unsendable("A name that is not UTF-8 can only be asked of the library itself.") from None
    return text


def _query(params: Params) -> str:
    from urllib.parse import urlencode

    return "?" + urlencode([(name, _sendable(value)) for name, value in params]) if params else ""


def _events(answer: HTTPResponse) -> Iterator[tuple[str, dict[str, Any]]]:
    name = ""
    for raw in answer:
        field, _, value = raw.decode("utf-8").rstrip("\r\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def _error(row: Mapping[str, Any]) -> RetrievalError:
    """A problem as the error of the library that it was."""
    named: object = getattr(errors, str(row.get("kind")), None)
    kind = named if isinstance(named, type) and issubclass(named, RetrievalError) else RetrievalError
    said = str(row["detail"])
    if issubclass(kind, QueryError):
        return kind(said, query=row.get("query"), at=row.get("at") or 0)
    if issubclass(kind, errors.ImageError):
        return kind(said, reason=row.get("reason"))
    return kind(said)


def _path(row: Mapping[str, Any]) -> Path:
    raw = row.get("path_b64")
    return Path(row["path"] if raw is None else os.fsdecode(base64.b64decode(raw)))


def _hit(row: Mapping[str, Any]) -> Hit:
    return Hit(
        row["image_id"],
        _path(row),
        row["score"],
        row["match"],
        row["rank"],
        taken_at=row.get("taken_at"),
        taken_source=row.get("taken_source"),
        width=row.get("width"),
        height=row.get("height"),
        rerank_score=row.get("rerank_score"),
        signals=row.get("explain") or {},
    )


def _hits(row: Mapping[str, Any]) -> Hits:
    return Hits(
        [_hit(one) for one in row["hits"]],
        closest=[_hit(one) for one in row["closest"]],
        cutoff=row["cutoff"],
        notes=row["notes"],
    )


def _text(row: Mapping[str, Any]) -> TextHit:
    names = ("text_id", "text", "score", "match", "rank", "source")
    return TextHit(**{name: row[name] for name in names}, image_id=row.get("image_id"))


def _description(row: Mapping[str, Any]) -> Description:
    return Description(
        path=_path(row) if "path" in row else None,
        caption=row["caption"],
        tags=tuple(Tag(one["tag"], one["confidence"]) for one in row["tags"]),
        captioner=row["captioner"],
        image_id=row.get("image_id"),
        note=row.get("note", ""),
        seen=row.get("seen", True),
    )


def _turn(answer: Answer) -> str:
    if not isinstance(answer.trail, str):
        raise QueryError(
            "This answer did not come from a server, so that no question can go on from it there."
        )
    return answer.trail


def _answer(row: Mapping[str, Any]) -> Answer:
    return Answer(
        text=row["text"],
        citations=tuple(
            Citation(
                one["n"],
                _path(one),
                one["image_id"],
                support=one.get("support"),
                sentence=one.get("sentence", ""),
                match=one.get("match"),
                taken_at=one.get("taken_at"),
            )
            for one in row["citations"]
        ),
        steps=tuple(
            Step(one["step"], one["text"], one["seconds"], one.get("data", {})) for one in row["steps"]
        ),
        confidence=row["confidence"],
        question=row["question"],
        answerer=row["answerer"],
        cost=Cost(**row["cost"]),
        notes=tuple(row.get("notes", ())),
        closest=tuple(_hit(one) for one in row.get("closest", ())),
        trail=row.get("turn"),
    )
