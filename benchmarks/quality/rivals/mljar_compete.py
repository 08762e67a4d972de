"""mljar-supervised in the mode that its makers name for best results, for log-loss, within the time."""

from __future__ import annotations

import tempfile

from exchange import task
from supervised.automl import AutoML

if __name__ == "__main__":
    asked = task()
    with tempfile.TemporaryDirectory() as folder:
        automl = AutoML(
            results_path=f"{folder}/results",
            mode="Compete",
            ml_task="binary_classification",
            eval_metric="logloss",
            total_time_limit=int(asked.seconds),
            n_jobs=asked.threads,
            random_state=asked.seed,
            explain_level=0,
            verbose=0,
        )
        automl.fit(asked.train, asked.outcome)
        asked.answer(automl.predict_proba(asked.test)[:, 1])
