"""scikit-learn's logistic regression: numbers standardised, missing ones at the median and flagged; text one-hot."""

from __future__ import annotations

from exchange import task
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

if __name__ == "__main__":
    asked = task()
    train, test = asked.named()
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), asked.numbers),
        (OneHotEncoder(handle_unknown="ignore"), asked.texts),
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=2000)).fit(train, asked.outcome)
    asked.answer(model.predict_proba(test)[:, 1])
