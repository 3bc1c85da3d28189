#!/usr/bin/env python
"""Run a management command of the marketplace, the test project of django-querybudget."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Run the command named on the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")
    # Python puts this file's folder on the path, not the checkout above it that holds the library.
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
