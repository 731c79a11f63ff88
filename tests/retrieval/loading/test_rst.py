"""reStructuredText: what is kept, what goes, and which .txt files are it."""

from textwrap import dedent

import pytest

from retrieval.loading.loaders import load
from retrieval.loading.rst import looks_like
from retrieval.loading.rst_inline import plain

GRID = """\
+---+----+---+
| a | b  | c |
+===+====+===+
| 1 | 2  |   |
|   | 3  |   |
+---+----+---+
| both   | c |
+--------+---+
"""


def text_of(source: str) -> str:
    return load(dedent(source).encode(), "a.rst").text


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (":ref:`the title <target>`", "the title"),
        (":doc:`/topics/db`", "/topics/db"),
        (":setting:`DEBUG`", "DEBUG"),
        (":meth:`~django.db.QuerySet.filter`", "filter"),
        (":class:`!Secret`", "Secret"),
        (":py:func:`a.b`", "a.b"),
        (":rfc:`2616` and :pep:`8`", "RFC 2616 and PEP 8"),
        ("``a *b* `c` \\d``", "a *b* `c` \\d"),
        ("``N``, ``a`b`` and ``C``", "N, a`b and C"),
        ("``:ref:`x <y>``` or ``z``", ":ref:`x <y>` or z"),
        ("**bold** and *thin*", "bold and thin"),
        ("2 * 3 * 4", "2 * 3 * 4"),
        ("``**kwargs`` and *args", "**kwargs and *args"),
        ("`a link <https://x.org>`_ here", "a link here"),
        ("see `this`_ and that_ and `one <x>`__", "see this and that and one"),
        ("__init__ and a_b and _private", "__init__ and a_b and _private"),
        ("``QuerySet``\\s", "QuerySets"),
        ("|release| is out", "5.2 is out"),
        ("a note [#f1]_ and [CIT2002]_", "a note [f1] and [CIT2002]"),
        ("x = a || b", "x = a || b"),
        ("unclosed `tick and **star", "unclosed `tick and **star"),
    ],
)
def test_inline(source, shown):
    assert plain(source, {"release": "5.2"}) == shown


def test_headings_by_order_of_their_styles():
    source = """\
        =====
        Title
        =====

        A
        =

        B
        --

        C ``x``
        =======

        ~~~~~~~~~~~
         Overlined
        ~~~~~~~~~~~

        ----

        End.
        """
    loaded = load(dedent(source).encode(), "a.rst")
    assert [(h.level, h.title) for h in loaded.headings] == [
        (1, "Title"),
        (2, "A"),
        (3, "B"),
        (2, "C x"),
        (4, "Overlined"),
    ]
    assert loaded.title == "Title"
    assert loaded.text == "Title\n\nA\n\nB\n\nC x\n\nOverlined\n\nEnd."


def test_code_is_kept_and_prose_is_joined():
    assert text_of("""\
        A paragraph over
        two lines, then::

            def f():
                return 1

            f()

        .. code-block:: python
            :linenos:

            x = 1

        >>> 1 + 1
        2
        """) == (
        "A paragraph over two lines, then:\n\ndef f():\n    return 1\n\nf()\n\nx = 1\n\n>>> 1 + 1\n2"
    )


def test_what_only_machines_read_is_dropped():
    assert (
        text_of("""\
        .. _target:
        .. a comment
           over lines

        .. currentmodule:: x
        .. toctree::
            :maxdepth: 1

            intro

        Words.

        .. _link: https://x.org
        .. |sub| replace:: there
        .. image:: x.png
            :alt: a picture

        More |sub|.
        """)
        == "Words.\n\nMore there."
    )


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (".. note:: Mind\n    the gap.\n", "Note: Mind the gap."),
        (".. warning ::\n\n    Hot.\n\n    Very.\n", "Warning: Hot.\n\nVery."),
        (".. admonition:: Why?\n\n    Because.\n", "Why?\nBecause."),
        (".. versionadded:: 5.1\n", "New in version 5.1."),
        (".. versionchanged:: 5.0\n\n    It differs.\n", "Changed in version 5.0: It differs."),
        (".. deprecated:: 4.2 Use *b*.\n", "Deprecated since version 4.2: Use b."),
        (".. class:: A(x)\n           B(y)\n\n    Makes one.\n", "A(x)\nB(y)\nMakes one."),
        (".. method:: A.f(x)\n    :async:\n\n    Does it.\n", "A.f(x)\nDoes it."),
        (".. django-admin:: check\n\n    Looks.\n", "check\nLooks."),
        (".. made-up-by-someone:: argument\n\n    Its content.\n", "argument\nIts content."),
        (".. console::\n\n    $ run\n    $ stop\n", "$ run\n$ stop"),
        (".. figure:: a.png\n    :width: 3\n\n    The caption.\n", "The caption."),
        (".. csv-table:: Sizes\n    :header: \"a\", \"b\"\n\n    1, \"2, 3\"\n", "Sizes\na | b\n1 | 2, 3"),
        (".. list-table::\n\n    * - a\n      - b\n    * - c\n        d\n      - e\n", "a | b\nc d | e"),
        (".. [1] A footnote\n    of two lines.\n", "[1] A footnote of two lines."),
        ("term\n    Its meaning.\n\nother\n    Another.\n", "term\nIts meaning.\n\nother\nAnother."),
        (":Author: Somebody\n:orphan:\n", "Author: Somebody"),
        ("| a line\n| and *one*\n", "a line\nand one"),
        ("====  ====\na     b\n====  ====\n1     2\n      3\n====  ====\n", "a | b\n1 | 2 3"),
        (GRID, "a | b | c\n1 | 2 3\nboth |  | c"),
    ],
)  # fmt: skip
def test_body_elements(source, shown):
    assert text_of(source) == shown


def test_lists():
    assert text_of("""\
        * One
          goes on
        * Two:

          .. code-block:: sh

              ls

          - inner

        #. First::

               code
                 deeper
        #. Second

        A. Nobody wrote
        this paragraph.
        """) == (
        "- One goes on\n\n- Two:\n\n  ls\n\n  - inner\n\n1. First:\n\n  code\n    deeper\n\n2. Second\n\n"
        "A. Nobody wrote this paragraph."
    )


def test_an_anchor_before_a_heading_does_not_end_the_section_before():
    loaded = load(
        b"T\n=\n\nWords.\n\n.. _x:\n\n.. setting:: DEBUG\n\n``DEBUG``\n---------\n\nDefault: off.", "a.rst"
    )
    assert loaded.text == "T\n\nWords.\n\nDEBUG\n\nDefault: off."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=====\nTitle\n=====\n\nSee :doc:`x`.", True),
        ("Title\n=====\n\nWords of a page.", True),
        ("*May 1*\n\nDjango 2.2.17 :cve:`1` :cve:`2` :ref:`x`", True),
        ("Dear all,\n\nthe price is 5 :-) and 3::4.", False),
        ("# Markdown\n\nTitle\n=====\n\n```\nx\n```", False),
        ("total   12\n-----\nend 3", False),
        ("name: x\nvalue: y", False),
        ("a | b\n--- | ---\n1 | 2", False),
        ("", False),
    ],
)
def test_which_texts_are_restructuredtext(text, expected):
    assert looks_like(text) is expected


def test_a_txt_that_is_restructuredtext_is_read_as_it():
    loaded = load(b"Title\n=====\n\nSee :ref:`the page <x>`.", "a.txt")
    assert (loaded.media_type, loaded.title, loaded.text) == ("text/x-rst", "Title", "Title\n\nSee the page.")
