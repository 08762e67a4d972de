"""XGBoost with its defaults, its own handling of categories and missing values included."""

from __future__ import annotations

from exchange import task
from xgboost import XGBClassifier

if __name__ == "__main__":
    asked = task()
    train, test = asked.categories()
    model = XGBClassifier(enable_categorical=True, n_jobs=asked.threads, random_state=asked.seed)
    asked.answer(model.fit(train, asked.outcome).predict_proba(test)[:, 1])
