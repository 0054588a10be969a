"""A made-up child's chest, and radiographs of it from the front, with or without pneumonia.

A radiograph shows how much lies in the beam's way. What is drawn is therefore a thickness: of the
body, less the air of the lungs, plus bones; pneumonia is air that fluid has taken the place of.
"""

from medsr_lib.data.phantom.chest.chest import Chest, make_chest
from medsr_lib.data.phantom.chest.opacity import KINDS, Opacity, make_opacity
from medsr_lib.data.phantom.chest.picture import draw

__all__ = ["KINDS", "Chest", "Opacity", "draw", "make_chest", "make_opacity"]
