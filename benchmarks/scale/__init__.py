"""How time and memory of `ingest`, `validate` and `featurize` grow with the history."""
