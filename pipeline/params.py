"""params.yaml as frozen types: one class per section, one section per stage.

Unknown keys are refused, every range is checked, and nothing has a default here: params.yaml is the only place a number
lives. DVC tracks the same keys, so a changed value reruns exactly the stages that read it.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import ParamsError

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Family = Literal["scorecard", "logistic", "xgboost"]


class Section(BaseModel):
    """A section of params.yaml: closed, strict about types, and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Run(Section):
    """What every stage shares."""

    contract: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    threads: Annotated[int, Field(ge=1, le=256)]


class Demo(Section):
    """Size of the built-in CRM log."""

    leads: Annotated[int, Field(ge=200)]
    months: Annotated[int, Field(ge=6, le=60)]
    dirty_share: Annotated[float, Field(ge=0, le=0.1)]


class NewestMoment(Section):
    """Which moments of a file are believed when its newest is sought."""

    outlier_share: Annotated[float, Field(gt=0, lt=0.5)]
    slack_days: Annotated[int, Field(ge=0)]
    slack_share: Share


class Personal(Section):
    """What is rare, common or odd in a column where names are looked for."""

    few_rows: Annotated[int, Field(ge=2)]
    common_share: Share
    shared_share: Share
    odd_share: Share


class Ingest(Section):
    max_file_mib: Positive
    newest: NewestMoment
    personal: Personal
    demo: Demo


class Limits(Section):
    """Two limits on one figure: what weighs as a leak, and what only makes a suspect."""

    leak: Share
    suspect: Share


class Power(Limits):
    """Limits on what a column tells, as its gain or its separation; see `pipeline.leads.evidence`."""

    certain: Share
    alone: Share
    times_rest: Annotated[float, Field(gt=1)]
    floor: Share


class Deciding(Limits):
    """Values that decide: the rate from which leads "nearly all" convert, and what such values must cover."""

    rate: Annotated[float, Field(gt=0.5, lt=1)]
    never: Share


class Collapse(Section):
    """A gain that matters, and the part of it that must remain on newer leads."""

    gain: Share
    remains: Share


class Leaks(Section):
    """How columns that know the outcome are found; see `pipeline.leads.evidence`."""

    max_rows: Positive
    min_rows: Positive
    bins: Annotated[int, Field(ge=2)]
    blocks: Positive
    folds: Annotated[int, Field(ge=2)]
    prior_rows: Number
    filled: Limits
    fill_gap: Share
    power: Power
    separation: Power
    deciding: Deciding
    changed: Limits
    collapse: Collapse
    stands_in: Limits


class Profile(Section):
    """What is kept of a history to compare later ones with; see `pipeline.leads.drift`."""

    min_count: Positive
    values: Positive
    steps: Annotated[int, Field(ge=2, le=100)]
    recent_days: Positive


class Validate(Section):
    max_refused_share: Share
    profile: Profile
    leaks: Leaks


class Maturity(Section):
    """How long conversions take: the horizons that may be suggested, and what a sound one catches."""

    horizons_days: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    enough_share: Annotated[float, Field(gt=0, lt=1)]
    little_share: Share
    window_share: Annotated[float, Field(gt=0, le=1)]
    min_watched: Positive

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if sorted(set(self.horizons_days)) != self.horizons_days:
            raise ValueError("horizons_days must rise and hold no value twice")
        if self.little_share > self.enough_share:
            raise ValueError("little_share must not exceed enough_share")
        return self


class Recording(Section):
    """When a stretch of a history counts as one in which outcomes were not recorded, or not yet."""

    absent_share: Annotated[float, Field(gt=0, lt=0.5)]
    growth_share: Annotated[float, Field(gt=0, le=0.25)]
    late_share: Annotated[float, Field(gt=0, lt=1)]
    min_expected: Annotated[float, Field(gt=0)]


class Periods(Section):
    """When a column tells the period rather than the lead; see `pipeline.leads.periods`."""

    max_share: Annotated[float, Field(gt=0, le=1)]
    blocks: Annotated[int, Field(ge=2)]
    min_rows: Positive


class Featurize(Section):
    """Snapshots, their ages and windows, and the splits in time."""

    ages_days: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    windows_days: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    train_share: Annotated[float, Field(gt=0, lt=1)]
    calibrate_share: Annotated[float, Field(gt=0, lt=1)]
    time_proof_samples: Positive
    periods: Periods
    maturity: Maturity
    recording: Recording

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.train_share + self.calibrate_share >= 1:
            raise ValueError("train_share + calibrate_share must stay below 1: the rest is the test window")
        for name, days in (("ages_days", self.ages_days), ("windows_days", self.windows_days)):
            if sorted(set(days)) != days:
                raise ValueError(f"{name} must rise and hold no value twice")
        return self


Range = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=2, max_length=2)]
Number = Annotated[float, Field(gt=0)]


HalfLife = Annotated[float, Field(ge=0)]


class LogisticSettings(Section):
    """Settings of one logistic trial: bins per number, the inverse strength of the ridge penalty, and the share of the
    learned history after which a row counts half (0: all count alike)."""

    bins: Annotated[int, Field(ge=1, le=50)]
    c: Number
    half_life: HalfLife


class ScorecardSettings(Section):
    """Settings of one scorecard trial.

    `prior_rows`: rows at the plain rate that are added to every bin. `c`: inverse strength of the pull of a feature's
    weight towards `towards`. `folds`: parts of the leads that a feature's evidence is counted apart on.
    """

    bins: Annotated[int, Field(ge=1, le=50)]
    prior_rows: Number
    c: Number
    towards: Annotated[float, Field(ge=0, le=1)]
    folds: Annotated[int, Field(ge=2, le=20)]
    half_life: HalfLife


class XGBoostSettings(Section):
    """Settings of one XGBoost trial, under XGBoost's own names.

    `start`: what the trees correct: nothing, or a member of a logistic family, as shrunken as the last of its first
    trials. `categories`: they enter as they are (`native`), or as the conversion rate of their level among other leads
    (`target`), drawn to the plain rate by `target_prior` rows.
    """

    max_depth: Annotated[int, Field(ge=1, le=6)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    min_child_weight: Number
    subsample: Annotated[float, Field(gt=0, le=1)]
    colsample_bytree: Annotated[float, Field(gt=0, le=1)]
    colsample_bynode: Annotated[float, Field(gt=0, le=1)]
    reg_lambda: Number
    start: Literal["nothing", "scorecard", "logistic"]
    categories: Literal["native", "target"]
    target_prior: Number
    half_life: HalfLife


class LogisticSpace(Section):
    """Where the logistic search begins, and the ranges it draws from."""

    first: Annotated[list[LogisticSettings], Field(min_length=1)]
    bins: Range
    c: Range
    clip: Number


class ScorecardSpace(Section):
    """Where the scorecard search begins, and the ranges it draws from."""

    first: Annotated[list[ScorecardSettings], Field(min_length=1)]
    bins: Range
    prior_rows: Range
    c: Range


class XGBoostSpace(Section):
    """Where the XGBoost search begins, and the ranges it draws from."""

    first: Annotated[list[XGBoostSettings], Field(min_length=1)]
    max_depth: Range
    learning_rate: Range
    min_child_weight: Range
    subsample: Range
    colsample_bytree: Range
    colsample_bynode: Range
    reg_lambda: Range
    max_rounds: Positive
    early_stopping_rounds: Positive


class Blend(Section):
    """Which trials become members of the margin, and with what weight; see `pipeline.scoring.blend`."""

    near: Annotated[float, Field(ge=0, lt=1)]
    near_most: Positive
    patience: Number
    resamples: Positive
    least_weight: Annotated[float, Field(ge=0, lt=0.5)]
    members: Positive
    cost_us: Number


class Tune(Section):
    """The search: how many trials per family, judged on how many folds, over which settings."""

    max_rows: Annotated[int, Field(ge=100)]
    seconds: Number | None
    storage: Annotated[str, Field(pattern=r"^[a-z0-9+]+://")] | None
    device: Literal["cpu", "cuda"]
    trials: Annotated[dict[Family, Positive], Field(min_length=1)]
    random_trials: Positive
    folds: Annotated[int, Field(ge=2, le=10)]
    first_fold_share: Annotated[float, Field(gt=0, lt=1)]
    prune_worse: Annotated[float, Field(ge=0)]
    min_conversions: Positive
    half_lives: Annotated[list[HalfLife], Field(min_length=1)]
    blend: Blend
    scorecard: ScorecardSpace
    logistic: LogisticSpace
    xgboost: XGBoostSpace

    @model_validator(mode="after")
    def _no_password(self) -> Self:
        if self.storage is not None and "@" in self.storage and ":" in self.storage.split("//")[1].split("@")[0]:
            raise ValueError("storage: a password stands in no file that is committed; use ~/.pgpass or PGPASSWORD")
        return self

    @property
    def repeatable(self) -> bool:
        """Whether the same input gives the same trials: no clock, no other process, no other kind of processor."""
        return self.seconds is None and self.storage is None and self.device == "cpu"

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for family in get_args(Family):
            space = getattr(self, family)
            ranges = {
                name: value for name, value in space.model_dump().items() if name in type(space.first[0]).model_fields
            }
            for name, bounds in ranges.items():
                if bounds[0] > bounds[1]:
                    raise ValueError(f"{family}.{name}: the lower end comes first")
                for end in bounds:
                    try:
                        type(space.first[0]).model_validate(space.first[0].model_dump() | {name: end}, strict=False)
                    except ValidationError as fault:
                        raise ValueError(f"{family}.{name}: {end:g}: {fault.errors()[0]['msg']}") from None
                for settings in space.first:
                    if not bounds[0] <= getattr(settings, name) <= bounds[1]:
                        raise ValueError(
                            f"{family}.first: {name} of {getattr(settings, name):g} lies outside its range"
                        )
            for settings in space.first:
                if settings.half_life not in self.half_lives:
                    raise ValueError(f"{family}.first: a half_life of {settings.half_life:g} is not among half_lives")
        return self


class Train(Section):
    """How the settings found become members of the margin, and when there is nothing to learn.

    `min_signal`: how many standard errors the ranking out of sample must lie above chance, or else `max_chance`: how
    often, in `deals` deals, chance may bring columns and outcome together as they are.
    """

    base_rows: Positive
    min_signal: Annotated[float, Field(ge=0)]
    max_chance: Annotated[float, Field(gt=0, lt=1)]
    deals: Annotated[int, Field(ge=99)]


CalibratorKind = Literal["none", "intercept", "sigmoid", "beta"]


class DealValues(Section):
    """From what on criteria part past deals; see `pipeline.scoring.deal_values`."""

    bins: Annotated[int, Field(ge=2, le=50)]
    standard_errors: Annotated[float, Field(ge=0)]


class Tiers(Section):
    """How tiers are cut: by top share of the calibrate snapshots, by fixed scores, or by what sales can work and what
    it is worth, as the playbook states it."""

    by: Literal["shares", "scores", "worth"]
    shares: Annotated[dict[str, Share], Field(min_length=1)]
    scores: Annotated[dict[str, Annotated[float, Field(ge=0, le=100)]], Field(min_length=1)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        shares, scores = list(self.shares.values()), list(self.scores.values())
        if sorted(set(shares)) != shares or shares[-1] != 1.0:
            raise ValueError("shares must name rising top shares of the leads, the last one 1.0")
        if sorted(set(scores), reverse=True) != scores or scores[-1] != 0.0:
            raise ValueError("scores must name falling scores, the last one 0")
        return self


class Calibrate(Section):
    """Choice of calibrator and level, reliability bins, the interval, where tiers begin, and grades."""

    calibrators: Annotated[list[CalibratorKind], Field(min_length=1)]
    level_blocks: Annotated[int, Field(ge=5)]
    level_evidence: Annotated[float, Field(ge=0)]
    steps: Annotated[int, Field(ge=2, le=50)]
    max_shift: Number
    min_conversions: Positive
    bins: Annotated[int, Field(ge=2, le=50)]
    interval_level: Annotated[float, Field(gt=0.5, lt=1)]
    tiers: Tiers
    grades: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1, max_length=8)]
    grade_rows: Annotated[int, Field(ge=100)]
    deal_values: DealValues

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if sorted(set(self.grades)) != self.grades:
            raise ValueError("grades must be rising top shares of the leads")
        return self


class Explain(Section):
    """How many rows, leads and reasons are shown, and how what was learned is judged on later leads."""

    sample_rows: Positive
    waterfalls: Annotated[int, Field(ge=1, le=20)]
    reasons: Positive
    bins: Annotated[int, Field(ge=2, le=50)]
    interval_level: Annotated[float, Field(gt=0.5, lt=1)]
    min_conversions: Positive
    one_way: Annotated[float, Field(ge=0, lt=1)]


class LeakPrice(Section):
    """On what, and with what system, the price of a leak is measured; see `pipeline.scoring.leak_price`."""

    columns: Positive
    snapshots: Positive
    min_rows_per_value: Positive
    rounds: Positive
    xgboost: XGBoostSettings

    @model_validator(mode="after")
    def _plain(self) -> Self:
        if (self.xgboost.start, self.xgboost.half_life) != ("nothing", 0.0):
            raise ValueError("xgboost: a leak is priced with plain trees: start is nothing, half_life 0")
        return self


class CardSuggestion(Section):
    """Which conditions `leads card suggest` tries and proposes; see `pipeline.scoring.card_suggest`."""

    min_rows: Positive
    min_z: Number
    steps: Annotated[int, Field(ge=2, le=100)]


class CardRates(Section):
    """How `leads card score` tells what earlier leads did; see `pipeline.scoring.card_ranking`."""

    min_conversions: Positive
    bands: Annotated[int, Field(ge=1, le=50)]
    prior_conversions: Number


class CardLimits(Section):
    """When a points card's criteria overlap, what is suggested for it, and what earlier leads say of its points."""

    overlap: Annotated[float, Field(gt=0, le=1)]
    suggest: CardSuggestion
    rates: CardRates


class SegmentLimits(Section):
    """What `leads segments` looks at and names; see `pipeline.scoring.segments` and `pipeline.scoring.deal_values`."""

    bins: Annotated[int, Field(ge=2, le=50)]
    min_leads: Positive
    false_discoveries: Annotated[float, Field(gt=0, lt=1)]
    shares: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if sorted(set(self.shares)) != self.shares:
            raise ValueError("shares must rise and hold no value twice")
        return self


class TierLimits(Section):
    """When a tier is said to have moved; see `pipeline.scoring.tier_history`."""

    false_discoveries: Annotated[float, Field(gt=0, lt=1)]


class Evaluate(Section):
    bins: Annotated[int, Field(ge=2, le=50)]
    bootstrap_samples: Annotated[int, Field(ge=50)]
    interval_level: Annotated[float, Field(gt=0.5, lt=1)]
    reliability_level: Annotated[float, Field(gt=0.5, lt=1)]
    slice_min_rows: Positive
    max_shift: Number
    leak_price: LeakPrice
    card: CardLimits
    segments: SegmentLimits
    tiers: TierLimits


class Drift(Section):
    """From where on a history is said to differ from the accepted one; see `pipeline.leads.drift`."""

    psi: Number
    bins: Annotated[int, Field(ge=2, le=50)]
    missing: Number
    category: Share
    volume: Annotated[float, Field(gt=1)]
    volume_months: Annotated[int, Field(ge=2)]
    conversion: Annotated[float, Field(gt=1)]
    false_alarm: Annotated[float, Field(gt=0, lt=0.5)]


class Slack(Section):
    """By how much a candidate may be worse than the champion and still count as no worse."""

    log_loss: Annotated[float, Field(ge=0, lt=1)]
    lift_10: Annotated[float, Field(ge=0)]
    calibration_error: Annotated[float, Field(ge=0, lt=1)]
    slice_gap: Annotated[float, Field(ge=0, lt=1)]


class Champion(Section):
    """When a candidate may follow the champion; see `pipeline.scoring.challenge`."""

    newer_days: Annotated[int, Field(ge=1)]
    slack: Slack


class Freshness(Section):
    """Age of the newest outcome that a candidate was judged on, in days: before the newest moment of the history, and
    before the day of approval (None: any)."""

    judged_within_days: Positive
    max_age_days: Positive | None


class Register(Section):
    """Limits of the gate, and of the warnings beside it, and how many people approve."""

    max_calibration_error: Share
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    bootstrap_samples: Annotated[int, Field(ge=50)]
    min_test_conversions: Positive
    champion: Champion
    freshness: Freshness
    approvals: Annotated[int, Field(ge=1, le=2)]
    drift: Drift


class Params(Section):
    run: Run
    ingest: Ingest
    validate_: Annotated[Validate, Field(alias="validate")]
    featurize: Featurize
    tune: Tune
    train: Train
    calibrate: Calibrate
    explain: Explain
    evaluate: Evaluate
    register_: Annotated[Register, Field(alias="register")]


def problems(error: ValidationError, file: str) -> str:
    """Every fault of a checked YAML file, one line each: `file: key: what is wrong`."""
    lines = []
    for fault in error.errors(include_url=False, include_context=False):
        key = ".".join(str(part) for part in fault["loc"]) or "(the whole file)"
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            message = "unknown key; remove it or correct its spelling"
        elif fault["type"] in ("model_type", "dict_type") and not fault["loc"]:
            message = "holds no keys; it must be a mapping of sections"
        elif fault["type"] == "missing":
            message = "key is missing; every value is stated in this file"
        lines.append(f"{file}: {key}: {message}")
    return "\n".join(lines)


class _OneKey(yaml.SafeLoader):
    """YAML in which a key that stands twice is a fault: the library alone would keep the last one in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key `{name}` stands twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def load_yaml(path: Path, error: type[ParamsError] | type[Exception]) -> object:
    """Parse one YAML file; raise `error` with the place of the fault."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise error(f"{path}: no such file.") from None
    except UnicodeDecodeError as fault:
        raise error(f"{path}: not UTF-8 text (byte {fault.start}).") from None
    try:
        return yaml.load(text, _OneKey)
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise error(f"{path}{place}: not valid YAML: {getattr(fault, 'problem', fault)}.") from None


def load(path: Path) -> Params:
    """Read and check params.yaml.

    Raises:
        ParamsError: the file is missing, is not YAML, or holds an unknown, missing or out-of-range value; every fault
            is listed at once.
    """
    content = load_yaml(path, ParamsError)
    try:
        return Params.model_validate(content)
    except ValidationError as fault:
        raise ParamsError(problems(fault, str(path))) from None
