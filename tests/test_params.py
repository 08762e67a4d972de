"""params.yaml: closed, checked, and every fault named at once."""

import pytest

from pipeline import params
from pipeline.errors import ParamsError


@pytest.fixture
def changed(project_root, tmp_path):
    text = (project_root / "params.yaml").read_text()

    def change(*pairs: tuple[str, str]):
        new = text
        for old, value in pairs:
            assert old in new
            new = new.replace(old, value, 1)
        path = tmp_path / "params.yaml"
        path.write_text(new)
        return path

    return change


def test_the_shipped_file_loads(project_root):
    assert params.load(project_root / "params.yaml").run.contract == "demo"


def test_every_fault_is_named_at_once_with_its_key(changed):
    path = changed(("threads: 2", "threads: 0\n  thread: 3"), ("ages_days: [3, 10, 21, 45]", "ages_days: [10, 3]"))
    with pytest.raises(ParamsError) as error:
        params.load(path)
    message = str(error.value)
    assert "run.threads: Input should be greater than or equal to 1" in message
    assert "run.thread: unknown key" in message
    assert "ages_days must rise" in message
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed: 20260101", "seed: '1'", "run.seed"),
        ("train_share: 0.5", "train_share: 0.9", "must stay below 1"),
        ("shares: {A: 0.1, B: 0.3, C: 0.6, D: 1.0}", "shares: {A: 0.5, B: 0.3}", "rising top shares"),
        (
            "scores: {A: 30.0, B: 15.0, C: 5.0, D: 0.0}",
            "scores: {A: 30.0, B: 40.0, D: 0.0}",
            "falling scores, the last",
        ),
        ("scores: {A: 30.0, B: 15.0, C: 5.0, D: 0.0}", "scores: {A: 30.0, B: 15.0}", "falling scores, the last one 0"),
        ("by: shares\n", "by: hope\n", "calibrate.tiers.by"),
        ("max_depth: [2, 6]", "max_depth: [6, 2]", "xgboost.max_depth: the lower end comes first"),
        ("max_depth: [2, 6]", "max_depth: [2, 9]", "xgboost.max_depth: 9: Input should be less than or equal to 6"),
        ("  bins: [1, 12]", "  bins: [1.5, 12]", "logistic.bins: 1.5: Input should be a valid integer"),
        (
            "min_child_weight: [1, 30]",
            "min_child_weight: [6, 30]",
            "first: min_child_weight of 5 lies outside its range",
        ),
        ("half_lives: [0.0, 0.5, 0.25]", "half_lives: [0.5]", "a half_life of 0 is not among half_lives"),
        ("prior_rows: [1.0, 50.0]", "prior_rows: [50.0, 1.0]", "scorecard.prior_rows: the lower end comes first"),
        ("{scorecard: 2, logistic: 3, xgboost: 7}", "{forest: 3}", "tune.trials.forest"),
        ("{scorecard: 2, logistic: 3, xgboost: 7}", "{}", "tune.trials"),
        ("start: scorecard", "start: forest", "tune.xgboost.first.1.start"),
        ("towards: 0.8, folds: 5", "towards: 1.2, folds: 1", "towards: Input should be less than or equal to 1"),
        ("half_lives: [0.0, 0.5, 0.25]", "half_lives: [-0.5]", "half_lives"),
        ("storage: null", "storage: postgresql://me:secret@host/db", "a password stands in no file"),
        ("storage: null", "storage: host", "tune.storage"),
        ("device: cpu", "device: tpu", "tune.device"),
        ("calibrators: [none, intercept", "calibrators: [isotonic, intercept", "calibrate.calibrators"),
        ("level_blocks: 20", "level_blocks: 2", "calibrate.level_blocks"),
        ("contract: demo", "contract: ../demo", "run.contract"),
        ("newer_days: 28", "newer_days: 0", "register.champion.newer_days"),
        ("slack: {log_loss: 0.002", "slack: {log_loss: -0.1", "register.champion.slack.log_loss"),
        ("max_calibration_error: 0.03", "", "key is missing"),
        ("approvals: 1", "approvals: 0", "register.approvals: Input should be greater than or equal to 1"),
        ("approvals: 1", "approvals: 3", "register.approvals: Input should be less than or equal to 2"),
        ("one_way: 0.5", "one_way: 1.0", "explain.one_way: Input should be less than 1"),
        ("overlap: 0.9", "overlap: 0.0", "evaluate.card.overlap: Input should be greater than 0"),
        ("min_rows: 200, min_z", "min_rows: 0, min_z", "evaluate.card.suggest.min_rows"),
        ("min_z: 3.0", "min_z: -1.0", "evaluate.card.suggest.min_z"),
        ("min_z: 3.0, steps: 10", "min_z: 3.0, steps: 1", "evaluate.card.suggest.steps"),
        ("min_conversions: 30, bands: 5", "min_conversions: 0, bands: 5", "evaluate.card.rates.min_conversions"),
        ("bands: 5", "bands: 5.5", "evaluate.card.rates.bands: Input should be a valid integer"),
        ("prior_conversions: 1.0", "prior_conversions: 0.0", "evaluate.card.rates.prior_conversions"),
        ("bins: 5\n    min_leads: 100", "bins: 1\n    min_leads: 100", "evaluate.segments.bins"),
        ("min_leads: 100", "min_leads: 0", "evaluate.segments.min_leads"),
        (
            "false_discoveries: 0.1\n    # Shares",
            "false_discoveries: 1.0\n    # Shares",
            "evaluate.segments.false_discoveries: Input should be less than 1",
        ),
        ("standard_errors: 3.0", "standard_errors: -1.0", "calibrate.deal_values.standard_errors"),
        ("shares: [0.05, 0.1, 0.2, 0.5]", "shares: [0.5, 0.1]", "evaluate.segments: shares must rise"),
        ("shares: [0.05, 0.1, 0.2, 0.5]", "shares: [0.5, 1.5]", "evaluate.segments.shares.1"),
        (
            "false_discoveries: 0.1\n\nregister",
            "false_discoveries: 0.0\n\nregister",
            "evaluate.tiers.false_discoveries: Input should be greater than 0",
        ),
    ],
)
def test_one_fault(changed, old, new, said):
    with pytest.raises(ParamsError, match=said):
        params.load(changed((old, new)))


@pytest.mark.parametrize(
    ("old", "new", "repeatable"),
    [
        ("device: cpu", "device: cpu", True),
        ("device: cpu", "device: cuda", False),
        ("seconds: null", "seconds: 60.0", False),
        ("storage: null", "storage: postgresql://me@host/db", False),
    ],
)
def test_a_search_by_the_clock_shared_or_on_another_processor_is_not_repeatable(changed, old, new, repeatable):
    assert params.load(changed((old, new))).tune.repeatable is repeatable


def test_a_key_that_stands_twice_is_a_fault_with_its_line(changed):
    with pytest.raises(ParamsError, match=r"line \d+: not valid YAML: the key `seed` stands twice"):
        params.load(changed(("  seed: 20260101", "  seed: 20260101\n  seed: 7")))


def test_an_empty_file_is_told_what_it_lacks(tmp_path):
    (tmp_path / "params.yaml").write_text("")
    with pytest.raises(ParamsError, match="holds no keys"):
        params.load(tmp_path / "params.yaml")


def test_a_file_that_is_not_yaml_or_not_there(tmp_path):
    with pytest.raises(ParamsError, match="no such file"):
        params.load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("run: [1\nseed: 2")
    with pytest.raises(ParamsError, match="line 2: not valid YAML"):
        params.load(tmp_path / "params.yaml")
