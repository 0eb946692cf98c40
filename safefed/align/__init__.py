"""Server-side constitutional alignment: the global model's own answers, revised, learned and preferred."""

from safefed.align.data import AlignmentData, alignment_data
from safefed.align.prompts import alignment_prompts
from safefed.align.stage import AlignSettings, align, align_adapter

__all__ = ["AlignSettings", "AlignmentData", "align", "align_adapter", "alignment_data", "alignment_prompts"]
