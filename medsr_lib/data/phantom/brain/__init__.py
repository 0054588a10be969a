"""A made-up head with a tumour, in three dimensions, and slices through it as MRI shows them.

Tissues are regions bent by smooth random fields; a slice evaluates them on its plane, so that
neighbouring slices show one anatomy.
"""

from medsr_lib.data.phantom.brain.head import NORMAL, PLANES, Head, level_of, make_head
from medsr_lib.data.phantom.brain.picture import draw
from medsr_lib.data.phantom.brain.tumour import Tumour, make_tumour, regrown

__all__ = [
    "NORMAL",
    "PLANES",
    "Head",
    "Tumour",
    "draw",
    "level_of",
    "make_head",
    "make_tumour",
    "regrown",
]
