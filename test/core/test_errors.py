"""How errors of libraries become one line."""

import errno

import pytest

from querydiff_core.errors import LONGEST, QueryDiffError, described, explained, listed, one_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("it is\n    wrong.\n\n  Really. "), "it is wrong. Really"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/file"), "No space left on device"),
        (OSError("no config.json"), "no config.json"),
        (KeyError("name"), "'name'"),
        (RuntimeError(), "RuntimeError"),
        (ValueError("/a folder  with two spaces"), "/a folder  with two spaces"),
    ],
)
def test_any_error_becomes_one_line_without_a_full_stop(error, line):
    assert one_line(error) == line


def test_a_line_can_be_chosen_and_long_ones_are_cut():
    error = RuntimeError("first\n\tsecond\nlast.\n")
    assert [one_line(error, only) for only in (0, 1, -1, 7)] == ["first", "second", "last", "last"]
    assert len(one_line(RuntimeError("word " * 1000))) <= LONGEST


def test_foreign_errors_are_described_with_their_class_and_ours_without():
    assert described(QueryDiffError("Give another\nfile.")) == "Give another file."
    assert described(ZeroDivisionError("division by zero")) == "ZeroDivisionError: division by zero"


def test_of_many_things_the_first_five_are_listed():
    assert listed(["a"]) == "a"
    assert listed(dict.fromkeys("abcde")) == "a, b, c, d, e"
    assert listed(list("abcdefg")) == "a, b, c, d, e and 2 more"


def test_errors_are_explained_in_a_sentence():
    with pytest.raises(QueryDiffError) as failure, explained("Cannot read {a file}: {reason}.", OSError, ValueError):
        raise OSError(errno.EISDIR, "Is a directory", "/a")
    assert str(failure.value) == "Cannot read {a file}: Is a directory."
    assert isinstance(failure.value.__cause__, OSError)


def test_other_errors_and_sentences_pass():
    with pytest.raises(KeyError), explained("Never said.", ValueError):
        raise KeyError("name")
    with pytest.raises(QueryDiffError, match=r"^A sentence\.$"), explained("Never said.", Exception):
        raise QueryDiffError("A sentence.")
