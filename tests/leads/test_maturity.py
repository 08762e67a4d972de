"""The delay curve against hand-made and known truth, and the beginning of recording in made-up histories."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.leads import contract, maturity
from pipeline.params import load

PARAMS = load(Path(__file__).parents[2] / "params.yaml").featurize
FEW = PARAMS.maturity.model_copy(update={"min_watched": 1})
START = pd.Timestamp("2023-01-01")
DAY = pd.Timedelta(days=1)


def moments(*text: str | None) -> pd.Series:
    return pd.Series(pd.to_datetime(list(text), format="ISO8601"), dtype="datetime64[us]")


def curve(born: pd.Series, won: pd.Series, lost: pd.Series | None, newest: str, ages: list[int]) -> pd.DataFrame:
    return maturity.delays(born, won, lost, pd.Timestamp(newest), ages_days=ages, params=FEW)


# The delay curve


def test_the_curve_of_four_leads_by_hand():
    born = moments("2024-01-01", "2024-01-01", "2024-01-01", "2024-01-03")
    won = moments("2024-01-01T12:00", None, "2024-01-03T12:00", None)
    lost = moments(None, "2024-01-02T12:00", None, None)
    found = curve(born, won, lost, "2024-01-05", [1])
    # Day 1: four watched, one converts. Day 2: three, one is lost. Day 3: the last is seen for two days only.
    assert found["watched"].tolist() == [4, 3, 1]
    assert found["conversions"].tolist() == [1, 0, 1]
    assert found["losses"].tolist() == [0, 1, 0]
    assert found["converted"].tolist() == pytest.approx([0.25, 0.25, 0.25 + 0.75 * 2 / 3])
    assert found["share"].tolist() == pytest.approx([1 / 3, 1 / 3, 1.0])
    assert found["share_after_look"].tolist() == pytest.approx([0.0, 1.0, 1.0])  # looked at after one day


def test_a_conversion_exactly_a_day_later_belongs_to_that_day_and_one_after_the_newest_moment_to_none():
    born = moments("2024-01-01", "2024-01-01")
    found = curve(born, moments("2024-01-02", "2024-01-09"), None, "2024-01-04", [1])
    assert found["conversions"].tolist() == [1, 0, 0]
    assert found["watched"].tolist() == [2, 1, 1]


def test_without_conversions_there_is_no_curve_and_no_suggestion():
    born, never = moments("2024-01-01", "2024-01-01"), moments(None, None)
    found = curve(born, never, never, "2024-03-01", [3])
    assert list(found.columns) == list(maturity.DELAY) and found.empty
    assert maturity.suggest_horizon(born, never, None, pd.Timestamp("2024-03-01"), ages_days=[3], params=PARAMS) is None
    assert np.isnan(maturity.share_within(found, 30))


def history(
    leads: int,
    days: int,
    *,
    seed: int,
    daily: float | np.ndarray = 0.004,
    losses: float = 0.01,
    growth: float = 0.0,
    season: float = 0.0,
) -> pd.DataFrame:
    """Leads that convert and are lost at constant daily rates; `daily` may change with the day of the calendar."""
    rng = np.random.default_rng(np.random.SeedSequence([seed]))
    weight = (1 + growth * np.arange(days) / days) * (1 + season * np.sin(np.arange(days) / 365.25 * 2 * np.pi))
    born = np.sort(rng.choice(days, leads, p=weight / weight.sum()) + rng.random(leads))
    rate = np.broadcast_to(np.asarray(daily, dtype="float64"), days)
    upto = np.r_[0.0, np.cumsum(rate)]

    # The conversion comes when the summed rate since creation reaches an exponential draw.
    at = np.interp(born, np.arange(days + 1), upto) + rng.exponential(size=leads)
    won = np.interp(at, upto, np.arange(days + 1), right=np.inf) if rate.any() else np.full(leads, np.inf)
    lost = born + (rng.exponential(1 / losses, leads) if losses else np.inf)
    first = np.minimum(won, lost)

    def dates(which: np.ndarray) -> pd.Series:
        there = which & (first < days)
        moment = START + pd.to_timedelta(np.where(there, first, 0.0), unit="D").round("s")
        return pd.Series(moment).where(pd.Series(there)).astype("datetime64[us]")

    made = pd.Series(START + pd.to_timedelta(born, unit="D").round("s")).astype("datetime64[us]")
    return pd.DataFrame(
        {
            "row": np.arange(1, leads + 1),
            "created_at": made,
            "converted_at": dates(won <= lost),
            "lost_at": dates(lost < won),
        }
    )


def test_the_curve_finds_the_true_incidence_though_most_leads_are_young_or_lost():
    table = history(30_000, 400, seed=1, daily=0.01, losses=0.02)
    found = maturity.delays(
        table["created_at"],
        table["converted_at"],
        table["lost_at"],
        START + 400 * DAY,
        ages_days=[3],
        params=PARAMS.maturity,
    ).set_index("day")
    for day in (1, 7, 30, 60, 90):
        truth = 0.01 / 0.03 * (1 - np.exp(-0.03 * day))
        assert found.loc[day, "converted"] == pytest.approx(truth, rel=0.05, abs=0.002)
    # After a look the leads that are left begin anew: the rates do not depend on age.
    assert found.loc[30, "share_after_look"] == pytest.approx(1 - np.exp(-0.9), abs=0.02)
    counted = table["converted_at"].notna().mean()
    assert found["converted"].iloc[-1] > counted  # the plain share forgets what young leads will still do


def test_without_losses_the_curve_is_one_minus_kaplan_and_meiers():
    table = history(300, 200, seed=2, daily=0.02, losses=0.0)
    newest = START + 200 * DAY
    found = curve(table["created_at"], table["converted_at"], None, str(newest), [3])
    time = ((table["converted_at"] - table["created_at"]) / DAY).to_numpy()
    seen = np.floor((newest - table["created_at"]) / DAY).to_numpy()
    open_share = 1.0
    for row in found.itertuples():
        risk = (seen >= row.day) & ~(np.ceil(time) < row.day)
        open_share *= 1 - (risk & (np.ceil(time) == row.day)).sum() / risk.sum()
        assert row.converted == pytest.approx(1 - open_share)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.none() | st.floats(0, 60), st.none() | st.floats(0, 60)),
        min_size=1,
        max_size=40,
    )
)
def test_a_curve_rises_from_nothing_to_all_and_counts_nobody_twice(rows):
    born = pd.Series([START + DAY * b for b, _, _ in rows]).astype("datetime64[us]")
    won = pd.Series([pd.NaT if w is None else START + DAY * (b + w) for b, w, _ in rows]).astype("datetime64[us]")
    lost = pd.Series([pd.NaT if g is None else START + DAY * (b + g) for b, _, g in rows]).astype("datetime64[us]")
    found = curve(born, won, lost, str(START + 120 * DAY), [3, 10])
    assert (found["watched"].diff().dropna() <= 0).all()
    assert found["conversions"].sum() + found["losses"].sum() <= len(rows)
    for name in ("converted", "share", "share_after_look"):
        assert (found[name].diff().dropna() >= -1e-12).all() and found[name].between(0, 1 + 1e-12).all()
    if len(found):
        assert found["share"].iloc[-1] == 1 and found["share_after_look"].iloc[-1] == pytest.approx(1)


# The horizon


@pytest.mark.parametrize(
    ("daily", "losses", "days"), [(0.3, 0.0, 7), (0.1, 0.02, 14), (0.03, 0.03, 30), (0.01, 0.02, 60)]
)
def test_the_smallest_round_horizon_that_catches_enough_is_suggested(daily, losses, days):
    table = history(6_000, 1_000, seed=3, daily=daily, losses=losses)
    found = maturity.suggest_horizon(
        table["created_at"],
        table["converted_at"],
        table["lost_at"],
        START + 1_000 * DAY,
        ages_days=PARAMS.ages_days,
        params=PARAMS,
    )
    assert found.days == days
    assert found.share == pytest.approx(1 - np.exp(-(daily + losses) * days), abs=0.04)
    assert f"{found.share:.0%}" in found.sentence and f"within {days} days" in found.sentence


def test_a_horizon_that_a_short_history_cannot_test_is_not_suggested():
    table = history(6_000, 365, seed=3, daily=0.01, losses=0.0)
    args = (table["created_at"], table["converted_at"], None, START + 365 * DAY)
    found = maturity.suggest_horizon(*args, ages_days=[3], params=PARAMS)
    assert found.days == 30  # half of a calibrate window of 73 days, less the first age
    assert "too little of this history" in found.sentence


def test_a_horizon_that_catches_little_is_said_in_a_plain_sentence():
    table = history(6_000, 1_000, seed=3, daily=0.01, losses=0.01)

    def measured(horizon_days: int) -> maturity.Delay:
        outcome = DATED.outcome.model_copy(update={"horizon_days": horizon_days})
        return maturity.delay(table, DATED.model_copy(update={"outcome": outcome}), START + 1_000 * DAY, PARAMS)

    assert (measured(7).suggested_days, measured(7).horizon_days) == (90, 7)
    assert "44% come within 30, 69% come within 60, 84% come within 90 days of creation" in measured(7).said
    assert len(measured(7).warnings) == 1 and "catches only 13%" in measured(7).warnings[0]
    assert measured(60).warnings == []
    at_once = maturity.delay(table, flagged("column"), START, PARAMS)
    assert at_once.curve.empty and at_once.suggestion is None and at_once.warnings == []


# When recording began

DATED = contract.parse(
    {
        "contract_version": 1,
        "name": "small",
        "description": "a small history",
        "source": {"kind": "demo"},
        "key": "id",
        "time": {"kind": "column", "column": "born"},
        "outcome": {"kind": "dates", "horizon_days": 30, "converted_at": "won", "lost_at": "gone"},
        "columns": {
            "id": {"role": "identifier"},
            "born": {"role": "ignored", "type": "timestamp"},
            "won": {"role": "outcome", "type": "timestamp"},
            "gone": {"role": "outcome", "type": "timestamp"},
        },
    },
    file="small.yaml",
)


def flagged(kind: str) -> contract.Contract:
    return DATED.model_copy(
        update={
            "time": contract.Time(kind=kind, column="born" if kind == "column" else None),
            "outcome": contract.Outcome(kind="flag", horizon_days=0, column="won", positive="yes"),
        }
    )


def forget(table: pd.DataFrame, column: str, day: int, stray: float = 0.0) -> pd.DataFrame:
    """What an export shows where outcomes before a day were not recorded, but for a stray share of them."""
    rng = np.random.default_rng(np.random.SeedSequence([9]))
    unknown = (table[column] < START + day * DAY) & (rng.random(len(table)) >= stray)
    return table.assign(**{column: table[column].mask(unknown)})


def begins(table: pd.DataFrame, days: int = 730) -> pd.Timestamp | None:
    """The creation of the first lead kept, or None where all are."""
    found = maturity.recorded(table, DATED, START + days * DAY, PARAMS.recording)
    assert found.cohorts["leads"].sum() == len(table)
    assert found.cohorts["excluded"].sum() == (~found.kept).sum()
    if found.kept.all():
        return None
    first = table.loc[found.kept, "created_at"].min()
    assert (table.loc[~found.kept, "created_at"] < first).all()
    return first


@pytest.mark.parametrize(("leads", "day"), [(1_500, 100), (1_500, 200), (1_500, 500), (20_000, 60), (20_000, 300)])
@pytest.mark.parametrize("stray", [0.0, 0.02])
def test_recording_that_starts_late_is_found_within_a_month(leads, day, stray):
    table = forget(history(leads, 730, seed=day, growth=0.5, season=0.3), "converted_at", day, stray)
    found = begins(table)
    assert found is not None
    assert abs(found - (START + day * DAY)) <= 30 * DAY


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"growth": 20.0},  # few leads at first
        {"season": 0.9},
        {"daily": 0.004 * (1 + 0.8 * np.sin(np.arange(730) / 365.25 * 2 * np.pi - np.pi / 2))},
        {"daily": 0.006 * np.minimum(np.arange(730) / 180, 1)},  # a young company that learns to sell
        {"daily": 0.006 / (1 + np.exp(-(np.arange(730) - 200) / 40))},
        {"daily": np.linspace(0.0005, 0.008, 730)},
        {"daily": np.linspace(0.008, 0.0005, 730)},
        {"daily": np.where(np.arange(730) < 300, 0.0008, 0.008)},  # a tenth of the rate is no gap in the records
        {"daily": 0.0002, "losses": 0.0},  # conversions take years
    ],
    ids=["even", "growth", "season", "seasonal rate", "ramp", "slow start", "rising", "falling", "jump", "slow"],
)
@pytest.mark.parametrize("leads", [1_500, 20_000])
def test_honest_histories_are_not_cut(shape, seed, leads):
    assert begins(history(leads, 730, seed=seed, **shape)) is None


def test_excluded_cohorts_say_why_and_what_was_expected():
    table = forget(history(20_000, 730, seed=5), "converted_at", 100)
    found = maturity.recorded(table, DATED, START + 730 * DAY, PARAMS.recording)
    cohorts = found.cohorts.set_index("cohort")
    assert list(found.cohorts.columns) == list(maturity.COHORTS)
    assert cohorts.index[0] == "2023-01" and cohorts.index.is_monotonic_increasing
    assert (cohorts.loc["2023-01", "excluded"], cohorts.loc["2023-12", "excluded"]) == (
        cohorts.loc["2023-01", "leads"],
        0,
    )
    assert cohorts.loc["2023-01", "conversions"] < 0.5 * cohorts.loc["2023-01", "expected"]
    whole = cohorts[cohorts["excluded"] == 0]
    assert whole["conversions"].sum() == pytest.approx(whole["expected"].sum(), rel=0.05)
    assert set(cohorts["reason"]) == {"", found.notes[0].split(":")[0]}
    assert "conversions are recorded from 2023-04-1" in found.notes[0]


def test_losses_recorded_late_are_said_and_cut_nobody():
    table = forget(history(20_000, 730, seed=6), "lost_at", 300)
    found = maturity.recorded(table, DATED, START + 730 * DAY, PARAMS.recording)
    assert found.kept.all()
    assert len(found.notes) == 1 and "losses are recorded from 2023-10" in found.notes[0]


def test_conversions_that_still_come_in_are_said():
    table = history(20_000, 730, seed=7)
    late = table.assign(converted_at=table["converted_at"].mask(table["converted_at"] > START + 690 * DAY))
    found = maturity.recorded(late, DATED, START + 730 * DAY, PARAMS.recording)
    assert found.kept.all()
    assert len(found.notes) == 1 and "since 2024-11-2" in found.notes[0] and "still come in" in found.notes[0]
    assert maturity.recorded(table, DATED, START + 730 * DAY, PARAMS.recording).notes == []


def flags(rate: np.ndarray, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(np.random.SeedSequence([seed]))
    born = pd.Series(START + pd.to_timedelta(np.arange(len(rate)) // 20, unit="D")).astype("datetime64[us]")
    return pd.DataFrame(
        {"row": np.arange(1, len(rate) + 1), "created_at": born, "converted": rng.random(len(rate)) < rate}
    )


@pytest.mark.parametrize("kind", ["column", "row_order"])
def test_flags_that_are_only_set_from_some_row_on_are_found(kind):
    table = flags(np.where(np.arange(8_000) < 2_000, 0.001, 0.1), seed=1)
    found = maturity.recorded(table, flagged(kind), START, PARAMS.recording)
    assert (~found.kept).sum() == pytest.approx(2_000, abs=60)
    assert found.kept[~found.kept].index.max() < found.kept[found.kept].index.min()
    assert "are left out" in found.notes[0]
    name = "2023-01" if kind == "column" else "rows 1 to 267"
    assert found.cohorts["cohort"].iloc[0] == name
    assert found.cohorts["excluded"].sum() == (~found.kept).sum()


@pytest.mark.parametrize(
    "rate",
    [np.full(8_000, 0.1), np.linspace(0.03, 0.5, 8_000), np.where(np.arange(8_000) < 6_000, 0.03, 0.31), np.zeros(50)],
    ids=["even", "drift", "ten times", "none"],
)
def test_a_base_rate_that_drifts_is_not_cut(rate):
    found = maturity.recorded(flags(rate, seed=2), flagged("row_order"), START, PARAMS.recording)
    assert found.kept.all() and found.notes == []


def test_a_source_without_time_is_one_cohort():
    table = flags(np.where(np.arange(8_000) < 2_000, 0.0, 0.1), seed=1)
    found = maturity.recorded(table, flagged("none"), START, PARAMS.recording)
    assert found.kept.all() and found.cohorts["cohort"].tolist() == ["all"]
    assert found.cohorts["expected"].iloc[0] == pytest.approx(found.cohorts["conversions"].iloc[0])


def test_nothing_is_mutated_and_the_order_of_rows_does_not_matter():
    table = forget(history(1_500, 730, seed=8), "converted_at", 200)
    before = table.copy()
    found = maturity.recorded(table, DATED, START + 730 * DAY, PARAMS.recording)
    pd.testing.assert_frame_equal(table, before)
    shuffled = maturity.recorded(table.sample(frac=1, random_state=1), DATED, START + 730 * DAY, PARAMS.recording)
    pd.testing.assert_frame_equal(shuffled.cohorts, found.cohorts)
    assert shuffled.kept.sort_index().equals(found.kept)


@pytest.mark.parametrize("kind", ["column", "row_order", "none"])
def test_no_leads_give_empty_tables(kind):
    found = maturity.recorded(flags(np.zeros(9), seed=1).iloc[:0], flagged(kind), START, PARAMS.recording)
    assert found.cohorts.empty and list(found.cohorts.columns) == list(maturity.COHORTS) and found.notes == []
    dated = history(9, 200, seed=1).iloc[:0]
    assert maturity.recorded(dated, DATED, START, PARAMS.recording).cohorts.empty
    assert maturity.delay(dated, DATED, START, PARAMS).curve.empty
