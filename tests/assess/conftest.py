"""What several tests of `assess` share."""

import numpy as np
import pytest


@pytest.fixture
def skewed():
    return np.random.default_rng(1).exponential(size=40) - 0.8
