"""What is handed over: raw rows in, scores out. Self-contained: imports numpy, pandas, xgboost and nothing of ours.

Every model carries this package verbatim, under a name made from the model's content hash. `_load_pyfunc` is the
entry point that MLflow calls.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from .model import Scorer, ScorerError

__all__ = ["Scorer", "ScorerError"]


class _Served:
    """The scorer as `mlflow.pyfunc` sees it: nested rows in, a table out."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer

    def predict(self, model_input: pd.DataFrame, params: dict[str, object] | None = None) -> pd.DataFrame:
        return self.scorer.predict(model_input)


def _load_pyfunc(data_path: str) -> _Served:
    """MLflow's `loader_module` convention: `data_path` is the model folder's `data`."""
    return _Served(Scorer.load(Path(data_path).parent))
