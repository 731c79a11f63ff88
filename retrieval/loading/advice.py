"""What to do with a file of a type that is not read, in one sentence."""

from collections.abc import Mapping
from types import MappingProxyType

_PICTURE = "It is a picture: put its text into a document, or into a PDF with text recognition (OCR)."
_SOUND = "It is a sound or a video: put in a transcript instead."
_ARCHIVE = "Unpack it, or pack it anew as .zip."

_ADVICE: Mapping[str, str] = MappingProxyType(
    {
        ".doc": "Open it in Word or LibreOffice and save it as .docx.",
        ".dot": "Open it in Word or LibreOffice and save it as .docx.",
        ".docm": "Open it in Word and save it as .docx, without macros.",
        ".dotx": "Open it in Word and save it as .docx.",
        ".odt": "Open it in LibreOffice or Word and save it as .docx or PDF.",
        ".rtf": "Open it in Word or LibreOffice and save it as .docx.",
        ".pages": "Open it in Pages and export it as .docx or PDF.",
        ".xls": "Open it in Excel or LibreOffice and save it as .xlsx or .csv.",
        ".xlsb": "Open it in Excel and save it as .xlsx.",
        ".xlsm": "Open it in Excel and save it as .xlsx, without macros.",
        ".ods": "Open it in LibreOffice or Excel and save it as .xlsx or .csv.",
        ".numbers": "Open it in Numbers and export it as .xlsx or .csv.",
        ".ppt": "Open it in PowerPoint or LibreOffice and save it as .pptx.",
        ".pps": "Open it in PowerPoint or LibreOffice and save it as .pptx.",
        ".pptm": "Open it in PowerPoint and save it as .pptx, without macros.",
        ".ppsx": "Open it in PowerPoint and save it as .pptx.",
        ".odp": "Open it in LibreOffice or PowerPoint and save it as .pptx.",
        ".key": "Open it in Keynote and export it as .pptx or PDF.",
        ".msg": "Open it in Outlook and save it as .eml, or print it to a PDF.",
        ".mbox": "Save its messages one by one as .eml.",
        ".pst": "Save its messages one by one as .eml.",
        ".mobi": "Convert it to .epub, for example with Calibre.",
        ".azw": "Convert it to .epub, for example with Calibre.",
        ".azw3": "Convert it to .epub, for example with Calibre.",
        ".fb2": "Convert it to .epub, for example with Calibre.",
        ".djvu": "Convert it to PDF with text recognition (OCR).",
        ".ps": "Convert it to PDF, for example with ps2pdf.",
        ".xps": "Open it and print it to a PDF.",
        ".ipynb": "Export it as .py, .html or .md.",
        ".vtt": "Save its text as .txt.",
        ".srt": "Save its text as .txt.",
        ".adoc": "Convert it to .html or .md.",
        ".asciidoc": "Convert it to .html or .md.",
        ".tex": "Put in the PDF that is made of it.",
        ".nxml": "Put in the PDF of the article, or save its text as .txt.",
        ".svg": _PICTURE,
        **dict.fromkeys(
            (".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".bmp", ".webp", ".heic", ".avif"), _PICTURE
        ),
        **dict.fromkeys(
            (".mp3", ".wav", ".m4a", ".ogg", ".flac", ".mp4", ".mov", ".avi", ".mkv", ".webm"), _SOUND
        ),
        **dict.fromkeys((".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".jar"), _ARCHIVE),
    }
)


def unreadable(suffix: str) -> str:
    """Why a file of that suffix (lower case, with its dot; may be empty) is not read, and what would help."""
    kind = f"Files of the type {suffix}" if suffix else "Files without a suffix in their name"
    advice = _ADVICE.get(suffix)
    if advice is None:
        advice = (
            "Readable are PDF, Word (.docx), PowerPoint (.pptx), Excel (.xlsx), HTML, Markdown, EPUB, "
            "e-mail (.eml), CSV, JSON, plain text and source code."
        )
    return f"{kind} cannot be read. {advice}"
