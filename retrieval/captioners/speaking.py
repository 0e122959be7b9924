"""Captions from any model that speaks, and the cleaning of what models say of a picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from retrieval import config
from retrieval.captioners import prompts
from retrieval.captioners.said import (
    ENDED,
    echoed,
    first_part,
    not_looping,
    plain,
    reply_alone,
    sentences,
    without_frame,
    without_thoughts,
)
from retrieval.errors import ImageUnreadable
from retrieval.protocols import Settling

if TYPE_CHECKING:
    from retrieval.protocols import Speaker
    from retrieval.speech import Reply, Sight, Style

MAX_ALT = 150
"""Characters of an alt text: it is heard, and cannot be skimmed."""
MAX_CAPTION = 400
MAX_SAID = 4000
"""Characters of a reply that are looked at at all."""
MAX_TOKENS: dict[Style, int] = {"caption": 120, "alt": 80}
VARIETY = 0.8
"""The temperature at which further candidates are made."""

_KIND = r"(?:image|picture|photo(?:graph)?|pic|snapshot|scene)"
_OPENINGS = [
    (re.compile(pattern, re.IGNORECASE), instead)
    for pattern, instead in (
        (rf"in (?:this|the) {_KIND},?\s+(?:(?:we|you|one|i) (?:can )?see|there (?:is|are))\s+", ""),
        (rf"in (?:this|the) {_KIND},\s+", ""),
        (rf"(?:this|the) {_KIND} (?:appears|seems) to (?:show|depict|be of)\s+", "Apparently "),
        (
            rf"(?:this|the) {_KIND} (?:clearly )?(?:shows|depicts|features|captures|displays|presents|"
            rf"portrays|contains|is (?:an? {_KIND} )?of)\s+",
            "",
        ),
        (rf"(?:this|it|here) is an? {_KIND} (?:of|showing)\s+", ""),
        (rf"(?:an? |the )?{_KIND} (?:of|showing|depicting)\s+", ""),
        (r"(?:it|this) (?:shows|depicts|features)\s+", ""),
        (r"(?:we|you|one|i) (?:can )?see\s+", ""),
    )
]
_REFUSAL = re.compile(
    r"(?:i['’]?m |i am )?(?:very )?(?:sorry|afraid)\b|as an ai\b|no image (?:was|is|has been)\b|"
    r"i (?:can(?:no|['’])?t|am (?:un|not )able|do(?: not|n['’]t))\s+(?:\w+ )?"
    r"(?:see|help|assist|identify|describe|view|provide|to|have|process|comply)|"
    r"(?:please )?(?:provide|upload|share) (?:an?|the|your) (?:image|picture|photo)",
    re.IGNORECASE,
)
_LOOSE_END = re.compile(
    r"[\s,;:–—-]+(?:(?:and|or|with|a|an|the|of|in|on|at|to|by|for|from|is|are|while|as|which|that|its|their)"
    r"[\s,;:–—-]*)?$",
    re.IGNORECASE,
)


def finished(text: str, style: Style) -> str:
    """What a model said of a picture, fit to be kept: one or two sentences, or one as an alt text.

    Marks, roles, echoes of the prompt, thoughts, preambles and openings like "The image shows"
    go; so does a last sentence that was cut off. Empty where nothing is left, and for a refusal.
    """
    said = first_part(reply_alone(without_thoughts(plain(text[:MAX_SAID]))))
    said = not_looping(without_frame(said))
    if _REFUSAL.match(said):
        return ""
    kept: list[str] = []
    for sentence in _whole(sentences(said)):
        if sentence not in kept and not echoed(sentence) and not _REFUSAL.match(sentence):
            kept.append(sentence)
    kept = kept[: 1 if style == "alt" else 2]
    if not kept:
        return ""
    kept[0] = _without_opening(kept[0])
    most = MAX_ALT if style == "alt" else MAX_CAPTION
    if len(" ".join(kept)) > most:
        kept = kept[:1]
    whole = _shortened(" ".join(kept), most)
    return whole if any(character.isalnum() for character in whole) else ""


class SpeakingCaptioner:
    """Captions by a model that sees and speaks, whichever it is."""

    sees = True

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker

    @property
    def id(self) -> str:
        return f"{self._speaker.id}/caption-{prompts.PROMPT_VERSION}"

    def settle(self, seconds: float | None = None) -> None:
        if isinstance(self._speaker, Settling):
            self._speaker.settle(seconds)

    @property
    def batch_size(self) -> int:
        return self._speaker.batch_size

    @property
    def note(self) -> str:
        return self._speaker.note

    def captions(
        self, sights: Sequence[Sight], *, style: Style = "caption", count: int = 1
    ) -> list[list[str]]:
        """The surest caption of each picture first, then up to `count - 1` others that differ from it.

        A picture that cannot be read is an `ImageUnreadable`, before anything is asked.
        """
        for sight in sights:
            if sight.image is None:
                raise ImageUnreadable(
                    f"{sight.facts.path or 'The picture'} cannot be read now, and this captioner looks at "
                    "the picture itself. The built-in one goes by what the catalog knows: "
                    "--captioner describer",
                    reason="unreadable",
                )
        found: list[list[str]] = [[] for _ in sights]
        size = max(1, self._speaker.batch_size)
        for start in range(0, len(sights), size):
            some = range(start, min(start + size, len(sights)))
            chats = [prompts.caption_chat(sights[at], style) for at in some]
            for attempt in range(count):
                replies = self._speaker.reply(
                    chats,
                    max_tokens=MAX_TOKENS[style],
                    # Each picture has its time: many servers answer the chats of a batch one by one.
                    seconds=config.REPLY_SECONDS * len(chats),
                    temperature=VARIETY if attempt else 0.0,
                    seed=attempt,
                )
                for at, reply in zip(some, replies, strict=True):
                    said = _kept(reply, style)
                    if said and said.casefold() not in {other.casefold() for other in found[at]}:
                        found[at].append(said)
        return found


def _kept(reply: Reply, style: Style) -> str:
    """A reply as a caption; a scrap of one that was cut off after a few words is none."""
    said = finished(reply.text, style)
    scrap = not reply.complete and len(said.split()) < 4 and len(sentences(reply.text)) < 2
    return "" if scrap else said


def _whole(parts: list[str]) -> list[str]:
    """Without a last sentence that has no end, unless it is all there is."""
    if parts and not ENDED.search(parts[-1]):
        return parts[:-1] or [_trimmed(parts[0])]
    return parts


def _without_opening(sentence: str) -> str:
    for _ in range(2):
        for pattern, instead in _OPENINGS:
            match = pattern.match(sentence)
            if match and sentence[match.end() :].strip(" ."):
                sentence = instead + sentence[match.end() :]
                break
    return sentence


def _shortened(text: str, most: int) -> str:
    """At most so many characters, cut where a clause ends if it can be; with a capital and an end."""
    if len(text) > most:
        head = text[: most - 1]
        clauses = [at.start() for at in re.finditer(r"[,;] | (?:while|and|with|as|which) ", head)]
        at = next((at for at in reversed(clauses) if at >= most // 2), max(head.rfind(" "), 0))
        text = _trimmed(head[:at] or head)
    if not ENDED.search(text):
        text = text[: most - 1].rstrip(" .,;:") + "."
    return text[:1].upper() + text[1:]


def _trimmed(text: str) -> str:
    """Without words at the end that lead on to something."""
    while (shorter := _LOOSE_END.sub("", text)) != text and shorter:
        text = shorter
    return text
