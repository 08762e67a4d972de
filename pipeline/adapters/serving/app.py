"""The app: routes, limits, and what is answered when something is wrong."""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from pipeline.adapters.serving import description, reading
from pipeline.adapters.serving.current import Current, Served
from pipeline.adapters.serving.together import Together

#: Seconds in which a request's body must have come in.
READ_S = 30.0
#: Requests in hand at one time hold at most this many times the body limit.
BODIES_IN_HAND = 4
#: From this size on a body is read in a thread, so that the others are not held up.
LARGE = 2**16
#: The page shows text of ours alone: no script, nothing from elsewhere, no frame around it.
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Limits:
    """`body`: bytes of one request. `leads`: of one request. `check_s`: seconds between looks at who should answer."""

    body: int
    leads: int
    check_s: float


def now() -> datetime.datetime:
    """This moment, UTC."""
    return datetime.datetime.now(datetime.UTC)


def make(
    current: Current,
    limits: Limits,
    *,
    address: str,
    log: logging.Logger,
    clock: Callable[[], datetime.datetime] = now,
) -> FastAPI:
    """The app that answers with the scorer of `current`.

    Args:
        address: under which it is reached, for the example on its page.
        log: told of changes and of faults of ours; never of what a request holds.
        clock: as-of date of leads that name none, to the second.
    """
    service = _Service(current, limits, log, clock)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(work) for work in (service.together.run(), service.watch())]
        yield
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)

    app = FastAPI(
        title="Lead scores",
        version="1",
        description="Calibrated chances to convert, with interval, tier and reasons that add up.",
        lifespan=lifespan,
        # Their pages load scripts from elsewhere, and their reader lets pass what JSON does not have.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    faults: dict[int | str, dict[str, Any]] = {
        400: {"model": description.Fault, "description": "Not JSON."},
        408: {"model": description.Fault, "description": "Too slow."},
        413: {"model": description.Fault, "description": "Too large, or too many leads."},
        415: {"model": description.Fault, "description": "Not sent as application/json."},
        422: {"model": description.Fault, "description": "JSON, but no leads that this scorer can read."},
        500: {"model": description.Fault, "description": "The scorer failed; the server's log says where."},
        503: {"model": description.Fault, "description": "Too much in hand; ask again in a moment."},
    }

    @app.post(
        "/score",
        summary="Score one lead.",
        responses=faults | {200: {"model": description.Answer}},
        openapi_extra=description.body("OneLead"),
    )
    async def score(request: Request) -> Response:
        return await service.score(request, "lead")

    @app.post(
        "/score/batch",
        summary="Score several leads, answered in their order.",
        responses=faults | {200: {"model": description.Answers}},
        openapi_extra=description.body("SeveralLeads"),
    )
    async def score_batch(request: Request) -> Response:
        return await service.score(request, "leads")

    @app.get("/health", summary="Which scorer answers, and since when.", responses={200: {"model": description.Health}})
    async def health() -> Response:
        served = current.served
        return _json(
            served,
            {
                "status": "ready",
                "contract": served.scorer.spec["contract"],
                "since": served.since,
                "interval_level": served.scorer.interval.level,
                "trouble": current.trouble or None,
            },
        )

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        served = current.served
        return _respond(served, json.dumps(description.document(app, served)), media_type="application/json")

    @app.get("/", include_in_schema=False)
    @app.get("/docs", include_in_schema=False)
    async def page() -> Response:
        served = current.served
        text = description.page(served, description.document(app, served), address)
        answer = _respond(served, text, media_type="text/html")
        answer.headers["content-security-policy"] = PAGE_POLICY
        return answer

    @app.exception_handler(HTTPException)
    async def elsewhere(_: Request, fault: HTTPException) -> Response:
        """An unknown path or method."""
        said = {404: "there is nothing here; / says what there is.", 405: "this path takes another method; see /."}
        return _fault(current.served, fault.status_code, said.get(fault.status_code, "no."), dict(fault.headers or {}))

    return app


@dataclass
class _Service:
    """What the routes share."""

    current: Current
    limits: Limits
    log: logging.Logger
    clock: Callable[[], datetime.datetime]
    together: Together = field(default_factory=Together)

    def __post_init__(self) -> None:
        self.room = _Room(BODIES_IN_HAND * self.limits.body)

    async def watch(self) -> None:
        """Look every few seconds whether another version should answer, until cancelled."""
        while True:
            await asyncio.sleep(self.limits.check_s)
            await asyncio.to_thread(self.current.check)

    async def score(self, request: Request, key: str) -> Response:
        """The answer to one lead (`key` is `lead`) or several (`leads`)."""
        served = self.current.served
        try:
            with self.room.held() as take:
                body = await self._body(request, take)
                if len(body) < LARGE:
                    asked = self._read(body, key, served)
                else:
                    asked = await asyncio.to_thread(self._read, body, key, served)
                told = await self.together.score(served.scorer, asked.leads, apart=asked.apart)
        except reading.Refusal as refusal:
            return _fault(served, refusal.status, refusal.sentence)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as fault:
            # Its message may hold a lead's values: only where it arose is told.
            self.log.error("a request could not be scored: %s", _where(fault))
            return _fault(served, 500, "the scorer failed on this request; the log of the server says where.")
        results = [
            {**result, "as_of_from": "clock" if clocked else "request"}
            for result, clocked in zip(told, asked.clocked, strict=True)
        ]
        answer = {"result": results[0]} if key == "lead" else {"results": results}
        return _json(served, {"unread": asked.unread} | answer)

    async def _body(self, request: Request, take: Callable[[int], None]) -> bytes:
        """The body, refused before more than the limit has been read.

        Raises:
            Refusal: 415 no JSON by its headers, 413 too large, 408 too slow, 503 too much in hand.
        """
        kind, _, rest = request.headers.get("content-type", "").partition(";")
        charset = rest.replace(" ", "").replace('"', "").lower()
        coded = request.headers.get("content-encoding", "identity")
        if kind.strip().lower() != "application/json" or charset not in ("", "charset=utf-8") or coded != "identity":
            raise reading.Refusal(415, "send the body as content-type application/json, in UTF-8, without an encoding.")
        too_large = reading.Refusal(413, f"the body is larger than the {self.limits.body:,} bytes that one may have.")
        declared = request.headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared) > self.limits.body:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(READ_S):
                async for chunk in request.stream():
                    if len(body) + len(chunk) > self.limits.body:
                        raise too_large
                    take(len(chunk))
                    body += chunk
        except TimeoutError:
            raise reading.Refusal(408, f"the body did not come in within {READ_S:.0f} seconds.") from None
        return bytes(body)

    def _read(self, body: bytes, key: str, served: Served) -> reading.Leads:
        moment = self.clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        return reading.leads(reading.document(body), key, served.form, moment, self.limits.leads)


@dataclass
class _Room:
    """Bytes of all requests that are being read or scored, `used` of at most `most`."""

    most: int
    used: int = 0

    @contextmanager
    def held(self) -> Iterator[Callable[[int], None]]:
        """A function that takes room for so many bytes more, all given back at the end.

        Raises:
            Refusal: status 503, where there is none left.
        """
        mine = 0

        def take(size: int) -> None:
            nonlocal mine
            if self.used + size > self.most:
                raise reading.Refusal(503, "too many requests are in hand; ask again in a moment.")
            self.used, mine = self.used + size, mine + size

        try:
            yield take
        finally:
            self.used -= mine


def _json(served: Served, content: dict[str, Any], status: int = 200) -> Response:
    told = {"model_version": served.scorer.version, "version": served.number} | content
    text = json.dumps(told, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _respond(served, text, status, media_type="application/json")


def _fault(served: Served, status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    answer = _json(served, {"error": sentence}, status)
    answer.headers.update(headers or {})
    if status == 503:
        answer.headers["retry-after"] = "1"
    return answer


def _respond(served: Served, text: str, status: int = 200, *, media_type: str) -> Response:
    headers = {
        "x-model-version": served.scorer.version,
        "x-version": "" if served.number is None else str(served.number),
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
    }
    return Response(text, status, headers, media_type)


def _where(fault: Exception) -> str:
    """Kind of an error and the places it came through, innermost first, without its message."""
    places = traceback.extract_tb(fault.__traceback__)[-4:]
    return " < ".join([type(fault).__name__, *(f"{Path(one.filename).name}:{one.lineno}" for one in reversed(places))])
