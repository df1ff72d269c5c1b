"""``python -m ikexplore`` is ``ikexplore``."""

import sys

from .cli import main

sys.exit(main())
