"""Snapshots: who was open at which as-of date, what came of it, and whether enough time has passed to say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import NotEnoughData
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


def draw(leads: pd.DataFrame, contract: Contract, newest: pd.Timestamp, params: Featurize, seed: int) -> Cohort:
    """Label the matured snapshots and draw the windows.

    Windows are half-open `[start, end)` in creation time (in position, where the source has no creation column). A lead
    belongs to the window it was created in. A snapshot is set aside and counted when its lead was closed by then, its
    horizon has not passed by `newest`, or its horizon passes its window's end.

    Raises:
        NotEnoughData: a window is left without snapshots or without both outcomes.
    """
    position = positions(leads, contract.time.kind, seed)
    dated = contract.outcome.kind == "dates"
    if dated:
        found = pairs(leads, ages(contract, params), newest)
    else:
        found = leads[[LEAD_KEY, CREATED_AT]].assign(as_of=leads[CREATED_AT], open=True)
        found = found.sort_values([LEAD_KEY, "as_of"], ignore_index=True)
    by_lead = leads.set_index(LEAD_KEY)
    where = by_lead.index.get_indexer(pd.Index(found[LEAD_KEY]))
    found["position"] = position.to_numpy()[where]

    if dated:
        horizon = contract.outcome.horizon_days * DAY
        converted = by_lead[CONVERTED_AT].to_numpy()[where]
        until = found["as_of"] + horizon
        found["label"] = ((converted > found["as_of"]) & (converted <= until)).astype("int8")
        found["matured"] = until <= newest
    else:
        until = found["as_of"]
        found["label"] = by_lead[CONVERTED].to_numpy()[where].astype("int8")
        found["matured"] = True

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
        found["embargoed"] = found["matured"] & (until > end)
    else:
        edges = list(cuts)
        found["split"] = np.select([found["position"] < cuts[1], found["position"] < cuts[2]], SPLITS[:2], SPLITS[2])
        found["embargoed"] = False

    kept = found[found["open"] & found["matured"] & ~found["embargoed"]]
    windows = _windows(found, kept, edges, axis=contract.time.kind)
    for row in windows.to_dict("records"):
        if row["snapshots"] == 0 or row["conversions"] in (0, row["snapshots"]):
            raise NotEnoughData(
                f"the {row['split']} window holds {row['snapshots']} matured snapshots with {row['conversions']} "
                "conversions; it needs both outcomes. Give a longer history, a shorter horizon, or other shares in "
                "params.yaml (featurize)."
            )
    columns = [LEAD_KEY, "as_of", "label", "split", "position"]
    return Cohort(snapshots=kept[columns].reset_index(drop=True), windows=windows)


def _windows(found: pd.DataFrame, kept: pd.DataFrame, edges: list[Any], *, axis: str) -> pd.DataFrame:
    """One row per split: window, what it holds, and what was set aside, by the first reason that applies."""
    rows = []
    for k, split in enumerate(SPLITS):
        all_, mine = found[found["split"] == split], kept[kept["split"] == split]
        rows.append(
            {
                "split": split,
                "axis": {"column": "created_at", "row_order": "row order", "none": "random order"}[axis],
                "start": edges[k],
                "end": edges[k + 1],
                "leads": mine[LEAD_KEY].nunique(),
                "snapshots": len(mine),
                "conversions": int(mine["label"].sum()),
                "closed": int((~all_["open"]).sum()),
                "not_matured": int((all_["open"] & ~all_["matured"]).sum()),
                "embargoed": int((all_["open"] & all_["embargoed"]).sum()),
            }
        )
    return pd.DataFrame(rows)


def check_windows(
    snapshots: pd.DataFrame, windows: pd.DataFrame, leads: pd.DataFrame, horizon_days: int
) -> dict[str, int]:
    """Look at the finished split again, by another route: faults found, each 0 in a sound split.

    `leads_in_two_splits`: leads that stand in more than one. `horizon_past_end`: snapshots whose label reaches past
    their window. `out_of_window`: snapshots of leads created outside their window.
    """
    per_lead = snapshots.groupby(LEAD_KEY)["split"].nunique()
    faults = {"leads_in_two_splits": int((per_lead > 1).sum()), "horizon_past_end": 0, "out_of_window": 0}
    if windows["axis"].iloc[0] != "created_at":
        ordered = snapshots.groupby("split")["position"].agg(["min", "max"]).loc[list(SPLITS)]
        faults["out_of_window"] = int((ordered["min"].to_numpy()[1:] <= ordered["max"].to_numpy()[:-1]).sum())
        return faults
    created = leads.set_index(LEAD_KEY)[CREATED_AT]
    for window in windows.to_dict("records"):
        mine = snapshots[snapshots["split"] == window["split"]]
        born = mine[LEAD_KEY].map(created)
        faults["out_of_window"] += int(((born < window["start"]) | (born >= window["end"])).sum())
        faults["horizon_past_end"] += int((mine["as_of"] + horizon_days * DAY > window["end"]).sum())
    return faults
