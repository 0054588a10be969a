"""`python -m medsr_lib` is the command `medsr`."""

import sys

from medsr_lib.series.cli import main

if __name__ == "__main__":
    sys.exit(main())
