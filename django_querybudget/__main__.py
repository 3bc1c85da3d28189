"""``python -m django_querybudget try COMMAND …``: see :mod:`.trying`."""

from __future__ import annotations

import sys

from django_querybudget.trying.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
