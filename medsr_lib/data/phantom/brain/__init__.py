"""A made-up head with a tumour, in three dimensions, and slices through it as MRI shows them.

Tissues are regions bent by smooth random fields; a slice evaluates them on its plane, so that
neighbouring slices show one anatomy.
"""
