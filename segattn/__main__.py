"""``python -m segattn`` is the segattn command; torchrun starts it so."""

import sys

from segattn.cli import main

sys.exit(main())
