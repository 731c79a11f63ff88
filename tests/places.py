"""Where the project is, and the collections that are no part of it."""

import os
from pathlib import Path

ROOT = Path(__file__).parent.parent


def shared_data() -> Path:
    """The labelled collections and real-world files: KB_TEST_DATA, or shared/data beside the repository."""
    return Path(os.environ.get("KB_TEST_DATA") or ROOT.parent / "shared" / "data")
