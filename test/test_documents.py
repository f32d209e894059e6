"""The documents: links that lead somewhere, pointers in the code to pages that exist, and no more words than asked."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
OTHERS = [REPOSITORY / "CHANGELOG.md", REPOSITORY / "CONTRIBUTING.md"]
MOST_WORDS = 17_200
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")
POINTER = re.compile(r"docs/[\w.-]+\.md")


def anchors(document: Path) -> set[str]:
    """Return the names that GitHub gives to the headings of a document."""
    text = re.sub(r"^```.*?^```", "", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", [*DOCUMENTS, *OTHERS], ids=lambda document: document.name)
def test_every_link_leads_to_a_file_and_a_heading(document):
    broken = []
    for file, anchor in LINK.findall(document.read_text("utf-8")):
        target = document.parent / file if file else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(f"{file}#{anchor}")
    assert broken == []


def test_pages_that_the_code_names_exist():
    folders = ("querydiff_core", "querydiff_ros", "launch", "config", "benchmarks", "experiments", "test")
    files = [path for folder in folders for path in (REPOSITORY / folder).rglob("*") if path.suffix in (".py", ".yaml")]
    named = {name for path in (*files, REPOSITORY / "Makefile") for name in POINTER.findall(path.read_text("utf-8"))}
    assert len(named) > 5
    assert [name for name in sorted(named) if not (REPOSITORY / name).is_file()] == []


def test_the_index_in_the_readme_names_every_page():
    index = {file for file, _ in LINK.findall((REPOSITORY / "README.md").read_text("utf-8"))}
    assert [page.name for page in DOCUMENTS[1:] if f"docs/{page.name}" not in index] == []


def test_the_documents_stay_short():
    words = {document.name: len(document.read_text("utf-8").split()) for document in DOCUMENTS}
    assert sum(words.values()) <= MOST_WORDS, words
