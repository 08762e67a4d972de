"""Requests answered by `leads serve`, beside `mlflow models serve`, and what bent ones do to it."""
