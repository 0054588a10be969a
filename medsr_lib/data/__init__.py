"""What comes in: data sets, the embedded phantom, splits by patient, packing."""
