"""LightGBM with its defaults, its own handling of categories and missing values included."""

from __future__ import annotations

from exchange import task
from lightgbm import LGBMClassifier

if __name__ == "__main__":
    asked = task()
    train, test = asked.categories()
    model = LGBMClassifier(n_jobs=asked.threads, random_state=asked.seed, verbose=-1)
    asked.answer(model.fit(train, asked.outcome).predict_proba(test)[:, 1])
