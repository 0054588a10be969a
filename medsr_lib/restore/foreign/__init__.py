"""Networks and programs of other people: how each kind is loaded, called and probed."""

import importlib
from typing import Any


def need(module: str, what: str, extra: str = "methods") -> Any:
    """Import a package that only some users have.

    Raises:
        ImportError: names what needs it, and the extra that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{what} needs {module}: pip install 'medsr-lib[{extra}]' ({error})"
        ) from error
