"""Our scores beside those of rivals, on the same rows; see README.md in this folder."""
