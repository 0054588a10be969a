"""What comes in: data sets as cases, synthetic ones like them, splits by patient, and the store.

`source.index` lists what a folder holds, `store.prepare` packs it for training and testing,
`splits.by_patient` makes folds. A data set of one's own is a file like `figshare`.
"""

from medsr_lib.data import chest_xray, figshare, layouts, phantom, source, splits, store

__all__ = ["chest_xray", "figshare", "layouts", "phantom", "source", "splits", "store"]
