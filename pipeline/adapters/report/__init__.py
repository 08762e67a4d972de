"""The report of a candidate, and a page for training a sales team: facts and tables laid out as self-contained HTML."""
