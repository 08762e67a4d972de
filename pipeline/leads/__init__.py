"""The business: contracts, the demo's history, cohorts, maturity, splits, leakage. Pure pandas: no file, no clock."""
