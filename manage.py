#!/usr/bin/env python
"""The command line of Footnote: `manage.py up` starts everything, `manage.py help` lists the rest."""

import os
import sys


def main() -> None:
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        sys.exit(
            f"Footnote needs Python 3.11, 3.12 or 3.13; this is {sys.version.split()[0]}. "
            "Run it with one of those, for example: make run PYTHON=python3.11"
        )
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kb.settings")
    try:
        from kb.core.command_line import run
    except ModuleNotFoundError as error:
        sys.exit(f"The package {error.name} is missing. Run `make install` and use .venv/bin/python.")
    run(sys.argv)


if __name__ == "__main__":
    main()
