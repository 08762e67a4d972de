"""The labels' base rate on the demo against the law's, at any number of leads."""
