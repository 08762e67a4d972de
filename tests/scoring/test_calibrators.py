"""Calibrators recover a known law; a level only where it moves; intervals hold the law's rate; tiers their share."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import params as params_module
from pipeline.params import ScorecardSettings
from pipeline.scorer.calibration import Calibration, sigmoid
from pipeline.scorer.margin import Margin
from pipeline.scoring import calibrators
from pipeline.scoring.calibrators import Choice, Contest
from pipeline.scoring.fit import Rows, fit_scorecard

pytestmark = pytest.mark.slow

PARAMS = params_module.load(Path(__file__).parents[2] / "params.yaml").calibrate
SAME = Calibration("none", 0.0, 1.0, 1.0)
FLAT = Calibration("sigmoid", -0.7, 0.6, 0.6)
BENT = Calibration("beta", 0.3, 0.5, 1.6)


def drawn(n: int = 12_000, law: Calibration = FLAT, seed: int = 11, jump: float = 0.0, at: float = 0.6) -> pd.DataFrame:
    """One look per lead, a hundred leads a day, the calibrate window from 40 % on; from `at` on the level jumps."""
    rng = np.random.default_rng(np.random.SeedSequence([seed]))
    margin = rng.normal(-1.5, 1.2, n)
    shift = np.where(np.arange(n) >= at * n, jump, 0.0)
    return pd.DataFrame(
        {
            "lead_id": np.arange(n),  # tells leads apart as a text would, which takes longer to group by
            "as_of": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n) // 100, unit="D"),
            "label": (rng.random(n) < sigmoid(law.log_odds(margin) + shift)).astype("int8"),
            "split": pd.Series(np.where(np.arange(n) < 0.4 * n, "train", "calibrate"), dtype="str"),
            "position": np.arange(n),
            "margin": margin,
        }
    )


def choose(rows: pd.DataFrame, horizon_days: int = 0, timed: bool = True, **changed: object) -> Contest:
    params = PARAMS.model_copy(update=changed)
    return calibrators.choose(rows, params, horizon_days=horizon_days, timed=timed)


#: Fewer candidates, for tests that ask about many seeds.
QUICK = {"calibrators": ["none", "intercept"], "steps": 6}
#: A level that moves is never found.
STILL = {"level_evidence": np.inf}


def around(rows: pd.DataFrame, contest: Contest) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower end, probability and upper end, as the scorer gives them."""
    margin = rows["margin"].to_numpy() + contest.choice.level
    low, high = calibrators.interval(rows, contest, PARAMS, timed=False).around(margin, contest.choice.calibration)
    return low, contest.choice.probability(rows["margin"].to_numpy()), high


# One calibrator


@pytest.mark.parametrize(("kind", "law"), [("sigmoid", FLAT), ("beta", BENT)])
def test_a_calibrator_recovers_the_law_it_was_drawn_from(kind, law):
    rows = drawn(60_000, law)
    found = calibrators.fit(kind, rows["label"].to_numpy(dtype="float64"), rows["margin"].to_numpy())
    assert found.kind == kind
    apart = found.probability(rows["margin"].to_numpy()) - law.probability(rows["margin"].to_numpy())
    assert np.sqrt(np.mean(apart**2)) < 0.006
    # Three standard errors; where margins are high there are few rows.
    given = [found.intercept, found.low_slope, found.high_slope]
    assert given == pytest.approx([law.intercept, law.low_slope, law.high_slope], abs=0.35 if kind == "beta" else 0.05)


def test_the_plain_kinds_are_what_they_are_called():
    rows = drawn(2000)
    label, margin = rows["label"].to_numpy(dtype="float64"), rows["margin"].to_numpy()
    assert calibrators.fit("none", label, margin) == SAME
    found = calibrators.fit("intercept", label, margin)
    assert (found.low_slope, found.high_slope) == (1.0, 1.0)


@pytest.mark.parametrize("kind", ["intercept", "sigmoid", "beta"])
def test_a_fitted_calibrator_agrees_with_its_rows_on_average(kind):
    rows = drawn(2000)
    label, margin = rows["label"].to_numpy(dtype="float64"), rows["margin"].to_numpy()
    found = calibrators.fit(kind, label, margin)
    assert found.probability(margin).mean() == pytest.approx(label.mean(), abs=1e-6)


@pytest.mark.parametrize("kind", ["sigmoid", "beta"])
def test_a_margin_that_ranks_backwards_is_not_turned_round(kind):
    rows = drawn()
    found = calibrators.fit(kind, rows["label"].to_numpy(dtype="float64"), -rows["margin"].to_numpy())
    assert found.kind == "intercept" and (found.low_slope, found.high_slope) == (1.0, 1.0)


def test_a_bend_that_would_fall_on_one_side_becomes_a_line():
    rng = np.random.default_rng(np.random.SeedSequence([1]))
    margin = rng.normal(0, 2, 5000)
    chance = sigmoid(np.where(margin < 0, margin, -0.5 * margin))
    label = (rng.random(5000) < chance).astype("float64")
    assert calibrators.fit("beta", label, margin).kind == "sigmoid"


@pytest.mark.parametrize("calibration", [SAME, FLAT, BENT])
def test_the_level_makes_predicted_and_observed_agree(calibration):
    rows = drawn(2000, SAME, jump=0.8, at=0.0)
    label, margin = rows["label"].to_numpy(dtype="float64"), rows["margin"].to_numpy()
    shift = calibrators.level_of(label, margin, calibration)
    assert calibration.probability(margin + shift).mean() == pytest.approx(label.mean(), abs=1e-9)
    if calibration is SAME:
        assert shift == pytest.approx(0.8, abs=0.2)


# The contest


@pytest.mark.parametrize(("law", "kinds"), [(FLAT, {"sigmoid", "beta"}), (BENT, {"beta"})])
def test_the_kind_of_the_law_wins_one_step_ahead(law, kinds):
    contest = choose(drawn(40_000, law), **STILL)
    assert contest.choice.calibration.kind in kinds
    table = contest.table[contest.table["level"] == "moving"].set_index("calibrator")
    assert table["log_loss"].idxmin() == table.index[table["chosen"]].item()
    assert table.loc["none", "log_loss"] > table["log_loss"].min() + 0.005


def test_candidates_are_every_kind_with_and_without_a_moving_level():
    table = choose(drawn()).table
    assert len(table) == 2 * len(PARAMS.calibrators) and not table.duplicated(["calibrator", "level"]).any()
    assert table["level"].unique().tolist() == ["still", "moving"]
    assert table["chosen"].sum() == 1
    assert (choose(drawn(), timed=False).table["level"] == "still").all()


@pytest.mark.parametrize("seed", range(4))
def test_a_level_is_found_where_the_base_rate_jumps(seed):
    """Conversions become 2.7 times as likely halfway through the calibrate window, and stay so."""
    rows = drawn(12_000, SAME, seed, jump=1.0, at=0.7)
    choice = choose(rows, **QUICK).choice
    assert choice.level > 0 and choice.error > 0
    newest = rows["position"] >= 0.9 * len(rows)
    found = choice.probability(rows.loc[newest, "margin"].to_numpy())
    truth = sigmoid(rows.loc[newest, "margin"].to_numpy() + 1.0)
    assert abs(found.mean() - truth.mean()) < 0.05
    # Without a level the whole of what was learned from lies between the two worlds.
    plain = choose(rows, **QUICK | STILL).choice.probability(rows.loc[newest, "margin"].to_numpy())
    assert abs(plain.mean() - truth.mean()) > abs(found.mean() - truth.mean())


def test_no_level_is_found_where_nothing_moves():
    """The limit is passed by chance once in twenty times: twice or less in sixteen, with a chance of 96 %."""
    found = [choose(drawn(6_000, SAME, seed), **QUICK).choice.level for seed in range(16)]
    assert sum(level != 0 for level in found) <= 2
    assert np.abs(found).max() < 0.2


def test_a_choice_says_what_its_level_rests_on():
    rows = drawn(12_000, SAME, jump=1.2, at=0.7)
    choice = choose(rows).choice
    assert 0 < choice.rows < 0.4 * len(rows)
    newest = rows.iloc[-choice.rows :]
    assert (choice.since, choice.until) == (newest["as_of"].min(), newest["as_of"].max())
    expected = calibrators.level_of(
        newest["label"].to_numpy(dtype="float64"), newest["margin"].to_numpy(), choice.calibration
    )
    assert abs(choice.level - expected) < 2 * choice.error


def test_blocks_hold_alike_many_of_the_rarer_outcome_and_whole_leads():
    rows = drawn(9_000)
    rows["position"] //= 3
    for label in (rows["label"], 1 - rows["label"]):
        parts = calibrators._blocks(rows.assign(label=label).sample(frac=1, random_state=1), PARAMS)
        assert len(parts) == PARAMS.level_blocks
        rarer = [min(part["label"].sum(), len(part) - part["label"].sum()) for part in parts]
        assert max(rarer) - min(rarer) <= 6
        assert sum(map(len, parts)) == len(rows)
        ends = [(part["position"].min(), part["position"].max()) for part in parts]
        assert all(before[1] < after[0] for before, after in itertools.pairwise(ends))
    few = rows.iloc[:600]
    parts = calibrators._blocks(few, PARAMS)
    assert len(parts) == min(few["label"].sum(), 600 - few["label"].sum()) // PARAMS.min_conversions


def test_a_level_is_found_through_a_calibrator_that_is_nearly_flat():
    flat = Calibration("sigmoid", -1.0, 0.01, 0.01)
    rows = drawn(4000, SAME)
    label, margin = rows["label"].to_numpy(dtype="float64"), rows["margin"].to_numpy()
    shift = calibrators.level_of(label, margin, flat)
    assert abs(shift) > 20
    assert flat.probability(margin + shift).mean() == pytest.approx(label.mean(), abs=1e-9)


def test_a_level_is_found_where_the_surest_margins_are_all_wrong():
    """An answer among the features makes margins of any size; a bin of them may hold the other outcome."""
    margin = np.linspace(-80.0, -30.0, 50)
    shift = calibrators.level_of(np.ones(50), margin, SAME)
    assert sigmoid(margin + shift).mean() == pytest.approx(0.99, abs=1e-6)


def test_a_level_with_one_outcome_alone_is_far_off_but_finite():
    margin = np.zeros(50)
    assert 3 < calibrators.level_of(np.ones(50), margin, SAME) < 6
    assert -6 < calibrators.level_of(np.zeros(50), margin, SAME) < -3


@pytest.mark.parametrize(("horizon_days", "days", "same"), [(10, 9, True), (10, 10, False), (0, 9, False)])
def test_rows_not_yet_decided_at_a_step_are_not_learned_from(horizon_days, days, same):
    """In the last days before the first step all convert. Outcomes of ten days before it are known at that moment."""
    rows = drawn(12_000)
    first = int(0.4 * 12_000)
    late = rows["position"].between(first - 100 * days, first - 1)
    flipped = rows.assign(label=rows["label"].where(~late, 1))
    plain, other = (
        choose(one, horizon_days, steps=2, calibrators=["sigmoid"], **STILL).ahead.query("step == 0")
        for one in (rows, flipped)
    )
    assert (plain["label"] == other["label"]).all() and len(plain) == 3600
    assert np.allclose(plain["log_odds"], other["log_odds"], atol=1e-6) is same


def test_rows_ahead_are_those_of_the_calibrate_window_each_judged_once():
    rows = drawn(6000)
    mixed = rows.sample(frac=1, random_state=1)
    ahead = choose(mixed, **STILL).ahead
    assert ahead["lead_id"].tolist() == rows.loc[rows["split"] == "calibrate", "lead_id"].tolist()
    assert ahead["step"].is_monotonic_increasing and ahead["step"].nunique() == PARAMS.steps
    given = mixed["margin"].to_numpy()
    np.testing.assert_allclose(choose(mixed).choice.probability(given), choose(rows).choice.probability(given))


def test_with_too_few_conversions_the_level_alone_is_set():
    contest = choose(drawn(100))
    assert contest.choice.calibration.kind == "intercept" and contest.choice.level == 0
    assert contest.table["log_loss"].isna().all() and contest.ahead.empty
    assert contest.table["chosen"].sum() == 1
    low, chance, high = around(drawn(100), contest)
    assert ((low < chance) & (chance < high)).all()


# What is said of it


def test_the_choice_is_described_as_plain_data_and_a_move_said_aloud():
    newest = pd.Timestamp("2024-05-01")
    still = Choice(SAME)
    assert calibrators.moved(still, PARAMS) == ""
    assert calibrators.described(still, PARAMS) == {
        "log_odds": 0.0,
        "standard_error": 0.0,
        "rows": 0,
        "measured_from": None,
        "measured_until": None,
        "moved": False,
    }
    edge = Choice(SAME, PARAMS.max_shift, 0.1, 1200, newest, newest)
    assert not calibrators.described(edge, PARAMS)["moved"] and calibrators.moved(edge, PARAMS) == ""
    for sign, word in ((1, "above"), (-1, "below")):
        gone = Choice(SAME, sign * 0.4, 0.1, 1200, newest, newest)
        assert calibrators.described(gone, PARAMS)["moved"]
        assert calibrators.described(gone, PARAMS)["measured_until"] == "2024-05-01T00:00:00"
        said = calibrators.moved(gone, PARAMS)
        assert said.startswith("THE LEVEL HAS MOVED: on the newest 1,200 snapshots")
        assert f"lie {word} what the model learned, by 0.40 in log-odds (limit 0.25)" in said


# The interval


def test_the_interval_holds_the_law_for_about_nine_of_ten_score_groups():
    """Twenty groups of equal count under each of forty seeds. Groups of one seed share their fit, so the rate of 90 %
    has the error of forty draws: 5 %; two of them."""
    held = []
    for seed in range(40):
        rows = drawn(3000, FLAT, seed)
        low, chance, high = around(rows, choose(rows, calibrators=["intercept", "sigmoid"], **STILL))
        truth = FLAT.probability(rows["margin"].to_numpy())
        for part in np.array_split(np.argsort(chance, kind="stable"), 20):
            held.append(low[part].mean() <= truth[part].mean() <= high[part].mean())
    assert 0.8 <= np.mean(held) <= 0.99


def test_the_interval_holds_the_law_where_the_level_was_measured_on_few_rows():
    held = []
    for seed in range(12):
        rows = drawn(4000, SAME, seed, jump=1.2, at=0.7)
        contest = choose(rows, **QUICK)
        assert contest.choice.level > 0
        low, chance, high = around(rows, contest)
        late = (rows["position"] >= 0.7 * len(rows)).to_numpy()
        truth = sigmoid(rows["margin"].to_numpy() + 1.2)
        for part in np.array_split(np.flatnonzero(late)[np.argsort(chance[late], kind="stable")], 10):
            held.append(low[part].mean() <= truth[part].mean() <= high[part].mean())
    assert np.mean(held) >= 0.8


@pytest.mark.parametrize("jump", [0.0, 1.2])
@pytest.mark.parametrize("law", [SAME, FLAT, BENT])
def test_the_interval_holds_the_probability(law, jump):
    rows = drawn(4000, law, jump=jump, at=0.7)
    low, chance, high = around(rows, choose(rows))
    assert ((low <= chance) & (chance <= high)).all()
    assert (low > 0).all() and (high < 1).all()


def test_the_interval_narrows_with_rows():
    """Sixteen times the rows, a quarter of the width, where nothing but chance moves them: the median over seeds."""
    widths = [
        np.median(
            [
                np.subtract(*around(rows, choose(rows, calibrators=["sigmoid"], **STILL))[::-2]).mean()
                for rows in (drawn(n, FLAT, seed) for seed in range(5))
            ]
        )
        for n in (1500, 24_000)
    ]
    assert widths[1] < widths[0] / 2


def test_the_interval_is_wider_where_there_are_fewer_rows():
    """In log-odds: far out on the line of the fit, rather than in the middle of the margins."""
    rows = drawn(6000)
    found = calibrators.interval(rows, choose(rows, **STILL), PARAMS, timed=False)
    half = np.array(found.high)
    middle = np.argmin(half)
    assert half[0] > 1.3 * half[middle] and half[-1] > 1.3 * half[middle]
    np.testing.assert_allclose(found.low, -half)


def test_what_whole_steps_lay_off_widens_the_interval():
    """The base rate goes up and down from step to step: calibrated on average, sure of nothing in time."""
    rng = np.random.default_rng(np.random.SeedSequence([5]))
    still = drawn(24_000, SAME)
    # Eight steps of 1,800 rows each from the 9,600th on.
    wave = np.where((still["position"] - 9600) // 1800 % 2, 0.5, -0.5)
    restless = still.assign(label=(rng.random(24_000) < sigmoid(still["margin"].to_numpy() + wave)).astype("int8"))
    calm, moving = (
        np.mean(calibrators.interval(rows, choose(rows, **STILL), PARAMS, timed=False).high)
        for rows in (still, restless)
    )
    # The deviation of the steps, 0.5, times 1.645.
    assert calm < 0.1
    assert moving == pytest.approx(0.82, abs=0.1)


def test_what_whole_groups_lay_off_widens_the_interval_where_the_position_is_time():
    """Six groups, each 0.4 above or below what members that had not seen it foretold; no step was judged."""
    rng = np.random.default_rng(np.random.SeedSequence([6]))
    rows = drawn(24_000, SAME)
    rows["group"] = rows["position"] // 4000
    chance = sigmoid(rows["margin"].to_numpy() + np.where(rows["group"] % 2, 0.4, -0.4))
    rows["label"] = (rng.random(24_000) < chance).astype("int8")
    contest = Contest(Choice(SAME), pd.DataFrame(), rows.iloc[:0].assign(step=0, log_odds=0.0))
    untimed, timed = (np.mean(calibrators.interval(rows, contest, PARAMS, timed=timed).high) for timed in (False, True))
    assert untimed < 0.1
    # The deviation of the groups, 0.4, times 1.645.
    assert timed == pytest.approx(0.66, abs=0.05)


def test_a_level_that_has_moved_says_nothing_of_the_shape():
    """Rows before the move lie off the current level all together; bins of them lie on one curve."""
    rows = drawn(20_000, SAME, jump=1.2, at=0.7)
    level = Choice(SAME, level=1.2, error=0.05)
    contest = Contest(level, pd.DataFrame(), rows.iloc[:0].assign(step=0, log_odds=0.0))
    half = np.median(calibrators.interval(rows, contest, PARAMS, timed=False).high)
    # The errors of the level and of the fit; old and new rows together are a little flatter than either.
    assert half < 1.645 * 0.12


def test_the_excess_of_parts_is_found_whatever_their_sizes():
    rng = np.random.default_rng(np.random.SeedSequence([7]))
    for true in (0.0, 0.3):
        parts = []
        for k in range(300):
            margin = rng.normal(-1.5, 1.0, 200 if k % 2 else 1500)
            label = (rng.random(len(margin)) < sigmoid(margin + rng.normal(0.0, true))).astype("float64")
            parts.append((label, margin, np.arange(len(margin))))
        assert np.sqrt(calibrators._excess(parts)) == pytest.approx(true, abs=0.05)
    assert calibrators._excess(parts[:1]) == 0.0


def test_the_error_of_a_distance_is_what_it_varies_by_and_counts_leads():
    rng = np.random.default_rng(np.random.SeedSequence([8]))
    margin = rng.normal(-1.5, 1.0, 400)
    found = np.array(
        [
            calibrators.distance((rng.random(400) < sigmoid(margin + 0.5)).astype("float64"), margin, np.arange(400))
            for _ in range(400)
        ]
    )
    assert found[:, 0].mean() == pytest.approx(0.5, abs=0.03)
    assert found[:, 0].var() == pytest.approx(found[:, 1].mean(), rel=0.2)
    label = (rng.random(400) < sigmoid(margin)).astype("float64")
    once = calibrators.distance(label, margin, np.arange(400))
    four = calibrators.distance(np.repeat(label, 4), np.repeat(margin, 4), np.repeat(np.arange(400), 4))
    assert four == pytest.approx(once, rel=1e-6)


def test_a_lead_seen_four_times_is_one_piece_of_evidence():
    rows = drawn(3000)
    again = pd.concat([rows] * 4, ignore_index=True).sort_values("position", kind="stable", ignore_index=True)
    nothing = rows.iloc[:0].assign(step=0, log_odds=0.0)
    choice = Choice(FLAT)
    contest = Contest(choice, pd.DataFrame(), nothing)
    once, four = (calibrators.interval(one, contest, PARAMS, timed=False) for one in (rows, again))
    assert np.mean(four.high) == pytest.approx(np.mean(once.high), rel=1e-6)


def test_one_margin_for_all_has_an_interval_too():
    rows = drawn(3000).assign(margin=-1.0)
    contest = choose(rows)
    low, chance, high = around(rows, contest)
    assert len(set(chance)) == 1 and abs(chance[0] - rows["label"].mean()) < 0.05
    assert ((low < chance) & (chance < high)).all()


# Grades


def test_a_group_in_which_nothing_was_learned_is_not_graded():
    rng = np.random.default_rng(np.random.SeedSequence([4]))
    features = pd.DataFrame({"size": rng.normal(size=4000), "visits": rng.normal(size=4000)})
    rows = Rows.encode(features, (features["size"] > 0).to_numpy(dtype="float64"), np.arange(4000))
    card = ScorecardSettings(bins=4, prior_rows=5.0, c=0.1, towards=0.8, folds=3, half_life=0.0)
    margin = Margin.centred(rows.encoder, [fit_scorecard(rows, card)], [1.0], features)
    assert set(calibrators.grades(margin, features, ["fit", "fit"], PARAMS)) == {"fit"}
    nothing = Margin(rows.encoder, [], [], 0.0, np.zeros(2))
    assert calibrators.grades(nothing, features, ["fit", "engagement"], PARAMS) == {}
