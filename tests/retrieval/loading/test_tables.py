"""Rows to text: each row says what its cells are."""

import pytest

from retrieval.loading.loaders import load
from retrieval.loading.tables import blocks, table_lines
from retrieval.loading.text import assemble

YEARS = [["Name", "Year"], ["Ada", "1815"], ["Grace", "1906"]]


@pytest.mark.parametrize(
    ("rows", "shown"),
    [
        (YEARS, ["Name: Ada; Year: 1815", "Name: Grace; Year: 1906"]),
        ([["People"], [], *YEARS], ["People", "Name: Ada; Year: 1815", "Name: Grace; Year: 1906"]),
        ([["People"], *YEARS[:2]], ["People", "Name: Ada; Year: 1815"]),
        ([*YEARS[:2], [], YEARS[2]], ["Name: Ada; Year: 1815", "Name: Grace; Year: 1906"]),
        ([*YEARS[:2], [], ["Town", "Height"], ["Ulm", "478"]], ["Name: Ada; Year: 1815", "Town: Ulm; Height: 478"]),
        ([["1", "2"], ["3", "4"]], ["1 | 2", "3 | 4"]),
        ([["a", "a"], ["3", "4"]], ["a | a", "3 | 4"]),
        ([["Name", "Year"]], ["Name | Year"]),
        ([["Name", "Year"], ["Ada", "", "extra"], ["", "1906"]], ["Name: Ada; extra", "Year: 1906"]),
        ([["No.:", "B", "C"], ["1", "2", "3"], ["Section"]], ["No.: 1; B: 2; C: 3", "Section"]),
        ([["", ""], []], []),
        ([["a"], ["b"], ["c"]], ["a", "b", "c"]),
    ],
)  # fmt: skip
def test_rows_become_paragraphs(rows, shown):
    assert assemble(blocks(rows))[0] == "\n\n".join(shown)


def test_a_small_table_amid_a_text_reads_as_it_looks():
    assert table_lines(YEARS) == ["Name | Year", "Ada | 1815", "Grace | 1906"]


def test_the_rows_of_a_large_one_have_the_names_of_their_columns():
    rows = table_lines([["Name", "Year"], *([f"Person {number}", str(number)] for number in range(100))])
    assert rows[0] == "Name | Year"
    assert rows[57] == "Name: Person 56; Year: 56"


def test_a_large_table_of_a_page():
    cells = "".join(f"<tr><td>Person {number}<td>{number}" for number in range(100))
    text = load(f"<table><tr><th>Name<th>Year{cells}</table>".encode(), "a.html").text
    assert "Name: Person 56; Year: 56" in text
