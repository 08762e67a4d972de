"""The champion of this moment, as a candidate meets it: how it was taught, and its scores of the test rows."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.adapters import model_folder, registry
from pipeline.adapters.registry import Version
from pipeline.adapters.tracking import Store
from pipeline.errors import ModelError
from pipeline.leads import lineage
from pipeline.leads.lineage import Known

#: What a version's run holds of how it was taught.
CONTRACT, SPLITS, PROVENANCE = "ingest/contract.json", "featurize/splits.csv", "ingest/provenance.json"


@dataclass(frozen=True)
class Met:
    """`known`, and the champion's `probability` of every row, NaN where it refused it; or `why_not`."""

    known: Known | None
    probability: np.ndarray | None
    why_not: str = ""


def meet(
    store: Store, contract: str, champion: Version, rows: pd.DataFrame, activities: pd.DataFrame, changes: pd.DataFrame
) -> Met:
    """Have the champion score raw rows with its own code.

    Args:
        rows, activities, changes: as a scorer's `score` takes them.

    Raises:
        RegistryError: what is stored is not what was registered.
    """
    texts = {name: registry.logged(store, champion.run_id, name) for name in (CONTRACT, SPLITS, PROVENANCE)}
    if gone := [name for name, text in texts.items() if text is None]:
        return Met(None, None, f"its run no longer holds {', '.join(gone)}, which say how it was taught")
    taught = lineage.known(
        json.loads(str(texts[CONTRACT])),
        pd.read_csv(io.StringIO(str(texts[SPLITS]))),
        json.loads(str(texts[PROVENANCE])),
        int(registry.recorded(store, champion).params["run.seed"]),
    )
    try:
        scorer = model_folder.load(registry.resolve(store, contract, champion.number)[1])
        with model_folder.asking(scorer, f"version {champion.number}"):
            scores = scorer.score(rows, activities, changes)
    except ModelError as fault:
        return Met(taught, None, f"it cannot score today's rows: {fault}")
    return Met(taught, scores["probability"].to_numpy(dtype="float64"))
