"""How the numbers of README and docs are computed from the tables in the folder above.

In a page, `<!--n:ID-->text<!--/n-->` marks what `NUMBERS[ID]()` gives; see `medsr verify`.
"""

from collections.abc import Callable

from . import atlas, brain, chest, lesions, looks, remedies

NUMBERS: dict[str, Callable[[], str]] = {
    id: compute
    for of in (brain, atlas, looks, lesions, remedies, chest)
    for id, compute in of.NUMBERS.items()
}
