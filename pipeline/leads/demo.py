"""The demo CRM log: a made-up company's lead history, drawn from a seed, in the form a CRM exports it.

Leads live in the world of `demo_world`, day by day, until they convert, are lost, or the history ends. The log is text,
as an export is: a leads table with current values, activities, and changes of the columns that change over time. Beside
the good rows stand dirty ones (`demo_dirt`), each named by table, row and kind. The true chance to convert is in
`demo_law`.

The log is made in blocks of leads in order of creation, each from a random stream of its own, so that any number of
leads fits in the memory of one block. Every person, company, address and number is invented: work domains end in
`.example`, which nobody can register, phone numbers begin with the unassigned country code 999, and private addresses
carry the lead's number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from pipeline.leads import demo_dirt
from pipeline.leads.demo_world import (
    BUDGET,
    DAY_SECONDS,
    KINDS,
    LATE,
    LEVELS,
    START,
    STATUS,
    TRACKED,
    Happened,
    K,
    State,
    Walk,
    hazards,
    start_state,
    terms_of,
)
from pipeline.params import Demo

#: Leads made at a time; memory follows from it.
BLOCK_LEADS = 5_000

LEAD_COLUMNS = [
    "lead_id", "created_at", "full_name", "email", "phone",
    "industry", "employees", "annual_revenue_eur", "country", "region", "tech_stack",
    "seniority", "department", "source", "campaign", "status", "budget_confirmed", "converted_at", "lost_at",
    "deal_value_eur", "closing_discount_pct", "contract_owner", "loss_reason", "days_to_close",
]  # fmt: skip
ACTIVITY_COLUMNS = ["activity_id", "lead_id", "kind", "happened_at", "recorded_at"]
CHANGE_COLUMNS = ["lead_id", "column", "recorded_at", "old_value", "new_value"]

#: Process fields that are filled in when a lead closes: whoever learns from them learns the outcome.
LEAKS = ("deal_value_eur", "closing_discount_pct", "contract_owner", "loss_reason", "days_to_close")
DIRTY_KINDS = demo_dirt.KINDS

#: Values that first appear in the last sixth of the history.
NEWCOMERS = {"tech_stack": "agent_platform", "source": "ai_assistant", "campaign": "agent_launch"}
NEWCOMERS_FROM = 5 / 6
NEWCOMER_SHARE = 0.08

#: Shares of sources and campaigns when the history begins and where they drift to.
SOURCE_SHARES = ((0.22, 0.2, 0.08, 0.12, 0.08, 0.22, 0.08), (0.25, 0.17, 0.11, 0.1, 0.11, 0.14, 0.12))
CAMPAIGN_SHARES = ((0.35, 0.3, 0.1, 0.05, 0.08, 0.12), (0.25, 0.25, 0.2, 0.14, 0.09, 0.07))
COUNTRY_SHARES = (0.3, 0.07, 0.07, 0.12, 0.08, 0.04, 0.08, 0.07, 0.05, 0.03, 0.05, 0.03, 0.01)
INDUSTRY_SHARES = (0.2, 0.19, 0.1, 0.13, 0.1, 0.1, 0.08, 0.06, 0.04)
SENIORITY_SHARES = (0.12, 0.18, 0.33, 0.29, 0.08)
DEPARTMENT_SHARES = (0.2, 0.22, 0.2, 0.12, 0.18, 0.08)
#: Technology in use by company size: small firms keep spreadsheets, large ones run what they once bought.
TECH_SHARES = {
    1: (0.5, 0.05, 0.15, 0.05, 0.25),
    2: (0.3, 0.15, 0.25, 0.08, 0.22),
    3: (0.15, 0.3, 0.28, 0.12, 0.15),
    4: (0.08, 0.4, 0.27, 0.17, 0.08),
}
EMPLOYEES_LOG_MEAN = {"software": 3.9, "manufacturing": 5.0, "retail": 4.2, "finance": 5.0, "energy": 5.6}

LOSS_REASONS = ("no_budget", "competitor", "no_reply", "timing", "no_fit")
OWNERS = ("desk_north", "desk_south", "desk_key_accounts", "desk_partners")
PRIVATE_DOMAINS = ("gmail.com", "outlook.com", "gmx.de", "web.de", "yahoo.com", "icloud.com")
SYLLABLES = np.array(
    [
        "ba", "dra", "fel", "gor", "hin", "jas", "kul", "len", "mor", "nev", "pil", "qua", "ras", "sed", "tov", "ulm",
        "vek", "wil", "xan", "yor", "zet", "bri", "cho", "dul", "fey",
    ],
    dtype=object,
)  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A slice of the log, all text as a CRM exports it, missing = "".

    `leads`, `activities`, `changes`: rows in export order, columns as `LEAD_COLUMNS`, `ACTIVITY_COLUMNS`,
    `CHANGE_COLUMNS`. `dirty`: one row per dirty row, with `table`, `row` (1-based over the whole table, all blocks) and
    `kind`.
    """

    leads: pd.DataFrame
    activities: pd.DataFrame
    changes: pd.DataFrame
    dirty: pd.DataFrame


@dataclass
class Log:
    """What happened to the leads of a block, day by day, as they lived it; arrays to be joined at the end.

    `outcome`: 0 open, 1 converted, 2 lost; `closed_day`: whole days since `START`.
    """

    outcome: np.ndarray
    closed_day: np.ndarray
    activities: list[tuple[np.ndarray, ...]] = field(default_factory=list)
    changes: list[tuple[np.ndarray, ...]] = field(default_factory=list)


def last_day(demo: Demo) -> int:
    """Whole days from `START` to the end of the history."""
    end = START.astype("datetime64[M]") + np.timedelta64(demo.months, "M")
    return int((end.astype("datetime64[s]") - START).astype("int64") // DAY_SECONDS)


def extracted_at(demo: Demo) -> pd.Timestamp:
    """The moment the log was exported: midnight after its last day. Nothing in a good row is later."""
    return pd.Timestamp(START) + pd.Timedelta(days=last_day(demo))


def generate(demo: Demo, seed: int) -> Iterator[Block]:
    """The demo log in blocks of leads, in order of creation.

    Args:
        demo: leads (good ones), months, and the share of dirty rows added to each table.
        seed: the same seed and `demo` give the same blocks. Block `k` follows from seed, `demo` and `k` alone (but for
            the row numbers in `dirty`), and the good rows are the same for any `dirty_share`.
    """
    before = {"leads": 0, "activities": 0, "changes": 0}
    for block in range(-(-demo.leads // BLOCK_LEADS)):
        tables = _clean(demo, seed, block)
        rng = np.random.default_rng(np.random.SeedSequence([seed, block, 1]))
        tables, dirty = demo_dirt.add(tables, demo.dirty_share, extracted_at(demo), block, rng)
        dirty = dirty.assign(row=dirty["row"] + dirty["table"].map(before).astype("int64"))
        yield Block(tables["leads"], tables["activities"], tables["changes"], dirty)
        for name, table in tables.items():
            before[name] += len(table)


def people(demo: Demo, seed: int, block: int) -> pd.DataFrame:
    """Good leads of a block as recorded at their creation, typed as `ingest` leaves them, with the personal columns."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, block, 0]))
    number = np.arange(block * BLOCK_LEADS, min((block + 1) * BLOCK_LEADS, demo.leads))
    n = len(number)
    # Arrivals grow by 40 % over the history; each lead is drawn from its own slice of it, so that blocks follow in
    # time.
    quantile = (number + rng.random(n)) / demo.leads
    at = (np.sqrt(1 + 0.96 * quantile) - 1) / 0.4
    day = np.floor(at * last_day(demo))
    # The rest of the day is stretched over 06:00 to 22:00.
    created = START + (day * DAY_SECONDS + 6 * 3600 + (at * last_day(demo) - day) * 16 * 3600).astype("int64")

    def pick(shares: np.ndarray | tuple[float, ...], levels: tuple[str, ...]) -> np.ndarray:
        """One level per lead; shares of shape (levels,), or (n, levels) where they differ by lead."""
        until = np.cumsum(np.atleast_2d(shares), axis=1)
        choice = (rng.random(n)[:, None] * until[:, -1:] >= until[:, :-1]).sum(axis=1)
        return np.array(levels, dtype=object)[choice]

    def drifting(shares: tuple[tuple[float, ...], tuple[float, ...]]) -> np.ndarray:
        """Shares that move from the first to the second, most of the way in the earlier half."""
        moved = -np.expm1(-4 * at)[:, None]
        return (1 - moved) * np.array(shares[0]) + moved * np.array(shares[1])

    leads = pd.DataFrame({"lead_id": [f"L{i:07d}" for i in number + 1], "created_at": created.astype("datetime64[us]")})
    leads["source"] = pick(drifting(SOURCE_SHARES), LEVELS["source"])
    leads["campaign"] = pick(drifting(CAMPAIGN_SHARES), LEVELS["campaign"])
    leads["industry"] = pick(INDUSTRY_SHARES, LEVELS["industry"])
    leads["country"] = pick(COUNTRY_SHARES, LEVELS["country"])
    leads["region"] = pick((0.2, 0.25, 0.15, 0.25, 0.15), LEVELS["region"])
    leads["seniority"] = pick(SENIORITY_SHARES, LEVELS["seniority"])
    leads["department"] = pick(DEPARTMENT_SHARES, LEVELS["department"])
    centre = leads["industry"].map(EMPLOYEES_LOG_MEAN).fillna(4.6).to_numpy()
    employees = np.maximum(1, np.rint(np.exp(centre + 1.4 * rng.standard_normal(n))))
    revenue = employees * np.exp(11.6 + 0.6 * rng.standard_normal(n))
    leads["employees"] = employees
    leads["annual_revenue_eur"] = np.maximum(1000.0, np.rint(revenue / 1000) * 1000)
    size = np.searchsorted((50, 250, 1000), employees, side="right") + 1
    leads["tech_stack"] = pick(np.array([TECH_SHARES[s] for s in size]), LEVELS["tech_stack"])

    for column, value in NEWCOMERS.items():
        new = (at >= NEWCOMERS_FROM) & (rng.random(n) < NEWCOMER_SHARE)
        leads[column] = leads[column].mask(new, value)

    # What is missing depends on what is recorded, never on the value that is missing.
    form = leads["source"].isin(["organic_search", "paid_search", "ai_assistant"]).to_numpy()
    for column, share in (
        ("employees", np.where(form, 0.2, 0.07)),
        ("annual_revenue_eur", np.where(form, 0.35, 0.2)),
        ("tech_stack", np.where(form, 0.2, 0.1)),
        ("region", np.where(leads["country"].isin(["AT", "CH", "NL", "BE"]), 0.15, 0.04)),
        ("seniority", np.where(form, 0.1, 0.03)),
        ("department", np.where(leads["seniority"] == "c_level", 0.2, 0.06)),
    ):
        leads[column] = leads[column].mask(rng.random(n) < share)

    given, family, company = (_invent(rng, n, count) for count in (2, 3, 3))
    leads["full_name"] = given.str.title() + " " + family.str.title()
    private = rng.random(n) < np.where(leads["seniority"] == "intern", 0.6, np.where(form, 0.35, 0.12))
    digits = leads["lead_id"].str[1:]
    provider = pd.Series(np.array(PRIVATE_DOMAINS, dtype=object)[rng.integers(0, len(PRIVATE_DOMAINS), n)])
    work = given + "." + family + "@" + company + ".example"
    leads["email"] = work.mask(private, given + "." + family + "." + digits + "@" + provider).mask(rng.random(n) < 0.03)
    leads["has_work_email"] = (leads["email"].notna() & ~private).astype("float64")
    line = pd.Series([f"+999 {a:03d} {b:07d}" for a, b in zip(rng.integers(100, 1000, n), number + 1, strict=True)])
    leads["phone"] = line.mask(rng.random(n) < np.where(form, 0.5, 0.25))
    leads["has_phone"] = leads["phone"].notna().astype("float64")

    leads["status"] = "new"
    leads["budget_confirmed"] = np.nan
    return leads


def live(walk: Walk, end: int, log: Log, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, State]]:
    """Let the leads live until they close or day `end` comes; fill `log`.

    Yields:
        Each day before anything happens on it: indices of the leads still open, and their state.
    """
    alive = np.arange(len(walk.state.day))
    while len(alive):
        yield alive, walk.state
        convert, lose = hazards(walk.terms, walk.state)
        # Nobody decides on the day they are met.
        closes = (rng.random(len(alive)) < -np.expm1(-(convert + lose))) & (walk.state.age > 0)
        converts = rng.random(len(alive)) * (convert + lose) < convert
        log.outcome[alive[closes]] = np.where(converts[closes], 1, 2)
        log.closed_day[alive[closes]] = walk.state.day[closes]

        day = walk.state.day
        today: Happened = walk.step(rng)
        log.activities.append((alive[today.owner], today.kind, day[today.owner], today.lag))
        log.changes.append((alive[today.changed], day[today.changed], today.column, today.old, today.new))
        stays = np.flatnonzero(~closes & (walk.state.day < end))
        if len(stays) < len(alive):
            walk.keep(stays)
            alive = alive[stays]


def _clean(demo: Demo, seed: int, block: int) -> dict[str, pd.DataFrame]:
    """The good rows of a block as text."""
    leads = people(demo, seed, block)
    rng = np.random.default_rng(np.random.SeedSequence([seed, block, 2]))
    end = last_day(demo)
    created = _since_start(leads["created_at"])
    log = Log(outcome=np.zeros(len(leads), dtype="int64"), closed_day=np.full(len(leads), end))
    walk = Walk(terms_of(leads), start_state(leads, created // DAY_SECONDS))
    for _ in live(walk, end, log, rng):
        pass

    # A lead closes in office hours; nothing happens to it afterwards, though late records still come in.
    closed = log.closed_day * DAY_SECONDS + np.where(log.outcome > 0, rng.integers(8 * 3600, 19 * 3600, len(leads)), 0)
    activities = _activities(leads, created, closed, log, end, rng)
    leads, changes = _outcomes(leads, closed, log, end, rng)
    text = pd.DataFrame({name: _text(leads[name]) for name in LEAD_COLUMNS})
    return {"leads": text, "activities": activities, "changes": changes}


def _activities(
    leads: pd.DataFrame, created: np.ndarray, closed: np.ndarray, log: Log, end: int, rng: np.random.Generator
) -> pd.DataFrame:
    """The activities table as text, in the order in which the rows were recorded."""
    owner, kind, day, lag = (np.concatenate(parts) for parts in zip(*log.activities, strict=True))
    # No record bears a midnight, so that "by midnight" and "before midnight" mean the same.
    earliest = np.where(created[owner] // DAY_SECONDS == day, created[owner] % DAY_SECONDS + 1, 1)
    happened = day * DAY_SECONDS + _between(earliest, np.full(len(day), DAY_SECONDS - 1), rng)
    typed_in = (day + lag) * DAY_SECONDS + rng.integers(7 * 3600, 20 * 3600, len(day))
    minutes = np.where(np.isin(kind, [K[name] for name in LATE]), 3600, 120)
    at_once = np.minimum(happened + _between(np.zeros(len(day)), minutes, rng), (day + 1) * DAY_SECONDS - 1)
    recorded = np.where(lag > 0, typed_in, at_once)

    there = np.flatnonzero((happened < closed[owner]) & (recorded < end * DAY_SECONDS))
    there = there[np.lexsort((happened[there], recorded[there]))]
    owner, recorded, happened, kind = owner[there], recorded[there], happened[there], kind[there]
    lead = leads["lead_id"].to_numpy(dtype=object)[owner]
    number = pd.Series(owner).groupby(owner).cumcount().to_numpy() + 1
    return pd.DataFrame(
        {
            "activity_id": [f"A{key[1:]}-{i:04d}" for key, i in zip(lead, number, strict=True)],
            "lead_id": lead,
            "kind": np.array(KINDS, dtype=object)[kind],
            "happened_at": _moments(happened),
            "recorded_at": _moments(recorded),
        },
        dtype="str",
    )


def _outcomes(
    leads: pd.DataFrame, closed: np.ndarray, log: Log, end: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Leads with their current values and process fields, and the changes table as text."""
    n = len(leads)
    owner, day, column, old, new = (np.concatenate(parts) for parts in zip(*log.changes, strict=True))
    first = np.where(_since_start(leads["created_at"])[owner] // DAY_SECONDS == day, 22 * 3600, 7 * 3600)
    at = day * DAY_SECONDS + _between(first, first + 2 * 3600 - 60, rng)
    there = at < closed[owner]
    owner, at, column, old, new = owner[there], at[there], column[there], old[there], new[there]
    told = pd.DataFrame(
        {
            "owner": owner,
            "at": at,
            "column": np.array(TRACKED, dtype=object)[column],
            "old_value": _change_text(column, old),
            "new_value": _change_text(column, new),
        }
    )

    won, lost = log.outcome == 1, log.outcome == 2
    filled = rng.random(n) < 0.96
    size = leads["employees"].fillna(120.0).to_numpy()
    value = np.rint(np.exp(7.5 + 0.45 * np.log(size) + 0.5 * rng.standard_normal(n)) / 50) * 50
    discount = np.rint(rng.gamma(2.0, 4.0, n) * 2) / 2
    desk = np.array(OWNERS, dtype=object)[rng.integers(0, len(OWNERS), n)]
    reason = np.array(LOSS_REASONS, dtype=object)[rng.integers(0, len(LOSS_REASONS), n)]
    open_for = (closed - _since_start(leads["created_at"])) // DAY_SECONDS
    moment = pd.Series((START + closed).astype("datetime64[us]"))
    leads = leads.assign(
        converted_at=moment.where(won),
        lost_at=moment.where(lost),
        deal_value_eur=pd.Series(value).where(won & filled),
        closing_discount_pct=pd.Series(discount).where(won & filled),
        contract_owner=pd.Series(desk).where(won),
        loss_reason=pd.Series(reason).where(lost & filled),
        days_to_close=pd.Series(open_for.astype("float64")).where(won | lost),
    )

    # The outcome itself is a change of status, and of a column that is not followed; both are recorded minutes later.
    stood = _current(pd.Series("new", index=range(n)), told[told["column"] == "status"])
    done = np.flatnonzero(won | lost)
    outcome = pd.DataFrame(
        {
            "owner": done,
            "at": closed[done] + rng.integers(60, 3600, len(done)),
            "column": "status",
            "old_value": stood[done],
            "new_value": np.where(won[done], STATUS[3], STATUS[4]),
        }
    )
    signed = outcome[won[done]].assign(column="contract_owner", old_value="", new_value=desk[done][won[done]])
    told = pd.concat([told, outcome, signed], ignore_index=True)
    told = told[told["at"] < end * DAY_SECONDS].sort_values(["at", "owner", "column"], ignore_index=True)

    for name in TRACKED:
        leads[name] = pd.Series(_current(_text(leads[name]), told[told["column"] == name]), dtype="str")
    changes = pd.DataFrame(
        {
            "lead_id": leads["lead_id"].to_numpy(dtype=object)[told["owner"]],
            "column": told["column"],
            "recorded_at": _moments(told["at"].to_numpy()),
            "old_value": told["old_value"],
            "new_value": told["new_value"],
        },
        dtype="str",
    )
    return leads, changes


def _current(first: pd.Series, told: pd.DataFrame) -> np.ndarray:
    """Newest value of a column per lead, from its value at creation and its changes in order of time."""
    values = first.to_numpy(dtype=object, copy=True)
    values[told["owner"].to_numpy()] = told["new_value"].to_numpy(dtype=object)
    return values


def _invent(rng: np.random.Generator, n: int, syllables: int) -> pd.Series:
    """Made-up words."""
    parts = SYLLABLES[rng.integers(0, len(SYLLABLES), (n, syllables))]
    return pd.Series(parts.sum(axis=1), dtype="str")


def _between(low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Whole seconds, uniform in `[low, high)` element by element."""
    return (low + np.floor(rng.random(len(low)) * (high - low))).astype("int64")


def _change_text(column: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Values of changes as the CRM writes them."""
    text = np.empty(len(value), dtype=object)
    status, budget, employees = (column == number for number in range(len(TRACKED)))
    text[status] = np.array(STATUS, dtype=object)[value[status].astype("int64")]
    text[budget] = np.array(BUDGET, dtype=object)[value[budget].astype("int64")]
    text[employees] = ["" if np.isnan(number) else str(int(number)) for number in value[employees]]
    return text


def _since_start(times: pd.Series) -> np.ndarray:
    return (times.to_numpy("datetime64[s]") - START).astype("int64")


def _moments(seconds: np.ndarray) -> np.ndarray:
    """ISO text of seconds since `START`."""
    return np.datetime_as_string(START + seconds.astype("int64"), unit="s")


def _text(values: pd.Series) -> pd.Series:
    """A typed column as text; whole numbers without a decimal point, missing as ""."""
    if pd.api.types.is_datetime64_any_dtype(values):
        text = pd.Series(np.datetime_as_string(values.to_numpy("datetime64[s]"), unit="s"), dtype="str")
        return text.mask(values.isna(), "")
    if pd.api.types.is_float_dtype(values):
        return pd.Series(
            ["" if np.isnan(x) else str(int(x)) if x.is_integer() else str(x) for x in values], dtype="str"
        )
    return values.astype("str").fillna("")
