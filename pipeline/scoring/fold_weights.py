"""What each criterion added before the test window: fold by fold of the search, on rows that the members had not seen.

One window of later leads says whether a criterion adds there; several stretches before it say whether it does as a
rule. The members are those of the folds, under the settings of the blend, so that what is judged is what was learned at
the time, not what is known today.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.params import Explain
from pipeline.scoring import weights

KEY = ["lead_id", "as_of"]

#: Columns of `by_fold`.
COLUMNS = (
    "fold",
    "first_as_of",
    "last_as_of",
    "criterion",
    "rows",
    "conversions",
    "direction",
    "mean_absolute_log_odds",
    "adds",
    "adds_low",
    "adds_high",
    "verdict",
    "slope",
    "slope_low",
    "slope_high",
    "changed_sign",
)

OPPOSITE = {"rising": "falling", "falling": "rising"}


def by_fold(
    judged: pd.DataFrame,
    contributions: pd.DataFrame,
    snapshots: pd.DataFrame,
    features: Sequence[dict[str, str]],
    params: Explain,
) -> pd.DataFrame:
    """Every criterion in every fold, as `weights.learned` judges it in the test window.

    Log-odds are the sum of the contributions, not calibrated: all that is judged here is taken at the best intercept.

    Args:
        judged: `lead_id`, `as_of` and `fold` of the rows judged. `contributions`: the same rows in their order, in
            log-odds by members that had not seen them, one column per feature.
        snapshots: `lead_id`, `as_of`, `label` and features of these rows and possibly others.

    Returns:
        The columns of `COLUMNS`, one row per fold and criterion: `first_as_of` and `last_as_of` of its rows,
        `direction` (the sense in which the fold's members had learned it, see `weights.directions`), and what
        `weights.adds` and `weights.by_period` say.
    """
    rows = judged[KEY].merge(snapshots, on=KEY, how="left", validate="one_to_one")
    fold = judged["fold"].to_numpy()
    tables = []
    for number in np.unique(fold):
        mine, parts = (table[fold == number].reset_index(drop=True) for table in (rows, contributions))
        label, lead = mine["label"].to_numpy(dtype="float64"), mine["lead_id"].to_numpy()
        terms = weights.terms(parts, features)
        log_odds = terms.sum(axis=1).to_numpy()
        found = weights.adds(label, log_odds, terms, lead, level=params.interval_level)
        steady = weights.by_period(
            *(label, log_odds, terms, lead, np.full(len(mine), number)),
            level=params.interval_level,
            min_conversions=params.min_conversions,
        )
        sense = weights.directions(mine, parts, features, bins=params.bins, one_way=params.one_way)
        tables.append(
            found.merge(steady, on="criterion").assign(
                fold=number,
                first_as_of=mine["as_of"].min(),
                last_as_of=mine["as_of"].max(),
                direction=found["criterion"].map(sense),
            )[list(COLUMNS)]
        )
    return pd.concat(tables, ignore_index=True)


def none() -> pd.DataFrame:
    """The table of `by_fold` where no fold can be judged: no rows."""
    return pd.DataFrame(columns=list(COLUMNS))


def over_folds(found: pd.DataFrame, learned: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """What each criterion added over the folds, beside what it adds in the test window.

    Folds count alike, however many rows they have, and the interval is Student's over them: mean -+ t * s / sqrt(k),
    with s the standard deviation of the k gains and t of k - 1 degrees of freedom. It holds what varies between
    stretches of time as well as between leads. Folds share some of the rows that they learned from, and none of those
    that they are judged on.

    Example: gains of 1, 2 and 3 at level 0.9 give 2 -+ 2.920 * 1 / sqrt(3), that is 0.314 to 3.686.

    Args:
        found: what `by_fold` returned. `learned`: `criterion`, `direction` and `verdict` in the test window.

    Returns:
        One row per criterion of `learned`: `folds` (how many), `folds_adds` with `folds_adds_low` and
        `folds_adds_high` (NaN where there are fewer than two folds), `folds_verdict` (see `weights.verdict`; "" without
        an interval), `folds_turned` (in how many it worked the other way round, or had been learned in the opposite
        sense), and `agrees`: "yes" where both verdicts are the same, "no" where one adds and the other misleads, "in
        part" where only one of the intervals holds 0, and "" where there is no verdict over the folds.
    """
    direction = dict(zip(learned["criterion"], learned["direction"], strict=True))
    entries = []
    for name, verdict in zip(learned["criterion"], learned["verdict"], strict=True):
        mine = found[found["criterion"] == name]
        low, mean, high = _student(mine["adds"].to_numpy(dtype="float64"), level)
        said = weights.verdict(low, high) if len(mine) > 1 else ""
        turned = mine["changed_sign"].astype("bool") | (mine["direction"] == OPPOSITE.get(direction[name]))
        entries.append([name, len(mine), mean, low, high, said, int(turned.sum()), _agrees(said, verdict)])
    names = ["folds", "folds_adds", "folds_adds_low", "folds_adds_high", "folds_verdict", "folds_turned", "agrees"]
    return pd.DataFrame(entries, columns=["criterion", *names])


def _agrees(over_folds: str, in_test: str) -> str:
    if not over_folds:
        return ""
    if over_folds == in_test:
        return "yes"
    return "in part" if weights.NOTHING in (over_folds, in_test) else "no"


def _student(gains: np.ndarray, level: float) -> tuple[float, float, float]:
    """Mean of the folds between the ends of its interval; NaN for what too few folds leave unknown."""
    if not len(gains):
        return np.nan, np.nan, np.nan
    mean = float(gains.mean())
    if len(gains) == 1:
        return np.nan, mean, np.nan
    half = float(stats.t.ppf(0.5 + level / 2, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains)))
    return mean - half, mean, mean + half


def sentence(found: pd.DataFrame) -> str:
    """What `over_folds` comes to, in words; where no fold could be judged, why not."""
    if not found["folds"].any():
        return "no criterion is judged fold by fold: the scorer has no members, and no criterion has a say in it"
    counted = found["agrees"].value_counts()
    idle = found.loc[(found["agrees"] == "yes") & (found["folds_verdict"] == weights.NOTHING), "criterion"].tolist()
    return (
        f"over the {found['folds'].max()} folds before the test window {counted.get('yes', 0)} of {len(found)} "
        f"criteria get the verdict that they get in it, {counted.get('no', 0)} the opposite one; "
        f"{len(idle)} add nothing in either" + (f": {', '.join(idle)}" if idle else "")
    )
