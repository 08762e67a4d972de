"""The demo's world: what may happen to a lead on one day, given what has been recorded about it so far.

The world moves in days. Day `t` runs from midnight `t` to midnight `t + 1`, counted from `START`. Everything that
happens on it depends on four things only: the lead's profile as recorded, its age, the calendar, and the state `S_t`,
which is a function of what was *recorded* before midnight `t`. Given those, activities are Poisson counts, and changes
and the outcome are drawn afresh. So a lead carries no hidden trait: two leads with the same records have the same
future, and the chance to convert can be worked out from the records alone (`demo_law`). The generator (`demo`) and the
law share every function here.

State `S_t` of a lead, from events recorded before midnight `t`:

- `decayed[k]`, one sum per kind of activity: `sum(2 ** (-(t - day it happened) / half-life))`;
- `pricing_week`, visits of the pricing page that happened in the seven days before `t`;
- the current employees, status and budget confirmation, and whether the employees were corrected already.

Rates are per day; hazards are per day in continuous time, `P(event on the day) = 1 - exp(-hazard)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import pandas as pd

#: Midnight of day 0. Fixed: the demo's history is the same on any date it is made.
START = np.datetime64("2023-01-01", "s")
DAY_SECONDS = 86_400

#: Kinds of activity and the half-life, in days, with which the world forgets them (infinite: never).
HALF_LIFE = {
    "email_sent": 2.0,
    "email_opened": 2.0,
    "email_clicked": 3.0,
    "email_unsubscribed": np.inf,
    "visit_home": 4.0,
    "visit_blog": 7.0,
    "visit_product": 6.0,
    "visit_pricing": 8.0,
    "visit_careers": 20.0,
    "download": 14.0,
    "webinar": 14.0,
    "form": 12.0,
    "call": 12.0,
    "meeting": 18.0,
}
KINDS = tuple(HALF_LIFE)
K = {kind: number for number, kind in enumerate(KINDS)}
#: What is left of an event's weight after one day.
KEEP = np.array([2.0 ** (-1.0 / half) for half in HALF_LIFE.values()])

#: Kinds that may be recorded days after they happened: P(recorded 0, 1, 2, ... days later). Attendance lists of
#: webinars are uploaded in batches, calls and meetings are typed in when somebody finds the time. Every other kind is
#: recorded at once.
LATE = {
    "webinar": (0.0, 0.15, 0.25, 0.2, 0.15, 0.1, 0.08, 0.07),
    "form": (0.9, 0.06, 0.04),
    "call": (0.55, 0.2, 0.08, 0.05, 0.04, 0.03, 0.02, 0.01, 0.01, 0.005, 0.005),
    "meeting": (0.5, 0.25, 0.1, 0.06, 0.04, 0.03, 0.01, 0.01),
}
MAX_LAG = max(len(lags) for lags in LATE.values()) - 1
#: Row per kind: P(recorded `j` days later), `j` from 0 to `MAX_LAG`.
LAG = np.zeros((len(KINDS), MAX_LAG + 1))
LAG[:, 0] = 1.0
for _kind, _lags in LATE.items():
    LAG[K[_kind]] = 0.0
    LAG[K[_kind], : len(_lags)] = _lags
_LAG_UNTIL = LAG.cumsum(axis=1)
_LAG_UNTIL[_LAG_UNTIL > 1 - 1e-9] = 1.0

#: Closed lists of values. A missing value is a level of its own, the last.
LEVELS: dict[str, tuple[str, ...]] = {
    "industry": (
        "software", "manufacturing", "logistics", "retail", "finance", "healthcare", "education", "public_sector",
        "energy",
    ),
    # NA is Namibia: a reader that takes it for a missing value is wrong.
    "country": ("DE", "AT", "CH", "FR", "NL", "BE", "IT", "ES", "PL", "SE", "GB", "US", "NA"),
    "region": ("north", "south", "east", "west", "central"),
    "tech_stack": ("spreadsheets", "legacy_erp", "cloud_erp", "in_house", "cloud_crm", "agent_platform"),
    "seniority": ("c_level", "director", "manager", "specialist", "intern"),
    "department": ("sales", "marketing", "it", "finance", "operations", "hr"),
    "source": (
        "organic_search", "paid_search", "referral", "event", "webinar", "cold_list", "partner", "ai_assistant",
    ),
    "campaign": ("none", "newsletter", "product_tour", "trial_offer", "partner_days", "reactivation", "agent_launch"),
}  # fmt: skip
STATUS = ("new", "contacted", "qualified", "customer", "lost")
NEW, CONTACTED, QUALIFIED = 0, 1, 2
#: Budget confirmed: not known yet, yes, no.
BUDGET = ("", "true", "false")
#: Company size: not known, below 50, below 250, below 1000, larger.
SIZE_FROM = (0, 50, 250, 1000)
SIZES = len(SIZE_FROM) + 1
WEEK = 7

#: Effect of each profile value on the log hazard of converting; a level not named has none.
FIT: dict[str, Mapping[str, float]] = {
    "industry": {
        "software": 0.45, "manufacturing": 0.25, "logistics": 0.05, "retail": -0.35, "finance": 0.4,
        "healthcare": -0.15, "education": -0.95, "public_sector": -0.75, "energy": 0.15,
    },
    "country": {
        "DE": 0.15, "AT": 0.15, "CH": 0.35, "FR": -0.15, "IT": -0.25, "ES": -0.25, "PL": -0.15, "US": -0.2, "NA": -0.4,
    },
    "region": {"central": 0.05, "east": -0.15},
    "tech_stack": {"spreadsheets": 0.35, "legacy_erp": 0.25, "in_house": -0.45, "cloud_crm": -0.35},
    "seniority": {"c_level": 0.75, "director": 0.6, "manager": 0.15, "specialist": -0.4, "intern": -1.75, "": -0.25},
    "department": {"sales": 0.4, "marketing": 0.25, "it": 0.0, "finance": -0.15, "operations": 0.15, "hr": -0.6},
    "source": {
        "organic_search": 0.15, "paid_search": -0.2, "referral": 0.9, "event": 0.15, "webinar": 0.2, "cold_list": -1.0,
        "partner": 0.6, "ai_assistant": 0.2,
    },
    "campaign": {"trial_offer": 0.4, "partner_days": 0.2, "reactivation": -0.4, "agent_launch": 0.15},
}  # fmt: skip
SIZE_EFFECT = np.array([-0.15, -0.2, 0.2, 0.5, 0.05])
#: Interactions on top of the effects above.
INDUSTRY_SOURCE = {
    ("manufacturing", "event"): 0.95, ("finance", "cold_list"): 0.8, ("software", "organic_search"): 0.55,
    ("retail", "paid_search"): 0.7, ("public_sector", "partner"): 1.1, ("healthcare", "webinar"): 0.8,
    ("software", "event"): -0.7, ("finance", "paid_search"): -0.7,
}  # fmt: skip
TECH_SIZE = {("spreadsheets", 3): -0.7, ("spreadsheets", 4): -1.2, ("legacy_erp", 3): 0.4, ("legacy_erp", 4): 0.7}
SENIORITY_SIZE = {("c_level", 1): 0.45, ("c_level", 4): -0.8, ("manager", 4): 0.45, ("manager", 1): -0.25}
WORK_EMAIL, PHONE, LARGE_REVENUE = 0.5, 0.25, 0.4
LARGE_REVENUE_EUR = 10e6

#: Log hazard of converting and of being lost for a lead without fit or engagement.
CONVERT, LOSE = -7.25, -4.85


@dataclass(frozen=True)
class Terms:
    """What a lead's fixed profile contributes, worked out once; `n` leads (or paths of leads).

    `fit` and `pricing` have shape (SIZES, n), one row per company size, because size can change; all others (n,).
    `fit` and `lose` are log hazards; `pricing` and `webinar` are what two pricing visits in a week, and a webinar, add
    to `fit`; `budget` is the log-odds that a budget is confirmed; the rest set rates of activities and corrections.
    """

    fit: np.ndarray
    pricing: np.ndarray
    lose: np.ndarray
    webinar: np.ndarray
    budget: np.ndarray
    send: np.ndarray
    open: np.ndarray
    visit: np.ndarray
    blog: np.ndarray
    careers: np.ndarray
    talk: np.ndarray
    enrich: np.ndarray
    typical_employees: np.ndarray

    def take(self, index: np.ndarray) -> Self:
        return type(self)(**{field.name: getattr(self, field.name)[..., index] for field in fields(self)})


@dataclass
class State:
    """`S_t` of `n` leads.

    `day` and `age`: whole days since `START` and since the day of creation, shape (n,). `decayed`: (kinds, n).
    `pricing_days`: (7, n), visits of the pricing page on each of the last seven days, in a ring: a day takes the row of
    the day seven days before it. `employees`: NaN where not known. `status`, `budget`: positions in `STATUS`, `BUDGET`.
    """

    day: np.ndarray
    age: np.ndarray
    decayed: np.ndarray
    pricing_days: np.ndarray
    employees: np.ndarray
    status: np.ndarray
    budget: np.ndarray
    enriched: np.ndarray

    def take(self, index: np.ndarray) -> Self:
        return type(self)(**{field.name: getattr(self, field.name)[..., index] for field in fields(self)})

    @property
    def pricing_week(self) -> np.ndarray:
        return self.pricing_days.sum(axis=0)


@dataclass(frozen=True)
class Happened:
    """One day's events, before any is struck out because the lead closed that day.

    Activities: `owner` (index of the lead), `kind`, `lag` (days until recorded). Changes: `changed` (index of the
    lead), `column` (0 status, 1 budget_confirmed, 2 employees), `old` and `new` as numbers (codes; employees, NaN where
    not known).
    """

    owner: np.ndarray
    kind: np.ndarray
    lag: np.ndarray
    changed: np.ndarray
    column: np.ndarray
    old: np.ndarray
    new: np.ndarray


#: Columns that change over time, as `Happened.column` numbers them.
TRACKED = ("status", "budget_confirmed", "employees")


def codes(values: pd.Series, levels: tuple[str, ...]) -> np.ndarray:
    """Position of each value in `levels`; a missing value gets the position after the last.

    Raises:
        ValueError: a value that this world does not know.
    """
    found = pd.Index(levels).get_indexer(pd.Index(values))
    missing = values.isna().to_numpy() | (values.astype(object) == "").to_numpy()
    if (found[~missing] < 0).any():
        raise ValueError(f"column {values.name} holds a value that the demo's world does not know.")
    return np.where(missing, len(levels), found)


def size_of(employees: np.ndarray) -> np.ndarray:
    """Company size, 0 (not known) to 4."""
    return np.where(np.isnan(employees), 0, np.searchsorted(SIZE_FROM, np.nan_to_num(employees), side="right"))


def terms_of(leads: pd.DataFrame) -> Terms:
    """Terms of each lead from its recorded profile.

    Args:
        leads: typed columns as `ingest` leaves them: the categories of `LEVELS`, `annual_revenue_eur`,
            `has_work_email`, `has_phone` (1 where true; 0 or missing otherwise).
    """
    code = {name: codes(leads[name], levels) for name, levels in LEVELS.items()}

    def effect(column: str, table: Mapping[str, float], other: float = 0.0) -> np.ndarray:
        return np.array([table.get(level, other) for level in (*LEVELS[column], "")])[code[column]]

    def is_(column: str, level: str) -> np.ndarray:
        return code[column] == LEVELS[column].index(level)

    n = len(leads)
    work = (leads["has_work_email"] == 1).to_numpy()
    phone = (leads["has_phone"] == 1).to_numpy()
    large = (leads["annual_revenue_eur"] >= LARGE_REVENUE_EUR).to_numpy()
    fit = (
        sum(effect(column, table) for column, table in FIT.items())
        + WORK_EMAIL * work
        + PHONE * phone
        + LARGE_REVENUE * large
    )
    for (industry, source), value in INDUSTRY_SOURCE.items():
        fit = fit + value * (is_("industry", industry) & is_("source", source))
    by_size = np.tile(fit, (SIZES, 1)) + SIZE_EFFECT[:, None]
    for column, table in (("tech_stack", TECH_SIZE), ("seniority", SENIORITY_SIZE)):
        for (level, size), value in table.items():
            by_size[size] += value * is_(column, level)

    # Looking at prices means a purchase only where the visitor decides: heads of larger companies, managers of small
    # ones.
    head = is_("seniority", "c_level") | is_("seniority", "director")
    pricing = np.full((SIZES, n), 0.2)
    pricing[3:, head] = 1.9
    pricing[2, head] = 1.2
    pricing[1, head | is_("seniority", "manager")] = 0.9
    pricing[:, is_("seniority", "intern")] = -0.2

    return Terms(
        fit=by_size,
        pricing=pricing,
        lose=effect("seniority", {"intern": 0.6})
        + effect("source", {"cold_list": 0.4, "referral": -0.4})
        - 0.25 * work,
        webinar=effect("industry", {"healthcare": 1.0, "education": 0.9, "finance": 0.6}, 0.15),
        budget=effect("seniority", {"c_level": 0.8, "director": 0.5, "intern": -1.5}) + 0.4 * large,
        send=effect(
            "campaign", {"newsletter": 0.16, "product_tour": 0.2, "trial_offer": 0.22, "reactivation": 0.13}, 0.1
        ),
        open=effect("source", {"cold_list": 0.5, "referral": 1.4, "webinar": 1.3, "paid_search": 0.8}, 1.0),
        visit=effect(
            "source",
            {"cold_list": 0.35, "organic_search": 1.5, "paid_search": 1.3, "ai_assistant": 1.6, "partner": 0.8},
            1.0,
        ),
        blog=effect("department", {"marketing": 1.8, "it": 1.4, "finance": 0.5}, 1.0),
        careers=effect("seniority", {"intern": 6.0, "specialist": 2.0}, 1.0),
        talk=effect("source", {"event": 2.0, "partner": 1.8, "referral": 1.6}, 1.0) * np.where(phone, 1.5, 0.8),
        enrich=np.where(work, 0.006, 0.0008),
        typical_employees=np.exp(
            effect(
                "industry", {"software": 4.0, "manufacturing": 5.4, "retail": 4.4, "finance": 5.2, "energy": 5.8}, 4.8
            )
        ),
    )


def start_state(leads: pd.DataFrame, day: np.ndarray) -> State:
    """State of leads on the day of their creation, with no event recorded.

    Args:
        leads: typed columns `employees`, `status`, `budget_confirmed` (1, 0 or NaN) as recorded at creation.
        day: whole days since `START`, shape (n,).
    """
    n = len(leads)
    budget = leads["budget_confirmed"].to_numpy("float64")
    return State(
        day=day.astype("int64"),
        age=np.zeros(n, dtype="int64"),
        decayed=np.zeros((len(KINDS), n)),
        pricing_days=np.zeros((WEEK, n)),
        employees=leads["employees"].to_numpy("float64", copy=True),
        status=codes(leads["status"], STATUS),
        budget=np.where(np.isnan(budget), 0, np.where(budget == 1, 1, 2)),
        enriched=np.zeros(n, dtype=bool),
    )


def calendar(day: np.ndarray) -> np.ndarray:
    """What the date adds to the log hazard of converting: the product grows up, most of it early; a mild season."""
    return 0.45 * (1 - np.exp(-day / 130.0)) + 0.06 * np.sin(2 * np.pi * (day - 60) / 365.25)


def workday(day: np.ndarray) -> np.ndarray:
    """True from Monday to Friday; day 0 is a Sunday."""
    return (day + 6) % 7 < 5


def _saturating(x: np.ndarray) -> np.ndarray:
    return 1 - np.exp(-x)


def rates(terms: Terms, state: State) -> np.ndarray:
    """Expected activities of each kind on the day, shape (kinds, n)."""
    d = state.decayed
    office = np.where(workday(state.day), 1.0, 0.15)
    leisure = np.where(workday(state.day), 1.1, 0.75)
    subscribed = d[K["email_unsubscribed"]] == 0
    interest = terms.visit * (0.2 * np.exp(-state.age / 9.0) + 0.008) + 0.12 * d[K["email_clicked"]]
    rate = np.empty_like(d)
    rate[K["email_sent"]] = terms.send * np.where(state.age < 50, 1.0, 0.3) * subscribed * office
    rate[K["email_opened"]] = 0.19 * terms.open * d[K["email_sent"]]
    rate[K["email_clicked"]] = 0.11 * d[K["email_opened"]]
    rate[K["email_unsubscribed"]] = 0.006 * d[K["email_sent"]] * subscribed
    rate[K["visit_home"]] = (0.5 * interest + 0.01 * d[K["visit_blog"]]) * leisure
    rate[K["visit_blog"]] = (0.35 * interest + 0.02 * d[K["visit_blog"]]) * terms.blog * leisure
    rate[K["visit_product"]] = (0.35 * interest + 0.03 * d[K["visit_home"]] + 0.06 * d[K["visit_product"]]) * leisure
    rate[K["visit_pricing"]] = 0.05 * interest + 0.035 * d[K["visit_product"]] + 0.05 * d[K["visit_pricing"]]
    rate[K["visit_careers"]] = 0.05 * interest * terms.careers
    rate[K["download"]] = 0.012 * d[K["visit_product"]] + 0.012 * d[K["visit_blog"]]
    rate[K["webinar"]] = (0.002 + 0.012 * d[K["visit_blog"]] * terms.webinar + 0.008 * d[K["download"]]) * office
    rate[K["form"]] = 0.001 + 0.02 * d[K["visit_pricing"]] + 0.012 * d[K["download"]] + 0.01 * d[K["webinar"]]
    rate[K["call"]] = (
        (0.006 + 0.07 * d[K["form"]] + 0.02 * d[K["call"]] + 0.02 * (state.status == QUALIFIED)) * terms.talk * office
    )
    rate[K["meeting"]] = (0.025 * d[K["call"]] + 0.015 * d[K["meeting"]] + 0.012 * (state.status == QUALIFIED)) * office
    return rate


def hazards(terms: Terms, state: State) -> tuple[np.ndarray, np.ndarray]:
    """Hazards of converting and of being lost on the day, each of shape (n,)."""
    d = state.decayed
    column = np.arange(len(state.day))
    size = size_of(state.employees)
    shown = (
        1.3 * _saturating(d[K["meeting"]])
        + 0.4 * _saturating(d[K["call"]])
        + 1.0 * _saturating(d[K["form"]])
        + 0.4 * _saturating(d[K["download"]])
        + terms.webinar * _saturating(d[K["webinar"]])
        + 0.35 * _saturating(0.5 * d[K["visit_product"]])
        + 0.25 * _saturating(d[K["visit_pricing"]])
        + terms.pricing[size, column] * (state.pricing_week >= 2)
    )
    discouraging = np.minimum(d[K["visit_careers"]], 1.5)
    unsubscribed = d[K["email_unsubscribed"]] > 0
    ignored = (d[K["email_sent"]] > 1.2) & (d[K["email_opened"]] < 0.15)
    convert = (
        CONVERT
        + calendar(state.day)
        + terms.fit[size, column]
        + shown
        - 0.8 * discouraging
        - 0.9 * unsubscribed
        - 0.3 * ignored
        + np.array([-0.2, 0.0, 0.8, 0.0, 0.0])[state.status]
        + np.array([0.0, 0.8, -1.1])[state.budget]
        - 0.9 * (state.age < 2)
        - 0.005 * np.minimum(state.age, 240)
    )
    lose = (
        LOSE
        + terms.lose
        + 0.9 * unsubscribed
        + 0.8 * (state.budget == 2)
        + 0.35 * discouraging
        - 0.5 * np.minimum(shown, 2.0)
        - 0.4 * (state.status == QUALIFIED)
        + 0.006 * np.minimum(state.age, 150)
        - 2.0 * (state.age < 5)
    )
    return np.exp(convert), np.exp(lose)


def change_rates(terms: Terms, state: State) -> np.ndarray:
    """Hazards of a change of each tracked column on the day, shape (3, n); at most one column changes on one day."""
    d = state.decayed
    talked = _saturating(d[K["call"]]) + 2.0 * _saturating(d[K["meeting"]])
    contacted = 0.015 + 0.35 * talked
    qualified = 0.001 + 0.05 * talked + 0.02 * _saturating(d[K["form"]])
    confirmed = 0.0015 + 0.035 * talked + 0.015 * (state.status == QUALIFIED)
    office = np.where(workday(state.day), 1.0, 0.1)
    return np.stack(
        [
            np.select([state.status == NEW, state.status == CONTACTED], [contacted, qualified], 0.0) * office,
            np.select([state.budget == 0, state.budget == 2], [confirmed, 0.2 * confirmed], 0.0) * office,
            np.where(state.enriched, 0.0, terms.enrich),
        ]
    )


class Walk:
    """Leads (or simulated paths of leads) moving day by day.

    `pending`: what has happened but is not yet recorded, shape (MAX_LAG + 1, kinds, n): in row `j` the weights, on the
    day they are recorded, of the events that will be recorded `j` days from the first.
    """

    def __init__(self, terms: Terms, state: State, pending: np.ndarray | None = None) -> None:
        self.terms = terms
        self.state = state
        shape = (MAX_LAG + 1, len(KINDS), len(state.day))
        self._pending = np.zeros(shape) if pending is None else pending
        self._steps = 0

    def keep(self, index: np.ndarray) -> None:
        """Go on with these leads only."""
        self.terms, self.state = self.terms.take(index), self.state.take(index)
        self._pending = self._pending[..., index]

    def step(self, rng: np.random.Generator) -> Happened:
        """Draw the day's activities and changes, then move to the next midnight."""
        state, n = self.state, len(self.state.day)
        owner, kind = draw_activities(rates(self.terms, state), rng)
        lag = draw_lags(kind, rng)
        changed, column, old, new = self._changes(rng)

        slot = self._steps % (MAX_LAG + 1)
        ring = (self._steps + lag) % (MAX_LAG + 1)
        np.add.at(self._pending, (ring, kind, owner), KEEP[kind] ** lag)
        state.decayed = KEEP[:, None] * (state.decayed + self._pending[slot])
        self._pending[slot] = 0.0
        state.pricing_days[self._steps % WEEK] = np.bincount(owner[kind == K["visit_pricing"]], minlength=n)
        state.day = state.day + 1
        state.age = state.age + 1
        self._steps += 1
        return Happened(owner=owner, kind=kind, lag=lag, changed=changed, column=column, old=old, new=new)

    def _changes(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Draw and apply the day's changes: leads, columns, old and new values as numbers."""
        state = self.state
        hazard = change_rates(self.terms, state)
        total = hazard.sum(axis=0)
        leads = np.flatnonzero(rng.random(len(total)) < -np.expm1(-total))
        column = _choose(hazard[:, leads], rng)
        old, new = np.empty(len(leads)), np.empty(len(leads))

        status, budget, employees = (column == number for number in range(len(TRACKED)))
        old[status] = state.status[leads[status]]
        new[status] = old[status] + 1
        old[budget] = state.budget[leads[budget]]
        odds = self.terms.budget[leads[budget]] + 0.3
        yes = (old[budget] == 2) | (rng.random(len(odds)) < 1 / (1 + np.exp(-odds)))
        new[budget] = np.where(yes, 1, 2)
        old[employees] = state.employees[leads[employees]]
        known = ~np.isnan(old[employees])
        centre = np.where(known, old[employees], self.terms.typical_employees[leads[employees]])
        spread = np.where(known, 0.5, 1.2)
        drawn = np.maximum(1.0, np.rint(centre * np.exp(spread * rng.standard_normal(len(centre)))))
        # A correction that repeats the old figure would be no change.
        new[employees] = np.where(drawn == old[employees], drawn + 1, drawn)

        state.status[leads[status]] = new[status]
        state.budget[leads[budget]] = new[budget]
        state.employees[leads[employees]] = new[employees]
        state.enriched[leads[employees]] = True
        return leads, column, old, new


def draw_activities(rate: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Poisson events at `rate`, shape (kinds, n): owner and kind of each, owners rising.

    Drawn as one Poisson count per lead whose events are then shared out among the kinds, which is the same thing.
    """
    count = rng.poisson(rate.sum(axis=0))
    owner = np.repeat(np.arange(rate.shape[1]), count)
    return owner, _choose(rate[:, owner], rng)


def draw_lags(kind: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Whole days until each event is recorded."""
    return (rng.random(len(kind))[:, None] >= _LAG_UNTIL[kind]).sum(axis=1)


def _choose(weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One row of `weight`, shape (choices, n), per column, with probability in proportion."""
    until = weight.cumsum(axis=0)
    return (rng.random(weight.shape[1]) * until[-1] >= until[:-1]).sum(axis=0)
