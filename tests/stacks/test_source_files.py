"""Source files are read once, and not without bound."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import pytest

from django_querybudget.stacks import source_files
from django_querybudget.stacks.source_files import source_of


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Eight files of 30,000 characters, of which three are kept."""
    monkeypatch.setattr(source_files, "_MOST", 100_000)
    monkeypatch.setattr(source_files, "_files", {})
    text = "value = function(1, 'word')[2]\n" * 1000
    paths = [tmp_path / f"file_{number}.py" for number in range(8)]
    for path in paths:
        path.write_text(text[:30_000].rpartition("\n")[0])
    return [str(path) for path in paths]


def test_a_file_that_is_asked_for_again_is_not_read_again(files: list[str]) -> None:
    first, second, third, fourth, *_ = files
    kept = [source_of(each) for each in (first, second, third)]
    assert source_of(first) is kept[0]
    source_of(fourth)  # for which the second one goes: it was asked for longest ago
    assert source_of(first) is kept[0]
    assert source_of(third) is kept[2]
    assert source_of(second) is not kept[1]


def test_what_is_kept_of_many_files_is_bounded(files: list[str]) -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for each in files:
            assert source_of(each).expressions
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert held < 16_000_000  # all of them together take twice as much


def test_files_without_text_are_bounded_too(files: list[str]) -> None:
    """Code that was made by code names a file that is not there, another one each time."""
    for number in range(200):
        assert source_of(f"<made {number}>").nodes[1:] == ()
    assert len(source_files._files) == 64
    assert source_of(files[0]).statements


def test_one_that_is_longer_than_all_may_be_is_read_all_the_same(
    tmp_path: Path, files: list[str]
) -> None:
    long = tmp_path / "long.py"
    long.write_text("a = 1\n" * 30_000)
    assert len(source_of(str(long)).statements) == 30_000
    assert source_of(files[0]).statements
    assert list(source_files._files) == [files[0]]
