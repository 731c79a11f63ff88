"""CSV and its relatives: the delimiter found out, each row with the names of its columns."""

import csv
from collections import Counter
from collections.abc import Iterator

from retrieval.loading import tables
from retrieval.loading.decoding import decode
from retrieval.loading.text import assemble, clean, one_line
from retrieval.spans import LoadedText

_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 60
_SAMPLE = 64 * 1024
_LONGEST_FIELD = 100_000  # a longer one is a quotation mark that nothing closes


def load(content: bytes) -> LoadedText:
    """The rows as paragraphs; comma, semicolon, tab or bar, whichever parts the lines evenly."""
    source = clean(decode(content)).strip("\n")
    declared = source[:6].lower()
    delimiter = ""
    if declared.startswith("sep=") and declared[4:5] in _DELIMITERS:  # Excel's own way to name it
        delimiter, source = declared[4], source[5:].lstrip("\n")
    delimiter = delimiter or _delimiter(source)
    text, headings = assemble(tables.blocks(_rows(source, delimiter)))
    media_type = "text/tab-separated-values" if delimiter == "\t" else "text/csv"
    return LoadedText(text, "", media_type, headings=headings)


def _delimiter(source: str) -> str:
    """The character that most rows have equally often; a comma if none stands out."""
    sample = "\n".join(source[:_SAMPLE].split("\n")[:_SAMPLE_LINES])
    return max(_DELIMITERS, key=lambda character: _evenness(sample, character))


def _evenness(sample: str, delimiter: str) -> float:
    """How many rows have the commonest number of columns, weighed by that number; 0 for one column."""
    counts = Counter(len(row) for row in _rows(sample, delimiter))
    if not counts:
        return 0.0
    columns, rows = max(counts.items(), key=lambda item: (item[1], item[0]))
    return rows / counts.total() * (1 + 0.01 * min(columns, 50)) if columns > 1 else 0.0


def _rows(source: str, delimiter: str) -> Iterator[list[str]]:
    """The rows; by lines alone from where a quotation mark opens and nothing sensible closes it."""
    lines = source.split("\n")
    done = 0
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter)
    while True:
        try:
            row = next(reader, None)
        except csv.Error:  # the field is too large: as if it had no mark
            break
        if row is None:
            return
        if any(len(cell) > _LONGEST_FIELD for cell in row):
            break
        if row:  # an empty line is a line end too many
            yield [one_line(cell) for cell in row]
        done = reader.line_num
    for line in filter(None, lines[done:]):
        yield [one_line(cell.strip(' "')) for cell in line.split(delimiter)]
