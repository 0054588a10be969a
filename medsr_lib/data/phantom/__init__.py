"""Synthetic data in the layouts of the originals, for learning and testing."""

from medsr_lib.data.phantom.brain.files import EMBEDDED, figshare_brains, write_figshare
from medsr_lib.data.phantom.chest.files import EMBEDDED_CHEST, write_chest_xray

__all__ = ["EMBEDDED", "EMBEDDED_CHEST", "figshare_brains", "write_chest_xray", "write_figshare"]
