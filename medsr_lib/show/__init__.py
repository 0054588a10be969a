"""For the eye: figures."""
