"""Evaluation files: what they ask, or a sentence that says why they cannot be used."""

from __future__ import annotations

import math
from pathlib import Path

from retrieval.errors import QueryError
from retrieval.evaluate import answers, files
from tests.fuzz import told
from tests.fuzz.library import folder

SEEDS = (
    b'{"images": [{"filename": "a.jpg", "split": "test", "sentences": [{"raw": "a dog"}]}]}',
    b'{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "caption": "a dog"}]}',
    b'{"queries": [{"query": "a dog", "relevant": {"a.jpg": 2}, "kind": "thing"}], "absent": ["a bus"]}',
    b'{"image": "a.jpg", "texts": ["a dog", ""]}\n{"query": "a cat", "relevant": []}\n',
    b'{"question": "How many?", "answers": ["two"], "evidence": ["a.jpg"], "kind": "count"}\n',
)
WORDS = (
    *(b'"images":', b'"filename":', b'"sentences":', b'"raw":', b'"queries":', b'"relevant":', b'"absent":'),
    *(
        b'"annotations":',
        b'"question":',
        b'"answers":',
        b"1e999",
        b"NaN",
        b"\\ud800",
        b"\\u0000",
        b"[[[[",
        b"-0",
    ),
)


def one(data: bytes) -> None:
    path: Path = folder() / "evaluation.json"
    path.write_bytes(data)
    for split in (None, files.ALL_SPLITS):
        try:
            asked = files.read(path, split=split)
        except QueryError as error:
            told(error)
            continue
        for question in asked.questions:
            assert question.text.strip()
            question.text.encode("utf-8")
            assert all(math.isfinite(grade) and grade > 0 for grade in question.grades.values())
            assert all(name and "\0" not in spelling for name in question.grades for spelling in name)
    if not answers.asks_questions(path):
        return
    try:
        questions, broken = answers.read_questions(path)
    except QueryError as error:
        told(error)
        return
    assert len(questions) + len(broken) <= data.count(b"\n") + 1
