"""A model behind an OpenAI-compatible server."""

from __future__ import annotations

from safefed.endpoint.generator import EndpointGenerator

__all__ = ["EndpointGenerator"]
