"""Change detection as a law: whatever the folder did, the comparison accounts for every file."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from indexer.changes import compare
from indexer.found import FoundFile, FoundFiles
from indexer.scan import Scan
from retrieval.db.reads import FileRow

NAMES = st.sampled_from([b"/p/" + bytes([letter]) for letter in b"abcefgh"] + [b"/p/d/x", b"/p/d/y"])
STAT = st.tuples(st.integers(0, 3), st.integers(0, 3))
ROWS = st.dictionaries(NAMES, st.tuples(STAT, st.booleans()))
FILES = st.dictionaries(NAMES, STAT)
REASONS = st.sampled_from(["damaged", "empty", "changed", "unreadable"])
FAILED = st.dictionaries(NAMES, st.tuples(STAT, REASONS))


def table(rows: dict[bytes, tuple[tuple[int, int], bool]]) -> list[FileRow]:
    return [
        FileRow(number, path, size, mtime, path, missing)
        for number, (path, ((size, mtime), missing)) in enumerate(sorted(rows.items()))
    ]


def walked(files: dict[bytes, tuple[int, int]], unreadable: Sequence[bytes] = ()) -> Scan:
    return Scan(FoundFiles(FoundFile(path, *stat) for path, stat in sorted(files.items())), [*unreadable])


@given(rows=ROWS, files=FILES, failed=FAILED, dark=st.booleans())
def test_every_file_and_every_row_is_accounted_for_once(
    rows: dict[bytes, tuple[tuple[int, int], bool]],
    files: dict[bytes, tuple[int, int]],
    failed: dict[bytes, tuple[tuple[int, int], str]],
    dark: bool,
) -> None:
    unreadable = [b"/p/d"] if dark else []
    listed = {path: stat for path, stat in files.items() if not (dark and path.startswith(b"/p/d/"))}
    found = walked(listed, unreadable)
    bad = {path: (*stat, reason) for path, (stat, reason) in failed.items()}
    changes = compare(found, table(rows), bad)

    sorted_out = [file.path for file in changes.new + changes.known_bad]
    sorted_out += [file.path for file, _ in changes.changed]
    sorted_out += [row.path for row in changes.returned]
    assert len(sorted_out) == len(set(sorted_out))
    as_they_were = listed.keys() - set(sorted_out)
    assert changes.unchanged == len(as_they_were) == len(listed) - len(sorted_out)
    for path in as_they_were:
        assert rows[path] == (listed[path], False)
    for row in changes.returned:
        assert rows[row.path] == (listed[row.path], True)
    for file, row in changes.changed:
        assert file.path == row.path

    for row in changes.gone:
        assert row.path not in listed
        assert not row.missing
        assert not (dark and row.path.startswith(b"/p/d/"))
    visible = {path for path, (_, missing) in rows.items() if not missing}
    hidden_by_dark = {path for path in visible if dark and path.startswith(b"/p/d/")}
    assert {row.path for row in changes.gone} == visible - set(listed) - hidden_by_dark

    for file in changes.known_bad:
        assert bad[file.path][2] in {"damaged", "empty"}
    unseen = {path for path in failed if path not in listed and not (dark and path.startswith(b"/p/d/"))}
    again = {
        path
        for path in failed.keys() & listed.keys() & rows.keys()
        if rows[path][0] == listed[path] != failed[path][0]
    }
    assert set(changes.vanished) == unseen
    assert set(changes.healed) == again


@given(files=FILES)
def test_nothing_pends_when_nothing_changed(files: dict[bytes, tuple[int, int]]) -> None:
    found = walked(files)
    changes = compare(found, table({path: (stat, False) for path, stat in files.items()}), {})
    assert not changes.pending
    assert changes.unchanged == len(files)
