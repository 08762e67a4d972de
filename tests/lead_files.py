"""Made-up exports of lead histories in the shapes that people have, each with what a proposal must find in it.

Every set is drawn from a seed; names, addresses and numbers are made of syllables and reserved domains and belong to
nobody. `history` draws leads whose conversion depends on a few of their columns, so that something can be learned.
"""

from __future__ import annotations

import string
from dataclasses import dataclass

import numpy as np
import pandas as pd

DAY = pd.Timedelta(days=1)
INDUSTRIES = ["Software", "Retail", "Logistics", "Healthcare", "Education"]
SOURCES = ["Web form", "Referral", "Trade fair", "Cold call", "Partner"]
COUNTRIES = ["DE", "FR", "NL", "US", "NA", "GB"]


@dataclass(frozen=True)
class Export:
    """One file as text, and what a proposal must say of it."""

    name: str
    frame: pd.DataFrame
    separator: str = ","
    encoding: str = "utf-8"

    @property
    def content(self) -> bytes:
        return self.frame.to_csv(index=False, sep=self.separator, lineterminator="\r\n").encode(self.encoding)


@dataclass(frozen=True)
class History:
    """Leads as they are before a CRM writes them down."""

    random: np.random.Generator
    created: pd.Series
    industry: np.ndarray
    source: np.ndarray
    country: np.ndarray
    staff: np.ndarray
    visits: np.ndarray
    won: np.ndarray
    closed: pd.Series
    open: np.ndarray

    @property
    def size(self) -> int:
        return len(self.created)


def history(seed: int, size: int, *, rate: float = 0.3, open_share: float = 0.15) -> History:
    """Leads of two years, newest last; `open_share` of the newest half are not decided yet."""
    random = np.random.default_rng(np.random.SeedSequence([seed, size]))
    created = pd.Series(
        pd.Timestamp("2022-01-03 08:00") + np.sort(random.uniform(0, 730, size)) * DAY, dtype="datetime64[us]"
    ).dt.floor("s")
    industry = random.integers(0, len(INDUSTRIES), size)
    source = random.integers(0, len(SOURCES), size)
    staff = np.round(np.exp(random.normal(4, 1.2, size))).astype(int) + 1
    visits = random.poisson(3, size)
    margin = 0.5 * (industry == 0) - 0.4 * (industry == 4) + 0.6 * (source == 1) + 0.25 * (visits - 3)
    margin += 0.2 * (np.log(staff) - 4) + random.logistic(0, 1, size)
    won = margin > np.quantile(margin, 1 - rate)
    closed = created + pd.Series(np.round(random.gamma(2, 15, size), 4)) * DAY
    open_ = (np.arange(size) > size / 2) & (random.uniform(size=size) < 2 * open_share)
    return History(
        random,
        created,
        np.array(INDUSTRIES)[industry],
        np.array(SOURCES)[source],
        np.array(COUNTRIES)[random.integers(0, len(COUNTRIES), size)],
        staff,
        visits,
        won,
        closed.dt.floor("s"),
        open_,
    )


def people(random: np.random.Generator, size: int) -> pd.DataFrame:
    """First and last names of syllables, addresses under a reserved domain, numbers that are given to nobody."""
    syllables = np.array(["ba", "chor", "dul", "fey", "gor", "hin", "jas", "kul", "len", "mor", "nev", "pil", "ras"])
    parts = syllables[random.integers(0, len(syllables), (size, 4))]
    first = [(a + b).capitalize() for a, b in parts[:, :2]]
    last = [(a + b).capitalize() for a, b in parts[:, 2:]]
    host = np.where(random.uniform(size=size) < 0.4, "gmail.com", "firm.example")
    return pd.DataFrame(
        {
            "first": first,
            "last": last,
            "email": [f"{a}.{b}{k}@{h}".lower() for k, (a, b, h) in enumerate(zip(first, last, host, strict=True))],
            "phone": [f"+49 30 {number:07d}" for number in random.integers(0, 10**7, size)],
        }
    )


def course_seller(seed: int = 1, size: int = 3000) -> Export:
    """Flat file of a course seller: no times, `Select` where a menu was never touched, tags written by sales."""
    past = history(seed, size, rate=0.38)
    random, won = past.random, past.won
    tags = np.where(
        won,
        random.choice(["Will revert after reading", "Closed by call", ""], size, p=[0.7, 0.2, 0.1]),
        random.choice(["Ringing", "Interested in other courses", "switched off", ""], size, p=[0.35, 0.2, 0.1, 0.35]),
    )
    letters = np.array(list(string.ascii_lowercase + string.digits))
    keys = ["".join(row) for row in letters[random.integers(0, 36, (size, 12))]]
    frame = pd.DataFrame(
        {
            "Prospect ID": keys,
            "Lead Number": 660_000 - np.cumsum(random.integers(1, 20, size)),
            "Lead Origin": random.choice(["API", "Landing Page Submission", "Lead Add Form"], size, p=[0.4, 0.5, 0.1]),
            "Lead Source": past.source,
            "Do Not Email": random.choice(["No", "Yes"], size, p=[0.92, 0.08]),
            "Converted": won.astype(int),
            "TotalVisits": past.visits,
            "Total Time Spent on Website": random.poisson(60 * past.visits + 10),
            "Page Views Per Visit": np.round(random.gamma(2, 1.2, size), 2),
            "Last Activity": random.choice(["Email Opened", "SMS Sent", "Olark Chat"], size),
            "Country": random.choice(["India", "Nepal", "Oman", ""], size, p=[0.6, 0.1, 0.05, 0.25]),
            "Specialization": random.choice(["Select", "Finance", "Marketing", "Operations"], size),
            "How did you hear": random.choice(["Select", "Online", "Word of mouth"], size, p=[0.7, 0.2, 0.1]),
            "What is your occupation": np.where(past.industry == "Software", "Working", "Unemployed"),
            "Magazine": "No",
            "Tags": tags,
            "City": random.choice(["Select", "Mumbai", "Thane", "Other"], size),
            "Score": random.integers(10, 20, size).astype(str),
            "A free copy": random.choice(["No", "Yes"], size, p=[0.7, 0.3]),
        }
    )
    return Export("Course Leads.csv", frame)


def opportunities(seed: int = 2, size: int = 2500) -> Export:
    """Opportunities of a sales system: American dates, a stage that holds the outcome, a close date for every row."""
    past = history(seed, size)
    random = past.random
    stage = np.where(past.won, "Closed Won", "Closed Lost")
    stage = np.where(past.open, random.choice(["Prospecting", "Qualification", "Negotiation"], size), stage)
    won = stage == "Closed Won"
    amount = np.round(past.staff * random.uniform(50, 150, size), 2)
    frame = pd.DataFrame(
        {
            "Opportunity ID": [f"006{number:012d}" for number in range(size)],
            "Created Date": _american(past.created),
            "Close Date": _american(past.closed.where(~past.open, past.created + 90 * DAY)),
            "Stage": stage,
            "IsWon": np.where(won, "TRUE", "FALSE"),
            "Amount": np.where(random.uniform(size=size) < 0.1, "", amount.astype(str)),
            "Lead Source": past.source,
            "Industry": past.industry,
            "Number of Employees": past.staff,
            "Loss Reason": np.where(stage == "Closed Lost", random.choice(["Price", "Timing"], size), ""),
            "Contact Email": people(random, size)["email"],
            "Visits": past.visits,
        }
    )
    return Export("opportunities.csv", frame)


def contacts(seed: int = 3, size: int = 2500) -> Export:
    """Contacts of a marketing tool: a date for those who became customers, times of the last change, free notes."""
    past = history(seed, size, rate=0.25)
    random, who = past.random, people(past.random, size)
    won = past.won & ~past.open
    lost = ~past.won & ~past.open
    frame = pd.DataFrame(
        {
            "Record ID": 1001 + np.arange(size),
            "First Name": who["first"],
            "Last Name": who["last"],
            "Email": who["email"],
            "Phone Number": who["phone"],
            "Create Date": past.created.dt.strftime("%Y-%m-%d %H:%M"),
            "Became a Customer Date": past.closed.dt.strftime("%Y-%m-%d %H:%M").where(won, ""),
            "Disqualified Date": past.closed.dt.strftime("%Y-%m-%d %H:%M").where(lost, ""),
            "Lifecycle Stage": np.where(won, "Customer", np.where(lost, "Other", "Lead")),
            "Last Modified Date": (past.closed + 5 * DAY).dt.strftime("%Y-%m-%d %H:%M"),
            "Original Source": past.source,
            "Industry": past.industry,
            "Country": past.country,
            "Number of Pageviews": past.visits,
            "Company Size": past.staff,
            "Won Amount": np.where(won, np.round(past.staff * 99.5, 2).astype(str), ""),
            "Notes": [
                f"spoke about the {word.lower()} project and will call again in {number} days"
                for word, number in zip(past.industry, random.integers(0, 10**6, size), strict=True)
            ],
        }
    )
    return Export("contacts.csv", frame)


def german(seed: int = 4, size: int = 2000) -> Export:
    """Export of a German spreadsheet: semicolons, decimal commas, day before month, Windows' own encoding."""
    past = history(seed, size)
    random, who = past.random, people(past.random, size)
    won, lost = past.won & ~past.open, ~past.won & ~past.open
    frame = pd.DataFrame(
        {
            "Kundennummer": [f"K-{number:05d}" for number in range(size)],
            "Erstellt am": past.created.dt.strftime("%d.%m.%Y"),
            "Gewonnen am": past.closed.dt.strftime("%d.%m.%Y").where(won, ""),
            "Verloren am": past.closed.dt.strftime("%d.%m.%Y").where(lost, ""),
            "Vorname": who["first"],
            "Nachname": who["last"],
            "E-Mail": who["email"],
            "Telefon": who["phone"],
            "PLZ": [f"{number:05d}" for number in random.integers(1000, 9999, size) // 50 * 50],
            "Branche": np.where(past.industry == "Healthcare", "Ärzte & Pflege", past.industry),
            "Umsatz EUR": [f"{x:.2f}".replace(".", ",") for x in past.staff * random.uniform(900, 1100, size)],
            "Mitarbeiter": past.staff,
            "Besuche": past.visits,
            "Herkunft": random.choice(["Messe", "Empfehlung", "k.A."], size),
        }
    )
    return Export("Anfragen 2023.csv", frame, separator=";", encoding="cp1252")


def pipeline_report(seed: int = 5, size: int = 1200) -> Export:
    """Few columns: won, lost or open in words, a date without time, no key."""
    past = history(seed, size)
    frame = pd.DataFrame(
        {
            "date": past.created.dt.strftime("%Y-%m-%d"),
            "status": np.where(past.open, "Open", np.where(past.won, "Won", "Lost")),
            "source": past.source,
            "industry": past.industry,
            "employees": past.staff,
            "visits": past.visits,
            "region": past.random.integers(1, 9, size),
        }
    )
    return Export("pipeline.csv", frame)


def wide(seed: int = 6, size: int = 1500, columns: int = 150) -> Export:
    """Many columns of little use: numbers, flags, words, empty and constant ones, copies, a sentinel."""
    past = history(seed, size)
    random = past.random
    made: dict[str, object] = {"id": np.arange(1, size + 1)}
    for k in range(columns - 8):
        if k % 5 == 0:
            made[f"num_{k}"] = np.round(random.normal(size=size), 3)
        elif k % 5 == 1:
            made[f"flag_{k}"] = random.choice(["yes", "no"], size)
        elif k % 5 == 2:
            made[f"word_{k}"] = random.choice([f"w{j}" for j in range(3 + k % 17)], size)
        elif k % 5 == 3:
            made[f"count_{k}"] = random.poisson(2, size)
        else:
            made[f"part_{k}"] = np.where(random.uniform(size=size) < 0.7, "", random.integers(0, 50, size).astype(str))
    made |= {
        "industry": past.industry,
        "visits": past.visits,
        "visits_copy": past.visits,
        "empty": "",
        "constant": "x1",
        "days_since_contact": np.where(random.uniform(size=size) < 0.6, 999, random.integers(0, 30, size)),
        "target": past.won.astype(int),
    }
    return Export("wide.csv", pd.DataFrame(made))


def months_down(seed: int = 7, size: int = 3000) -> Export:
    """Rows in time order that name month and day and no year."""
    past = history(seed, size)
    frame = pd.DataFrame(
        {
            "day": past.created.dt.day,
            "month": past.created.dt.strftime("%b").str.lower(),
            "source": past.source,
            "employees": past.staff,
            "visits": past.visits,
            "sold": np.where(past.won, "Y", "N"),
        }
    )
    return Export("calls.csv", frame)


def undecidable(seed: int = 8, size: int = 800) -> Export:
    """Dates of the first days of months: nobody can say which number is the month."""
    past = history(seed, size)
    random = past.random
    frame = pd.DataFrame(
        {
            "lead": [f"L{number:04d}" for number in range(size)],
            "created": [f"{a:02d}/{b:02d}/2023" for a, b in random.integers(1, 13, (size, 2))],
            "source": past.source,
            "visits": past.visits,
            "is_won": np.where(past.won, "TRUE", "FALSE"),
        }
    )
    return Export("first_days.csv", frame)


def tables_of_three(seed: int = 9, size: int = 1500) -> dict[str, Export]:
    """Leads, activities and changes of one system, times in the European form."""
    past = history(seed, size)
    random = past.random
    keys = np.array([f"L-{number:05d}" for number in range(size)])
    won, lost = past.won & ~past.open, ~past.won & ~past.open
    form = "%d.%m.%Y %H:%M"
    leads = pd.DataFrame(
        {
            "lead_no": keys,
            "created_on": past.created.dt.strftime(form),
            "won_on": past.closed.dt.strftime(form).where(won, ""),
            "lost_on": past.closed.dt.strftime(form).where(lost, ""),
            "stage": np.where(won, "customer", np.where(lost, "lost", "contacted")),
            "industry": past.industry,
            "employees": past.staff,
        }
    )
    n = past.visits + 1
    owner = np.repeat(np.arange(size), n)
    happened = past.created.iloc[owner].reset_index(drop=True) + pd.Series(random.gamma(2, 5, len(owner))) * DAY
    activities = pd.DataFrame(
        {
            "lead": keys[owner],
            "type": random.choice(["page view", "call", "meeting"], len(owner), p=[0.7, 0.2, 0.1]),
            "date": happened.dt.strftime(form),
            "logged_at": (happened + 1 * DAY).dt.strftime(form),
            "text": "made by the telephone system",
        }
    )
    first = past.created + 3 * DAY
    changes = pd.DataFrame(
        {
            "lead": np.tile(keys, 2),
            "field": "stage",
            "changed_at": pd.concat([first, past.closed.where(won | lost, first + 1 * DAY)]).dt.strftime(form),
            "from": np.r_[np.full(size, "new"), np.full(size, "contacted")],
            "to": np.r_[np.full(size, "contacted"), leads["stage"].to_numpy()],
        }
    )
    return {
        "leads": Export("leads.csv", leads, separator=";"),
        "activities": Export("activities.csv", activities, separator=";"),
        "changes": Export("changes.csv", changes, separator=";"),
    }


def prepared(seed: int = 10, size: int = 700) -> Export:
    """A table made ready, oldest first: numbers, gaps, words with commas in them, a flag, the quarter, yes or no."""
    past = history(seed, size)
    random = past.random
    margin = 0.6 * past.visits + 1.5 * (past.source == "Trade fair") - 1.2 * (past.industry == "Retail")
    margin += 0.6 * np.log(past.staff) + random.logistic(0, 1, size)
    frame = pd.DataFrame(
        {
            "industry": past.industry,
            "source": [f"{one}, booked" if one == "Trade fair" else one for one in past.source],
            "staff": [f"{number:.2f}" for number in past.staff * random.uniform(0.9, 1.1, size)],
            "visits": past.visits.astype(str),
            "newsletter": random.choice(["yes", "no"], size),
            "quarter": past.created.dt.to_period("Q").astype(str),
            "won": np.where(margin > np.quantile(margin, 0.7), "yes", "no"),
        }
    )
    for name in ("industry", "staff"):
        frame.loc[random.uniform(size=size) < 0.1, name] = ""
    return Export("prepared.csv", frame)


def _american(moments: pd.Series) -> pd.Series:
    """5/1/2023: no zeros in front."""
    return moments.dt.month.astype(str) + "/" + moments.dt.day.astype(str) + "/" + moments.dt.year.astype(str)
