"""The pages of a run, which open from disk without a network: one look, light, dark, on paper."""
