"""How small a lesion can still be detected."""
