"""The open_clip models worth suggesting, and short names for them."""

from __future__ import annotations

from dataclasses import dataclass

from retrieval import config


@dataclass(frozen=True, slots=True)
class KnownModel:
    """What is published about a model; recalls are text to image at 5, from open_clip's own table."""

    name: str
    spec: str
    repo: str
    purpose: str
    licence: str
    dim: int
    download_mb: int
    gflops: float | None = None
    flickr: float | None = None
    coco: float | None = None


KNOWN = (
    KnownModel(
        "vit-b-32-256",
        config.RECOMMENDED_MODEL,
        "laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K",
        "recommended: any subject in English, quick enough for a laptop",
        "MIT",
        512,
        605,
        17.5,
        0.872,
        0.654,
    ),
    KnownModel(
        "vit-b-32",
        "open_clip:ViT-B-32/laion2b_s34b_b79k",
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        "any subject in English, a little quicker",
        "MIT",
        512,
        605,
        14.8,
        0.884,
        0.654,
    ),
    KnownModel(
        "siglip",
        config.QUALITY_MODEL,
        "timm/ViT-B-16-SigLIP",
        "best results of a model this size, three times the work",
        "Apache-2.0",
        768,
        813,
        46.4,
        0.923,
        0.724,
    ),
    KnownModel(
        "vit-b-16",
        "open_clip:ViT-B-16/dfn2b",
        "apple/DFN2B-CLIP-ViT-B-16",
        "fine detail; weights under Apple's own licence",
        "Apple (own terms)",
        512,
        599,
        41.1,
        0.898,
        0.692,
    ),
    KnownModel(
        "siglip2",
        "open_clip:ViT-B-32-SigLIP2-256/webli",
        "timm/ViT-B-32-SigLIP2-256",
        "many languages",
        "Apache-2.0",
        768,
        1505,
    ),
    KnownModel(
        "multilingual",
        "open_clip:xlm-roberta-base-ViT-B-32/laion5b_s13b_b90k",
        "laion/CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k",
        "many languages; needs the transformers package",
        "MIT",
        512,
        1465,
    ),
    KnownModel(
        "mobileclip",
        "open_clip:MobileCLIP2-S0/dfndr2b",
        "timm/MobileCLIP2-S0-OpenCLIP",
        "the quickest; weights under Apple's own licence",
        "Apple (own terms)",
        512,
        300,
    ),
)

ALIASES = {model.name: model.spec for model in KNOWN}


def spec_of(name: str) -> str:
    """The spec that a short name stands for, also with an ending such as @int8; else what was given."""
    short, mark, ending = name.partition("@")
    spec = ALIASES.get(short.lower().replace("_", "-"))
    return name if spec is None else f"{spec}{mark}{ending}"


def spec_of_repo(repo: str) -> str:
    """The spec that a repository of the hub is best known by."""
    return next((model.spec for model in KNOWN if model.repo == repo), f"hf-hub:{repo}")
