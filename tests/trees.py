"""Settings of members that tests fit."""

from pipeline.params import XGBoostSettings

TREES = XGBoostSettings(
    max_depth=3,
    learning_rate=0.2,
    min_child_weight=1.0,
    subsample=1.0,
    colsample_bytree=1.0,
    colsample_bynode=1.0,
    reg_lambda=1.0,
    start="nothing",
    categories="native",
    target_prior=20.0,
    half_life=0.0,
)
#: Leaves of many rows, as small trees on a few thousand snapshots need them.
CALM_TREES = TREES.model_copy(
    update={"learning_rate": 0.1, "min_child_weight": 10.0, "subsample": 0.8, "reg_lambda": 5.0}
)
