"""Source code: the text as it stands, with what it defines as headings."""

import pytest

from retrieval.loading.loaders import load
from retrieval.loading.wire import verified


@pytest.mark.parametrize(
    ("name", "source", "headings"),
    [
        (
            "a.py",
            "class A(B):\n    async def f(self):\n        def g(): ...\n\ndef h(): ...",
            ["1 class A", "2 async def f", "3 def g", "1 def h"],
        ),
        (
            "a.ts",
            "export default class A {\n}\nexport async function f() {}\nconst x = 1",
            ["1 class A", "1 async function f"],
        ),
        ("a.java", "public final class A {\n    static enum B { X }\n}", ["1 class A", "2 enum B"]),
        ("a.c", "struct point {\n  int x;\n};\nstruct point p;\nint main() {}", ["1 struct point"]),
        (
            "a.go",
            "type T struct {}\nfunc (t *T) Do() {}\nfunc main() {}",
            ["1 type T", "1 func (t *T) Do", "1 func main"],
        ),
        (
            "a.rs",
            "pub struct S;\nimpl Clone for S {\n    pub fn f() {}\n}",
            ["1 struct S", "1 impl Clone for S", "2 fn f"],
        ),
        ("a.rb", "module M\n    class C < D\n", ["1 module M", "2 class C"]),
        ("a.sh", "#!/bin/sh\nbuild() {\n}\nfunction run () {\n}", ["1 build", "1 function run"]),
        (
            "a.sql",
            "create table if not exists people (\n  id int\n);",
            ["1 create table if not exists people"],
        ),
        ("a.ini", "[server]\nport = 80\n", ["1 server"]),
        ("a.toml", "[[tool]]\nx = 1", ["1 tool"]),
        ("a.yaml", "a:\n  b: 1", []),
        ("a.css", "p { color: red }", []),
        ("a.log", "line one\nline two", []),
    ],
)
def test_definitions_are_headings(name, source, headings):
    loaded = verified(load(source.encode(), name))
    assert loaded.text == source.rstrip()
    assert [f"{heading.level} {heading.title}" for heading in loaded.headings] == headings
    assert (loaded.media_type, loaded.language) == ("text/plain", "")


def test_colours_of_a_terminal_go():
    assert load(b"\x1b[31mred\x1b[0m text", "a.log").text == "red text"


def test_entities_in_xml_are_left_alone():
    bomb = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><a>&b;</a>'
    assert load(bomb.encode(), "a.xml").text == bomb


def test_a_line_of_generated_code_is_no_heading():
    assert load(("class A { " + "x;" * 500).encode(), "a.java").headings == ()
