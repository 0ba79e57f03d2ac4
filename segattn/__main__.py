"""``python -m segattn`` is the segattn command; torchrun needs this form."""

import sys

from segattn.cli import main

sys.exit(main())
