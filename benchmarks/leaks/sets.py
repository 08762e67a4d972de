"""Twelve lead files of different shape, each with its own leaks, drawn from a seed; and which columns leak.

What converts a lead is a handful of honest columns, some of them strong. A leak is made from the outcome afterwards,
the way such columns come about: a field filled in when a deal closes, a counter that goes on counting, a grade that
somebody gives in hindsight. The files look like exports: other separators, placeholders for missing, dates in several
forms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

PLACES = ("north", "south", "east", "west", "central", "coast", "islands")
WORDS = ("alder", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "rowan", "willow", "yew")


@dataclass(frozen=True)
class LeadFile:
    """One file: `text`, as an export holds it; `leaks`, the columns that know the outcome; `separator`."""

    name: str
    table: pd.DataFrame
    leaks: tuple[str, ...]
    separator: str = ","

    @property
    def text(self) -> str:
        return self.table.to_csv(index=False, sep=self.separator, lineterminator="\n")


@dataclass
class Draft:
    """A file in the making: rows in order of time, what speaks for a conversion, and the columns so far."""

    rng: np.random.Generator
    n: int
    columns: dict[str, pd.Series] = field(default_factory=dict)
    margin: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.margin = np.zeros(self.n)

    def number(self, name: str, weight: float = 0.0, *, missing: float = 0.0, whole: bool = True) -> None:
        """A skewed positive number; its logarithm enters the margin with `weight`."""
        value = self.rng.standard_normal(self.n)
        self.margin += weight * value
        shown = np.exp(3 + 0.8 * value)
        self.put(name, pd.Series(np.rint(shown) if whole else np.round(shown, 2)), missing=missing, whole=whole)

    def category(
        self, name: str, levels: tuple[str, ...], weight: float = 0.0, *, missing: float = 0.0, blank: str = ""
    ) -> None:
        """One of `levels`; the effects of the levels have the standard deviation `weight`."""
        shares = self.rng.dirichlet(np.full(len(levels), 2.0))
        code = self.rng.choice(len(levels), self.n, p=shares)
        effect = self.rng.standard_normal(len(levels))
        self.margin += weight * (effect - effect @ shares)[code]
        self.put(name, pd.Series(np.array(levels, dtype=object)[code]), missing=missing, blank=blank)

    def flag(
        self, name: str, weight: float = 0.0, *, share: float = 0.3, words: tuple[str, str] = ("No", "Yes")
    ) -> None:
        value = self.rng.random(self.n) < share
        self.margin += weight * (value - share)
        self.put(name, pd.Series(np.where(value, words[1], words[0])))

    def put(self, name: str, values: pd.Series, *, missing: float = 0.0, whole: bool = False, blank: str = "") -> None:
        """A column as text; `missing` of its cells are `blank`."""
        text = values.map(lambda value: "" if pd.isna(value) else str(int(value)) if whole else str(value))
        self.columns[name] = text.mask(self.rng.random(self.n) < missing, blank)

    def noise(self, count: int) -> None:
        """Further columns of every type without or with little to say."""
        for k in range(count):
            weight = float(self.rng.choice([0.0, 0.0, 0.1, 0.2]))
            missing = float(self.rng.choice([0.0, 0.0, 0.1, 0.4]))
            kind = k % 3
            if kind == 0:
                self.number(f"measure_{k:02d}", weight, missing=missing, whole=bool(k % 2))
            elif kind == 1:
                self.category(f"kind_{k:02d}", WORDS[: 3 + k % 9], weight, missing=missing)
            else:
                self.flag(f"flag_{k:02d}", weight, share=0.1 + 0.03 * (k % 20))

    def outcome(self, rate: float, drift: np.ndarray | float = 0.0) -> np.ndarray:
        """Draw who converts, so that `rate` of all do; `drift` is added to the margin over time."""
        low, high = -30.0, 30.0
        margin = self.margin + drift
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if (1 / (1 + np.exp(-margin - middle))).mean() < rate else (low, middle)
        return self.rng.random(self.n) < 1 / (1 + np.exp(-margin - low))

    def days(self, first: str, months: int) -> np.ndarray:
        """Rising moments over the history, to the minute."""
        minutes = np.sort(self.rng.integers(0, months * 30 * 1440, self.n))
        return np.datetime64(first, "m") + minutes


def call_centre(rng: np.random.Generator) -> tuple[Draft, tuple[str, ...], str]:
    """Calls in row order, the rate rising from 4 to 25 %; the length of the call tells."""
    draft = Draft(rng, 12_000)
    draft.number("age", 0.2)
    draft.category("job", WORDS[:8], 0.2)
    draft.category("region", PLACES, 0.1)
    draft.flag("existing_loan", -0.3, words=("no", "yes"))
    draft.number("earlier_calls", 0.1)
    block = np.arange(draft.n) * 24 // draft.n
    draft.put("market_rate", pd.Series(np.round(5 - 0.19 * block + 0.02 * rng.standard_normal(24)[block], 3)))
    yes = draft.outcome(0.12, drift=1.8 * np.arange(draft.n) / draft.n)
    draft.put("talk_seconds", pd.Series(rng.gamma(1.6, np.where(yes, 320.0, 140.0))), whole=True)
    draft.put("subscribed", pd.Series(np.where(yes, "yes", "no")))
    return draft, ("talk_seconds",), ";"


def web_shop(rng: np.random.Generator) -> tuple[Draft, tuple[str, ...], str]:
    """Sessions without a time; a value computed from transactions tells."""
    draft = Draft(rng, 10_000)
    draft.number("pages", 0.5)
    draft.number("seconds", 0.3, whole=False)
    draft.category("visitor", ("new", "returning", "other"), 0.3)
    draft.category("browser", WORDS[:6])
    draft.flag("weekend", 0.1, words=("FALSE", "TRUE"))
    draft.noise(6)
    yes = draft.outcome(0.16)
    seen = rng.random(draft.n) < np.where(yes, 0.8, 0.11)
    draft.put("basket_value", pd.Series(np.round(np.where(seen, rng.gamma(1.2, 20, draft.n), 0.0), 3)))
    draft.put("Purchase", pd.Series(np.where(yes, "TRUE", "FALSE")))
    return draft, ("basket_value",), ","


def academy(rng: np.random.Generator) -> tuple[Draft, tuple[str, ...], str]:
    """Course enquiries with a placeholder for nothing chosen; notes and a grade, both given in hindsight, tell."""
    draft = Draft(rng, 9_000)
    draft.columns["Prospect ID"] = pd.Series([f"{value:032x}" for value in rng.integers(2**40, 2**62, draft.n)])
    draft.columns["Lead Number"] = pd.Series(660_000 - np.arange(draft.n)).astype("str")
    draft.category("Lead Origin", ("API", "Landing Page", "Add Form", "Import"), 0.5)
    draft.category("Lead Source", ("Search", "Direct", "Chat", "Referral", "Social"), 0.4, missing=0.02)
    draft.flag("Do Not Email", -1.0, share=0.08)
    draft.number("Visits", 0.2, missing=0.02)
    draft.number("Total Time", 0.8)
    draft.category("Specialization", WORDS[:9], 0.1, missing=0.3, blank="Select")
    draft.category("City", PLACES, 0.0, missing=0.35, blank="Select")
    draft.category("Occupation", ("Unemployed", "Working", "Student"), 0.5, missing=0.29)
    draft.flag("Magazine", share=0.0)
    yes = draft.outcome(0.385)
    good = np.where(yes, 0.92, 0.06)
    tag = np.where(
        rng.random(draft.n) < good, "Will revert", rng.choice(["Ringing", "Not interested", "Busy"], draft.n)
    )
    draft.put("Tags", pd.Series(tag), missing=0.36)
    grade = np.clip(np.rint(np.where(yes, 3.0, 1.3) + 0.9 * rng.standard_normal(draft.n)), 0, 4).astype(int)
    levels = np.array(["Worst", "Not Sure", "Might be", "Low in Relevance", "High in Relevance"], dtype=object)
    draft.put("Lead Quality", pd.Series(levels[grade]), missing=0.3)
    draft.put("Converted", pd.Series(yes.astype(int)))
    return draft, ("Tags", "Lead Quality"), ","


def crm_export(rng: np.random.Generator) -> tuple[Draft, tuple[str, ...], str]:
    """Opportunities with dates; amount, loss reason and closing probability tell."""
    draft = Draft(rng, 8_000)
    draft.columns["Id"] = pd.Series([f"00Q{value:09d}" for value in range(draft.n)])
    created = draft.days("2023-01-02", 24)
    draft.columns["Created Date"] = _moments(created)
    draft.category("Lead Source", ("Web", "Event", "Partner", "List"), 0.5)
    draft.category("Industry", WORDS[:7], 0.3, missing=0.1)
    draft.number("Employees", 0.4, missing=0.2)
    draft.category("Rating", ("Hot", "Warm", "Cold"), 0.3)
    draft.noise(4)
    yes = draft.outcome(0.2)
    converted, lost = _closings(rng, created, yes)
    draft.columns["Converted Date"], draft.columns["Lost Date"] = _moments(converted), _moments(lost)
    amount = pd.Series(np.rint(rng.gamma(2, 5000, draft.n))).astype(int).astype("str")
    draft.columns["Amount"] = amount.where(~np.isnat(converted), "")
    reason = pd.Series(rng.choice(["price", "timing", "competitor"], draft.n).astype(object))
    draft.columns["Loss Reason"] = reason.where(~np.isnat(lost), "")
    stage = np.select([~np.isnat(converted), ~np.isnat(lost)], [100, 0], rng.choice([10, 20, 50], draft.n))
    draft.columns["Probability"] = pd.Series(stage).astype("str")
    return draft, ("Amount", "Loss Reason", "Probability"), ","


def small_team(rng: np.random.Generator) -> tuple[Draft, tuple[str, ...], str]:
    """Six hundred leads; the customer number is given when the contract is signed."""
    draft = Draft(rng, 600)
    draft.columns["no"] = pd.Series(range(1, draft.n + 1)).astype("str")
    draft.category("channel", ("web", "phone", "fair"), 0.5)
    draft.number("staff", 0.4)
    draft.flag("newsletter", 0.3, words=("0", "1"))
    draft.noise(8)
    yes = draft.outcome(0.25)
    number = pd.Series(rng.integers(10_000, 99_999, draft.n)).astype("str")
    draft.columns["customer_number"] = number.where(yes & (rng.random(draft.n) < 0.95), "")
    draft.put("won", pd.Series(np.where(yes, "yes", "no")))
    return draft, ("customer_number",), ";"


def insurance(rng: np.random.Generator) -> tuple[Draft, tuple[str, ...], str]:
    """Rare conversions among many leads; the start of the policy tells, and is filled for a third of them."""
    draft = Draft(rng, 40_000)
    draft.number("age", 0.3)
    draft.category("product", WORDS[:5], 0.4)
    draft.category("state", PLACES, 0.2)
    draft.number("premium_quote", -0.3, whole=False)
    draft.flag("smoker", -0.2, words=("N", "Y"))
    draft.noise(9)
    yes = draft.outcome(0.02)
    begins = _moments(draft.days("2024-02-01", 14)).str[:10]
    draft.columns["policy_begins"] = begins.where(yes & (rng.random(draft.n) < 0.35), "")
    draft.put("sold", pd.Series(yes.astype(int)))
    return draft, ("policy_begins",), ","


def housing(rng: np.random.Generator) -> tuple[Draft, tuple[str, ...], str]:
    """A counter that goes on counting after the sale."""
    draft = Draft(rng, 5_000)
    draft.number("income", 0.4)
    draft.category("district", PLACES, 0.3)
    draft.category("property", ("flat", "house", "plot"), 0.2)
    draft.flag("financing_ready", 0.9, words=("no", "yes"))
    draft.noise(5)
    yes = draft.outcome(0.14)
    draft.put("visits_total", pd.Series(rng.poisson(np.where(yes, 6.5, 1.8))), whole=True)
    draft.put("bought", pd.Series(np.where(yes, "true", "false")))
    return draft, ("visits_total",), ","


def telecom(rng: np.random.Generator) -> tuple[Draft, tuple[str, ...], str]:
    """A copy of the outcome with errors in it, and one strong honest column."""
    draft = Draft(rng, 15_000)
    draft.flag("asked_for_offer", 1.6, share=0.2, words=("0", "1"))
    draft.number("monthly_bill", 0.3, whole=False)
    draft.category("tariff", WORDS[:6], 0.2)
    draft.number("contract_months", 0.2)
    draft.noise(12)
    yes = draft.outcome(0.18)
    noisy = np.where(rng.random(draft.n) < 0.06, ~yes, yes)
    draft.put("number_moved", pd.Series(np.where(noisy, "Y", "N")))
    draft.put("converted", pd.Series(yes.astype(int)))
    return draft, ("number_moved",), ","


def donors(rng: np.random.Generator) -> tuple[Draft, tuple[str, ...], str]:
    """No leak at all, and strong honest columns."""
    draft = Draft(rng, 7_000)
    draft.number("last_gift", 0.9)
    draft.number("gifts", 0.7)
    draft.category("segment", WORDS[:6], 0.5)
    draft.flag("asked_back", 0.8)
    draft.noise(10)
    yes = draft.outcome(0.3)
    draft.put("gave", pd.Series(np.where(yes, "Y", "N")))
    return draft, (), ","


def wide(rng: np.random.Generator) -> tuple[Draft, tuple[str, ...], str]:
    """A hundred and twenty columns; an amount, its currency, and a grade that a model gave afterwards."""
    draft = Draft(rng, 4_000)
    draft.number("score_at_entry", 0.7)
    draft.category("origin", WORDS, 0.4)
    draft.noise(112)
    yes = draft.outcome(0.22)
    filled = yes & (rng.random(draft.n) < 0.9)
    amount = pd.Series(np.rint(rng.gamma(2, 900, draft.n))).astype(int).astype("str")
    draft.columns["order_amount"] = amount.where(filled, "")
    draft.columns["order_currency"] = pd.Series(rng.choice(["EUR", "USD"], draft.n).astype(object)).where(filled, "")
    draft.put("health_grade", pd.Series(np.round(np.where(yes, 7.0, 4.0) + 1.2 * rng.standard_normal(draft.n), 1)))
    draft.put("is_won", pd.Series(yes.astype(int)))
    return draft, ("order_amount", "order_currency", "health_grade"), "\t"


def open_pipeline(rng: np.random.Generator) -> tuple[Draft, tuple[str, ...], str]:
    """Many leads still open; the owner and the days to close are filled in when one closes, either way."""
    draft = Draft(rng, 10_000)
    draft.columns["lead_ref"] = pd.Series([f"L-{value:06d}" for value in range(draft.n)])
    created = draft.days("2024-01-01", 20)
    draft.columns["created_on"] = pd.Series(pd.to_datetime(created)).dt.strftime("%d.%m.%Y %H:%M")
    draft.category("source", WORDS[:6], 0.5)
    draft.number("company_size", 0.5, missing=0.1)
    draft.category("country", ("DE", "AT", "CH", "NA"), 0.2)
    draft.flag("trial", 0.7, words=("nein", "ja"))
    yes = draft.outcome(0.3)
    converted, lost = _closings(rng, created, yes)
    shown = lambda moments: pd.Series(pd.to_datetime(moments)).dt.strftime("%d.%m.%Y %H:%M").fillna("")  # noqa: E731
    draft.columns["won_on"], draft.columns["lost_on"] = shown(converted), shown(lost)
    closed = ~np.isnat(converted) | ~np.isnat(lost)
    owner = pd.Series(rng.choice(["desk a", "desk b", "desk c"], draft.n).astype(object))
    draft.columns["closing_desk"] = owner.where(closed, "")
    took = (np.where(np.isnat(converted), lost, converted) - created).astype("timedelta64[D]").astype("int64")
    draft.columns["days_open"] = pd.Series(took).astype("str").where(closed, "")
    return draft, ("closing_desk", "days_open"), ";"


def hindsight(rng: np.random.Generator) -> tuple[Draft, tuple[str, ...], str]:
    """A next step that only customers get, and a grade of the campaign computed from its results, row by row."""
    draft = Draft(rng, 6_000)
    draft.category("campaign", WORDS, 0.4)
    draft.number("clicks", 0.5)
    draft.category("device", ("phone", "tablet", "desk"), 0.2)
    draft.number("days_since_visit", -0.3)
    draft.noise(7)
    yes = draft.outcome(0.1)
    step = np.where(rng.random(draft.n) < np.where(yes, 0.55, 0.002), "onboarding", "")
    other = rng.choice(["call", "e-mail", "none"], draft.n)
    draft.put("next_step", pd.Series(np.where(step == "", other, step)))
    draft.put("result_grade", pd.Series(np.round(np.where(yes, 0.62, 0.3) + 0.17 * rng.standard_normal(draft.n), 3)))
    draft.put("target", pd.Series(yes.astype(int)))
    return draft, ("next_step", "result_grade"), ","


SETS: dict[str, Callable[[np.random.Generator], tuple[Draft, tuple[str, ...], str]]] = {
    made.__name__: made
    for made in (
        call_centre, web_shop, academy, crm_export, small_team, insurance,
        housing, telecom, donors, wide, open_pipeline, hindsight,
    )
}  # fmt: skip


def make(name: str, seed: int) -> LeadFile:
    """One of `SETS`, drawn from a seed; KeyError for an unknown name."""
    place = list(SETS).index(name)
    draft, leaks, separator = SETS[name](np.random.default_rng(np.random.SeedSequence([seed, place])))
    return LeadFile(name=name, table=pd.DataFrame(draft.columns), leaks=leaks, separator=separator)


def _moments(values: np.ndarray) -> pd.Series:
    """ISO text, missing as empty."""
    return pd.Series(pd.to_datetime(values)).dt.strftime("%Y-%m-%d %H:%M").fillna("")


def _closings(rng: np.random.Generator, created: np.ndarray, yes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """When each lead converted or was lost; what would lie after the newest creation has not happened yet."""
    days = rng.gamma(1.5, np.where(yes, 14, 25)) + 0.2
    closed = created + (days * 1440).astype("int64")
    never = np.datetime64("NaT", "m")
    closed = np.where((closed <= created.max()) & (yes | (rng.random(len(yes)) < 0.85)), closed, never)
    return np.where(yes, closed, never), np.where(yes, never, closed)
