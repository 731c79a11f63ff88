"""The bullets and numbers of DOCX lists, which the paragraphs themselves do not carry."""

from docx.document import Document
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.oxml import parse_xml
from docx.oxml.ns import qn
from docx.oxml.xmlchemy import BaseOxmlElement as Element

_PROPERTIES = f"{qn('w:pPr')}/{qn('w:numPr')}"


class Numbering:
    """Counts the paragraphs of each list and says what stands before each."""

    def __init__(self, document: Document) -> None:
        self._bullets: dict[tuple[str, int], str] = _formats(document)
        self._counts: dict[tuple[str, int], int] = {}
        self._styles = {
            style.style_id: properties
            for style in document.styles
            if (properties := style.element.find(_PROPERTIES)) is not None
        }

    def marker(self, paragraph: Element) -> tuple[str, str]:
        """Indentation and marker ("- " or "3. ") of a list's paragraph; two empty strings for others."""
        properties = paragraph.find(_PROPERTIES)
        if properties is None:
            style = paragraph.find(f"{qn('w:pPr')}/{qn('w:pStyle')}")
            properties = self._styles.get(style.get(qn("w:val")) or "") if style is not None else None
        if properties is None:
            return "", ""
        number, level = _value(properties, "w:numId"), int(_value(properties, "w:ilvl") or 0)
        form = self._bullets.get((number, level), "bullet")
        if not number or number == "0" or form == "none":
            return "", ""
        margin = "  " * min(level, 8)
        if form == "bullet":
            return margin, "- "
        count = self._counts[number, level] = self._counts.get((number, level), 0) + 1
        for key in [key for key in self._counts if key[0] == number and key[1] > level]:
            del self._counts[key]
        return margin, f"{count}. "


def _formats(document: Document) -> dict[tuple[str, int], str]:
    """The number format of each (list, level), as "bullet", "decimal", …"""
    part = next((r for r in document.part.rels.values() if r.reltype == RELATIONSHIP_TYPE.NUMBERING), None)
    if part is None or part.is_external:
        return {}
    root = parse_xml(part.target_part.blob)
    abstract: dict[str, dict[int, str]] = {}
    for entry in root.iter(qn("w:abstractNum")):
        levels = {
            int(level.get(qn("w:ilvl")) or 0): _value(level, "w:numFmt") for level in entry.iter(qn("w:lvl"))
        }
        abstract[entry.get(qn("w:abstractNumId")) or ""] = levels
    return {
        (number.get(qn("w:numId")) or "", level): form
        for number in root.iter(qn("w:num"))
        for level, form in abstract.get(_value(number, "w:abstractNumId"), {}).items()
    }


def _value(element: Element, tag: str) -> str:
    found = element.find(qn(tag))
    return (found.get(qn("w:val")) or "") if found is not None else ""
