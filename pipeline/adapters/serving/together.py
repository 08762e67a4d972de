"""Leads of requests that wait are scored together: a call of the scorer costs far more than a row of it.

While one call runs, what arrives waits; the next call takes from every request that waits. A lead that is alone is
scored at once. A score depends on its own row alone, so company changes no number; what would be read in another way
beside other rows (see `reading.Leads`) is kept apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from pipeline.adapters.serving import answers

#: Leads scored at a time: a large request must not hold up the small ones for long.
MOST_ROWS = 1_000
#: After a round, those who were answered have this share of the time it took to ask anew and join the next; without it
#: they and those who waited meanwhile would be scored in turns, half as many at a time.
GATHER_SHARE = 0.1


@dataclass(eq=False)
class _Waiting:
    """A request's leads, `begun` of which are scored or being scored; `company`: requests that share calls agree in
    it."""

    scorer: Any
    leads: list[dict[str, Any]]
    company: Hashable
    result: asyncio.Future[list[dict[str, Any]]]
    answers: list[dict[str, Any] | None] = field(init=False)
    fault: Exception | None = None
    begun: int = 0

    def __post_init__(self) -> None:
        self.answers = [None] * len(self.leads)


class Together:
    """Scores for whoever waits, by one thread: pandas holds Python's lock, so a second would gain nothing."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="score")

    async def score(self, scorer: Any, leads: list[dict[str, Any]], *, apart: bool) -> list[dict[str, Any]]:
        """What `scorer` says of each lead, in order, as `answers.told` words it; `apart`: no other request's leads in
        the same call.

        Raises:
            Exception: whatever the scorer raised on these leads.
        """
        if not leads:
            return []
        result: asyncio.Future[list[dict[str, Any]]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(scorer, leads, id(result) if apart else None, result))
        self._arrived.set()
        return await result

    async def run(self) -> None:
        """Score for whoever waits, until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._arrived.wait()
                parts = self._next()
                if not parts:
                    self._arrived.clear()
                    continue
                begun = loop.time()
                await loop.run_in_executor(self._thread, _score, parts)
                took, held = loop.time() - begun, len(self._waiting)
                self._settle([one for one, _ in parts])
                if self._waiting or len(parts) > 1:
                    await self._gather(held, GATHER_SHARE * took)
        finally:
            self._thread.shutdown(wait=False)

    async def _gather(self, number: int, seconds: float) -> None:
        """Until so many requests wait, but not longer than so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while len(self._waiting) < number:
                    self._arrived.clear()
                    await self._arrived.wait()
        self._arrived.set()

    def _next(self) -> list[tuple[_Waiting, range]]:
        """The next round: of every request that waits an equal share of the rows, first come first served."""
        self._waiting = [one for one in self._waiting if not one.result.done()]
        share, room = max(1, MOST_ROWS // max(1, len(self._waiting))), MOST_ROWS
        parts = []
        for one in self._waiting:
            n = min(share, len(one.leads) - one.begun, room)
            if n:
                parts.append((one, range(one.begun, one.begun + n)))
                one.begun, room = one.begun + n, room - n
        return parts

    def _settle(self, asked: list[_Waiting]) -> None:
        for one in asked:
            if one.result.done():
                continue
            if one.fault is not None:
                one.result.set_exception(one.fault)
            elif one.begun == len(one.leads):
                one.result.set_result([answer for answer in one.answers if answer is not None])
        self._waiting = [one for one in self._waiting if not one.result.done()]


def _score(parts: list[tuple[_Waiting, range]]) -> None:
    """One round: a call for the leads of one scorer that have the same columns and may keep company."""
    calls: dict[Hashable, list[tuple[_Waiting, int]]] = {}
    for one, places in parts:
        for k in places:
            calls.setdefault((id(one.scorer), one.company, frozenset(one.leads[k])), []).append((one, k))
    for rows in calls.values():
        try:
            _call(rows)
        except Exception:
            # Whose lead it was shows when each request is scored by itself.
            for one in {one: None for one, _ in rows}:
                try:
                    _call([row for row in rows if row[0] is one])
                except Exception as fault:
                    one.fault = fault


def _call(rows: list[tuple[_Waiting, int]]) -> None:
    frame = pd.DataFrame([one.leads[k] for one, k in rows], dtype=object)
    for (one, k), answer in zip(rows, answers.told(rows[0][0].scorer.predict(frame)), strict=True):
        one.answers[k] = answer
