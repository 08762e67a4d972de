"""A scorecard: optbinning's optimal bins, weight of evidence, logistic regression."""

from __future__ import annotations

from exchange import task
from optbinning import BinningProcess
from sklearn.linear_model import LogisticRegression

if __name__ == "__main__":
    asked = task()
    bins = BinningProcess(list(asked.train), categorical_variables=asked.texts, n_jobs=asked.threads)
    # A missing value gets the evidence of the missing ones, a level that training never saw none.
    train = bins.fit_transform(asked.train, asked.outcome, metric="woe", metric_missing="empirical")
    test = bins.transform(asked.test, metric="woe", metric_missing="empirical")
    model = LogisticRegression(max_iter=2000).fit(train.to_numpy(), asked.outcome)
    asked.answer(model.predict_proba(test.to_numpy())[:, 1])
