"""Reads the pictures of scanned PDF pages, where an engine for that is installed (the optional extra `ocr`)."""

import resource
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

import pypdfium2  # type: ignore[import-untyped]  # carries no types

from retrieval.loading.errors import LoadError
from retrieval.loading.pdf_lines import Line
from retrieval.loading.text import clean

INSTALLING = (
    "install the extra: .venv/bin/python -m pip install --no-deps --require-hashes -r requirements/ocr.txt"
)
_DOTS_PER_INCH = 170
_LONGEST_SIDE = 2_000  # pixels: what the engine looks at, and about 12 MB
_LETTER_SHARE = 0.75  # of a line's box is the size of its font
_MARGIN = 1.5  # a page may take that much longer than the slowest before it
# One thread, no memory kept for later: the limits of the process that parses count both.
_ENGINE = {
    "Global.use_cls": False,
    "Global.log_level": "error",
    "Global.max_side_len": _LONGEST_SIDE,
    "Rec.rec_batch_num": 1,
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
    "EngineConfig.onnxruntime.enable_cpu_mem_arena": False,
}


class Found(NamedTuple):
    """A line of text in a picture; places in pixels from the top left corner."""

    text: str
    left: float
    top: float
    right: float
    bottom: float


Recognise = Callable[[Any], list[Found]]
"""Finds the lines of a picture, which is an array of height, width and colours."""


def recogniser() -> Recognise | None:
    """The engine, if it is installed. Takes a second, so only ask when there is something to read."""
    if find_spec("rapidocr") is None or find_spec("onnxruntime") is None:
        return None
    # Not at the top: it takes as much memory as all the other readers, and few files need it.
    from rapidocr import RapidOCR  # noqa: PLC0415

    engine = RapidOCR(params=_ENGINE)

    def recognise(picture: Any) -> list[Found]:
        result = engine(picture)
        boxes = result.boxes if result.boxes is not None else ()
        return [
            Found(text, box[:, 0].min(), box[:, 1].min(), box[:, 0].max(), box[:, 1].max())
            for text, box in zip(result.txts or (), boxes, strict=False)
        ]

    return recognise


def read(
    document: pypdfium2.PdfDocument, pages: Iterable[int], recognise: Recognise, *, all_or_none: bool
) -> Mapping[int, list[Line]]:
    """The lines of the pages with these indexes, as far as the computing time of this process allows.

    LoadError with `all_or_none` when it does not allow all.
    """
    wanted = list(pages)
    found: dict[int, list[Line]] = {}
    slowest = 0.0
    for index in wanted:
        began = _spent()
        if slowest * _MARGIN > _allowed() - began:
            if not all_or_none:
                break
            raise LoadError(
                "timeout",
                f"Text recognition managed {len(found)} of {len(wanted)} scanned pages in the time that a file "
                "may take. Split it into smaller files, or run OCR on it first, for example with OCRmyPDF.",
            )
        found[index] = _lines(document[index], recognise)
        slowest = max(slowest, _spent() - began)
    return found


def is_picture(page: pypdfium2.PdfPage) -> bool:
    """Whether there is anything on the page that could show text."""
    return next(page.get_objects(max_depth=1), None) is not None


def _lines(page: pypdfium2.PdfPage, recognise: Recognise) -> list[Line]:
    width, height = page.get_size()
    scale = min(_DOTS_PER_INCH / 72, _LONGEST_SIDE / max(width, height, 1))
    picture = page.render(scale=scale).to_numpy()
    return [
        Line(
            clean(line.text),
            line.left / scale,
            line.right / scale,
            height - line.bottom / scale,
            _LETTER_SHARE * (line.bottom - line.top) / scale,
        )
        for line in recognise(picture)
        if line.text.strip()
    ]


def _spent() -> float:
    """Seconds of computing so far, of all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _allowed() -> float:
    soft = resource.getrlimit(resource.RLIMIT_CPU)[0]
    return float("inf") if soft == resource.RLIM_INFINITY else float(soft)
