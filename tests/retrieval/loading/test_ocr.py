"""Scanned PDFs: read where an engine is installed, else refused with the way to get it."""

import importlib.util
import io

import pytest
from PIL import Image, ImageDraw, ImageFont
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from retrieval.loading import LoadError, ocr
from retrieval.loading.isolation import IsolatedLoader, Limits
from retrieval.loading.loaders import load
from retrieval.loading.ocr import Found


def scan(*pages: str | None, text: str = "") -> bytes:
    """A PDF whose pages are pictures of lines (None: blank); the first one has `text` over it."""
    target = io.BytesIO()
    canvas = Canvas(target)
    for number, lines in enumerate(pages):
        if lines is not None:
            picture = Image.new("RGB", (1240, 1754), "white")
            draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=40)
            for at, line in enumerate(lines.split("\n")):
                draw.text((120, 150 + 60 * at), line, fill="black", font=font)
            canvas.drawImage(ImageReader(picture), 0, 0, 595, 842)
        if text and number == 0:
            canvas.drawString(72, 700, text)
        canvas.showPage()
    canvas.save()
    return target.getvalue()


def engine(*lines: str):
    """A recogniser that finds these lines in whatever it is shown, one below the other."""

    def recognise(picture):
        assert picture.shape[2] == 3
        assert max(picture.shape) <= 2_000
        return [
            Found(line, 100, 100 + 40 * at, 100 + 20 * len(line), 130 + 40 * at)
            for at, line in enumerate(lines)
        ]

    return lambda: recognise


def test_scanned_pages_are_read(monkeypatch):
    monkeypatch.setattr(ocr, "recogniser", engine("The first line goes on", "to the second."))
    loaded = load(scan("x", "y"), "a.pdf")
    assert loaded.text == "\n\n".join(["The first line goes on to the second."] * 2)
    assert [page.number for page in loaded.pages] == [1, 2]


def test_pages_that_have_text_keep_it(monkeypatch):
    monkeypatch.setattr(ocr, "recogniser", engine("seen"))
    assert load(scan("x", "y", text="written"), "a.pdf").text == "written\n\nseen"


def code_and_message(content: bytes) -> tuple[str, str]:
    with pytest.raises(LoadError) as caught:
        load(content, "a.pdf")
    return caught.value.code, caught.value.message


def test_without_an_engine_the_message_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr(ocr, "recogniser", lambda: None)
    code, message = code_and_message(scan("x"))
    assert code == "needs_ocr"
    assert "requirements/ocr.txt" in message
    assert load(scan("x", "y", text="written"), "a.pdf").text == "written"


def test_pictures_without_text_and_blank_pages(monkeypatch):
    monkeypatch.setattr(ocr, "recogniser", engine())
    assert code_and_message(scan("x"))[0] == "empty"
    assert code_and_message(scan(None))[0] == "empty"


def test_more_pages_than_the_time_allows(monkeypatch):
    spent = iter(range(0, 1_000, 4))
    monkeypatch.setattr(ocr, "_spent", lambda: float(next(spent)))
    monkeypatch.setattr(ocr, "_allowed", lambda: 30.0)
    monkeypatch.setattr(ocr, "recogniser", engine("seen"))
    code, message = code_and_message(scan(*"x" * 9))
    assert code == "timeout"
    assert "of 9 scanned pages" in message


def test_a_text_with_many_pictures_is_read_as_far_as_time_allows(monkeypatch):
    spent = iter(range(0, 1_000, 4))
    monkeypatch.setattr(ocr, "_spent", lambda: float(next(spent)))
    monkeypatch.setattr(ocr, "_allowed", lambda: 30.0)
    monkeypatch.setattr(ocr, "recogniser", engine("seen"))
    text = load(scan(*"x" * 9, text="written"), "a.pdf").text
    assert text.startswith("written")
    assert 1 <= text.count("seen") < 8


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("rapidocr") is None or importlib.util.find_spec("onnxruntime") is None,
    reason="text recognition is not installed: the extra `ocr`",
)
@pytest.mark.timeout(300)
def test_the_real_engine_within_the_limits(tmp_path):
    path = tmp_path / "scan"
    path.write_bytes(scan("Retrieval finds the passages\nthat bear on a question."))
    loader = IsolatedLoader(Limits(cpu_seconds=60, wall_seconds=240))
    text = loader.load(path, "a.pdf").text
    loader.close()
    assert "Retrieval finds the passages that bear on a question." in text
