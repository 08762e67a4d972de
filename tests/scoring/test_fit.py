"""Fitting one member: laws that are recovered, evidence that is not one's own, directions, memory, and starts."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from pipeline.params import LogisticSettings, ScorecardSettings, XGBoostSettings, load
from pipeline.scorer.calibration import sigmoid
from pipeline.scorer.margin import XGBoostMember
from pipeline.scoring import fit
from pipeline.scoring.fit import Rows, Start, best_intercept, ranking_loss
from tests import trees

TUNE = load(Path(__file__).parents[2] / "params.yaml").tune
PLAIN = LogisticSettings(bins=5, c=0.3, half_life=0.0)
CARD = ScorecardSettings(bins=8, prior_rows=5.0, c=0.01, towards=0.8, folds=5, half_life=0.0)
TREES = trees.TREES.model_copy(update={"target_prior": 2.0})
#: Every family, with trees from nothing and from a member of either.
FAMILIES = {
    "logistic": PLAIN,
    "scorecard": CARD,
    "trees": TREES,
    "trees from a scorecard": TREES.model_copy(update={"start": "scorecard"}),
    "trees from a logistic regression": TREES.model_copy(update={"start": "logistic"}),
}


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed]))


def encode(frame: pd.DataFrame, label: Any, place: Any = None, directions: list[int] | None = None) -> Rows:
    place = np.arange(len(frame)) if place is None else np.asarray(place)
    given = None if directions is None else np.array(directions)
    return Rows.encode(frame, np.asarray(label, dtype="float64"), place, given)


def fitted(rows: Rows, settings: fit.Settings, rounds: int = 30) -> Any:
    start = fit.start_of(settings, TUNE)
    return fit.fit_member(rows, settings, clip=4.0, rounds=rounds, seed=1, threads=1, start=start)


# Level and loss


def test_the_best_intercept_makes_predicted_and_observed_agree():
    label, margin = np.array([1.0, 0, 0, 0]), np.array([3.0, 2.0, 1.0, 5.0])
    shift = best_intercept(label, margin)
    assert sigmoid(margin + shift).sum() == pytest.approx(1.0)
    assert ranking_loss(label, margin) == pytest.approx(ranking_loss(label, margin + 7))


@settings(deadline=None)
@given(st.lists(st.floats(-30, 30), min_size=3, max_size=30), st.integers(1, 2))
def test_the_best_intercept_is_found_wherever_margins_lie(margins, hits):
    margin, label = np.array(margins), (np.arange(len(margins)) < hits).astype("float64")
    assert sigmoid(margin + best_intercept(label, margin)).sum() == pytest.approx(hits, abs=1e-6)


def test_a_constant_margin_has_the_loss_of_the_base_rate():
    label = np.array([1.0, 0, 0, 0])
    assert ranking_loss(label, np.zeros(4)) == pytest.approx(-(0.25 * np.log(0.25) + 0.75 * np.log(0.75)))


# Weights by age


def test_a_half_life_halves_the_weight_with_each_share_of_the_axis():
    rows = encode(pd.DataFrame({"a": np.zeros(5)}), [0, 1, 0, 1, 0], place=[0, 25, 50, 75, 100])
    assert rows.weight(0.0) is None
    weight = rows.weight(0.25)
    np.testing.assert_allclose(weight / weight[-1], [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1])
    assert weight.mean() == pytest.approx(1.0)


@pytest.mark.parametrize("name", FAMILIES)
def test_recent_rows_count_more_where_a_concept_has_turned(name):
    """In the last fifth of the history the effect is the other way round, and so are later leads."""
    n = 3000
    a = rng(1).normal(size=n)
    turned = np.arange(n) >= 0.8 * n
    label = rng(2).random(n) < sigmoid(-0.5 + np.where(turned, -2, 2) * a)
    rows = encode(pd.DataFrame({"a": a}), label)
    later = np.linspace(-2, 2, 41)[:, None]
    settings = FAMILIES[name]
    even, recent = (
        fitted(rows, settings.model_copy(update={"half_life": half_life})).margin(later) for half_life in (0.0, 0.05)
    )
    assert np.corrcoef(even, later[:, 0])[0, 1] > 0.7
    assert np.corrcoef(recent, later[:, 0])[0, 1] < -0.7


# Known laws


LEVELS = {"a": -0.8, "b": 0.0, "c": 1.2}


def additive(n: int, seed: int = 3) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """A law that is a sum: steps of one number, a slope of another, a level, a gap that tells; and the label."""
    draw = rng(seed)
    steps = draw.integers(0, 4, n).astype("float64")
    slope = draw.normal(size=n)
    gone = draw.random(n) < 0.2
    word = draw.choice(list(LEVELS), n)
    odds = -1 + 0.5 * steps + np.where(gone, 0.7, 0.6 * slope) + pd.Series(word).map(LEVELS).to_numpy()
    frame = pd.DataFrame({"steps": steps, "slope": np.where(gone, np.nan, slope), "word": pd.Series(word, dtype="str")})
    return frame, odds, (draw.random(n) < sigmoid(odds)).astype("float64")


@pytest.mark.parametrize(("settings", "most"), [(PLAIN, 0.12), (CARD, 0.2)], ids=["logistic", "scorecard"])
def test_an_additive_law_is_recovered(settings, most):
    """The root mean square of what is off, in log-odds; bins of a slope cost the scorecard some."""
    frame, odds, label = additive(20_000)
    member = fitted(encode(frame, label), settings.model_copy(update={"bins": 16, "c": 10.0}))
    found = member.margin(member.encoder.matrix(frame))
    assert np.sqrt(np.mean((found - odds) ** 2)) < most
    # Differences between levels are those of the law; the error of a rate of 6,600 rows is 0.03.
    word = member.terms["word"]["weights"]
    assert np.diff(word) == pytest.approx([0.8, 1.2], abs=0.15)
    slope = frame["slope"].notna()
    gap = found[~slope].mean() - found[slope].mean()
    assert gap == pytest.approx(0.7, abs=0.12)


def test_two_routes_to_a_ridge_agree():
    """A number of one bin is a slope on the standardised value: scikit-learn's logistic regression of the same."""
    n = 1500
    frame = pd.DataFrame(rng(4).normal(size=(n, 3)), columns=["a", "b", "c"]).clip(-2.5, 2.5)
    label = (rng(5).random(n) < sigmoid(-1 + frame["a"] - 0.5 * frame["b"])).astype("float64")
    member = fit.fit_logistic(encode(frame, label), LogisticSettings(bins=1, c=0.05, half_life=0.0), clip=4.0)
    library = LogisticRegression(C=0.05, tol=1e-10, max_iter=1000)
    library.fit((frame - frame.mean()) / frame.std(ddof=0), label)
    found = [member.terms[name]["slope"] for name in frame]
    np.testing.assert_allclose(found, library.coef_[0], atol=2e-3)


def test_the_clip_bounds_what_an_outlier_can_carry():
    frame, _, label = additive(2000)
    member = fitted(encode(frame, label), PLAIN)
    near, far = (member.margin(np.array([[1.0, value, 0.0]]))[0] for value in (50.0, 5e9))
    assert near == far


# The scorecard


def test_evidence_of_a_bin_by_hand():
    """60 of 200 convert. A bin with 30 of 60 and 40 rows of prior at 0.3: 42 of 100; nothing seen: no evidence."""
    hits, seen = np.array([[30.0, 30.0, 0.0]]), np.array([[60.0, 140.0, 0.0]])
    found = fit._evidence(hits, seen, 40.0, 0)[0]
    odds = np.log(0.3 / 0.7)
    assert found[0] == pytest.approx(np.log(0.42 / 0.58) - odds)
    assert found[1] == pytest.approx(np.log(42 / 138) - odds)
    assert found[2] == pytest.approx(0.0, abs=1e-12)


def test_evidence_with_a_direction_is_pooled_where_it_falls_and_the_gap_stays_as_it_is():
    hits, seen = np.array([[20.0, 10.0, 30.0, 1.0]]), np.full((1, 4), 100.0)
    free, rising = (fit._evidence(hits, seen, 5.0, direction)[0] for direction in (0, 1))
    assert free[1] < free[0] < free[2]
    assert rising[:3] == pytest.approx([free[:2].mean(), free[:2].mean(), free[2]])
    assert rising[3] == free[3]
    falling = fit._evidence(hits, seen, 5.0, -1)[0]
    assert (np.diff(falling[:3]) <= 1e-12).all()


def noisy_words(leads_per_level: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """A word that tells nothing, with so many leads under each, and a number that tells much."""
    n = 2000
    word = rng(seed).permutation(np.repeat(np.arange(n // leads_per_level), leads_per_level))
    told = rng(seed + 10).normal(size=n)
    label = (rng(seed + 20).random(n) < sigmoid(-1 + 1.5 * told)).astype("float64")
    return pd.DataFrame({"word": pd.Series([f"w{k}" for k in word], dtype="str"), "told": told}), label


def test_a_feature_with_a_level_per_lead_has_no_weight():
    """Counted on its own rows every level foretells its label; on other leads none of them occurs."""
    frame, label = noisy_words(1, seed=1)
    member = fit.fit_scorecard(encode(frame, label), CARD.model_copy(update={"towards": 0.0}))
    assert not np.any(member.terms["word"]["weights"])
    assert np.ptp(member.terms["told"]["weights"]) > 1


@pytest.mark.parametrize("seed", range(3))
def test_a_feature_with_a_level_per_pair_of_leads_hardly_has_any(seed):
    """What chance gives it is about 1 / sqrt(n p (1 - p)), 0.05 of standard deviation, and twice that in the final
    table, which holds twice the rows; three times that, with the number's own deviation of 1.4, is a ratio of 0.2."""
    frame, label = noisy_words(2, seed)
    rows = encode(frame, label)
    member = fit.fit_scorecard(rows, CARD.model_copy(update={"towards": 0.0, "c": 1.0}))
    spread = member.contributions(rows.matrix)[1].std(axis=0)
    assert spread[0] < 0.2 * spread[1]


def test_rows_of_one_lead_are_counted_in_one_fold():
    place = np.array([7, 3, 3, 9, 7, 7])
    assert fit._folds_of_leads(place, 2).tolist() == [1, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("seed", range(4))
def test_weights_of_a_scorecard_are_never_negative(seed):
    """Two copies of one feature, one with noise, and one of noise alone: with free signs some would be negative."""
    n = 800
    told = rng(seed).normal(size=n)
    frame = pd.DataFrame(
        {"a": told, "b": told + 0.3 * rng(seed + 1).normal(size=n), "noise": rng(seed + 2).normal(size=n)}
    )
    label = (rng(seed + 3).random(n) < sigmoid(told - 1)).astype("float64")
    free = CARD.model_copy(update={"towards": 0.0, "c": 100.0})
    rows = encode(frame, label)
    member = fit.fit_scorecard(rows, free)
    for k, name in enumerate(frame):
        binned = fit._Binned.of(rows.matrix[:, k], None, free.bins)
        hits = np.bincount(binned.place, weights=label, minlength=binned.width + 1)[None]
        seen = np.bincount(binned.place, minlength=binned.width + 1).astype("float64")[None]
        own = fit._evidence(hits, seen, free.prior_rows, 0)[0]
        weights = np.array([*member.terms[name]["weights"], member.terms[name]["missing"]])
        factor = (weights @ own) / (own @ own)
        np.testing.assert_allclose(weights, factor * own, atol=1e-9)
        assert factor >= -1e-12


def test_a_strong_pull_leaves_every_weight_where_it_is_drawn_to():
    frame, _, label = additive(1000)
    rows = encode(frame, label)
    tight, half = (
        fit.fit_scorecard(rows, CARD.model_copy(update={"towards": towards, "c": 1e-9})) for towards in (1.0, 0.5)
    )
    for name in frame:
        np.testing.assert_allclose(
            half.terms[name]["weights"], np.multiply(tight.terms[name]["weights"], 0.5), atol=1e-6
        )


# Directions


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("direction", [1, -1])
def test_a_direction_is_honoured_by_every_family(name, direction):
    """A law that rises and falls again must not be learned where the chance may only move one way."""
    n = 3000
    frame = pd.DataFrame({"bent": rng(6).uniform(-3, 3, n), "free": rng(7).normal(size=n)})
    label = rng(8).random(n) < sigmoid(1.5 - frame["bent"] ** 2 + frame["free"])
    grid = np.column_stack([np.linspace(-4, 4, 161), np.full(161, 0.5)])
    free, held = (
        np.diff(direction * fitted(encode(frame, label, directions=signs), FAMILIES[name]).margin(grid))
        for signs in (None, [direction, 0])
    )
    assert (free < -0.05).any() and (free > 0.05).any()
    assert (held >= -1e-6).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_direction_that_the_law_has_costs_nothing(name):
    n = 4000
    frame = pd.DataFrame({"a": rng(9).uniform(-2, 2, n)})
    label = (rng(10).random(n) < sigmoid(-1 + 1.5 * frame["a"])).astype("float64")
    free, held = (
        ranking_loss(label, member.margin(member.encoder.matrix(frame)))
        for member in (fitted(encode(frame, label, directions=signs), FAMILIES[name], 10) for signs in (None, [1]))
    )
    assert held < ranking_loss(label, np.zeros(n)) - 0.1
    assert held < free + 0.01


def test_a_category_has_no_direction():
    frame, _, label = additive(1000)
    for family in (PLAIN, CARD, TREES):
        free, signed = (fitted(encode(frame, label, directions=signs), family) for signs in ([0, 1, 0], [0, 1, 1]))
        matrix = free.encoder.matrix(frame)
        np.testing.assert_array_equal(free.margin(matrix), signed.margin(matrix))


# Levels as rates


WORDS = pd.DataFrame({"word": pd.Series(["a", "a", "b", "a", "b", None], dtype="str")})
#: Leads 0 to 3; lead 1 is looked at twice.
PLACE = np.array([0, 1, 1, 2, 3, 3])
LABEL = np.array([1.0, 0, 1, 1, 0, 0])


def test_later_rows_get_the_rate_of_all_rows_of_their_level():
    rows = encode(WORDS, LABEL, PLACE)
    # Plain rate 1/2, two rows of prior: a has 2 of 3 and 1 of 2, b has 1 of 2 and 1 of 2.
    assert fit._target_values(rows, 2.0, None) == {"word": pytest.approx([3 / 5, 2 / 4])}


def test_rates_follow_the_weights_of_the_rows():
    rows = encode(WORDS, LABEL, PLACE)
    weight = np.array([2.0, 1, 1, 1, 1, 0])
    # Plain rate (2 + 1 + 1) / 6; a has 3 of 4, b has 1 of 2, each with three rows of prior.
    assert fit._target_values(rows, 3.0, weight) == {"word": pytest.approx([5 / 7, 3 / 5])}


@pytest.mark.parametrize("weight", [None, np.array([2.0, 0.5, 1, 1.5, 0, 1])])
def test_a_learned_row_sees_only_leads_before_it_in_a_random_order(weight):
    """By hand for whatever order was drawn: rows of the level among leads that come before, two rows of prior."""
    rows = encode(WORDS, LABEL, PLACE)
    seed = 5
    order = np.random.default_rng(np.random.SeedSequence([seed, *b"target"])).permutation(4)[PLACE]
    found = fit._ordered_target_values(rows, 2.0, weight, seed)[:, 0]
    counted = np.ones(6) if weight is None else weight
    plain = np.average(LABEL, weights=counted)
    words = WORDS["word"].tolist()
    for k in range(5):
        before = [j for j in range(6) if order[j] < order[k] and words[j] == words[k]]
        hits, seen = (counted * LABEL)[before].sum(), counted[before].sum()
        assert found[k] == pytest.approx((hits + 2 * plain) / (seen + 2))
    assert np.isnan(found[5])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(1, 4))
def test_no_row_sees_its_own_label_or_one_of_its_lead(seed, leads, looks):
    """Turn all labels of a lead; a stranger without a word takes up the difference, so that the plain rate stays."""
    draw = rng(seed)
    place = np.repeat(np.arange(leads + 1), looks)
    word = pd.Series(draw.choice(["a", "b", "c"], len(place)), dtype="str").where(place < leads)
    label = draw.integers(0, 2, len(place)).astype("float64")
    mine, stranger = place == draw.integers(leads), place == leads
    label[stranger] = 1 - label[mine]
    turned = np.where(mine | stranger, 1 - label, label)
    before, after = (
        fit._ordered_target_values(encode(pd.DataFrame({"word": word}), one, place), 2.0, None, 7)[:, 0]
        for one in (label, turned)
    )
    np.testing.assert_array_equal(before[mine], after[mine])
    assert np.isnan(before[stranger]).all() and not np.isnan(before[~stranger]).any()


def test_rates_of_noise_do_not_fool_the_trees(monkeypatch):
    """A level per four leads. With each row's full rate trees would read labels off it, and be wrong on new ones."""
    n = 1000
    word = rng(11).permutation(np.repeat(np.arange(n // 4), 4))
    frame = pd.DataFrame({"word": pd.Series([f"w{k}" for k in word], dtype="str")})
    label, anew = (rng(12).random((2, n)) < 0.3).astype("float64")
    rows = encode(frame, label)
    target = TREES.model_copy(update={"categories": "target"})
    honest = fitted(rows, target)
    full = XGBoostMember.translate(rows.encoder, rows.matrix, honest.values)
    monkeypatch.setattr(fit, "_ordered_target_values", lambda *_: full)
    fooled = fitted(rows, target)
    nothing = ranking_loss(anew, np.zeros(n))
    assert ranking_loss(anew, fooled.margin(rows.matrix)) > nothing + 0.15
    assert ranking_loss(anew, honest.margin(rows.matrix)) < nothing + 0.1


def test_trees_on_rates_carry_the_full_rates_for_later_rows():
    rows = encode(WORDS, LABEL, PLACE)
    member = fitted(rows, TREES.model_copy(update={"categories": "target"}), rounds=1)
    assert member.values == fit._target_values(rows, TREES.target_prior, None)
    assert fitted(rows, TREES, rounds=1).values is None


# Starts


def test_a_start_is_the_last_of_the_first_trials_of_its_family():
    assert fit.start_of(TREES, TUNE) is None and fit.start_of(PLAIN, TUNE) is None and fit.start_of(CARD, TUNE) is None
    logistic, card = (
        fit.start_of(TREES.model_copy(update={"start": name}), TUNE) for name in ("logistic", "scorecard")
    )
    assert logistic == Start(TUNE.logistic.first[-1], TUNE.logistic.clip)
    assert card == Start(TUNE.scorecard.first[-1], TUNE.logistic.clip)


@pytest.mark.parametrize("start", ["scorecard", "logistic"])
@pytest.mark.parametrize("half_life", [0.0, 0.3])
def test_trees_that_hardly_move_are_what_they_start_from(start, half_life):
    frame, _, label = additive(1500)
    rows = encode(frame, label)
    trees = TREES.model_copy(update={"start": start, "learning_rate": 1e-9, "half_life": half_life})
    begin = fit.start_of(trees, TUNE)
    member = fitted(rows, trees, rounds=1)
    alone = fitted(rows, begin.settings.model_copy(update={"half_life": half_life}))
    np.testing.assert_allclose(member.margin(rows.matrix), alone.margin(rows.matrix), atol=1e-6)
    assert member.start == alone
    assert np.ptp(alone.margin(rows.matrix)) > 1


def test_trees_correct_what_their_start_cannot_say():
    """A law of one product: the start knows nothing of it, trees of depth two do."""
    n = 4000
    frame = pd.DataFrame(rng(15).normal(size=(n, 2)), columns=["a", "b"])
    label = (rng(16).random(n) < sigmoid(2 * frame["a"] * frame["b"])).astype("float64")
    rows = encode(frame, label)
    member = fitted(rows, TREES.model_copy(update={"start": "logistic", "max_depth": 2}), rounds=60)
    loss = ranking_loss(label, member.margin(rows.matrix))
    assert loss < ranking_loss(label, member.start.margin(rows.matrix)) - 0.1


@pytest.mark.parametrize("start", ["nothing", "scorecard"])
def test_the_learning_curve_is_that_of_the_member_round_by_round(start):
    frame, _, label = additive(1600)
    rows = encode(frame[:800], label[:800])
    later, after = rows.encoder.matrix(frame[800:]), label[800:]
    settings = TREES.model_copy(update={"start": start, "categories": "target"})
    space = TUNE.xgboost.model_copy(update={"max_rounds": 12, "early_stopping_rounds": 12})
    curve, member = fit.learning_curve(
        rows, later, after, settings, space, start=fit.start_of(settings, TUNE), seed=1, threads=1
    )
    assert len(curve) == 12
    for rounds in (1, 5, 12):
        assert curve[rounds - 1] == pytest.approx(ranking_loss(after, member.margin(later, rounds)), abs=1e-5)


def test_a_curve_ends_where_nothing_was_gained_for_a_while():
    frame, _, label = additive(1200)
    rows = encode(frame[:300], rng(17).permutation(label[:300]))
    space = TUNE.xgboost.model_copy(update={"max_rounds": 200, "early_stopping_rounds": 8})
    curve, _ = fit.learning_curve(
        rows, rows.encoder.matrix(frame[300:]), label[300:], TREES, space, start=None, seed=1, threads=1
    )
    assert len(curve) - 1 - int(np.argmin(curve)) == 8


@pytest.mark.parametrize("settings", FAMILIES.values(), ids=FAMILIES)
def test_settings_survive_plain_data(settings):
    family = {LogisticSettings: "logistic", ScorecardSettings: "scorecard", XGBoostSettings: "xgboost"}[type(settings)]
    assert fit.settings_of(family, settings.model_dump()) == settings


@pytest.mark.parametrize("name", FAMILIES)
def test_columns_without_a_value_and_without_variation_are_no_obstacle(name):
    frame, _, label = additive(400)
    empty = frame.assign(nothing=np.nan, constant=1.0, wordless=pd.Series(None, index=frame.index, dtype="str"))
    rows = encode(empty, label, directions=[0, 0, 0, 1, -1, 0])
    margin = fitted(rows, FAMILIES[name]).margin(rows.matrix)
    assert np.isfinite(margin).all() and np.ptp(margin) > 0.5


# Fitted once


def known_rows() -> Rows:
    value = rng(3).normal(size=300)
    return encode(pd.DataFrame({"a": value}), value + rng(4).normal(size=300) > 0)


def test_trees_begin_from_the_very_member_that_was_tried_by_itself():
    rows, card = known_rows(), TUNE.scorecard.first[-1]
    alone = fit.fit_member(rows, card, clip=4.0, rounds=0, seed=1, threads=1)
    trees = TREES.model_copy(update={"start": "scorecard", "half_life": card.half_life})
    begun = fit.fit_member(rows, trees, clip=4.0, rounds=2, seed=1, threads=1, start=Start(card, clip=4.0))
    assert begun.start is alone
    assert alone == fit.fit_scorecard(known_rows(), card)
    other = fit.fit_member(rows, card.model_copy(update={"bins": 2}), clip=4.0, rounds=0, seed=1, threads=1)
    assert other != alone


def test_a_member_asked_for_from_several_threads_is_fitted_once():
    rows, asked = known_rows(), []

    def slow():
        asked.append(1)
        time.sleep(0.05)
        return fit.fit_scorecard(rows, TUNE.scorecard.first[-1])

    with ThreadPoolExecutor(4) as pool:
        members = list(pool.map(lambda _: rows.once("a card", slow), range(4)))
    assert len(asked) == 1
    assert all(member is members[0] for member in members)


def test_a_fit_that_fails_fails_for_everyone_who_asked():
    rows = known_rows()

    def failing():
        raise ValueError("no outcome of one kind")

    for _ in range(2):
        with pytest.raises(ValueError, match="no outcome"):
            rows.once("a card", failing)
