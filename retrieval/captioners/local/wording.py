"""Turns a chat into the prompt that a checkpoint was taught, by its own template where it has one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from retrieval.captioners.known import LOCAL_USE
from retrieval.captioners.local.plain import Plain
from retrieval.checkpoints.loading import refused
from retrieval.errors import ModelError

if TYPE_CHECKING:
    from retrieval.checkpoints import Checkpoint
    from retrieval.speech import Chat

# Words that no template holds and that every tokenizer can read.
_SYSTEM, _FIRST, _REPLY, _SECOND = "Qsystemq", "Qfirstq", "Qreplyq", "Qsecondq"
_WORDS = re.compile("|".join((_SYSTEM, _FIRST, _REPLY, _SECOND)))
_SPEAKER = re.compile(r"(?<![\w<|])([A-Za-z]+):\s*\Z")
"""How a template says in plain words whose turn begins: `USER: `."""
_FENCE = re.compile(r"\[/?[A-Z_]+\]|<{1,2}/?\|?\w+\|?>{1,2}")
"""Marks that a tokenizer may read as any other text: `[/INST]`, `<<SYS>>`."""

Part = str | Image.Image
Said = tuple[str, list[Part]]


class Prompt(NamedTuple):
    text: str
    pictures: list[Image.Image]
    last: str
    """What the user said last, as the model reads it: some models say it again first."""


class Wording:
    """How one checkpoint wants a chat: in parts, as one string a turn, or as plain text without turns.

    Which it is, whether the template knows a system's turn, how a turn ends and by what words
    it says who speaks is found out by letting it write a chat of known words.
    """

    def __init__(self, found: Checkpoint, processor: Any) -> None:
        self._name = found.name
        self._processor = processor
        self._tokenizer = processor.tokenizer
        named = [getattr(processor, name, None) for name in vars(processor) if name.endswith("_token")]
        written = [str(token) for token in named if token]
        token = getattr(processor, "image_token", None) or getattr(self._tokenizer, "image_token", None)
        self._image = str(token or "")
        self._manner = self._found_manner()
        if self._manner != "parts" and not self._image:
            raise refused(
                found, "a model that looks at pictures", "it does not say how it is asked", LOCAL_USE
            )
        # Beside pictures some processors write the first token, that their tokenizers then leave out.
        first = self._tokenizer.bos_token or self._tokenizer.eos_token or ""
        self._first = "" if self._tokenizer("")["input_ids"] else str(first)
        self._system = self._manner != "plain" and self._knows_system()
        around, between = self._around() if self._manner != "plain" else ([], "")
        self.marks = sorted({mark for piece in around for mark in _SPEAKER.findall(piece)})
        self.turn_end = self._first_special(between)
        fences = {mark for piece in around for mark in _FENCE.findall(piece)}
        self.plain = Plain(self._tokenizer, self.marks, [*written, *fences])

    def prompt(self, chat: Chat) -> Prompt:
        """A chat as one text, and its pictures in the order of their places in it."""
        turns = self._turns(chat)
        pictures = [part for _, parts in turns for part in parts if not isinstance(part, str)]
        last = next((parts for role, parts in reversed(turns) if role == "user"), [])
        try:
            return Prompt(self._written(turns), pictures, _text(last))
        except Exception as error:  # a template is a program, and may raise whatever it likes
            why = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
            raise ModelError(f"{self._name} cannot be asked this: {why}. {LOCAL_USE.instead}") from error

    def starts_itself(self, text: str) -> bool:
        """Whether the prompt already begins with the token that a tokenizer puts first."""
        first = self._tokenizer.bos_token or self._first
        return bool(first) and text.startswith(str(first))

    def _turns(self, chat: Chat) -> list[Said]:
        """The chat with its text made plain, one turn a change of role, and a system only in front."""
        told = "\n\n".join(
            part for turn in chat if turn.role == "system" for part in turn.parts if isinstance(part, str)
        )
        turns: list[Said] = []
        for turn in chat:
            if turn.role == "system":
                continue
            if turns and turns[-1][0] == turn.role:
                turns[-1][1].extend(turn.parts)
            else:
                turns.append((turn.role, list(turn.parts)))
        if not turns or turns[0][0] != "user":
            turns.insert(0, ("user", []))
        if told and not self._system:
            place = next((number for number, part in enumerate(turns[0][1]) if isinstance(part, str)), None)
            turns[0][1].insert(len(turns[0][1]) if place is None else place, told)
        # Neighbouring texts become one before they are made plain: a mark may lie across them.
        made = [(role, self._made_plain(_joined(parts))) for role, parts in turns]
        if told and self._system:
            made.insert(0, ("system", self._made_plain([told])))
        return made

    def _made_plain(self, parts: list[Part]) -> list[Part]:
        return [self.plain(part) if isinstance(part, str) else part for part in parts]

    def _written(self, turns: list[Said]) -> str:
        if self._manner == "plain":
            count = sum(not isinstance(part, str) for _, parts in turns for part in parts)
            told = "\n".join(filter(None, (_text(parts) for _, parts in turns)))
            return self._image * count + told if count else self._first + told
        return self._rendered(turns)

    def _rendered(self, turns: list[Said], *, manner: str | None = None) -> str:
        messages: list[dict[str, Any]] = []
        for role, parts in turns:
            if (manner or self._manner) == "parts":
                content: Any = [
                    {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
                    for part in parts
                ]
            else:
                content = "\n".join(part if isinstance(part, str) else self._image for part in parts)
            messages.append({"role": role, "content": content})
        # A processor without a template of its own leaves that to its tokenizer.
        writer = self._processor if getattr(self._processor, "chat_template", None) else self._tokenizer
        return str(writer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))

    def _found_manner(self) -> str:
        if not getattr(self._processor, "chat_template", None) and not self._tokenizer.chat_template:
            return "plain"
        picture = Image.new("RGB", (1, 1))
        for manner in ("parts", "string"):
            text = self._tried([("user", [picture, _FIRST])], manner=manner)
            if text.count(_FIRST) == 1 and "'type'" not in text and (not self._image or self._image in text):
                return manner
        return "plain"

    def _knows_system(self) -> bool:
        return _SYSTEM in self._tried([("system", [_SYSTEM]), ("user", [_FIRST])])

    def _around(self) -> tuple[list[str], str]:
        """What the template itself writes around each side's words, and from a reply to the next turn."""
        chat: list[Said] = [("user", [_FIRST]), ("assistant", [_REPLY]), ("user", [_SECOND])]
        pieces = _WORDS.split(self._tried(chat))
        whole = len(pieces) == len(chat) + 1
        around = pieces if whole else _WORDS.split(self._tried(chat[:1]))
        if self._system:
            around += _WORDS.split(self._tried([("system", [_SYSTEM]), *chat[:1]]))
        return around, pieces[2] if whole else ""

    def _tried(self, turns: list[Said], *, manner: str | None = None) -> str:
        """What the template makes of a chat; empty where it refuses it, which a template may do anyhow."""
        try:
            return self._rendered(turns, manner=manner)
        except Exception:  # a template is a program, and may raise whatever it likes
            return ""

    def _first_special(self, between: str) -> int | None:
        numbers = self._tokenizer(between.strip(), add_special_tokens=False)["input_ids"] if between else []
        added = self._tokenizer.added_tokens_decoder
        return int(numbers[0]) if numbers and getattr(added.get(numbers[0]), "special", False) else None


def _joined(parts: list[Part]) -> list[Part]:
    joined: list[Part] = []
    for part in parts:
        before = joined[-1] if joined else None
        if isinstance(part, str) and isinstance(before, str):
            joined[-1] = f"{before}\n\n{part}"
        elif not isinstance(part, str) or part:
            joined.append(part)
    # Templates look at the first part of a turn without asking whether there is one.
    return joined or [""]


def _text(parts: list[Part]) -> str:
    return "\n".join(part for part in parts if isinstance(part, str))
