"""AutoGluon with the preset that its makers name for best results, for log-loss, within the time; without torch."""

from __future__ import annotations

import tempfile

from autogluon.tabular import TabularPredictor
from exchange import task

OUTCOME = "__outcome__"

if __name__ == "__main__":
    asked = task()
    train, test = asked.categories()
    with tempfile.TemporaryDirectory() as folder:
        predictor = TabularPredictor(
            OUTCOME, problem_type="binary", eval_metric="log_loss", path=f"{folder}/models", verbosity=0
        )
        predictor.fit(
            train.assign(**{OUTCOME: asked.outcome}),
            presets="best_quality",
            time_limit=asked.seconds,
            num_cpus=asked.threads,
            num_gpus=0,
        )
        asked.answer(predictor.predict_proba(test)[1].to_numpy())
