"""What becomes of files that cannot be used: an error that names them all, or a warning."""

import warnings
from collections.abc import Mapping


def report(bad: Mapping[str, str], n_files: int, skip_bad: bool) -> None:
    """Name every file that cannot be used, with the reason; for an `index` to call.

    Args:
        bad: path -> reason.
        n_files: how many were looked at.
        skip_bad: warn the caller of the index, in place of an error.

    Raises:
        ValueError: `skip_bad` is False.
    """
    lines = [f"  {path}: {reason}" for path, reason in bad.items()]
    if skip_bad:
        text = f"{len(bad)} of {n_files} files left out:\n" + "\n".join(lines)
        warnings.warn(text, stacklevel=3)
    else:
        raise ValueError(
            f"{len(bad)} of {n_files} files cannot be used; mend or remove them, "
            "or pass skip_bad=True to leave them out:\n" + "\n".join(lines)
        )
