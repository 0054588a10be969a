"""A stand-in for the Kaggle service on the loopback interface, for tests with the real client.

What it plays is what the client's source, Kaggle's documentation and public reports tell;
nothing of it was compared with the live service.
"""

from kaggle_service import faults
from kaggle_service.runner import NotebookRunner, RunnerError
from kaggle_service.service import Service

__all__ = ["NotebookRunner", "RunnerError", "Service", "faults"]
