"""Makes of a "Strict Open XML" document the usual kind, which python-docx can read."""

import io
import re
import zipfile

_STRICT = re.compile(rb"http://purl\.oclc\.org/ooxml/(\w+)/")


def usual(content: bytes) -> bytes:
    """The document with the namespaces that Word writes by default; unchanged if it has them already."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if b"http://purl.oclc.org/ooxml/" not in archive.read("_rels/.rels"):
            return content
        rewritten = io.BytesIO()
        with zipfile.ZipFile(rewritten, "w") as target:
            for entry in archive.infolist():
                part = archive.read(entry)
                if entry.filename.endswith((".xml", ".rels")):
                    part = _STRICT.sub(rb"http://schemas.openxmlformats.org/\1/2006/", part)
                target.writestr(entry.filename, part)
        return rewritten.getvalue()
