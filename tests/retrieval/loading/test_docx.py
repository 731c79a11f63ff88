"""DOCX: the words in the order of the document, with what Word puts around them."""

import io
import zipfile
from collections.abc import Callable

import docx
import pytest
from docx.document import Document
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

from retrieval.loading.loaders import load
from retrieval.spans import LoadedText


def loaded(build: Callable[[Document], object]) -> LoadedText:
    document = docx.Document()
    document.core_properties.title = ""
    build(document)
    target = io.BytesIO()
    document.save(target)
    return load(target.getvalue(), "a.docx")


def append(document: Document, xml: str) -> None:
    document.element.body.insert(0, parse_xml(xml.replace("<w:p>", f"<w:p {nsdecls('w')}>", 1)))


def test_order_lists_and_tables(word):
    assert load(word, "a.docx").text == (
        "Minutes\n\nDecisions\n\nWe keep the index.\n\n- First point\n- Second point\n\n"
        "Model | Size\nmini | 22 M\n\nOpen questions\n\nWho pays?"
    )


def test_numbers_and_nested_lists():
    def build(document: Document) -> None:
        for text, style in [("one", "List Number"), ("two", "List Number"), ("deep", "List Bullet 2")]:
            document.add_paragraph(text, style=style)

    assert loaded(build).text == "1. one\n2. two\n- deep"


@pytest.mark.parametrize(
    ("xml", "shown"),
    [
        ("<w:p><w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t></w:r></w:p>", "a\tb\nc"),
        (
            "<w:p><w:ins><w:r><w:t>new</w:t></w:r></w:ins>"
            "<w:del><w:r><w:delText>old</w:delText></w:r></w:del></w:p>",
            "new",
        ),
        ("<w:p><w:hyperlink><w:r><w:t>link</w:t></w:r></w:hyperlink></w:p>", "link"),
        ("<w:p><w:r><w:instrText>PAGE</w:instrText><w:t>7</w:t></w:r></w:p>", "7"),
        ("<w:p><w:sdt><w:sdtContent><w:r><w:t>field</w:t></w:r></w:sdtContent></w:sdt></w:p>", "field"),
        (
            "<w:p><w:r><w:t>by</w:t><w:pict><w:txbxContent><w:p><w:r><w:t>box</w:t></w:r></w:p>"
            "</w:txbxContent></w:pict></w:r></w:p>",
            "by\n\nbox",
        ),
    ],
)  # fmt: skip
def test_what_stands_in_a_paragraph(xml, shown):
    assert loaded(lambda document: append(document, xml)).text == shown


def test_headings_by_outline_level_and_derived_styles():
    def build(document: Document) -> None:
        style = document.styles.add_style("House heading", 1)
        style.base_style = document.styles["Heading 2"]
        document.add_paragraph("Derived", style="House heading")
        append(document, '<w:p><w:pPr><w:outlineLvl w:val="3"/></w:pPr><w:r><w:t>By level</w:t></w:r></w:p>')

    found = loaded(build)
    assert [(h.level, h.title) for h in found.headings] == [(4, "By level"), (2, "Derived")]
    assert found.title == "By level"


def test_a_table_in_a_table_is_in_its_cell():
    def build(document: Document) -> None:
        cell = document.add_table(rows=1, cols=2).rows[0].cells
        cell[0].text = "outer"
        inner = cell[1].add_table(rows=1, cols=2).rows[0].cells
        inner[0].text, inner[1].text = "in", "ner"

    assert loaded(build).text == "outer | in | ner"


def test_strict_open_xml(word):
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(word)) as source, zipfile.ZipFile(target, "w") as strict:
        for name in source.namelist():
            part = source.read(name)
            if name != "[Content_Types].xml" and name.endswith((".xml", ".rels")):
                for family in (b"officeDocument", b"wordprocessingml"):
                    part = part.replace(
                        b"http://schemas.openxmlformats.org/%b/2006/" % family,
                        b"http://purl.oclc.org/ooxml/%b/" % family,
                    )
            strict.writestr(name, part)
    assert load(target.getvalue(), "a.docx").text == load(word, "a.docx").text
