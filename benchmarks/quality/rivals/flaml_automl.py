"""FLAML, for log-loss, within the time; told of the order of time where there is one."""

from __future__ import annotations

from exchange import task
from flaml import AutoML

if __name__ == "__main__":
    asked = task()
    train, test = asked.categories()
    automl = AutoML()
    automl.fit(
        train,
        asked.outcome,
        task="classification",
        metric="log_loss",
        time_budget=asked.seconds,
        split_type="time" if asked.time_ordered else "auto",
        n_jobs=asked.threads,
        seed=asked.seed,
        verbose=0,
    )
    asked.answer(automl.predict_proba(test)[:, 1])
