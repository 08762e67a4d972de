"""How a scorer is built and judged. Pure: no file, no MLflow, no DVC, no clock."""
