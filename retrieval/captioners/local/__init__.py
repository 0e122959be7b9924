"""Image-text models run by torch through transformers: LLaVA, SmolVLM, Qwen-VL, PaliGemma and their kin.

`opening` takes a checkpoint from disk to a model on a device, `wording` turns a chat into the
prompt that this model was taught, `plain` keeps what people and pictures say from being read as
the model's own marks, `saying` runs the model within its time, and `speaker` holds them together.
"""

from __future__ import annotations

from retrieval.captioners.known import repository
from retrieval.captioners.local.speaker import LocalSpeaker


def load_local(rest: str) -> LocalSpeaker:
    """The model that an alias, a repository's name or a folder means; the small one without any."""
    return LocalSpeaker(repository(rest))
