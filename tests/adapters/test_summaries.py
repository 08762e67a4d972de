"""`leads drift` and the warnings of `leads summary`, on made-up results."""

import pandas as pd
import pytest

from pipeline import params as params_module
from pipeline.adapters import candidates, summaries
from pipeline.errors import ArtefactError
from tests import fake_results


@pytest.fixture
def told(workspace, project_root, store):
    """What `leads drift` says of another history."""

    def say(**history):
        made = fake_results.write(workspace.root, project_root, **history)
        return summaries.drifted(made, params_module.load(made.params))

    return say


def accept(workspace, store):
    params = params_module.load(workspace.params)
    candidate = candidates.collect(workspace, params)
    candidates.log(store, candidate, fake_results.decision(passed=True), fake_results.NO_DRIFT)


def test_without_an_accepted_history_drift_says_so(told):
    assert told() == "no history of demo was accepted yet: there is nothing to compare this one with"


def test_drift_names_the_version_it_compares_with(told, workspace, store):
    accept(workspace, store)
    assert told() == "this is the history behind version 1 of demo"
    assert told(employees=51.0).startswith("nothing differs from the history behind version 1 of demo in ")


def test_drift_is_a_table_and_a_sentence_for_each_warning(told, workspace, store):
    accept(workspace, store)
    text = told(employees=500.0)
    assert "comparisons with the history behind version 1 of demo pass their limits (warnings only):" in text
    assert text.startswith("1 of ")
    table, sentences = text.split("\n\n")[1:]
    assert table.split()[:5] == ["what", "column", "detail", "figure", "limit"]
    assert table.split()[5:7] == ["distribution", "employees"]
    assert sentences.startswith("- `employees` is distributed otherwise among ")


def test_drift_needs_the_results_of_validate_and_of_this_contract(told, workspace):
    workspace.params.write_text(workspace.params.read_text().replace("contract: demo", "contract: online_shoppers"))
    with pytest.raises(ArtefactError, match=r"data/ holds a run of contract demo, params\.yaml names online_shoppers"):
        summaries.drifted(workspace, params_module.load(workspace.params))
    workspace.path("validate/manifest.json").unlink()
    with pytest.raises(ArtefactError, match="run `dvc repro validate` first"):
        summaries.drifted(workspace, params_module.load(workspace.params))


def test_the_summary_shows_every_warning_and_the_dearest_leak():
    price = pd.DataFrame(
        {
            "column": ["deal", "days", "late", "(all leaks)"],
            "verdict": ["leak", "suspect", "leak", "together"],
            "auc_gain": [0.1, 0.2, None, 0.3],
            "sentence": ["With `deal` 0.10.", "With `days` 0.20.", "Not priced.", "With all 0.30."],
        }
    )
    assert summaries._warnings(["First.", "Second."], price) == [
        "Warning            First.",
        "                   Second.",
        "Price of a leak    With `days` 0.20. All: data/evaluate/leak_price.csv",
    ]
    assert summaries._warnings([], price.head(0)) == []
