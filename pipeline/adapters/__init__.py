"""The only code that touches the world: files, Great Expectations, MLflow, figures."""
