"""Figures for Prometheus: requests, how long they take, and what is being done."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from retrieval.journal import Log

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from retrieval.calls import Calls
    from retrieval.server.settings import Settings

_log = Log(__name__)
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
SLOW_SECONDS = 1.0
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})
MEDIA = CONTENT_TYPE_LATEST


class Metrics:
    """The figures of one server; nothing that anybody typed is a label."""

    def __init__(self, settings: Settings) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "search_requests",
            "Requests that were answered.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self.seconds = Histogram(
            "search_request_seconds",
            "How long requests took, streams to their end.",
            ("route",),
            buckets=BUCKETS,
            registry=self._registry,
        )
        self.pictures = Gauge("search_pictures", "Pictures in the catalog.", registry=self._registry)
        running = Gauge("search_work_running", "Calls at work.", ("pool",), registry=self._registry)
        waiting = Gauge("search_work_waiting", "Calls that wait.", ("pool",), registry=self._registry)
        pools: dict[str, Calls] = {
            "models": settings.work,
            "answers": settings.speaking,
            "library": settings.comparing,
            "pictures": settings.drawing,
            "rows": settings.quick,
            "writes": settings.writing,
        }
        for name, calls in pools.items():
            running.labels(name).set_function(partial(getattr, calls, "running"))
            waiting.labels(name).set_function(partial(getattr, calls, "waiting"))

    def text(self) -> bytes:
        return generate_latest(self._registry)


class Measured:
    """Counts the requests that pass through."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status, method = time.perf_counter(), 500, scope["method"]

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "name", None) or "none"
            known = method if method in METHODS else "other"
            self._metrics.requests.labels(known, route, str(status)).inc()
            seconds = time.perf_counter() - begun
            self._metrics.seconds.labels(route).observe(seconds)
            if seconds > SLOW_SECONDS:
                # The route alone: an address and a body say what somebody looked for.
                _log.info(
                    "request was slow", route=route, method=known, status=status, seconds=round(seconds, 3)
                )
