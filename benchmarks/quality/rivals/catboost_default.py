"""CatBoost with its defaults, told which columns are text; told of the order of time where there is one."""

from __future__ import annotations

from catboost import CatBoostClassifier
from exchange import task

if __name__ == "__main__":
    asked = task()
    train, test = asked.named()
    model = CatBoostClassifier(
        cat_features=asked.texts,
        has_time=asked.time_ordered,
        thread_count=asked.threads,
        random_seed=asked.seed,
        verbose=False,
        allow_writing_files=False,
    )
    asked.answer(model.fit(train, asked.outcome).predict_proba(test)[:, 1])
