"""The reviewer's page: everything needed to sign, in one screen."""

import pytest

from pipeline.adapters import approvals, registry
from pipeline.adapters.review_page import Champion, page, within
from tests import fake_results

CHECKS = [
    {"name": "calibration_error", "figure": 0.0078, "limit": 0.03, "passed": True, "sentence": "Well calibrated."},
    {"name": "test_conversions", "figure": 1944.0, "limit": 50.0, "passed": True, "sentence": "Enough."},
    {"name": "time_proof", "figure": None, "limit": 0.0, "passed": False, "sentence": "Nothing proves it."},
]


def shown(decision=None, **changed):
    given = {
        "model": "lead-scoring-demo",
        "version": 3,
        "champion": None,
        "approvals": 1,
        "measured": "Measured on 100 snapshots.",
        "committed": True,
        "study": "abc",
        "scorer": "f" * 64,
    }
    return page(fake_results.decision(passed=True) | (decision or {}), **given | changed)


def test_a_pass_begins_with_version_and_verdict_and_what_to_type():
    text = shown()
    assert text.startswith("**Version 3 of lead-scoring-demo.** **Passed the gate.** Well measured.")
    assert '```sh\nleads approve 3 --by "YOUR NAME" --note "WHY"\nleads reject 3 --by' in text
    assert "There was none when this was judged." in text
    assert "Warnings" not in text and "look twice" not in text and "people must" not in text


def test_a_refusal_has_no_version_nothing_to_sign_and_says_what_was_not_met_first():
    text = shown({"passed": False, "checks": CHECKS}, version=None)
    assert text.startswith("**Refused by the gate.**")
    assert "leads approve" not in text
    checks = text.partition("**Checks of the gate**\n\n")[2].splitlines()
    assert checks[0] == "- **NOT met**, 1 of 3: time proof not measured (limit 0)"
    assert checks[1] == "- met, 2 of 3: calibration error 0.0078 (limit 0.03); test conversions 1,944 (limit 50)"


def test_it_says_up_to_when_outcomes_are_known_where_the_source_has_times():
    told = {"judged_until": "2024-12-31T00:00:00", "newest_recorded": "2025-01-01T09:30:00"}
    text = shown({"freshness": told})
    assert "newest outcome that it was judged on is of 2024-12-31, the newest recorded moment of 2025-01-01." in text
    assert "**Data.**" not in shown()


def test_the_champion_stands_beside_it_with_who_approved_it():
    judged = {"version": 2, "scorer": "a", "identical": False}
    champion = Champion(2, ", approved by A. Reviewer", {"log_loss": 0.41, "lift_10": 2.9})
    text = shown({"champion": judged}, champion=champion, approvals=2)
    assert "It was judged beside version 2, approved by A. Reviewer." in text
    assert "log-loss 0.4100, lift in the top tenth 2.90." in text
    assert "leads diff 2 3\nleads approve 3" in text
    assert "2 people must approve it." in text
    assert "judged beside version 2, which is gone" in shown({"champion": judged})
    same = shown({"champion": judged | {"identical": True}}, version=2, champion=champion)
    assert "This is the scorer of version 2" in same and "leads approve" not in same


def test_warnings_and_reasons_to_look_twice_are_lists():
    text = shown({"warnings": ["Drift."], "look_twice": ["One criterion misleads."]}, committed=False)
    assert "**Warnings**, which the gate does not weigh:\n\n- Drift." in text
    assert "**Reasons to look twice**\n\n- One criterion misleads.\n- It was made by code with changes" in text


@pytest.mark.parametrize("checks", [30])
def test_one_screen_holds_it(checks):
    text = shown({"checks": [CHECKS[0] | {"name": f"check_{k}"} for k in range(checks)], "look_twice": ["x"] * 8})
    assert len(text.splitlines()) < 45


def test_the_run_of_a_version_carries_its_page_and_names_the_champion(store, log_new):
    log_new(store, weight=1.0)
    approvals.approve(store, "demo", 1, "A. Reviewer", "why", asked=1)
    first = registry.find(store, "demo", 1)
    registration = log_new(store, weight=2.0, champion={"version": 1, "scorer": first.scorer, "identical": False})
    note = store.client.get_run(registration.run_id).data.tags["mlflow.note.content"]
    assert note.startswith("**Version 2 of lead-scoring-demo.** **Passed the gate.**")
    assert "judged beside version 1, approved by A. Reviewer. Its figures on the test window of its own run:" in note
    assert "leads diff 1 2\nleads approve 2" in note
    version = store.client.get_model_version("lead-scoring-demo", "2")
    assert version.description == note


def test_a_page_too_long_for_a_version_ends_at_a_paragraph_and_says_where_the_rest_is():
    text = "\n\n".join(["a" * 30, "b" * 30, "c" * 30])
    assert within(text, len(text)) == text
    assert within(text, len(text) - 1) == f"{'a' * 30}\n\nThe rest stands in the description of its run."
