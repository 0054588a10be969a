"""Which decisions change when an image is restored."""
