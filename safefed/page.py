"""Self-contained HTML pages with one look: they open offline, need no scripts, and read well in the dark and printed."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template


def render(package: str, name: str, context: Mapping[str, Any]) -> bytes:
    """The page that the template ``name`` of ``package`` makes of ``context``.

    Everything in ``context`` is escaped, and a name that is not there is an error. ``style``, the look that all pages
    share, is always there.
    """
    return _template(package, name).render(context).encode("utf-8", "replace")


@functools.cache
def _template(package: str, name: str) -> Template:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals["style"] = Markup(files("safefed").joinpath("page.css").read_text("utf-8"))  # noqa: S704 - ours
    return environment.from_string(files(package).joinpath(name).read_text("utf-8"))
