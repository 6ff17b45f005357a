"""`python -m robodf`: the command `robodf`."""

import sys

from robodf.cli import main

sys.exit(main())
