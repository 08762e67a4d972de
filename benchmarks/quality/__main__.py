"""Our chances beside those of rivals, on the same rows.

    python -m benchmarks.quality                     every set, every rival, 150 s for each system that searches
    python -m benchmarks.quality bank_forward --rivals flaml catboost --seconds 60
    python -m benchmarks.quality --train TRAIN.csv --test TEST.csv --target y --time-ordered --drop duration

Environments are made and rivals are run where the cache does not have them. One table per set goes to the terminal;
where ours and every rival had the default seconds, results.csv beside this file is brought up to date.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.quality import measures, sets, systems
from benchmarks.quality.environments import CACHE, HERE
from benchmarks.quality.sets import Pair
from benchmarks.quality.systems import OURS, Answer

RESULTS = HERE / "results.csv"
#: For every system that searches, in results.csv.
SECONDS = 150
#: The chances of the law that made the rows, where one did.
LAW = "the law"
#: Values that say "converted" without being named.
POSITIVE = {"1", "1.0", "true", "yes", "y"}
NEGATIVE = {"0", "0.0", "false", "no", "n"}


def rows_of(pair: Pair, answers: dict[str, Answer], seed: int) -> pd.DataFrame:
    """One row per system: measures on the test rows and, for all but ours, ours less theirs with its interval.

    Ours first, rivals by rising log-loss, those without an answer last.
    """
    outcome = pair.test[pair.target].to_numpy(dtype="int64")
    chances = {name: one.chance for name, one in answers.items() if one.chance is not None}
    if pair.law is not None:
        chances[LAW] = pair.law
    own = chances.get(OURS)
    others = {name: chance for name, chance in chances.items() if name != OURS}
    compared = {} if own is None or not others else measures.differences(outcome, own, others, seed)
    rows = []
    for name in [*answers, *([LAW] if pair.law is not None else [])]:
        row: dict[str, object] = {
            "set": pair.name,
            "time_ordered": pair.time_ordered,
            "train_rows": len(pair.train),
            "test_rows": len(pair.test),
            "columns": pair.train.shape[1] - 1 - len(pair.drop),
            "train_rate": float(pair.train[pair.target].mean()),
            "test_rate": float(outcome.mean()),
            "system": name,
        }
        if name in chances:
            chance = chances[name]
            row |= {
                "log_loss": float(measures.row_losses(outcome, chance).mean()),
                "auc": measures.auc(outcome, chance),
                "ece": measures.calibration_error(outcome, chance),
                "bins_held": measures.bins_held(outcome, chance),
            }
        if name in compared:
            for measure, one in zip(("log_loss", "auc"), compared[name], strict=True):
                row |= {
                    f"ours_less_theirs_{measure}": one.value,
                    f"{measure}_low": one.low,
                    f"{measure}_high": one.high,
                }
        if name in answers:
            one = answers[name]
            row |= {"seconds": one.seconds, "processor_seconds": one.processor_seconds, "note": one.reason}
        rows.append(row)
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    place = table["system"].map({OURS: 0}).fillna(1)
    return table.assign(place=place).sort_values(["place", "log_loss"], kind="stable").drop(columns="place")


COLUMNS = [
    "set", "time_ordered", "train_rows", "test_rows", "columns", "train_rate", "test_rate", "system", "log_loss", "auc",
    "ece", "bins_held", "seconds", "processor_seconds", "ours_less_theirs_log_loss", "log_loss_low", "log_loss_high",
    "ours_less_theirs_auc", "auc_low", "auc_high", "note",
]  # fmt: skip


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """One row per set that ours answered: against the rival that is best by log-loss, and the one best by AUC.

    The best rival is picked after the fact, on the test rows: where several are about as good, this favours them.
    """
    found = []
    for name, part in table.groupby("set", sort=False):
        rivals = part[~part["system"].isin([OURS, LAW]) & part["log_loss"].notna()]
        if not part.loc[part["system"] == OURS, "log_loss"].notna().any() or rivals.empty:
            continue
        row: dict[str, object] = {"set": name}
        for measure, lower in (("log_loss", True), ("auc", False)):
            best = rivals.loc[rivals[measure].idxmin() if lower else rivals[measure].idxmax()]
            difference = difference_of(best, measure)
            row |= {
                f"best by {measure}": best["system"],
                f"{measure}: ours less theirs": spelled(difference),
                f"{measure}": measures.verdict(difference, lower_is_better=lower),
            }
        found.append(row)
    return pd.DataFrame(found)


def difference_of(row: pd.Series, measure: str) -> measures.Difference:
    """The difference that a row of a set's table holds; not a number where there is none."""
    names = [f"ours_less_theirs_{measure}", f"{measure}_low", f"{measure}_high"]
    return measures.Difference(*(float(row[column]) for column in names))


def spelled(one: measures.Difference) -> str:
    """As text: the value, and its interval in brackets."""
    return f"{one.value:+.4f} [{one.low:+.4f}, {one.high:+.4f}]"


def printed(table: pd.DataFrame) -> str:
    """A set's table for the terminal."""
    shown = pd.DataFrame({"system": table["system"]})
    for column, digits in (
        ("log_loss", 4),
        ("auc", 4),
        ("ece", 4),
        ("bins_held", 1),
        ("seconds", 0),
        ("processor_seconds", 0),
    ):
        shown[column] = ["" if pd.isna(value) else f"{value:.{digits}f}" for value in table[column]]
    for measure in ("log_loss", "auc"):
        found = [difference_of(row, measure) for _, row in table.iterrows()]
        shown[f"{measure}: ours less theirs"] = ["" if np.isnan(one.value) else spelled(one) for one in found]
    shown["note"] = table["note"].fillna("").str.slice(0, 60)
    return shown.to_string(index=False)


def run(pair: Pair, options: argparse.Namespace) -> pd.DataFrame:
    """Every system on one pair."""
    files = systems.lay_out(pair, CACHE / "sets" / pair.name)
    answers: dict[str, Answer] = {}
    for name in [*([] if options.without_ours else [OURS]), *options.rivals]:
        if name == OURS:
            answers[name] = systems.ours(files, pair.name, options.seconds)
        else:
            told = (name, files, pair.name, options.seconds, options.seed)
            answers[name] = systems.rival(*told, retry=options.retry, run=not options.cached)
        one = answers[name]
        print(f"  {pair.name}: {name}, {one.seconds:.0f} s {one.reason}", flush=True)
    table = rows_of(pair, answers, options.seed)
    kind = "in order of time" if pair.time_ordered else "random"
    rates = f"{pair.train[pair.target].mean():.1%} convert, then {pair.test[pair.target].mean():.1%}"
    print(f"\n{pair.name}: {len(pair.train)} rows, then {len(pair.test)} ({kind}); {rates}", flush=True)
    print(f"{printed(table)}\n", flush=True)
    return table


def own_pair(options: argparse.Namespace) -> Pair:
    """The pair that the command line names; columns as pandas reads them."""
    frames = []
    for file in (options.train, options.test):
        table = pd.read_csv(file, low_memory=False)
        if options.target not in table:
            sys.exit(f"{file} has no column {options.target}")
        frames.append(table.assign(**{options.target: binary(table[options.target], options.positive)}))
    return Pair(
        options.train.resolve().parent.name + "-" + options.train.stem, frames[0], frames[1][frames[0].columns],
        options.target, options.time_ordered, drop=tuple(options.drop),
    )  # fmt: skip


def binary(values: pd.Series, positive: str | None) -> np.ndarray:
    """An outcome as 0 and 1, (rows,).

    Raises:
        SystemExit: it is not clear which value says "converted".
    """
    text = values.astype(str).str.strip().str.lower()
    if positive is not None:
        return (text == positive.lower()).to_numpy(dtype="int8")
    if not text.isin(POSITIVE | NEGATIVE).all():
        sys.exit(f"name the value of {values.name} that says converted: --positive VALUE")
    return text.isin(POSITIVE).to_numpy(dtype="int8")


def keep(fresh: pd.DataFrame) -> None:
    """Bring results.csv up to date: the sets just run replace what it says of them."""
    whole = fresh
    if RESULTS.is_file():
        before = pd.read_csv(RESULTS)
        whole = pd.concat([before[~before["set"].isin(fresh["set"])], fresh], ignore_index=True)
    place = {name: k for k, name in enumerate(sets.SETS)}
    whole = whole.sort_values("set", key=lambda names: names.map(place).fillna(len(place)), kind="stable")
    times = ["seconds", "processor_seconds"]
    numbers = whole.select_dtypes("float").columns.difference(times)
    whole = whole.assign(
        **{name: whole[name].round(5) for name in numbers}, **{name: whole[name].round(1) for name in times}
    )
    whole.to_csv(RESULTS, index=False, lineterminator="\n")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", help=f"all by default: {', '.join(sets.SETS)}")
    parser.add_argument("--rivals", nargs="*", default=list(systems.RIVALS), choices=list(systems.RIVALS))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for fitting, for every system that searches")
    parser.add_argument("--seed", type=int, default=1, help="of the sets, the rivals and the resamples")
    parser.add_argument("--without-ours", action="store_true", help="rivals only: fills the cache, leaves results.csv")
    parser.add_argument("--cached", action="store_true", help="take rivals from the cache only; run none")
    parser.add_argument("--retry", action="store_true", help="run again what failed before")
    parser.add_argument("--train", type=Path, help="a file of yours to learn from")
    parser.add_argument("--test", type=Path, help="a file of yours to be judged on, with its outcome")
    parser.add_argument("--target", help="the outcome's column in your files")
    parser.add_argument("--positive", help="the value of the outcome that says converted, where it is not plain")
    parser.add_argument("--time-ordered", action="store_true", help="your rows stand in order of time")
    parser.add_argument("--drop", action="append", default=[], help="a column that no system may use")
    options = parser.parse_args(arguments)
    yours = options.train is not None
    if yours and (options.test is None or options.target is None):
        parser.error("--train needs --test and --target")
    unknown = set(options.sets) - set(sets.SETS)
    if unknown:
        parser.error(f"no such set: {', '.join(sorted(unknown))}")
    tables = []
    for name in [] if yours else options.sets or list(sets.SETS):
        try:
            tables.append(run(sets.make(name, options.seed), options))
        except sets.SetMissing as missing:
            print(f"{name} left out: {missing}", flush=True)
            continue
        if not options.without_ours and set(options.rivals) == set(systems.RIVALS) and options.seconds == SECONDS:
            keep(tables[-1])
    if yours:
        tables.append(run(own_pair(options), options))
    if not tables:
        return 1
    judged = verdicts(pd.concat(tables, ignore_index=True))
    if len(judged):
        print(judged.to_string(index=False))
        for measure in ("log_loss", "auc"):
            counts = judged[measure].value_counts()
            said = ", ".join(f"{word} {counts.get(word, 0)}" for word in ("ahead", "tie", "behind"))
            print(f"by {measure}, against the best rival of each set: {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
