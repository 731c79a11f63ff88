"""How indexes learn of chunks, and documents learn which chunkings are wanted, without a cycle of imports."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.dispatch import Signal

from kb.documents.models import Chunk


@dataclass(frozen=True)
class NewChunk:
    """A chunk just written, what both indexes read of it, and its analysed terms."""

    chunk: Chunk
    rendered: str
    terms: Sequence[str]


chunkings_wanted = Signal()
"""Asks, with `collection`, for the `Chunking`s that documents of it must be cut by."""

chunks_changed = Signal()
"""Tells, inside the writing transaction: `documents` of `collection_id` have their chunks of `chunking` now,
`added` (a list of NewChunk) among them."""

documents_moved = Signal()
"""Tells, inside the transaction: the documents (`document_ids`) are in `collection` now, and are still to be cut."""

work_paused = Signal()
"""Tells, inside the transaction: the work on `documents` (a QuerySet) is to wait, or with `paused` False to go on.

With `collection` it is all of that collection's work, also on what is ready and only gets new vectors.
"""

work_cancelled = Signal()
"""Tells, inside the transaction: embedding `documents` (a QuerySet) was cancelled."""

replacement_cancelled = Signal()
"""Tells, inside the transaction: documents (`document_ids`) keep the revision that they have, and are embedding."""
