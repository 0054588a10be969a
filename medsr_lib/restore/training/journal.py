"""A training's log as two small tables beside its checkpoint, for the eye while it runs.

They grow by whole lines about once a second; what a training goes on from is its checkpoint alone.
Beside `x_checkpoint.pt` stand `x_checkpoint_training.csv` and `x_checkpoint_validation.csv`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from medsr_lib.files import atomic

if TYPE_CHECKING:
    from medsr_lib.restore.training.loop import Training


class Journal:
    """Writes the tables of one training; a disk that fails ends them, not the training.

    Args:
        checkpoint: the file that they stand beside; None for no tables.
    """

    def __init__(self, checkpoint: Path | None) -> None:
        self.checkpoint = checkpoint
        self.rows: int | None = None  # written so far
        self.validations = 0

    def write(self, of: "Training") -> None:
        """Append what has come since the last call. The first writes all that the checkpoint holds:
        what a killed session wrote beyond it goes.
        """
        if self.checkpoint is None:
            return
        stem, first, begun = self.checkpoint.stem, self.rows or 0, self.rows is not None
        training = self.checkpoint.with_name(f"{stem}_training.csv")
        validation = self.checkpoint.with_name(f"{stem}_validation.csv")
        rows, validated = of.step // of.log_every, of.validation[self.validations :]
        values = (of.log[first:rows] / of.log_every).cpu()
        try:
            _put(training, _lines(values, first, of.log_every), ["step", *of.columns], begun)
            if validated:
                head = list(validated[0])
                _put(validation, _validated(validated), head, self.validations > 0)
            elif not begun:
                validation.unlink(missing_ok=True)  # that of another training
        except OSError:
            self.checkpoint = None
        self.rows, self.validations = rows, len(of.validation)


def _lines(values: Tensor, first: int, every: int) -> Iterable[str]:
    """Rows of a log, with the last step of each."""
    for row, numbers in enumerate(values.tolist(), start=first + 1):
        yield ",".join([str(row * every), *map(_written, numbers)])


def _validated(rows: Sequence[Mapping[str, float]]) -> Iterable[str]:
    for row in rows:
        yield ",".join(map(_written, row.values()))


def _written(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.7g}"


def _put(path: Path, lines: Iterable[str], head: Sequence[str], begun: bool) -> None:
    """Write lines at the end of a file, or with a head in its place if it has not begun."""
    text = "".join(f"{line}\n" for line in lines)
    if begun:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    else:
        with atomic(path) as temporary:
            temporary.write_text(f"{','.join(head)}\n{text}", encoding="utf-8")
