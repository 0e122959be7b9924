"""What rules cannot read: greetings, reasons, judgements, comparisons, other languages.

What is not understood is never searched for as if it were: nothing that an answer says of the
library may rest on words that only ask.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from retrieval.answers.understanding.subjects import ASKING, GLUE, stripped

_TAIL = (
    r"there|today|please|everyone|all|dear|again|so much|very much|a lot|in advance|assistant|computer|friend"
)
_SAID = (
    r"(?:hi+|hello|hey|hiya|howdy|greetings|good (?:morning|afternoon|evening|night|day)|(?:many )?thanks"
    r"|thank you|cheers|bye(?: bye)?|good ?bye|see you(?: later)?|sorry|well done|good (?:job|bot|work)"
    r"|(?:i|we) (?:really |do )?(?:love|like|hate|miss|thank) (?:you|it|this|that)|nice to meet you"
    r"|how (?:are|do) you(?: do(?:ing)?)?|who (?:are|made) you|what are you|what is your name"
    r"|what (?:can|could|do) (?:you|i) (?:do|ask)(?: you)?|help(?: me)?)"
)
_CHAT = re.compile(rf"\W*{_SAID}(?:\W+(?:{_SAID}|{_TAIL}))*\W*", re.IGNORECASE)
_DOES = (
    "have see seen saw find found show got know happen spot think give tell help list count search look "
    "get mind want remember pick please also fetch bring display open pull send choose describe explain "
    "ever be possibly perhaps maybe kindly just"
)
_TO_IT = re.compile(
    rf"(?:do|does|did|can|could|would|will|are|were|have) you\b(?!\W+(?:{'|'.join(_DOES.split())})\b)",
    re.IGNORECASE,
)
_LIKED = re.compile(
    r"\b(?:do|did|would) you (?:like|love|prefer|feel|hate|recommend|choose|think of)\b", re.IGNORECASE
)
_TO_DO = re.compile(
    r"(?:delete|remove|erase|rename|move|copy|edit|rotate|crop|upload|download|print|share|translate) "
    r"(?:all|my|our|the|this|these|those|every|me)\b",
    re.IGNORECASE,
)
_SUM = re.compile(r"(?:what is )?[\d\s.()]+(?:[-+*/x^][\d\s.()]+)+\W*", re.IGNORECASE)
_PERSON = re.compile(
    r"\b(?:photo(?:graph)?s?|pictures?|pics?|images?|shots?) (?:of|with|showing) (?:both of |all of )?"
    r"(me|us|him|her|you|everyone|everybody|myself|ourselves|us all)\b"
    r"(?! (?:dog|cat|car|house|\w+ (?:dog|cat))\b)",
    re.IGNORECASE,
)
_WHY = re.compile(r"(?:why|how come|what for|for what reason)\b", re.IGNORECASE)
_LONG = re.compile(r"(?:for )?how long\b(?! ago\b)", re.IGNORECASE)
_HOW = re.compile(
    r"how\b(?! (?:many|often|about|long ago|come)\b)(?! (?:is|was|were|are) the weather\b)"
    r"(?! much\b(?! (?:do|does|did|is|are|was|were|have|has|had)\b))",
    re.IGNORECASE,
)
_JUDGED = re.compile(
    r"\b(?:the |my |our |your )?(?:very )?"
    r"(?:best|worst|nicest|prettiest|cutest|funniest|coolest|greatest|ugliest"
    r"|loveliest|favou?rite|most (?:beautiful|interesting|important|impressive|popular|funny|boring|valuable"
    r"|artistic|stunning|memorable))\b(?!\s+(?:man|men|friends?|western|buy|before|actor|actress)\b)",
    re.IGNORECASE,
)
_COMPARED = re.compile(
    r"\b(?:more|less|fewer|bigger|larger|smaller|older|newer|younger|taller|longer|shorter|faster|slower"
    r"|better|worse|heavier|higher|lower|wider)\b[^.?!;]*?\bthan\b",
    re.IGNORECASE,
)
_CHOSEN = re.compile(r"\b(?:more|fewer|less)\b[^.?!;]*\bor\b", re.IGNORECASE)
_TELLING: dict[str, tuple[str, str]] = {
    # what only asks or tells in a language, and what only joins words in it
    "German": (
        "wo wann wer wen wem wie wieviel wieviele welche welcher welches welchen warum wieso gibt zeig zeige "
        "ist sind haben habe hast habt waren wurde bitte ich wir uns mir ihr kannst suche finde alle kein "
        "keine nicht war hat",
        "der die das den dem des ein eine einen einem einer und oder mit ohne auf im am vom zum zur bei von "
        "für aus es in an was",
    ),
    "French": (
        "où quand qui quoi combien quel quelle quels quelles pourquoi comment montre montrez moi "
        "cherche trouve est sont avons était étaient y a-t-il est-ce avez j'ai nous vous je "
        "sommes as-tu",
        "le la les un une des du de et ou avec sans sur dans au aux mes mon ma nos ce cette il chez que en a",
    ),
    "Spanish": (
        "dónde donde cuándo cuando quién quien quiénes qué cuántos cuántas cuantos cuantas cuál cual hay "
        "muéstrame muestra busca está están es son fue estuvimos tengo tenemos hemos cómo",
        "el la los las un una unos unas de del y o con sin en al mis mi nos por para que",
    ),
    "Italian": (
        "dove quando chi cosa quanti quante quale quali perché come mostrami mostra cerca trova c'è è sono "
        "ci era erano siamo abbiamo ho",
        "il lo la gli le un uno una di del della dei e o con senza su sul sulla nel nella in al alla mie i",
    ),
    "Portuguese": (
        "onde quando quem quantos quantas qual quais porquê mostra mostre há está estão são é foi estivemos "
        "tenho temos",
        "o a os as um uma de do da dos das e ou com sem em no na ao",
    ),
    "Dutch": (
        "waar wanneer wie hoeveel welke waarom toon laat zien is zijn heb hebben waren ik wij ons mij er",
        "de het een en of met zonder op in van bij voor naar",
    ),
}
_WORDS = {name: tuple(frozenset(words.split()) for words in both) for name, both in _TELLING.items()}
_PIECES = re.compile(r"\s+|(?<=\b[lLdDjJ]')|(?<=\b[qQ]u')|(?<=[a-zé])-(?=moi\b|nous\b|tu\b|vous\b|il\b|ce\b)")
_OWN = frozenset({"im", "und", "mit", "auf", "dans", "avec", "nella", "nel", "sulla", "sul", "zum", "zur"})
"""Joining words that no other language has, and no name."""
_SHARED = "die was war hat in on an am a is no me he do as so er i come con son comment laat como more per"
_CALLED = (
    "bild bilder foto fotos photo photos image images imagen imágenes immagine immagini fotografie imagens "
    "qu afbeelding afbeeldingen cosa che viele"
)
_PICTURES = frozenset(_CALLED.split())
_BOTH = frozenset(_SHARED.split())
"""Words of another language that are English ones too."""
_ENGLISH = (GLUE | ASKING) - _BOTH


@dataclass(frozen=True, slots=True)
class Beyond:
    """Why a question is not understood, and the text that can be searched for all the same."""

    why: str
    source: str = ""


def unread(text: str) -> Beyond | None:
    """What of a spelled question rules do not read; None where they can try."""
    if _CHAT.fullmatch(text):
        return Beyond("It asks for nothing in the pictures.")
    if _LONG.match(text):
        return Beyond("It asks how long something took; ask when, and the days are named.", text)
    if _TO_DO.match(text):
        return Beyond("It asks to do something; questions change nothing.")
    if _SUM.fullmatch(text):
        return Beyond("It asks for nothing in the pictures.")
    if _WHY.match(text):
        return Beyond("It asks for a reason.", text)
    if _HOW.match(text):
        return Beyond("It asks how something is or was.", text)
    if _TO_IT.match(text) or _LIKED.search(text):
        return Beyond("It asks about whoever answers, and not about the pictures.", text)
    return _in_another_language(text)


def judged(text: str) -> tuple[str, str]:
    """The text without its judgement, and the judgement: "the best"; empty where there is none."""
    found = _JUDGED.search(re.sub(r'"[^"]*"', lambda quote: " " * len(quote[0]), text))
    if found is None:
        return text, ""
    rest = re.sub(r"^\s*(?:one|ones|of)\b(?! the\b)", " ", text[found.end() :])
    return f"{text[: found.start()]} {rest}", text[found.start() : found.end()].strip()


def somebody(text: str) -> str:
    """The word for somebody whom pictures are to show: "me", "everyone"; empty where there is none."""
    found = _PERSON.search(text)
    return "" if found is None else found[1].lower()


def compares(text: str, rest: str) -> bool:
    """Whether a question, or the rest of it without its times and sizes, holds one thing against another."""
    return bool(_COMPARED.search(rest) or _CHOSEN.search(text))


def _in_another_language(text: str) -> Beyond | None:
    letters = [character for character in text if character.isalpha()]
    foreign = sum(not unicodedata.name(character, "").startswith("LATIN") for character in letters)
    if foreign > len(letters) / 2:
        return Beyond("Rules read English only.", " ".join(map(stripped, text.split())).strip())
    pieces = _PIECES.split(text.replace("’", "'"))
    words = [word for piece in pieces if (word := stripped(piece).lower())]
    english = sum(word in _ENGLISH for word in words)
    best, most = "", 0.0
    for name, (asks, joins) in _WORDS.items():
        asking = sum(word in asks for word in words if word not in _BOTH)
        joining = sum(word in asks | joins for word in words) - asking
        plain = bool(_OWN.intersection(words) & joins)
        enough = asking + joining >= 2 if asking else plain
        if enough and (weight := asking + joining * 0.9) > max(most, english):
            best, most = name, weight
    if not best:
        return None
    asks, joins = _WORDS[best]
    kept = [
        word
        for piece in pieces
        if (word := stripped(piece)) and word.lower() not in asks | joins | _PICTURES and len(word) > 1
    ]
    return Beyond(f"It seems to be {best}; rules read English only.", " ".join(kept))


def content(text: str) -> str:
    """The words of a text that name something."""
    words = (stripped(part) for part in text.split())
    return " ".join(word for word in words if word and word.lower() not in GLUE | ASKING | _EMPTY)


_EMPTY = frozenset({"long", "old", "come", "far", "big", "tall", "like", "feel", "love", "think", "more"})
