"""Snapshots: who was open at which as-of date, what came of it, and whether enough time has passed to say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import NotEnoughData, ProofFailed, lacking
from pipeline.leads.contract import CONVERTED, CONVERTED_AT, CREATED_AT, LEAD_KEY, LOST_AT, ROW, Contract
from pipeline.leads.specification import ages
from pipeline.params import Featurize

DAY = pd.Timedelta(days=1)
SPLITS = ("train", "calibrate", "test")


@dataclass(frozen=True)
class Cohort:
    """Labelled snapshots, the windows they fall in, and how many (lead, as-of) pairs were set aside, by reason.

    `snapshots`: lead_id, as_of, label, split, position, sorted by (lead_id, as_of). `windows`: one row per split.
    """

    snapshots: pd.DataFrame
    windows: pd.DataFrame


def pairs(leads: pd.DataFrame, ages_days: list[int], newest: pd.Timestamp) -> pd.DataFrame:
    """Every (lead, as-of) at which a lead could be looked at: midnight after each age, not after `newest`.

    Returns:
        lead_id, created_at, as_of and `open`: neither converted nor lost by the as-of date.
    """
    created = leads[CREATED_AT].dt.floor("D")
    frames = []
    for age in ages_days:
        as_of = created + age * DAY
        part = leads[[LEAD_KEY, CREATED_AT]].assign(as_of=as_of, open=still_open(leads, as_of))
        frames.append(part[as_of <= newest])
    return pd.concat(frames, ignore_index=True).sort_values([LEAD_KEY, "as_of"], ignore_index=True)


def still_open(leads: pd.DataFrame, as_of: pd.Series | pd.Timestamp) -> pd.Series:
    """True where a lead has neither converted nor been lost by `as_of` (the moment itself counts as closed)."""
    closed = pd.Series(False, index=leads.index)
    for name in (CONVERTED_AT, LOST_AT):
        if name in leads:
            closed |= leads[name] <= as_of
    return ~closed


def open_at(leads: pd.DataFrame, contract: Contract, as_of: pd.Timestamp) -> pd.DataFrame:
    """The leads created by `as_of` and open then, in their order, with `as_of`; none where outcomes are decided at
    once."""
    if contract.outcome.kind != "dates":
        return leads.iloc[:0].assign(as_of=leads[CREATED_AT].iloc[:0])
    here = (leads[CREATED_AT] <= as_of) & still_open(leads, as_of)
    return leads[here].reset_index(drop=True).assign(as_of=as_of)


def labelled(leads: pd.DataFrame, contract: Contract, newest: pd.Timestamp, params: Featurize) -> pd.DataFrame:
    """Every look at a lead, and what came of it; a lead decided at once is looked at once, when it was created.

    Returns:
        The columns of `pairs`, `until` (when the horizon has passed), `label` (int8; 1: converted within the horizon;
        of looks that have not matured it says nothing yet) and `matured` (the horizon has passed by `newest`).
    """
    by_lead = leads.set_index(LEAD_KEY)
    if contract.outcome.kind == "dates":
        found = pairs(leads, ages(contract, params), newest)
    else:
        found = leads[[LEAD_KEY, CREATED_AT]].assign(as_of=leads[CREATED_AT], open=True)
        found = found.sort_values([LEAD_KEY, "as_of"], ignore_index=True)
    where = by_lead.index.get_indexer(pd.Index(found[LEAD_KEY]))
    if contract.outcome.kind != "dates":
        label = by_lead[CONVERTED].to_numpy()[where].astype("int8")
        return found.assign(until=found["as_of"], label=label, matured=True)
    until = found["as_of"] + contract.outcome.horizon_days * DAY
    converted = by_lead[CONVERTED_AT].to_numpy()[where]
    label = ((converted > found["as_of"]) & (converted <= until)).astype("int8")
    return found.assign(until=until, label=label, matured=until <= newest)


def positions(leads: pd.DataFrame, kind: str, seed: int) -> pd.Series:
    """Place of each lead on the split axis, 0 to n-1: by creation, by row order, or at random where there is no time.

    Args:
        kind: `column`, `row_order` or `none`, as the contract's `time.kind`.
    """
    if kind == "none":
        generator = np.random.default_rng(np.random.SeedSequence([seed, 1]))
        order = generator.permutation(leads.sort_values(LEAD_KEY).index.to_numpy())
    elif kind == "row_order":
        order = leads.sort_values(ROW).index.to_numpy()
    else:
        order = leads.sort_values([CREATED_AT, ROW]).index.to_numpy()
    return pd.Series(np.arange(len(leads)), index=order).reindex(leads.index)


def draw(
    leads: pd.DataFrame,
    contract: Contract,
    newest: pd.Timestamp,
    params: Featurize,
    seed: int,
    recorded: pd.Series | None = None,
) -> Cohort:
    """Label the matured snapshots and draw the windows.

    `recorded`: per lead, whether conversions were recorded when it was created (`maturity.recorded`); all by default.
    Windows are cut over these leads alone. The looks at the others are counted as `unrecorded` in the first window,
    which they come before.

    Windows are half-open `[start, end)` in creation time (in position, where the source has no creation column). A lead
    belongs to the window it was created in. A snapshot is set aside and counted when its lead was closed by then, its
    horizon has not passed by `newest`, or its horizon passes its window's end.

    Raises:
        NotEnoughData: a window is left without snapshots or without both outcomes.
    """
    dated = contract.outcome.kind == "dates"
    left_out = leads.iloc[:0] if recorded is None else leads[~recorded]
    unrecorded = len(pairs(left_out, ages(contract, params), newest)) if dated else len(left_out)
    leads = leads if recorded is None else leads[recorded].reset_index(drop=True)
    position = positions(leads, contract.time.kind, seed)
    found = labelled(leads, contract, newest, params)
    found["position"] = position.to_numpy()[pd.Index(leads[LEAD_KEY]).get_indexer(pd.Index(found[LEAD_KEY]))]

    n = len(leads)
    cuts = [0, round(n * params.train_share), round(n * (params.train_share + params.calibrate_share)), n]
    if contract.time.kind == "column":
        times = leads[CREATED_AT].to_numpy()[np.argsort(position.to_numpy())]
        # Windows are half-open: where leads are decided at once, the newest of them still belongs to the last window.
        last = newest if dated else newest + pd.Timedelta(microseconds=1)
        edges: list[Any] = [pd.Timestamp(times[cut]) for cut in cuts[:-1]] + [last]
        axis = found[CREATED_AT]
        found["split"] = np.select([axis < edges[1], axis < edges[2]], SPLITS[:2], SPLITS[2])
        end = found["split"].map(dict(zip(SPLITS, edges[1:], strict=True)))
        found["embargoed"] = found["matured"] & (found["until"] > end)
    else:
        edges = list(cuts)
        found["split"] = np.select([found["position"] < cuts[1], found["position"] < cuts[2]], SPLITS[:2], SPLITS[2])
        found["embargoed"] = False

    kept = found[found["open"] & found["matured"] & ~found["embargoed"]]
    windows = _windows(found, kept, edges, axis=contract.time.kind).assign(unrecorded=[unrecorded, 0, 0])
    for row in windows.to_dict("records"):
        if row["snapshots"] == 0 or row["conversions"] in (0, row["snapshots"]):
            raise NotEnoughData(
                f"the {row['split']} window holds {row['snapshots']} matured snapshots with {row['conversions']} "
                f"conversions; it needs both outcomes: {lacking(row['snapshots'], row['conversions'])}. Give a longer "
                "history, a shorter horizon, or other shares in params.yaml (featurize).",
                conversions=int(windows["conversions"].sum()),
            )
    columns = [LEAD_KEY, "as_of", "label", "split", "position"]
    return Cohort(snapshots=kept[columns].reset_index(drop=True), windows=windows)


def _windows(found: pd.DataFrame, kept: pd.DataFrame, edges: list[Any], *, axis: str) -> pd.DataFrame:
    """One row per split: window, last as-of date, what it holds, and what was set aside, by the first reason that
    applies."""
    rows = []
    for k, split in enumerate(SPLITS):
        all_, mine = found[found["split"] == split], kept[kept["split"] == split]
        rows.append(
            {
                "split": split,
                "axis": {"column": "created_at", "row_order": "row order", "none": "random order"}[axis],
                "start": edges[k],
                "end": edges[k + 1],
                "last_as_of": mine["as_of"].max() if axis == "column" else pd.NaT,
                "leads": mine[LEAD_KEY].nunique(),
                "snapshots": len(mine),
                "conversions": int(mine["label"].sum()),
                "closed": int((~all_["open"]).sum()),
                "not_matured": int((all_["open"] & ~all_["matured"]).sum()),
                "embargoed": int((all_["open"] & all_["embargoed"]).sum()),
            }
        )
    return pd.DataFrame(rows)


def before_test(cohort: Cohort, leads: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """The leads with snapshots in the train and calibrate windows, in their order, and their places on the axis."""
    mine = (
        cohort.snapshots[cohort.snapshots["split"] != "test"].drop_duplicates(LEAD_KEY).set_index(LEAD_KEY)["position"]
    )
    before = leads[leads[LEAD_KEY].isin(mine.index)]
    return before, mine.reindex(before[LEAD_KEY]).to_numpy()


def check_windows(
    snapshots: pd.DataFrame, windows: pd.DataFrame, leads: pd.DataFrame, contract: Contract, newest: pd.Timestamp
) -> dict[str, int]:
    """Look at the finished split again, from the leads table and by another route: no line of `draw` is used here.

    Args:
        snapshots, windows: as `Cohort` holds them. `leads`: the clean table, those that `draw` left out among them.

    Returns:
        Faults found, each 0 in a sound split. `leads_in_two_splits`: leads that stand in more than one.
        `snapshots_twice`: keys that occur again. `out_of_window`: snapshots of leads created outside their window (out
        of place, where the axis is no time). `windows_apart`: windows that do not begin where the one before ends.
        `horizon_past_end`, `horizon_past_newest`: snapshots whose label reaches past their window, or past what is
        known. `closed_leads`: snapshots of leads converted or lost by then. `wrong_labels`: labels that the outcome
        does not bear out.
    """
    seen = snapshots[[LEAD_KEY, "split"]].drop_duplicates()[LEAD_KEY]
    faults = {
        "leads_in_two_splits": int(seen[seen.duplicated()].nunique()),
        "snapshots_twice": int(snapshots.duplicated([LEAD_KEY, "as_of"]).sum()),
        "windows_apart": int(sum(a != b for a, b in zip(windows["end"], windows["start"].iloc[1:], strict=False))),
    }
    outcome = [name for name in (CONVERTED_AT, LOST_AT, CONVERTED) if name in leads]
    own = [name for name in (CREATED_AT, ROW) if name in leads]
    found = snapshots.merge(leads[[LEAD_KEY, *own, *outcome]], on=LEAD_KEY, how="left", validate="many_to_one")
    found = found.merge(windows[["split", "start", "end"]], on="split", how="left", validate="many_to_one")
    found["newest"] = newest

    def days(name: str) -> np.ndarray:
        """Days from the as-of date to another moment of the row; NaN where it has none."""
        moment = found[name].to_numpy(dtype="datetime64[us]")
        return (moment - found["as_of"].to_numpy(dtype="datetime64[us]")) / np.timedelta64(1, "D")

    horizon = contract.outcome.horizon_days
    if contract.outcome.kind == "dates":
        won, gone = days(CONVERTED_AT), days(LOST_AT)
        label = np.where(np.isnan(won), False, (won > 0) & (won <= horizon))
        faults["closed_leads"] = int(((won <= 0) | (gone <= 0)).sum())
        faults["horizon_past_newest"] = int((~(days("newest") >= horizon)).sum())
    else:
        label = found[CONVERTED].fillna(False).to_numpy(dtype=bool)
        faults |= {"closed_leads": 0, "horizon_past_newest": 0}
    faults["wrong_labels"] = int((found["label"].to_numpy() != label).sum())
    if contract.time.kind == "column":
        born = days(CREATED_AT)
        faults["out_of_window"] = int((~((days("start") <= born) & (born < days("end")))).sum())
        faults["horizon_past_end"] = int((~(days("end") >= horizon)).sum())
    else:
        inside = (found["start"] <= found["position"]) & (found["position"] < found["end"])
        # Where rows stand in order of time, a later place is a later row.
        ordered = found.sort_values("position")[ROW].is_monotonic_increasing or contract.time.kind == "none"
        faults["out_of_window"] = int((~inside).sum()) if ordered else len(found)
        faults["horizon_past_end"] = 0
    return faults


def refuse_faults(faults: dict[str, int]) -> None:
    """Stop where `check_windows` found a fault.

    Raises:
        ProofFailed: names every kind of fault and counts it.
    """
    if found := [f"{kind.replace('_', ' ')}: {count:,}" for kind, count in faults.items() if count]:
        raise ProofFailed(
            f"the split, looked at again by another route, is not sound ({'; '.join(found)}). Nothing was written; "
            "this is a fault of the pipeline, not of the data: please report it, with the contract."
        )
