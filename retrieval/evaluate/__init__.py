"""How good the answers are: a file of questions is asked, and the answers are measured."""

from __future__ import annotations

from retrieval.evaluate.results import Evaluation, Pipeline
from retrieval.evaluate.run import evaluate

__all__ = ["Evaluation", "Pipeline", "evaluate"]
