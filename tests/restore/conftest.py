"""For networks as small as the tests train."""

import pytest
import torch


@pytest.fixture(scope="module")
def one_thread():
    """Small networks are faster without more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
