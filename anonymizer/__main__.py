"""Run the command line as ``python -m anonymizer``."""

import sys

from anonymizer.cli import main

sys.exit(main())
