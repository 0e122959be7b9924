"""What each patch of an open_clip ViT says by itself, as vectors in the space of its texts.

The last tokens of a CLIP model are no use for this: trained through the class token alone,
they carry the whole picture about, and their maps come out noisy and often inverted. What
the class token gathers from a patch is the patch's value in the last attention. That value,
sent on as the gathered sum is (MaskCLIP, arXiv:2112.01071), says what stands at the place;
the residual path and the feed-forward part of that block only add noise to it (ClearCLIP,
arXiv:2407.12442) and are left out.
"""

from __future__ import annotations

from typing import Any

import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

from retrieval.encoders.regions import Box


def has_patches(visual: Any) -> bool:
    """Whether the value path can be followed: a plain ViT that pools by a token or a mean."""
    if not isinstance(visual, VisionTransformer) or visual.attn_pool is not None:
        return False
    last = visual.transformer.resblocks[-1]
    return (
        visual.transformer.batch_first
        and visual.pool_type in ("tok", "avg")
        and visual.proj is not None
        and isinstance(last, ResidualAttentionBlock)
        and last.attn.in_proj_weight is not None
    )


def patch_vectors(visual: VisionTransformer, planes: torch.Tensor) -> torch.Tensor:
    """[1, 3, height, width] of normalised pixels to vectors [rows, columns, dim], of any length."""
    tokens = visual._embeds(planes)
    *before, last = visual.transformer.resblocks
    for block in before:
        tokens = block(tokens)
    values = torch.nn.functional.linear(last.ln_1(tokens), *_value_part(last.attn))
    tokens = visual.ln_post(last.ls_1(last.attn.out_proj(values)))
    rows, columns = visual.grid_size
    vectors: torch.Tensor = (tokens[0, 1:] @ visual.proj).reshape(rows, columns, -1)
    return vectors


def patch_box(visual: VisionTransformer, covers: tuple[float, float, float, float]) -> Box:
    """The part of the picture under the patches: a side that they do not divide loses its end."""
    left, top, right, bottom = covers
    down, across = (
        cells * patch / side
        for cells, patch, side in zip(visual.grid_size, visual.patch_size, visual.image_size, strict=True)
    )
    return Box(left, top, left + across * (right - left), top + down * (bottom - top))


def _value_part(attention: torch.nn.MultiheadAttention) -> tuple[torch.Tensor, torch.Tensor | None]:
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    width = attention.embed_dim
    return weight[-width:], None if bias is None else bias[-width:]
