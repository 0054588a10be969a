"""How notebooks are run: their data, papermill, and what a terminal shows meanwhile."""
