"""Bars on standard error for what takes long."""

import sys
from collections.abc import Callable

from tqdm import tqdm


def progress_bar(stage: str, total: int) -> Callable[[], None]:
    """A bar for a stage of `total` steps; gives what is to be called after each."""
    bar = tqdm(total=total, desc=stage, file=sys.stderr, disable=None, leave=True)

    def step() -> None:
        bar.update()
        if bar.n >= total:
            bar.close()

    return step
