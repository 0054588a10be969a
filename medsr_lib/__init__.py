"""What super-resolution does to the diseased region: data in, restored, assessed, shown."""

import contextlib
import ctypes
import os

__version__ = "0.1.0"

# Threads of torch wait for each other by spinning, 300 000 times: on a busy machine they keep the
# cores from those they wait for, and training is ten times as slow. 1000 times are some 20 us. Read
# when torch is loaded; kernels and workers inherit it (benchmarks/busy.py).
if not os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}:
    os.environ["GOMP_SPINCOUNT"] = "1000"

# glibc hands pieces of more than 32 MB back when they are freed, such as a layer of a whole slice,
# and the system clears each that follows. Here it keeps up to 256 MB (benchmarks/memory.py).
if not any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        for option, size in ((-3, 1 << 30), (-1, 1 << 28)):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
            ctypes.CDLL(None).mallopt(option, size)
