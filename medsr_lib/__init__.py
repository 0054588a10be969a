"""What super-resolution does to the diseased region: data in, restored, assessed, shown."""

import os

__version__ = "0.1.0"

# Threads of torch wait for each other by spinning, 300 000 times: on a busy machine they keep the
# cores from those they wait for, and training is ten times as slow. 1000 times are some 20 us. Read
# when torch is loaded; kernels and workers inherit it (benchmarks/busy.py).
if not os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}:
    os.environ["GOMP_SPINCOUNT"] = "1000"
