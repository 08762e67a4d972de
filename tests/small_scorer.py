"""A scorer of the small history, made by hand: no training, and chances that follow from what a lead has."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd

from pipeline import params as params_module
from pipeline.adapters import files, model_folder, verification
from pipeline.leads import specification
from pipeline.scorer import Scorer
from pipeline.scorer.calibration import Calibration, Interval
from pipeline.scorer.margin import Encoder, LogisticMember, Margin
from tests import small_history

NOW = pd.Timestamp("2024-02-20")


def write(folder: Path, project_root: Path, level: float = -1.0) -> None:
    """A scorer whose margin rises with the visits of 30 days and falls with the age; `level` tells versions apart."""
    settings = params_module.load(project_root / "params.yaml").featurize
    spec, tables = specification.specify(small_history.resolved(), settings), small_history.tables()
    flat = Calibration("none", 0.0, 1.0, 1.0)
    blank = Margin(Encoder.fit(pd.DataFrame()), [], [], 0.0, np.zeros(0))
    builder = Scorer(spec, blank, 0.0, flat, Interval(0.9, [], [], []), [], {}, None, "none")
    built = builder.features(tables["leads"].assign(as_of=NOW), tables["activities"], tables["changes"])
    encoder = Encoder.fit(built)
    still = {"edges": [], "weights": [0.0], "mean": 0.0, "scale": 1.0, "slope": 0.0, "limit": 9.0, "missing": 0.0}
    terms = {
        name: {"weights": [0.1] * len(encoder.levels[name]), "missing": 0.0} if name in encoder.levels else still
        for name in encoder.names
    }
    terms["n_visit_30d"] = still | {"slope": 0.5}
    terms["age_days"] = still | {"slope": -0.01, "limit": 99.0}
    member = LogisticMember(encoder, 0.0, terms)
    model_folder.write(
        folder,
        spec=spec,
        margin=Margin.centred(encoder, [member], [1.0], built),
        level=level,
        calibration=flat,
        interval=Interval(0.9, [0.0], [-0.1], [0.1]),
        tiers=[{"name": "A", "from": 300}, {"name": "B", "from": 0}],
        grades={},
    )


def verified(folder: Path) -> verification.Verified:
    """Such a scorer as a command is told of it: an exported folder, by its hash."""
    return verification.verified(str(folder), registered=_nobody, sha256=files.sha256(folder))


def _nobody() -> NoReturn:
    raise AssertionError("a hash was given, and the registry was asked")
