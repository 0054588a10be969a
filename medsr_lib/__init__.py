"""What super-resolution does to the diseased region: data in, restored, assessed, shown."""

__version__ = "0.1.0"
