"""Scores over HTTP: what a request may hold, waiting leads scored together, a champion that changes, and the app."""
