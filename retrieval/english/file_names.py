"""Names of files that say something: "ice cream.jpg", and not "IMG_2041.jpg"."""

from __future__ import annotations

import re

_GIVEN = re.compile(
    r"(?i)(?:img|imag|dsc|dscn|dscf|pxl|mvimg|vid|sam|gopr|screenshot|screen shot|bildschirmfoto|photo|"
    r"picture|image|scan|scanned|untitled|whatsapp image|signal|received|file|p|dcim|capture)?"
    r"(?:[\W\d_]|\b(?:at|wa|am|pm|copy|edit|burst|cover|hdr|pano|mp)\b)*",
)
"""What cameras, phones and programs call a picture."""
_WORD = re.compile(r"[^\W\d_]{3,}")
_JOINTS = re.compile(r"[_+]+|(?<=\w)-(?=\w)")


def said_by(stem: str) -> str:
    """What the name of a file says, given without its ending; empty where a camera or a program gave it."""
    spaced = " ".join(_JOINTS.sub(" ", stem).split())
    words = _WORD.findall(spaced)
    letters, digits = sum(map(len, words)), sum(character.isdigit() for character in spaced)
    if not words or _GIVEN.fullmatch(spaced) or digits > letters or re.fullmatch(r"[0-9a-f-]{16,}", stem):
        return ""
    return spaced
