"""Expected deal values by segment: every kind of column, gaps and values never seen included."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.scorer import worth

SIZE = {"name": "employees", "criterion": "Company size", "type": "number", "bounds": [10.0, 100.0]}
SOURCE = {"name": "source", "criterion": "Lead source", "type": "category", "bounds": []}
PHONE = {"name": "has_phone", "criterion": "Phone", "type": "boolean", "bounds": []}
TABLE = {
    "columns": [SIZE, SOURCE],
    "overall": 50.0,
    "cells": [
        {"levels": ["under 10", "event"], "value": 1.0},
        {"levels": ["10 to under 100", "event"], "value": 2.0},
        {"levels": ["100 and over", "(missing)"], "value": 3.0},
        {"levels": ["(missing)", "list"], "value": 4.0},
    ],
}


def test_each_lead_takes_the_value_of_its_segment_or_the_overall_mean():
    rows = pd.DataFrame(
        {
            "employees": [9.9, 10.0, 100.0, np.nan, 9.9, 99.9],
            "source": pd.Series(["event", "event", None, "list", "never seen", "list"], dtype="str"),
        }
    ).set_axis([9, 3, 1, 0, 7, 2])
    assert worth.expected_value(TABLE, rows).tolist() == [1.0, 2.0, 3.0, 4.0, 50.0, 50.0]
    assert worth.expected_value(TABLE | {"columns": [], "cells": []}, rows).tolist() == [50.0] * 6


def test_true_or_false_is_said_as_yes_or_no():
    rows = pd.DataFrame({"has_phone": [1.0, 0.0, np.nan]})
    assert worth.levels(rows, [PHONE])["has_phone"].tolist() == ["yes", "no", "(missing)"]
