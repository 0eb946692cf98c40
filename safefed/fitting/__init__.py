"""Fitting a screen to one's own domain: a filter trained on labelled rows, and what that changed on others."""

from safefed.fitting.command import fit_filter
from safefed.fitting.settings import FitTraining

__all__ = ["FitTraining", "fit_filter"]
