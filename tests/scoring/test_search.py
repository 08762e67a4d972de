"""The search: trials in turn that look at earlier ones only, end early where hopeless, and resume after a kill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from pipeline.params import LogisticSettings, Tune, load
from pipeline.scoring import folds, search
from pipeline.scoring.fit import ranking_loss
from pipeline.scoring.search import Judge, Search, Trial

FULL = load(Path(__file__).parents[2] / "params.yaml").tune
#: Trees that cost little, and draws that look at earlier ones from the third trial on.
SMALL = FULL.model_copy(
    update={
        "trials": {"scorecard": 2, "logistic": 4, "xgboost": 5},
        "random_trials": 2,
        "min_conversions": 50,
        "xgboost": FULL.xgboost.model_copy(
            update={"first": FULL.xgboost.first[1:3], "max_rounds": 20, "early_stopping_rounds": 5}
        ),
    }
)


def history(n: int = 1200) -> tuple[pd.DataFrame, pd.DataFrame]:
    generator = np.random.default_rng(3)
    features = pd.DataFrame(
        {
            "a": generator.normal(size=n),
            "b": generator.normal(size=n),
            "word": pd.Series(generator.choice(["x", "y"], n), dtype="str"),
        }
    )
    log_odds = -1 + features["a"] + (features["b"] > 0.5)
    snapshots = pd.DataFrame(
        {
            "lead_id": [f"{k:05d}" for k in range(n)],
            "as_of": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n) // 10, unit="D"),
            "label": (generator.random(n) < 1 / (1 + np.exp(-log_odds))).astype("int8"),
            "position": np.arange(n),
        }
    )
    return snapshots, features


def judge(tune: Tune = SMALL, threads: int = 1) -> Judge:
    snapshots, features = history()
    drawn = folds.draw(snapshots, number=3, first_share=0.5, horizon_days=7, random=False, seed=5)
    return Judge(snapshots, features, drawn, tune, 5, threads, True)


def plan(tune: Tune = SMALL, timed: bool = True) -> Search:
    return Search.of(*history(), tune, 5, timed=timed)


def in_memory(families) -> dict:
    return {family: optuna.create_study(study_name=family) for family in families}


def run(plan: Search, judge: Judge, studies: dict, stop_after: int | None = None, **asked) -> list[Trial]:
    seen: list[Trial] = []

    def report(trial: Trial) -> None:
        seen.append(trial)
        if stop_after is not None and len(seen) == stop_after:
            raise KeyboardInterrupt

    try:
        return plan.run(judge, studies, report, **asked)
    except KeyboardInterrupt:
        return seen


@pytest.fixture(scope="module")
def whole() -> tuple[Judge, list[Trial]]:
    """One search from end to end."""
    one = judge()
    return one, run(plan(), one, in_memory(plan().planned()))


# What is planned


def test_every_family_has_its_number_of_trials():
    assert plan().planned() == {"scorecard": 2, "logistic": 4, "xgboost": 5}
    fewer = SMALL.model_copy(update={"trials": {"scorecard": 1, "logistic": 1, "xgboost": 1}})
    assert plan(fewer).planned() == {"scorecard": 1, "logistic": 1, "xgboost": 1}
    assert plan(SMALL.model_copy(update={"trials": {"logistic": 3}})).planned() == {"logistic": 3}


def test_with_few_conversions_only_the_first_of_the_two_logistic_families_are_tried():
    snapshots, _ = history()
    hits = int(snapshots["label"].sum())
    for needed in (0, 1):
        found = plan(SMALL.model_copy(update={"min_conversions": hits + needed}))
        assert found.needed == needed
        assert (found.planned() == {"scorecard": 1, "logistic": 1}) is bool(needed)


def test_a_shrunken_search_tries_the_first_settings(whole):
    few = plan(SMALL.model_copy(update={"min_conversions": 10_000}))
    trials = run(few, whole[0], in_memory(few.planned()))
    assert [(trial.family, trial.settings) for trial in trials] == [
        ("scorecard", SMALL.scorecard.first[0]),
        ("logistic", SMALL.logistic.first[0]),
    ]


def test_families_are_tried_in_turn():
    assert list(search.schedule({"scorecard": 1, "logistic": 2, "xgboost": 4})) == [
        *("xgboost", "logistic", "xgboost", "scorecard", "xgboost", "logistic", "xgboost")
    ]


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_a_search_cut_short_has_tried_every_family_in_proportion(share):
    planned = {"scorecard": 4, "logistic": 12, "xgboost": 40}
    order = list(search.schedule(planned))
    assert pd.Series(order).value_counts().to_dict() == planned
    begun = order[: round(share * len(order))]
    assert all(abs(begun.count(family) - share * number) <= 1 for family, number in planned.items())


def test_the_schedule_is_kept_and_the_first_trials_are_those_of_the_parameters(whole):
    _, trials = whole
    assert [trial.family for trial in trials] == list(search.schedule(plan().planned()))
    for family, first in (
        ("scorecard", SMALL.scorecard.first),
        ("logistic", SMALL.logistic.first),
        ("xgboost", SMALL.xgboost.first),
    ):
        mine = [trial for trial in trials if trial.family == family]
        assert [trial.number for trial in mine] == list(range(len(mine)))
        assert [trial.settings for trial in mine[: len(first)]] == first
        assert len({trial.settings.model_dump_json() for trial in mine}) == len(mine)


def test_when_asked_to_stop_each_family_has_had_one(whole):
    trials = run(plan(), whole[0], in_memory(plan().planned()), go_on=lambda _: False)
    assert sorted((trial.family, trial.number) for trial in trials) == [
        *(("logistic", 0), ("scorecard", 0), ("xgboost", 0))
    ]


def test_half_lives_are_drawn_only_forward_in_time_and_categories_only_where_there_are_some(whole):
    draws = {}
    for timed, categories in ((True, True), (False, False)):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
        draws[timed] = [
            search.suggest(study.ask(), "xgboost", SMALL, timed=timed, categories=categories) for _ in range(30)
        ]
    assert {draw.half_life for draw in draws[True]} == set(SMALL.half_lives)
    assert {draw.categories for draw in draws[True]} == {"native", "target"}
    assert {draw.start for draw in draws[True]} == {"nothing", "scorecard", "logistic"}
    assert {(draw.half_life, draw.categories) for draw in draws[False]} == {(0.0, "native")}
    snapshots, features = history()
    assert plan().categories
    assert not Search.of(snapshots, features[["a", "b"]], SMALL, 5, timed=True).categories


# Judging


def test_a_loss_is_that_of_the_margins_on_rows_that_were_not_learned_from(whole):
    one, trials = whole
    for trial in trials:
        if not trial.pruned:
            margins = one.margins(trial)
            losses = [ranking_loss(label, margin) for label, margin in zip(one.labels, margins, strict=True)]
            assert trial.losses == pytest.approx(losses)
            assert trial.loss == pytest.approx(np.mean(losses))


def test_a_trial_ends_early_where_it_is_much_worse_than_earlier_ones_on_the_same_folds():
    earlier = [
        Trial("logistic", 0, SMALL.logistic.first[0], [0.5, 0.3], 0),
        Trial("logistic", 1, SMALL.logistic.first[1], [0.4, 0.9], 0),
        # One that ended early itself says nothing.
        Trial("logistic", 2, SMALL.logistic.first[1], [0.1], 0, pruned=True),
    ]
    found = plan(SMALL.model_copy(update={"prune_worse": 0.1}))
    # The best on the first fold is 0.4, on the first two 0.4 = (0.5 + 0.3) / 2.
    for losses, goes_on in (([0.439], True), ([0.441], False), ([0.6, 0.279], True), ([0.6, 0.281], False)):
        assert found._promising(losses, earlier) is goes_on
    assert found._promising([9.9], []) and found._promising([9.9], earlier[2:])


def test_a_pruned_trial_has_the_losses_up_to_there_and_is_never_judged_on_the_last_fold_alone():
    one = judge()
    asked = []

    def goes_on(losses: list[float]) -> bool:
        asked.append(len(losses))
        return len(losses) < 2

    trial = one.judge("logistic", 7, SMALL.logistic.first[0], goes_on)
    assert trial.pruned and len(trial.losses) == 2 and trial.number == 7
    assert asked == [1, 2]
    asked.clear()
    assert not one.judge("logistic", 7, SMALL.logistic.first[0], lambda *_: asked.append(1) or True).pruned
    assert len(asked) == 2


def test_only_trials_of_lower_number_are_looked_at(monkeypatch):
    """Each trial of the tree family is compared with exactly those before it."""
    seen = []

    def promising(self, losses, earlier):
        seen.append((len(losses), [trial.number for trial in earlier]))
        return True

    monkeypatch.setattr(Search, "_promising", promising)
    found = plan(SMALL.model_copy(update={"trials": {"xgboost": 3}}))
    run(found, judge(), in_memory(["xgboost"]))
    assert seen == [(fold, list(range(number))) for number in range(3) for fold in (1, 2)]


def test_rounds_are_where_the_mean_curve_is_lowest_and_a_short_curve_goes_on_at_its_end():
    # Means: 4, 2.5, 2, 2.5, where the second curve ended at 2.
    assert search._common_rounds([np.array([4.0, 3, 2, 3]), np.array([4.0, 2])]) == 3
    assert search._common_rounds([np.array([1.0, 2.0])]) == 1


def test_what_trees_cost_grows_with_their_number_and_depth():
    deep = SMALL.xgboost.first[1]
    assert deep.max_depth == 6
    assert Trial("xgboost", 0, deep, [], 100).cost_us == 100 * search.TREE_COST_US[6]
    assert Trial("scorecard", 0, SMALL.scorecard.first[0], [], 0).cost_us == 1.0
    assert sorted(search.TREE_COST_US.values()) == list(search.TREE_COST_US.values())
    assert set(search.TREE_COST_US) == set(range(1, 7))


# Resuming


def test_a_search_killed_anywhere_resumes_to_the_same_trials(whole, tmp_path):
    """Pruned trials included; the draws of the later trials depend on all earlier ones."""
    _, trials = whole
    assert any(trial.pruned for trial in trials) and not all(trial.pruned for trial in trials)
    families = plan().planned()

    def studies(name: str) -> dict:
        storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / name}.db")
        return {
            family: optuna.create_study(study_name=family, storage=storage, load_if_exists=True) for family in families
        }

    for stop in (4, 8):
        assert run(plan(), judge(), studies("killed"), stop_after=stop) == trials[:stop]
        left = studies("killed")
        left["xgboost"].ask()  # a trial that a killed process left running
    assert run(plan(), judge(threads=2), studies("killed")) == trials
    states = [trial.state for trial in studies("killed")["xgboost"].get_trials(deepcopy=False)]
    assert states.count(optuna.trial.TrialState.FAIL) == 2


def test_a_finished_search_is_read_and_not_run_again(whole, tmp_path):
    one, trials = whole
    studies = in_memory(plan().planned())
    assert run(plan(), one, studies) == trials

    class Idle:
        def judge(self, *_):
            raise AssertionError("nothing is left to judge")

    assert run(plan(), Idle(), studies) == trials


def test_a_search_killed_in_its_first_trial_still_begins_with_the_first_settings(whole):
    first = SMALL.xgboost.first[0]
    studies = in_memory(plan().planned())
    studies["xgboost"].enqueue_trial(first.model_dump())
    studies["xgboost"].ask()
    trials = run(plan(), whole[0], studies)
    assert trials == whole[1]


def test_margins_of_a_trial_that_another_process_finished_are_computed_again(whole):
    one, trials = whole
    anew = judge()
    trial = next(trial for trial in trials if trial.family == "xgboost" and not trial.pruned)
    for mine, theirs in zip(anew.margins(trial), one.margins(trial), strict=True):
        np.testing.assert_array_equal(mine, theirs)


# What comes of it


def test_the_blend_leaves_out_pruned_trials_and_counts_the_same_settings_once(whole):
    one, trials = whole
    weights = one.blend([*trials, trials[0]])
    assert weights.sum() == pytest.approx(1) and (weights >= 0).all()
    assert not any(weight for weight, trial in zip(weights, [*trials, trials[0]], strict=True) if trial.pruned)
    assert weights[-1] == 0
    np.testing.assert_array_equal(weights[:-1], one.blend(trials))


def test_the_blend_is_hardly_worse_than_its_best_member(whole):
    one, trials = whole
    weights = one.blend(trials)
    assert (weights > 0).sum() >= 2
    parts = [
        weight * np.concatenate(one.margins(trial)) for weight, trial in zip(weights, trials, strict=True) if weight
    ]
    label = np.concatenate(one.labels)
    whole_loss = ranking_loss(label, np.sum(parts, axis=0))
    alone = [
        ranking_loss(label, np.concatenate(one.margins(trial)))
        for weight, trial in zip(weights, trials, strict=True)
        if weight
    ]
    assert whole_loss < np.mean(alone)
    assert whole_loss < min(alone) * 1.01


def test_judged_margins_have_the_level_of_all_rows(whole):
    """Moved by the difference of the base rates of all rows and of those learned from, and nothing else."""
    one, trials = whole
    weights = one.blend(trials)
    table = one.judged(trials, weights)
    assert list(table) == ["lead_id", "as_of", "fold", "margin"]
    label = one.snapshots["label"].to_numpy(dtype="float64")
    assert table["lead_id"].tolist() == [
        name for fold in one.folds for name in one.snapshots["lead_id"].iloc[fold.judge]
    ]

    def odds(rate: float) -> float:
        return np.log(rate / (1 - rate))

    for k, fold in enumerate(one.folds):
        own = sum(weight * one.margins(trial)[k] for weight, trial in zip(weights, trials, strict=True) if weight)
        moved = own + odds(label.mean()) - odds(label[fold.learn].mean())
        np.testing.assert_allclose(table.loc[table["fold"] == k, "margin"], moved, atol=1e-12)


def test_contributions_lead_to_the_judged_margins(whole):
    """Two routes to one sum: tables of the members' trees, and the library's own margins."""
    one, trials = whole
    weights = one.blend(trials)
    table, judged = one.contributions(trials, weights), one.judged(trials, weights)
    assert list(table) == ["lead_id", "as_of", "a", "b", "word"]
    pd.testing.assert_frame_equal(table[["lead_id", "as_of"]], judged[["lead_id", "as_of"]])
    rest = judged["margin"] - table[["a", "b", "word"]].sum(axis=1)
    assert rest.groupby(judged["fold"]).agg(np.ptp).max() < 1e-5
    assert table["a"].abs().mean() > 0.3, "what decides has its say"


def test_contributions_are_the_same_where_members_are_fitted_again(whole):
    one, trials = whole
    weights = np.full(len(trials), 1 / len(trials)) * [not trial.pruned for trial in trials]
    anew = judge(threads=2)
    pd.testing.assert_frame_equal(
        anew.contributions(trials, weights), one.contributions(trials, weights), check_exact=True
    )


def test_of_each_family_the_members_of_the_best_trials_are_kept():
    few = judge(SMALL.model_copy(update={"blend": SMALL.blend.model_copy(update={"members": 2})}))
    trials = [
        few.judge("logistic", k, LogisticSettings(bins=2, c=c, half_life=0.0)) for k, c in enumerate((1.0, 1e-4, 0.1))
    ]
    assert trials[1].loss == max(trial.loss for trial in trials)
    assert sorted(loss for loss, _ in few._members.values()) == sorted([trials[0].loss, trials[2].loss])


def test_of_leads_dealt_at_random_every_one_has_contributions():
    snapshots, features = history()
    dealt = folds.draw(snapshots, number=3, first_share=0.5, horizon_days=0, random=True, seed=5)
    one = Judge(snapshots, features, dealt, SMALL, 5, 2, False)
    trial = one.judge("scorecard", 0, SMALL.scorecard.first[0])
    table, judged = one.contributions([trial], np.array([1.0])), one.judged([trial], np.array([1.0]))
    assert sorted(table["lead_id"]) == snapshots["lead_id"].tolist()
    rest = judged["margin"] - table[["a", "b", "word"]].sum(axis=1)
    assert rest.groupby(judged["fold"]).agg(np.ptp).max() < 1e-9


def test_a_value_without_evidence_contributes_nothing():
    snapshots, features = history()
    features = features.assign(word=features["word"].where(np.arange(len(features)) < 1100, "new"))
    drawn = folds.draw(snapshots, number=3, first_share=0.5, horizon_days=7, random=False, seed=5)
    one = Judge(snapshots, features, drawn, SMALL, 5, 1, True)
    trial = one.judge("logistic", 0, SMALL.logistic.first[0])
    table = one.contributions([trial], np.array([1.0])).merge(snapshots.assign(word_=features["word"]))
    assert table.loc[table["word_"] == "new", "word"].eq(0).all()
    assert table.loc[table["word_"] != "new", "word"].ne(0).all()


def test_tables_say_how_each_trial_ended(whole):
    one, trials = whole
    weights = one.blend(trials)
    table = search.trial_table(trials, weights)
    assert table["trial"].tolist() == list(range(len(trials)))
    assert (table["state"] == "pruned").tolist() == [trial.pruned for trial in trials]
    assert table["weight"].tolist() == weights.tolist()
    assert table["log_loss"].tolist() == [trial.loss for trial in trials]
    for row, trial in zip(table.to_dict("records"), trials, strict=True):
        for name, value in trial.values.items():
            assert row[name] == value
        given = [row[f"log_loss_fold_{k}"] for k in range(3)]
        assert given[: len(trial.losses)] == trial.losses
        assert np.isnan(given[len(trial.losses) :]).all()


def test_the_history_counts_whole_trials_only():
    first = SMALL.logistic.first[0]
    trials = [
        Trial("logistic", 0, first, [0.5, 0.5], 0),
        Trial("logistic", 1, first, [0.1], 0, pruned=True),
        Trial("xgboost", 0, SMALL.xgboost.first[0], [0.4, 0.2], 9),
        Trial("xgboost", 1, SMALL.xgboost.first[1], [0.4, 0.4], 9),
    ]
    found = search.history(trials)
    assert found["trial"].tolist() == [0, 2, 3]
    assert found["best_log_loss"].tolist() == pytest.approx([0.5, 0.3, 0.3])


def test_the_counts_of_a_search_that_was_cut_short_repeat_it(whole):
    """Trials, their order, and with it the members and the weights."""
    one, trials = whole
    for left in range(1, len(trials)):
        asked = iter(range(len(trials)))
        found = plan()
        cut = found.run(one, in_memory(found.planned()), lambda _: None, lambda _: next(asked) < left)  # noqa: B023
        again = plan(SMALL.model_copy(update={"trials": search.counts(cut)}))
        assert run(again, one, in_memory(again.planned())) == cut


# Shared by processes


def test_processes_that_share_the_studies_do_each_trial_once(whole):
    """The second begins while the first is in its third trial, and waits for nothing that was finished."""
    shared = SMALL.model_copy(
        update={"storage": "sqlite:///not-opened-here", "trials": {"scorecard": 3, "logistic": 3}}
    )
    found = plan(shared)
    studies = in_memory(found.planned())
    first = run(found, whole[0], studies, stop_after=3)
    reported: list[Trial] = []
    everything = found.run(whole[0], studies, reported.append)
    assert len(first) == 3 and len(reported) == 3
    assert search.counts(everything) == {"logistic": 3, "scorecard": 3}

    def key(trial: Trial) -> tuple[str, int]:
        return trial.family, trial.number

    assert sorted([*first, *reported], key=key) == sorted(everything, key=key)


def test_a_process_waits_for_a_trial_that_another_is_running(whole):
    shared = SMALL.model_copy(update={"storage": "sqlite:///not-opened-here", "trials": {"scorecard": 1}})
    found = plan(shared)
    studies = in_memory(found.planned())
    elsewhere = studies["scorecard"].ask()
    waits = []

    def wait() -> None:
        waits.append(1)
        settings = shared.scorecard.first[0].model_dump()
        for name, value in (("settings", settings), ("losses", [0.5, 0.5, 0.5]), ("rounds", 0)):
            elsewhere.set_user_attr(name, value)
        studies["scorecard"].tell(elsewhere, 0.5)

    (trial,) = found.run(whole[0], studies, lambda _: None, wait=wait)
    assert len(waits) == 1 and trial == Trial("scorecard", 0, shared.scorecard.first[0], [0.5, 0.5, 0.5], 0)
