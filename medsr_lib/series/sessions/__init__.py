"""Notebooks in sessions that chain: what a session leaves, and what comes next."""
