"""Drift: what a history looks like, in a profile without any lead's values, and where a new one differs from it.

`validate` keeps a profile of the clean tables; `register` and `leads drift` compare it with the profile of the history
behind the champion. What they find are warnings: a history may differ because the world did.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from pipeline.leads.contract import CONVERTED, CONVERTED_AT, CREATED_AT, LEAD_KEY, Resolved, fact_name
from pipeline.leads.declarations import Table, parts
from pipeline.params import Drift, Profile

DAY = pd.Timedelta(days=1)

#: What is compared: columns of the table, in order. `warning` is "" where the figure keeps its limit.
COLUMNS = ["what", "column", "detail", "figure", "limit", "warning"]

#: Stretches of a history that are described on their own, and what a reader calls their leads.
SCOPES = {"all": "all leads", "recent": "the newest leads"}

#: Month of leads whose history has no time axis.
UNDATED = "undated"

LEADS = "leads"
#: Digits kept of the steps of a number, so that a step is nobody's own value.
DIGITS = 4


# The profile of one history


class Profiler:
    """Takes clean tables part by part, sorted by lead; what is kept between parts grows with the months and with the
    numbers read."""

    def __init__(self, resolved: Resolved, newest: pd.Timestamp | None, params: Profile) -> None:
        contract = resolved.contract
        self._resolved, self._newest, self._params = resolved, newest, params
        # An order of rows is a time axis only where a calendar dates the rows.
        self._dated = newest is not None and (contract.time.kind == "column" or contract.time.calendar is not None)
        self._types = _types(resolved)
        self._rows = dict.fromkeys(("leads", "activities", "changes"), 0)
        self._scopes = {scope: {name: _Column() for name in self._types} for scope in self._scope_names()}
        kinds = contract.activities.kinds if contract.activities is not None else {}
        series = [LEADS, *(f"activities: {kind}" for kind in kinds)]
        self._volume: dict[str, dict[str, int]] = {name: {} for name in series}
        self._squares = dict.fromkeys(series, 0)
        self._last = pd.DataFrame()
        self._matured: dict[str, int] = {}
        self._converted: dict[str, int] = {}

    def add(self, table: str, part: pd.DataFrame) -> None:
        """Count a part of a clean table; the parts of one table together hold every row once."""
        self._rows[table] += len(part)
        if table == "leads":
            self._add_leads(part)
        elif table == "activities" and len(part):
            # A lead may go on in the next part.
            rows = pd.concat([self._last, part[[LEAD_KEY, "kind", "recorded_at"]]])
            last = rows[LEAD_KEY] == rows[LEAD_KEY].iloc[-1]
            self._last = rows[last]
            self._add_activities(rows[~last])

    def result(self) -> dict[str, Any]:
        """Plain data for profile.json.

        `rows` per table; `newest`; `columns`: column -> `type` and, where it enters the model, per scope of `SCOPES`
        `rows`, `missing` and what is known of its values: counts of the commonest `values` of a category, or `steps` of
        a number with `up_to`, how many rows do not exceed each. `volume`: series -> month -> rows; `conversion`: month
        of creation -> leads whose horizon has passed, and how many of them converted within it. `clumping` of a series:
        variance of a month's rows by their mean, where a lead brings several (1: each comes by itself).
        """
        if len(self._last):
            self._add_activities(self._last)
            self._last = self._last.iloc[:0]
        columns: dict[str, Any] = {}
        for name, kind in self._types.items():
            columns[name] = {"type": kind}
            if kind != "other":
                columns[name] |= {
                    scope: parts[name].described(kind, self._params) for scope, parts in self._scopes.items()
                }
        return {
            "contract": self._resolved.name,
            "newest": None if self._newest is None else self._newest.isoformat(),
            "rows": self._rows,
            "columns": columns,
            "volume": {
                series: {
                    "months": dict(sorted(months.items())),
                    "clumping": self._squares[series] / max(sum(months.values()), 1),
                }
                for series, months in self._volume.items()
            },
            "conversion": {
                month: {"leads": count, "converted": self._converted.get(month, 0)}
                for month, count in sorted(self._matured.items())
            },
        }

    def _scope_names(self) -> list[str]:
        return list(SCOPES) if self._dated else ["all"]

    def _add_leads(self, part: pd.DataFrame) -> None:
        names = self._resolved.names
        for scope, columns in self._scopes.items():
            rows = part
            if scope == "recent":
                assert self._newest is not None, "only a dated history has newest leads"
                rows = part[part[CREATED_AT] >= self._newest - self._params.recent_days * DAY]
            for name, kind in self._types.items():
                if kind != "other":
                    columns[name].add(rows[names.get(name, name)], kind)
        outcome = self._resolved.contract.outcome
        if self._dated:
            _add(self._volume[LEADS], _months(part[CREATED_AT]))
            self._squares[LEADS] += len(part)
        if outcome.kind == "flag":
            matured, converted = pd.Series(True, index=part.index), part[CONVERTED].astype(bool)
        else:
            assert self._newest is not None, "an outcome by dates has a newest moment"
            until = part[CREATED_AT] + outcome.horizon_days * DAY
            matured, converted = until <= self._newest, part[CONVERTED_AT] <= until
        for counts, rows in ((self._matured, part[matured]), (self._converted, part[matured & converted])):
            if self._dated:
                _add(counts, _months(rows[CREATED_AT]))
            else:
                counts[UNDATED] = counts.get(UNDATED, 0) + len(rows)

    def _add_activities(self, rows: pd.DataFrame) -> None:
        """Count whole leads, each in one stretch of rows: activities of each kind in a month, and the squares of a
        lead's own numbers, whose sum is the variance of the month's number where leads come by chance (a compound
        Poisson law)."""
        if rows.empty:
            return
        owner = (rows[LEAD_KEY] != rows[LEAD_KEY].shift()).cumsum().to_numpy()
        kind, kinds = pd.factorize(rows["kind"])
        month = _months(rows["recorded_at"])
        first, span = month.min(), int(np.ptp(month)) + 1
        cell, count = np.unique((owner * len(kinds) + kind) * span + month - first, return_counts=True)
        for k, name in enumerate(kinds):
            mine, series = cell // span % len(kinds) == k, f"activities: {name}"
            _add(self._volume[series], first + cell[mine] % span, count[mine])
            self._squares[series] += int((count[mine] ** 2).sum())


def profile(
    tables: Mapping[str, Table], resolved: Resolved, newest: pd.Timestamp | None, params: Profile
) -> dict[str, Any]:
    """The profile of clean tables, each whole or in parts; see `Profiler.result`."""
    profiler = Profiler(resolved, newest, params)
    for name, table in tables.items():
        for part in parts(table):
            profiler.add(name, part)
    return profiler.result()


def _types(resolved: Resolved) -> dict[str, str]:
    """Every column but the personal ones, and the facts derived from those: `number`, `category`, `boolean`, or `other`
    for what does not enter the model and is only known to be there."""
    kinds = {"number": "number", "integer": "number", "category": "category", "boolean": "boolean"}
    types = {}
    for name, column in resolved.contract.columns.items():
        if name in resolved.names:
            types[name] = kinds[column.type] if name in resolved.features else "other"
        types |= {fact_name(name, fact): "boolean" for fact in column.facts}
    return types


class _Column:
    """Values of one column, counted or, for a number, kept until its steps are known."""

    def __init__(self) -> None:
        self.rows, self.missing = 0, 0
        self.counts: dict[str, int] = {}
        self.numbers: list[np.ndarray] = []

    def add(self, values: pd.Series, kind: str) -> None:
        given = values.dropna()
        self.rows += len(values)
        self.missing += len(values) - len(given)
        if kind == "number":
            self.numbers.append(given.to_numpy(dtype="float64"))
        elif kind == "boolean":
            _count(self.counts, given.map({1.0: "true", 0.0: "false"}))
        else:
            _count(self.counts, given)

    def described(self, kind: str, params: Profile) -> dict[str, Any]:
        result: dict[str, Any] = {"rows": self.rows, "missing": self.missing}
        if kind == "number":
            numbers = np.sort(np.concatenate([np.empty(0), *self.numbers]))
            steps = _steps(numbers, params)
            return result | {"steps": steps.tolist(), "up_to": np.searchsorted(numbers, steps, side="right").tolist()}
        common = sorted(
            (item for item in self.counts.items() if item[1] >= params.min_count), key=lambda item: (-item[1], item[0])
        )
        return result | {"values": dict(common[: params.values])}


def _steps(numbers: np.ndarray, params: Profile) -> np.ndarray:
    """Rounded quantiles, rising, none twice; so few that `min_count` rows lie between two of them and at either end."""
    count = _parts(len(numbers), params)
    if count < 2:
        return np.empty(0)
    quantiles = np.quantile(numbers, np.arange(1, count) / count, method="inverted_cdf")
    return np.unique([float(f"{value:.{DIGITS}g}") for value in quantiles])


def _parts(rows: int, params: Profile) -> int:
    """Into how many parts the steps divide the values of a number."""
    return min(params.steps, rows // params.min_count)


def _months(times: pd.Series) -> np.ndarray:
    """Months since 1970; moments must be given, as they are in clean tables."""
    return times.to_numpy(dtype="datetime64[M]").astype("int64")


def _add(counts: dict[str, int], months: np.ndarray, weights: np.ndarray | None = None) -> None:
    """Add rows, or as many as `weights` says, to the counts of their months, written as 2024-05."""
    found, place = np.unique(months, return_inverse=True)
    totals = np.bincount(place, weights, minlength=len(found))
    for month, total in zip(found, totals, strict=True):
        name = str(np.datetime64(int(month), "M"))
        counts[name] = counts.get(name, 0) + int(total)


def _count(counts: dict[str, int], values: pd.Series) -> None:
    for value, count in values.value_counts(sort=False).items():
        counts[str(value)] = counts.get(str(value), 0) + int(count)


# Two profiles compared


def compare(old: Mapping[str, Any] | None, new: Mapping[str, Any], params: Drift, profile: Profile) -> pd.DataFrame:
    """Where a new history differs from the accepted one.

    Args:
        old: profile of the accepted history, as `Profiler.result` gives it; None where none was accepted yet.
        new: profile of the new history.
        params: limits.
        profile: how profiles are made; values in fewer than `min_count` rows stand in neither.

    Returns:
        The columns of `COLUMNS`, one row per comparison, in the order of the new contract:

        - `column`: columns that only one history has, or that are of another type now (figure 1).
        - `category`: shares of leads under a value that the other history does not know; only those above the limit.
        - `missing`: change of the share of missing values.
        - `distribution`: population stability index, the sum of (p - q) ln(p / q) over the bins (Siddiqi 2006). Without
          any shift it is about (1/n + 1/m) times a chi-square of as many degrees as bins less one (Yurdakul and
          Naranjo 2020).
        - `volume`: leads and activities of a month against the same month before, or, where it is new, against the
          median of `volume_months` earlier ones: the month that differs most, as a multiple above 1.
        - `conversion`: conversion rate of the new months against that of the accepted history, as a multiple above 1.
        - `newest`: days by which the new history ends earlier.

        Where all leads and the newest leads are compared, the row is that of the larger figure in terms of its limit.
        Limits are those of `params`, widened where so few rows are compared that chance alone would pass them more
        often than `false_alarm`.
    """
    rows = [] if old is None else _compared(old, new, params, profile)
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({name: "float64" if name in ("figure", "limit") else "str" for name in COLUMNS})


def warnings(table: pd.DataFrame) -> list[str]:
    """The sentences of a table of `compare`, without an end mark."""
    return table.loc[table["warning"] != "", "warning"].tolist()


def _compared(old: Mapping[str, Any], new: Mapping[str, Any], params: Drift, profile: Profile) -> list[list[Any]]:
    """The rows of `compare`."""
    rows = _columns(old["columns"], new["columns"])
    for name, column in new["columns"].items():
        before = old["columns"].get(name)
        if before is None or before["type"] != column["type"] or column["type"] == "other":
            continue
        scopes = [scope for scope in SCOPES if scope in column and scope in before]
        pairs = [(SCOPES[scope], before[scope], column[scope]) for scope in scopes]
        pairs = [(words, was, now) for words, was, now in pairs if min(was["rows"], now["rows"]) >= profile.min_count]
        if column["type"] != "number":
            rows += _categories(name, pairs, params, profile)
        rows += _worst([_missing(name, *pair, params) for pair in pairs])
        rows += _worst([_distribution(name, *pair, params, profile) for pair in pairs])
    rows += _volumes(old, new, params, profile)
    rows += _conversions(old["conversion"], new["conversion"], params)
    return rows + _newest(old["newest"], new["newest"])


def _row(what: str, column: str, detail: str, figure: float, limit: float, sentence: str) -> list[Any]:
    return [what, column, detail, figure, limit, sentence if figure > limit else ""]


def _worst(rows: list[list[Any]]) -> list[list[Any]]:
    """The row that comes closest to its limit, or passes it farthest; the first of equals."""
    return [max(rows, key=lambda row: row[3] / row[4])] if rows else []


def _columns(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[list[Any]]:
    rows = []
    for name in [*new, *(name for name in old if name not in new)]:
        if name not in old:
            sentence = f"column `{name}` is new: the accepted history did not have it"
        elif name not in new:
            sentence = f"column `{name}` is gone: the accepted history had it"
        elif old[name]["type"] != new[name]["type"]:
            sentence = f"column `{name}` is read as {new[name]['type']}, in the accepted history as {old[name]['type']}"
        else:
            continue
        rows.append(_row("column", name, "", 1.0, 0.0, sentence))
    return rows


def _categories(
    name: str, pairs: list[tuple[str, dict[str, Any], dict[str, Any]]], params: Drift, profile: Profile
) -> list[list[Any]]:
    """Values that one history lists and the other does not, each once, beyond what a list cut short explains."""
    found: dict[str, list[Any]] = {}
    for words, was, now in pairs:
        for here, there, sentence in (
            (
                now,
                was,
                "`{}` holds the new value {!r}: {:.1%} of {} have it, in the accepted history none or hardly any",
            ),
            (
                was,
                now,
                "`{}` no longer holds {!r}: {:.1%} of {} had it in the accepted history, now none or hardly any",
            ),
        ):
            n, m = (side["rows"] - side["missing"] for side in (here, there))
            if not n or not m:
                continue
            # What is not listed may still stand in this share of the rows.
            most = (profile.min_count - 1) / m
            if len(there["values"]) >= profile.values:
                most = max(most, min(there["values"].values()) / m)
            limit = max(params.category, most + _noise(params, len(here["values"])) * math.sqrt(most / n + most / m))
            for value, count in here["values"].items():
                share = count / n
                if value not in there["values"] and share > limit and share > found.get(value, [0.0] * 4)[3]:
                    text = sentence.format(name, value, share, words)
                    found[value] = _row("category", name, value, share, limit, text)
    return [found[value] for value in sorted(found)]


def _missing(name: str, words: str, was: dict[str, Any], now: dict[str, Any], params: Drift) -> list[Any]:
    p, q = was["missing"] / was["rows"], now["missing"] / now["rows"]
    pooled = (was["missing"] + now["missing"]) / (was["rows"] + now["rows"])
    noise = _noise(params) * math.sqrt(pooled * (1 - pooled) * (1 / was["rows"] + 1 / now["rows"]))
    sentence = f"`{name}` is missing in {q:.1%} of {words}, in the accepted history in {p:.1%}"
    return _row("missing", name, words, abs(q - p), max(params.missing, noise), sentence)


def _distribution(
    name: str, words: str, was: dict[str, Any], now: dict[str, Any], params: Drift, profile: Profile
) -> list[Any]:
    n, m = was["rows"] - was["missing"], now["rows"] - now["missing"]
    if "values" in was:
        # A value that only one history lists is part of the rest, and has a warning of its own.
        values = [value for value in was["values"] if value in now["values"]]
        p, q = (np.array([*(side["values"][value] for value in values), 0.0]) for side in (was, now))
        p[-1], q[-1] = n - p.sum(), m - q.sum()
    else:
        values = []
        # Two steps to a bin at least, or what lies between them would be guessed too coarsely.
        bins = min(params.bins, _parts(min(n, m), profile) // 2)
        edges = _edges(was, n, bins) if now["steps"] else []
        p = np.diff([0.0, *(_up_to(edge, was, n) for edge in edges), n])
        q = np.diff([0.0, *(_up_to(edge, now, m) for edge in edges), m])
    index = _psi(p, q)
    limit = max(params.psi, _chi_square(len(p) - 1, params.false_alarm) * (1 / max(n, 1) + 1 / max(m, 1)))
    if n == 0 or m == 0 or len(p) < 2:
        return _row("distribution", name, words, 0.0, limit, "")
    detail = _most_changed(values, p / n, q / m) if "values" in was else _middle(was, now, n, m)
    sentence = (
        f"`{name}` is distributed otherwise among {words} (stability index {index:.2f}, limit {limit:.2f}): {detail}"
    )
    return _row("distribution", name, words, index, limit, sentence)


def _psi(p: np.ndarray, q: np.ndarray) -> float:
    """Population stability index of two sets of counts; half a row is added to every bin, so that none is empty."""
    a, b = (p + 0.5) / (p + 0.5).sum(), (q + 0.5) / (q + 0.5).sum()
    return float(((a - b) * np.log(a / b)).sum())


def _edges(side: dict[str, Any], rows: int, bins: int) -> list[float]:
    """Rising edges of about equally full bins of a number, each one of its steps."""
    up_to = np.array(side["up_to"])
    place = np.searchsorted(up_to, rows * np.arange(1, bins) / bins)
    return [side["steps"][k] for k in np.unique(place[place < len(up_to)])]


def _up_to(step: float, side: dict[str, Any], rows: int) -> float:
    """Rows that do not exceed `step`, read off a history's own steps: on a line between two, and beyond the outermost
    on the line of the two next to it, within what is possible; a line in arsinh, since amounts are often skewed."""
    steps, up_to, step = np.arcsinh(side["steps"]), np.array(side["up_to"], dtype="float64"), float(np.arcsinh(step))
    if steps[0] <= step <= steps[-1]:
        return float(np.interp(step, steps, up_to))
    below = step < steps[0]
    end, next_ = (0, 1) if below else (-1, -2)
    if len(steps) == 1:
        return 0.0 if below else float(rows)
    slope = (up_to[next_] - up_to[end]) / (steps[next_] - steps[end])
    line = up_to[end] + slope * (step - steps[end])
    return float(max(line, 0.0) if below else min(line, rows))


def _most_changed(values: list[str], p: np.ndarray, q: np.ndarray) -> str:
    place = int(np.argmax(np.abs(p - q)[:-1])) if values else -1
    value = repr(values[place]) if values else "everything else"
    return f"{value} in {q[place]:.1%}, there in {p[place]:.1%}"


def _middle(was: dict[str, Any], now: dict[str, Any], n: int, m: int) -> str:
    """Where the middle of a number lies in both histories, to the nearest step."""
    middles = []
    for side, rows in ((now, m), (was, n)):
        steps = [step for step, up_to in zip(side["steps"], side["up_to"], strict=True) if up_to >= rows / 2]
        middles.append(
            f"about {steps[0]:g}" if steps else f"above {side['steps'][-1]:g}" if side["steps"] else "unknown"
        )
    return f"its middle value is {middles[0]}, there {middles[1]}"


def _volumes(old: Mapping[str, Any], new: Mapping[str, Any], params: Drift, profile: Profile) -> list[list[Any]]:
    """Each series by its month that differs most; months in which a history begins or ends are not judged."""
    both = [side["volume"][LEADS]["months"] for side in (old, new)]
    if not all(both):
        return []
    starts = [min(months) for months in both]
    ends = [str(side["newest"])[:7] for side in (old, new)]
    rows = []
    for series, side in new["volume"].items():
        before = old["volume"].get(series)
        if before is None:
            continue
        accepted = _monthly(before["months"], starts[0], ends[0])
        own = _monthly(side["months"], starts[1], ends[1])
        earlier = own.rolling(params.volume_months).median().shift()
        # Where one history begins later, it holds only the activities of its own leads at first.
        same = accepted.index.intersection(own.index)[0 if starts[0] == starts[1] else params.volume_months :]
        expected = pd.concat([accepted[same], earlier[own.index >= ends[0]].dropna()])
        expected = expected[expected >= profile.min_count]
        if expected.empty:
            continue
        now = own[expected.index]
        limit = _volume_limit(accepted, expected, now < expected, max(before["clumping"], 1.0), params)
        change = _log_ratio(now, expected).abs()
        excess = (change / limit).to_numpy()
        worst = str(expected.index[int(np.argmax(excess))])
        than = "in the accepted history" if worst in same else f"in the {params.volume_months} months before (median)"
        out = int((excess > 1).sum())
        more = f"; {out - 1} more months pass the limit" if out > 1 else ""
        sentence = f"{series}: {own[worst]:,.0f} in {worst}, {expected[worst]:,.0f} {than}{more}"
        rows.append(
            _row("volume", series, worst, math.exp(float(change[worst])), math.exp(float(limit[worst])), sentence)
        )
    return rows


def _monthly(counts: Mapping[str, int], start: str, end: str) -> pd.Series:
    """Rows of every month strictly between two, months without any included; float64."""
    months = [str(month) for month in pd.period_range(start, end, freq="M")][1:-1]
    return pd.Series([float(counts.get(month, 0)) for month in months], index=pd.Index(months, dtype="str"))


def _volume_limit(
    accepted: pd.Series, expected: pd.Series, fewer: pd.Series, clumping: float, params: Drift
) -> pd.Series:
    """Limit of the change of each month in logarithms: that of `params`, or what such counts do by themselves: by
    chance, which moves the root of a count by as much at any size, and by how the accepted history's own months lie
    about the months before them."""
    noise, root = _noise(params, len(expected)), np.sqrt(expected)
    chance = noise * math.sqrt(clumping / 2)
    moved = np.where(fewer, np.maximum(root - chance, 0.5), root + chance)
    steady = accepted.rolling(params.volume_months).median().shift().dropna()
    usual = 1.4826 * _log_ratio(accepted[steady.index], steady).abs().median() if len(steady) else 0.0
    own = np.abs(2 * np.log(moved / root))
    return pd.Series(np.maximum(own, max(math.log(params.volume), noise * usual)), index=expected.index)


def _log_ratio(count: pd.Series, expected: pd.Series) -> pd.Series:
    """Logarithm of count / expected, half a row added to both."""
    return pd.Series(np.log((count + 0.5) / (expected + 0.5)), index=count.index)


def _conversions(old: Mapping[str, Any], new: Mapping[str, Any], params: Drift) -> list[list[Any]]:
    """All months of the new history, and those after the accepted one's."""
    later = {month: counts for month, counts in new.items() if old and month > max(old)}
    sides = [("leads", new), *([(f"leads created since {min(later)}", later)] if later else [])]
    n, k = (sum(month[name] for month in old.values()) for name in ("leads", "converted"))
    rows = []
    for words, side in sides:
        m, j = (sum(month[name] for month in side.values()) for name in ("leads", "converted"))
        if not k or not m:
            continue
        change = abs(math.log(((j + 0.5) / (m + 0.5)) / ((k + 0.5) / (n + 0.5))))
        noise = _noise(params) * math.sqrt(1 / k + 1 / max(j, m * k / n))
        limit = max(math.log(params.conversion), noise)
        sentence = f"{j / m:.1%} of {m:,} {words} convert in time, in the accepted history {k / n:.1%} of {n:,}"
        rows.append(_row("conversion", "", words, math.exp(change), math.exp(limit), sentence))
    return _worst(rows)


def _newest(old: str | None, new: str | None) -> list[list[Any]]:
    if old is None or new is None:
        return []
    days = (pd.Timestamp(old) - pd.Timestamp(new)) / DAY
    sentence = f"the history ends {days:,.1f} days before the accepted one, on {new[:10]}"
    return [_row("newest", "", "", max(days, 0.0), 0.0, sentence)]


def _noise(params: Drift, tries: int = 1) -> float:
    """Standard deviations that chance passes, to either side, with probability `false_alarm` in that many tries."""
    return NormalDist().inv_cdf(1 - params.false_alarm / 2 / max(tries, 1))


def _chi_square(degrees: int, above: float) -> float:
    """The value that a chi-square passes with probability `above` (Wilson and Hilferty 1931; within 1 % or so)."""
    if degrees < 1:
        return 0.0
    part = 2 / (9 * degrees)
    return float(degrees * (1 - part + NormalDist().inv_cdf(1 - above) * math.sqrt(part)) ** 3)
