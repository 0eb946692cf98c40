"""Server-side constitutional alignment: the global model's own answers, revised, learned and preferred."""

from safefed.align.data import AlignmentData, Means, alignment_data
from safefed.align.prompts import alignment_prompts
from safefed.align.stage import AlignSettings, align, align_adapter

__all__ = ["AlignSettings", "AlignmentData", "Means", "align", "align_adapter", "alignment_data", "alignment_prompts"]
