"""The server: which tools there are, and how what goes wrong is told."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import (
    ResourceError,
    ResourceNotFoundError,
    ToolError,
    UnexpectedToolError,
)
from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult, InputRequiredResult, ToolAnnotations
from pydantic import ValidationError

import retrieval
from retrieval import config
from retrieval.answers import load_answerer
from retrieval.captioners import load_captioner
from retrieval.errors import ImageError, RetrievalError
from retrieval.journal import Log
from retrieval.mcp.library import Library
from retrieval.mcp.reading import Reading
from retrieval.mcp.results import DATA, plain, refused
from retrieval.mcp.writing import Writing

if TYPE_CHECKING:
    from mcp.server.mcpserver import Context

    from retrieval.catalog import Catalog

NAME = "picture-search"
SHOWN = 3
"""Of wrong arguments so many are told."""
INSTRUCTIONS = (
    "This server is a person's own picture library. Find pictures with search_images, look at one with "
    "image_thumbnail, and name pictures by their image_id. Ask whole questions with ask_library: its answers "
    f"cite pictures. {DATA}"
)

log = Log(__name__)
Function = Callable[..., Awaitable[CallToolResult]]


class LibraryServer(MCPServer[Any]):
    """The protocol's server with the tools of one library.

    Whatever goes wrong in a tool is its result: the sentence of a `RetrievalError`, never a
    traceback.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        allow_write: bool = False,
        answerer: str | None = None,
        captioner: str | None = None,
    ) -> None:
        # Once for all calls: a model stays loaded from its first use on.
        self.library = Library(catalog, load_answerer(answerer), load_captioner(captioner))
        reading, writing = Reading(self.library), Writing(self.library)
        far = {reading.describe_image: captioner, reading.ask_library: answerer}
        tools = [
            _tool(function, reads=True, open_world=_goes_out(far[function]) if function in far else False)
            for function in (
                reading.search_images,
                reading.similar_images,
                reading.match_texts,
                reading.describe_image,
                reading.ask_library,
                reading.image_thumbnail,
                reading.library_status,
            )
        ]
        if allow_write:
            tools += [_tool(one) for one in (writing.tag_image, writing.give_feedback, writing.add_text)]
        super().__init__(
            NAME,
            title="Picture library",
            instructions=INSTRUCTIONS,
            version=retrieval.__version__,
            tools=tools,
            log_level="WARNING",
        )
        self._names = {tool.name: set(tool.parameters["properties"]) for tool in tools}
        self._resource = reading.resource
        self.resource(
            "picture://{image_id}",
            name="picture",
            title="A picture of the library",
            description=inspect.cleandoc(reading.resource.__doc__ or ""),
            mime_type="image/jpeg",
        )(self._picture)

    @property
    def busy(self) -> bool:
        """Whether some call is still at work, awaited or given up."""
        return self.library.calls.busy

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool; every failure of it comes back as its result."""
        if name not in self._names:
            return refused(f"There is no tool '{name}'. There are: {', '.join(self._names)}.")
        unknown = sorted(set(arguments) - self._names[name])
        if unknown:
            known = ", ".join(sorted(self._names[name])) or "none"
            return refused(f"{name} takes no '{unknown[0]}'. Its arguments are: {known}.")
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            return refused(_sentence(name, error, crash=isinstance(error, UnexpectedToolError)))

    async def _picture(self, image_id: str) -> bytes:
        try:
            return await self._resource(image_id)
        except ImageError as error:
            raise ResourceError(plain(str(error))) from error
        except RetrievalError as error:
            raise ResourceNotFoundError(plain(str(error))) from error
        except Exception as error:
            raise ResourceError(_sentence("picture", error, crash=True)) from None


def _tool(function: Function, *, reads: bool = False, open_world: bool = False) -> Tool:
    made = Tool.from_function(
        function,
        description=inspect.cleandoc(function.__doc__ or ""),
        annotations=ToolAnnotations(
            read_only_hint=reads,
            # A tag or a mark that is said again replaces what was said: nothing of a person's is lost
            # that cannot be said again, but it is more than adding.
            destructive_hint=not reads,
            idempotent_hint=True,
            open_world_hint=open_world,
        ),
        structured_output=True,
    )
    # A filter with a slip in its name must not be passed over: the answer would be another one.
    made.parameters["additionalProperties"] = False
    return made


def _goes_out(spec: str | None) -> bool:
    """Whether pictures leave this program for an endpoint."""
    chosen = "endpoint" if spec in (None, "", "auto") and config.endpoint() else spec or ""
    return chosen.partition(":")[0] == "endpoint"


def _sentence(name: str, told: Exception, *, crash: bool) -> str:
    """What went wrong, for those who called; a `crash` is the fault of this program."""
    error = told.__cause__ or told
    if isinstance(error, RetrievalError):
        return str(error)
    if isinstance(error, ValidationError) and not crash:
        wrong = dict.fromkeys(
            f"{'.'.join(str(part) for part in found['loc'] if not _is_kind(part))}: {found['msg']}"
            for found in error.errors(include_input=False, include_url=False, include_context=False)
        )
        return f"{name} cannot be called like this. {'; '.join(list(wrong)[:SHOWN])}."
    # Not the error's own words, here and in the log: they might hold what nobody should read.
    log.failure(error, "tool failed unexpectedly", tool=name)
    return (
        f"{name} failed for a reason that is no fault of the call ({type(error).__name__}). "
        "The server's log says where."
    )


def _is_kind(part: int | str) -> bool:
    """Whether a part of an error's place is only one of the kinds that a value may have."""
    return isinstance(part, str) and ("[" in part or part.removeprefix("constrained-") in ("int", "str"))
