"""XLSX and PPTX: what their sheets and slides show."""

import io
import re
from datetime import UTC, date, datetime, time

import openpyxl
import pptx
import pytest
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE

from retrieval.loading import LoadError
from retrieval.loading.loaders import load
from retrieval.loading.xlsx_sparse import sparse
from tests.retrieval.loading.conftest import PEOPLE, make_xlsx, with_parts

WRITTEN = datetime(2021, 5, 4, 3, 2, 1, tzinfo=UTC)


def test_sheets_are_headings_and_rows_speak_for_themselves():
    loaded = load(make_xlsx(("People", PEOPLE), ("Places", [["Ulm", "Köln"]])), "a.xlsx")
    assert loaded.text == (
        "People\n\nName: Ada of retrieval; Year: 1815\n\nName: Grace; Year: 1906\n\nPlaces\n\nUlm | Köln"
    )
    assert loaded.author == "Ada Lovelace"


def test_properties_of_a_workbook():
    book = with_parts(
        make_xlsx(("People", PEOPLE)),
        lambda name, part: (
            re.sub(rb"20\d\d-[\dT:-]+Z", b"2021-05-04T03:02:01Z", part)
            if name == "docProps/core.xml"
            else part
        ),
    )
    assert load(book, "a.xlsx").written_at == WRITTEN


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.1 + 0.2, "0.3"),
        (3.0, "3"),
        (True, "yes"),
        (date(2020, 2, 29), "2020-02-29"),
        (datetime(2020, 2, 29, 12, 30, tzinfo=UTC).replace(tzinfo=None), "2020-02-29 12:30:00"),
        (time(12, 30), "12:30:00"),
        ("two\nlines", "two lines"),
        (10**20, "1e+20"),
    ],
)
def test_cells(value, shown):
    assert load(make_xlsx(("S", [["x", value]])), "a.xlsx").text == f"S\n\nx | {shown}"


def test_hidden_sheets_and_workbooks_of_nothing():
    book = openpyxl.Workbook()
    book.active.append(["seen"])
    book.create_sheet("Secret").append(["unseen"])
    book["Secret"].sheet_state = "hidden"
    target = io.BytesIO()
    book.save(target)
    assert load(target.getvalue(), "a.xlsx").text == "Sheet\n\nseen"
    with pytest.raises(LoadError) as caught:
        load(make_xlsx(("One", []), ("Two", [])), "a.xlsx")
    assert caught.value.code == "empty"


def test_empty_cells_of_large_sheets_are_taken_out_before_they_are_read():
    empty = b"".join(
        b'<row r="%d" spans="1:2"><c r="A%d" s="1"/><c r="B%d" s="1"></c></row>' % (row, row, row)
        for row in range(4, 30_000)
    )
    last = b'<row r="30000"><c r="B30000" t="inlineStr"><is><t>the end</t></is></c></row>'
    book = with_parts(
        make_xlsx(("People", PEOPLE)),
        lambda name, part: part.replace(b"</sheetData>", empty + last + b"</sheetData>"),
    )
    assert len(sparse(book)) < len(book) / 10
    assert load(book, "a.xlsx").text.endswith("Year: 1906\n\nYear: the end")


def test_a_small_workbook_is_read_as_it_is():
    book = make_xlsx(("People", PEOPLE))
    assert sparse(book) is book


def test_slides_are_pages(files):
    loaded = load(files["a.pptx"], "a.pptx")
    assert [loaded.text[page.start : page.end] for page in loaded.pages] == [
        "Finding\n\n- Words\n- Vectors\n\nNotes: Say it slowly.",
        "Sizes\n\nModel | Size\nmini | 22 M",
    ]
    assert (loaded.author, loaded.written_at) == ("Ada Lovelace", WRITTEN)


def test_groups_and_charts():
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    group = slide.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, 9, 9).text_frame.text = "in a group"
    series = CategoryChartData()
    series.categories = ["2020", "2021"]
    series.add_series("Ducks", (120, 135.5))
    slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, 0, 0, 9, 9, series)
    target = io.BytesIO()
    deck.save(target)
    assert load(target.getvalue(), "a.pptx").text == "in a group\n\n | Ducks\n2020 | 120\n2021 | 135.5"


def test_dates_of_templates_are_no_dates():
    deck = pptx.Presentation()
    deck.slides.add_slide(deck.slide_layouts[5]).shapes.title.text = "Title"
    target = io.BytesIO()
    deck.save(target)
    assert load(target.getvalue(), "a.pptx").written_at is None
