"""The words alone of what a model says: without its marks, roles, markdown, thoughts and preambles."""

from __future__ import annotations

import re
import unicodedata

from retrieval.captioners import prompts

ENDED = re.compile(r"[.!?…。！？][\"'”’)]*$")
"""A sentence that has its end."""

_MARKS = re.compile(
    r"<\|[^<>|\n]{1,40}\|>|</?s>|<(?:pad|unk|bos|eos|image|img|end_of_utterance|eot)>|"
    r"<(?:start|end)_of_(?:turn|image)>|\[/?(?:INST|IMG|IMG_END|BOS|EOS)\]|\x1b\[[0-9;]{0,20}[A-Za-z]"
)
_OPEN = re.compile(
    r"(?:<(?:\|[^<>|\n]{0,40}\|?|/?[a-z_]{0,19})|\[/?[A-Z_]{0,7}|\x1b(?:\[[0-9;]{0,20})?|[\ud800-\udbff])\Z"
)
"""What may go on as a mark, or as the second half of a letter."""
_ROLE = re.compile(
    r"^[ \t]*(?P<line>system|user|human|question|assistant|model|gpt)[ \t]*(?::|$)|"
    r"(?<=\s)(?P<inline>USER|User|HUMAN|Human|SYSTEM|System|ASSISTANT|Assistant)[ \t]*:",
    re.MULTILINE | re.IGNORECASE,
)
_LABEL = re.compile(
    r"\W{0,3}(?:caption|alt(?:ernative)?[- ]?text|alt|description|answer|output|response|title)\W{0,3}:\s*",
    re.IGNORECASE,
)
_PREAMBLE = re.compile(
    r"(?:sure|certainly|of course|okay|ok|absolutely)\b[^.!?:\n]{0,80}[:!.]\s*|"
    r"here(?:['’]s| is| are)\b[^.!?:\n]{0,80}:\s*",
    re.IGNORECASE,
)
_ABBREVIATED = re.compile(
    r"(?:^|[\s(])(?:[A-Z]|[Mm]rs?|[Mm]s|[Dd]r|[Ss]t|[Nn]o|vs|etc|[ei]\.g|i\.e|[Aap]\.m|ca|approx)\.$"
)


def plain(text: str) -> str:
    """Text without a model's marks, and without characters that steer a terminal or the reading order."""
    return "".join(map(_visible, _MARKS.sub(_space, text)))


def settled(text: str) -> int:
    """Up to where `plain` says the same of a text, whatever follows."""
    at = 0
    while opening := _OPEN.search(text, at):
        over = (mark for mark in _MARKS.finditer(text) if mark.start() < opening.start() < mark.end())
        around = next(over, None)
        if around is None:
            return opening.start()
        at = around.end()  # within a mark that is whole, nothing begins
    return len(text)


def without_thoughts(text: str) -> str:
    """What a model says without what it thought aloud before, as far as it marked that."""
    opened, closed = re.search(r"<think(?:ing)?>", text), list(re.finditer(r"</think(?:ing)?>", text))
    if closed:
        return text[closed[-1].end() :].lstrip()
    return text[: opened.start()] if opened else text


def sentences(text: str) -> list[str]:
    """The sentences of a text; the last may lack its end."""
    found, start = [], 0
    for match in re.finditer(r"[.!?…]+[\"'”’)]*(?=\s)|[。！？]+", text):
        if _ABBREVIATED.search(text[start : match.end()]):
            continue
        found.append(text[start : match.end()].strip())
        start = match.end()
    rest = text[start:].strip()
    return [*found, rest] if rest else found


def reply_alone(text: str) -> str:
    """The assistant's words where a reply carries the chat with it, up to where it speaks for others."""
    marks = [mark for mark in _ROLE.finditer(text) if mark["line"] or mark["inline"][0].isupper()]
    if not marks:
        return text
    before = text[: marks[0].start()].strip()
    if before and not all(map(echoed, sentences(before))):
        return before
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        said = text[mark.end() : following.start() if following else None].strip()
        if said and (mark["line"] or mark["inline"]).lower() in ("assistant", "model", "gpt"):
            return said
    return "" if text[marks[0].end() :].strip() else text


def first_part(text: str) -> str:
    """The first paragraph or entry of a list that says something, on one line and without markdown."""
    given = prompts.object_in(text) if text.lstrip().startswith(("{", "```")) else None
    if given:
        text = next((value for value in given.values() if isinstance(value, str)), "")
    text = re.sub(r"```\w*", "\n", text)
    text = re.sub(r"!?\[([^\]\n]{0,200})\]\([^)\n]{0,200}\)", r"\1", text)
    text = re.sub(r"(\*\*|__|`|\*)(?=\S)([^\n*`]{1,300}?)(?<=\S)\1", r"\2", text)
    lines: list[str] = []
    for line in text.split("\n"):
        bare = " ".join(line.split())
        entry = re.match(r"(?:[-*•>]|\d{1,2}[.)])\s+", bare)
        told = (bare[entry.end() :] if entry else bare).strip(" *_")
        empty = not told or bare.startswith(("#", prompts.DATA)) or set(told) <= set("-=")
        if lines and (empty or entry):
            break
        if not empty and not (told.endswith(":") and not lines):
            lines.append(told)
    return " ".join(lines)


def without_frame(text: str) -> str:
    """Without a preamble, a label and quotes around the whole."""
    for _ in range(3):
        for frame in (_PREAMBLE, _LABEL):
            match = frame.match(text)
            if match and text[match.end() :].strip():
                text = text[match.end() :]
        text = text.strip()
        for opening, closing in ('""', "''", "“”", "‘’", "«»", "„“"):
            wrapped = len(text) > 1 and text[0] == opening and text[-1] == closing
            if wrapped and not set(text[1:-1]) & {*'"“”«»'}:
                text = text[1:-1].strip()
    return text


def not_looping(text: str) -> str:
    """Words that a model says over and over, once."""
    return re.sub(r"\b(\w[^\n]{2,80}?)(?:[\s,.;]+\1\b){2,}", r"\1", text)


def echoed(sentence: str) -> bool:
    """Whether a sentence is part of what the model was told."""
    key = sentence.casefold().rstrip(".")
    return len(key.split()) > 2 and any(key in told.casefold() for told in prompts.ECHOES)


def _space(mark: re.Match[str]) -> str:
    return "" if mark[0].startswith("\x1b") else "\n"


def _visible(character: str) -> str:
    if character in "\n\t":
        return character
    kind = unicodedata.category(character)
    if kind in ("Cc", "Zl", "Zp"):
        return " "
    # The two joiners shape letters and emojis; other format characters hide or reorder text.
    return (
        "" if kind in ("Cs", "Co", "Cn") or (kind == "Cf" and character not in "\u200c\u200d") else character
    )
