"""Notebooks on Kaggle: kernels, the account there, and chains of sessions."""
