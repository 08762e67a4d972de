"""Guesses about the outcome: which columns say whether and when a lead converted, and within how many days it
counts."""

from __future__ import annotations

import pandas as pd

from pipeline.errors import ContractError, ParamsError
from pipeline.leads import maturity, vocabulary
from pipeline.leads.contract import CONVERTED_AT, CREATED_AT, LOST_AT
from pipeline.leads.profiling import Profile
from pipeline.leads.proposal_draft import Draft, Wishes, best_named, listed, meant
from pipeline.leads.tables import Newest
from pipeline.scorer.checks import TRUE_WORDS

#: Share of pairs of times that must stand in the right order.
FOLLOWS = 0.95

#: Share of rows of which two columns must say the same.
AGREE = 0.98

#: A column of the sales process has no more words than this.
MAX_STATES = 40

#: The horizon where the file tells none.
HORIZON_DAYS = 90

#: Share of rows that must say whether they converted.
DECIDED = 0.5

BY_PLACE = "guess: two values, in the last place; its name does not say"

#: Phrases of `vocabulary.OUTCOMES` that also count as a part of a name, and words that speak of an earlier conversion.
_ALSO_PARTS = 24
_EARLIER = frozenset({"last", "previous", "prior", "earlier", "first", "past"})
_YES = frozenset({*TRUE_WORDS, "y", "t", "ja", "j", "oui", "o", "si", "sí", "sì", "s", "sim", "tak"})


def find_outcome(draft: Draft, wishes: Wishes, created: str | None) -> None:
    """Dates of conversion, else a column of the sales process, else a flag.

    Raises:
        ParamsError: a wish names a column or a value that is not there, or a value is needed and was not named.
        ContractError: nothing looks like an outcome, or it holds one value only.
    """
    if wishes.outcome is not None and wishes.outcome not in draft.columns:
        raise ParamsError(f"--outcome {wishes.outcome}: no such column; the file has {listed(draft.columns)}.")
    times = [name for name in draft.of_kind("timestamp") if name != created and draft.profile(name).ambiguous is None]
    if wishes.outcome in times:
        assert wishes.outcome is not None, "it is one of them"
        if created is None:
            raise ContractError(
                f"--outcome {wishes.outcome} is a time, which takes a time of creation to count from; none was found. "
                "Name a column that says whether a lead converted."
            )
        return _by_dates(draft, wishes.outcome, best_named(times, vocabulary.LOST_DATES), "as asked for")
    flag, why = _flag_column(draft, wishes, created)
    status = _status_column(draft, created) if wishes.outcome is None else _as_status(draft, wishes)
    if wishes.outcome is None:
        if created is not None and (converted := _conversion_date(draft, created, times, flag, status)) is not None:
            lost = best_named([name for name in times if name != converted], vocabulary.LOST_DATES)
            return _by_dates(draft, converted, lost, "guess: by its name, filled for some leads only")
        if status is not None and flag is not None:
            says = draft.word(status).map(vocabulary.state, na_action="ignore")
            status = status if _same(says == "won", _won(draft, flag)) else None
    if status is not None:
        _by_status(draft, status, wishes)
        closed = best_named(times, vocabulary.CLOSE_DATES)
        if created is not None and closed is not None and _closes(draft, created, closed):
            _dated_by(draft, closed)
    elif flag is not None:
        _by_flag(draft, flag, wishes, why, created)
    else:
        raise ContractError(
            "no column looks like the outcome, one that says of every lead whether it converted. Name it with "
            "--outcome COLUMN (and --positive VALUE, the value that means converted). The file has "
            f"{listed(draft.columns)}."
        )
    return None


def find_horizon(draft: Draft, wishes: Wishes, typed: pd.DataFrame) -> None:
    """Within how many days a conversion counts: as asked for, else from the delays of those in the file.

    Raises:
        ParamsError: a horizon is asked for an outcome that is decided at once.
    """
    path = ("outcome", "horizon_days")
    if draft.outcome["kind"] == "flag":
        if wishes.horizon_days:
            raise ParamsError(
                f"--horizon goes with an outcome that has a date; `{draft.outcome['column']}` is decided at once."
            )
        draft.comments[path] = "decided at once: the file has no date of conversion"
        return
    if wishes.horizon_days is not None:
        draft.outcome["horizon_days"] = wishes.horizon_days
        draft.comments[path] = "as asked for"
        return
    params = draft.params.featurize
    looks = params.ages_days if draft.activities is not None else params.ages_days[:1]
    newest = newest_moment(draft, typed)
    found = None
    if newest is not None:
        lost = typed[LOST_AT] if "lost_at" in draft.outcome or "closed_at" in draft.outcome else None
        found = maturity.suggest_horizon(
            typed[CREATED_AT], typed[CONVERTED_AT], lost, newest, ages_days=looks, params=params
        )
    draft.outcome["horizon_days"] = HORIZON_DAYS if found is None else found.days
    ground = "too few conversions are dated to tell" if found is None else found.sentence
    draft.comments[path] = f"guess: {ground}"
    draft.decisions.append(
        f"`outcome.horizon_days: {draft.outcome['horizon_days']}`: within how many days must a lead convert to count? "
        f"{ground[0].upper()}{ground[1:]}."
    )


def newest_moment(draft: Draft, typed: pd.DataFrame) -> pd.Timestamp | None:
    """The newest plausible moment of the leads, as `ingest` finds it."""
    newest = Newest(draft.params.ingest.newest)
    newest.add(typed)
    return newest.result()[0]


# Dates


def _conversion_date(draft: Draft, created: str, times: list[str], flag: str | None, status: str | None) -> str | None:
    """The column with the moment of conversion: filled for some leads only, and never before they were created."""
    converted = best_named(times, vocabulary.CONVERTED_DATES)
    if converted is None and flag is not None and status is None:
        closed = best_named(times, vocabulary.CLOSE_DATES)
        if closed is not None and _same(draft.moment(closed).notna(), _won(draft, flag)):
            converted = closed
    if converted is None or draft.profile(converted).filled == 1 or not _follows(draft, created, converted):
        return None
    return converted


def _by_dates(draft: Draft, converted: str, lost: str | None, why: str) -> None:
    draft.outcome = {"kind": "dates", "horizon_days": HORIZON_DAYS, "converted_at": converted}
    draft.comments[("outcome", "converted_at")] = f"{why}; empty while a lead is open"
    if lost is not None and lost != converted:
        draft.outcome["lost_at"] = lost
        draft.comments[("outcome", "lost_at")] = "guess: by its name"
    else:
        draft.decisions.append(
            "no column says when a lead was lost: leads that never convert stay open at any age. Add `outcome.lost_at` "
            "if there is one."
        )


def _dated_by(draft: Draft, closed: str) -> None:
    """One date for either end, and a column that says which end it was."""
    kept = {key: draft.outcome[key] for key in ("column", "positive", "open") if key in draft.outcome}
    draft.outcome = {"kind": "dates", "horizon_days": HORIZON_DAYS, "closed_at": closed} | kept
    draft.comments[("outcome", "closed_at")] = "guess: by its name; where a lead is open, what somebody expects"
    if "open" in kept:
        draft.comments[("outcome", "open")] = "guess: not decided yet, whatever the date says"


def _follows(draft: Draft, created: str, later: str) -> bool:
    """Whether one time follows the creation in nearly all rows that have both."""
    gap = (draft.moment(later).dt.floor("D") - draft.moment(created).dt.floor("D")).dropna()
    return len(gap) > 0 and bool((gap >= pd.Timedelta(0)).mean() >= FOLLOWS)


def _closes(draft: Draft, created: str, closed: str) -> bool:
    """Whether a time dates nearly every lead that a status column calls decided, and follows its creation."""
    says = draft.word(draft.outcome["column"])
    decided = says.notna() & ~says.isin(draft.outcome.get("open", []))
    # Of open leads it may lie ahead or be out of date; only decided ones are asked.
    gap = (draft.moment(closed).dt.floor("D") - draft.moment(created).dt.floor("D"))[decided]
    return bool(gap.notna().mean() >= AGREE) and bool((gap.dropna() >= pd.Timedelta(0)).mean() >= FOLLOWS)


# Flags


def _flag_column(draft: Draft, wishes: Wishes, created: str | None) -> tuple[str | None, str]:
    """The column that says whether a lead converted, and why it is taken for that."""
    if wishes.outcome is not None:
        return wishes.outcome, "as asked for"
    names = [
        name
        for name in draft.free("boolean", "category", "integer")
        if draft.profile(name).distinct == 2 and draft.profile(name).filled >= DECIDED and name != created
    ]
    ranked = sorted(
        (place, name) for name in names if (place := vocabulary.rank(name, vocabulary.OUTCOMES)) is not None
    )
    if ranked:
        return ranked[0][1], "guess: by its name, and it holds two values"
    parts = vocabulary.phrases(vocabulary.OUTCOMES)[:_ALSO_PARTS]
    partly = [name for name in names if vocabulary.part(name, parts) and not set(vocabulary.words(name)) & _EARLIER]
    if partly:
        return partly[-1], "guess: by a part of its name, and it holds two values"
    if names and (names[-1] == list(draft.columns)[-1] or len(names) == 1):
        return names[-1], BY_PLACE
    return None, ""


def _by_flag(draft: Draft, flag: str, wishes: Wishes, why: str, created: str | None) -> None:
    one = draft.profile(flag)
    if one.distinct < 2:
        raise ContractError(f"`{flag}` holds {'one value' if one.distinct else 'no value'}; an outcome takes two.")
    positive, said = _positive(one)
    if wishes.positive is not None:
        if wishes.positive not in one.words.index:
            raise ParamsError(f"--positive {wishes.positive}: column `{flag}` has no such value.")
        positive, said = wishes.positive, True
    elif one.distinct > 2:
        won = [word for word in meant(one) if vocabulary.state(word) == "won"]
        if not won:
            raise ParamsError(
                f"--outcome {flag}: it holds {one.distinct:,} values and none of them is a known word for converted; "
                "name the one that means it with --positive VALUE."
            )
        positive, said = won[0], True
    if why == BY_PLACE:
        draft.decisions.append(
            f"is `{flag}` the outcome? It is only guessed from its place; else name it: leads init ... --outcome COLUMN"
        )
    if not said:
        draft.decisions.append(
            f"does {positive!r} in `{flag}` mean converted? It is taken for that as the rarer value."
        )
    draft.outcome = {"kind": "flag", "horizon_days": 0, "column": flag, "positive": positive}
    draft.comments[("outcome", "column")] = why
    share = f"{one.words[positive] / one.given:.1%} of the rows"
    draft.comments[("outcome", "positive")] = f"{'as asked for' if wishes.positive else 'guess'}: {share}" + (
        "" if said else ", the rarer value"
    )
    if empty := one.rows - one.given:
        draft.outcome["open"] = [""]
        draft.comments[("outcome", "open")] = (
            f"guess: {empty:,} rows without an outcome are open: set aside and counted"
        )
        draft.decisions.append(f"{empty:,} rows have no `{flag}`: they are taken for leads that are still open.")
    if created is not None:
        draft.decisions.append(
            f"`{flag}` has no date: the newest leads may still convert, and count as not converted all the same. Add a "
            "column with the moment of conversion if the source has one."
        )


def _positive(one: Profile) -> tuple[str, bool]:
    """The value of a column of two that means converted, and whether its word says so; else the rarer one."""
    words = [str(word) for word in one.words.index]
    yes = [word for word in words if word.strip().lower() in _YES]
    said = [word for word in words if vocabulary.state(word) == "won"]
    found = next((some for some in (yes, said) if 0 < len(some) < len(words)), None)
    return (found[0], True) if found else (words[-1], False)


def _won(draft: Draft, flag: str) -> pd.Series:
    return draft.cells[flag] == _positive(draft.profile(flag))[0]


def _same(left: pd.Series, right: pd.Series) -> bool:
    """Whether two flags say the same of nearly all rows, and of nearly all that are true under either."""
    either = left | right
    return bool((left == right).mean() >= AGREE and (left & right).sum() >= AGREE * either.sum())


# Columns of the sales process


def _status_column(draft: Draft, created: str | None) -> str | None:
    """A column of the sales process, by its name, with a word for won."""
    found = []
    for name in draft.free("category"):
        one = draft.profile(name)
        place = vocabulary.rank(name, vocabulary.STATES)
        if place is None or one.distinct > MAX_STATES or name == created:
            continue
        states = {vocabulary.state(word) for word in meant(one)}
        if "won" in states and len(states) > 1:
            found.append(("lost" not in states, place, name))
    return min(found)[2] if found else None


def _as_status(draft: Draft, wishes: Wishes) -> str | None:
    """The column asked for, where it holds more than a yes and a no, and a word for lost among them."""
    assert wishes.outcome is not None, "it was asked for"
    one = draft.profile(wishes.outcome)
    said = {vocabulary.state(word) for word in meant(one) if word != wishes.positive}
    return wishes.outcome if one.kind == "category" and one.distinct > 2 and "lost" in said else None


def _by_status(draft: Draft, status: str, wishes: Wishes) -> None:
    """Words of a sales process: won, lost, and what is still open."""
    one = draft.profile(status)
    words = meant(one)
    if wishes.positive is not None and wishes.positive not in words:
        raise ParamsError(f"--positive {wishes.positive}: column `{status}` has no such value.")
    said = {word: vocabulary.state(word) for word in words}
    won = [wishes.positive] if wishes.positive else [word for word in words if said[word] == "won"]
    left = [word for word in words if word not in won]
    # Without a word for lost, whoever has not been won was not converted: there would be nobody to tell apart.
    open_ = [word for word in left if said[word] == "open"] if any(said[word] == "lost" for word in left) else []
    if one.given < one.rows:
        open_.append("")
    draft.outcome = {"kind": "flag", "horizon_days": 0, "column": status, "positive": won[0] if len(won) == 1 else won}
    draft.comments[("outcome", "column")] = "guess: a column of the sales process, and one of its words means won"
    draft.comments[("outcome", "positive")] = "as asked for" if wishes.positive else "guess: by its words"
    if open_:
        aside = int(one.words.reindex(open_).fillna(0).sum()) + one.rows - one.given
        draft.outcome["open"] = open_
        draft.comments[("outcome", "open")] = f"guess: not decided yet; {aside:,} rows are set aside and counted"
    lost = [word for word in left if word not in open_]
    draft.decisions.append(
        f"in `{status}`, {_said(won)} means converted, {_said(lost)} not converted"
        + (f", {_said(open_)} still open. Is that so" if open_ else ": even where a lead is still open. Is that so")
        + " (`outcome.positive`, `outcome.open`)?"
    )


def _said(words: list[str]) -> str:
    return ", ".join(repr(word) if word else "an empty cell" for word in words) or "nothing"
