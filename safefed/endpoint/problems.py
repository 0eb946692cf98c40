"""What the failures of a server mean for the person who uses it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from safefed.config import GeneratorConfig
from safefed.errors import ConfigError, DataError

if TYPE_CHECKING:
    from openai import OpenAIError

_RESUME = "what is finished is on disk: run it again with --resume"


class NoAnswerError(DataError):
    """One conversation got no usable answer; the next one may."""


def problem(error: OpenAIError, host: str, config: GeneratorConfig) -> DataError | ConfigError:
    """What to tell of ``error``, whose own message may hold text or parts of the key."""
    import openai

    status = getattr(error, "status_code", None)
    if isinstance(error, openai.APITimeoutError):
        return NoAnswerError(
            f"{host} did not answer within {config.timeout_s:g} s, {config.attempts} time(s); raise timeout_s "
            f"or lower concurrency; {_RESUME}"
        )
    if status is None:
        return DataError(
            f"{host} cannot be reached ({config.attempts} attempt(s)); check that the server runs; {_RESUME}"
        )
    said = f"HTTP {status}{_codes(error)}"
    if status in (401, 403):
        name = f"${config.api_key_env}" if config.api_key_env else "no key; set api_key_env"
        return ConfigError(f"{host} refuses the key ({said}), which is {name}")
    if status == 404:
        return DataError(
            f"{host} knows no such path or model ({said}); check the url, which often ends in /v1, and the model "
            f"{config.model!r}"
        )
    if status in (408, 409, 429) or status >= 500:
        return DataError(
            f"{host} refuses after {config.attempts} attempt(s) ({said}); wait or lower concurrency; {_RESUME}"
        )
    if status < 400:
        return DataError(f"{host} redirects to another address ({said}), which is not followed; correct the url")
    return NoAnswerError(f"{host} refuses a request ({said})")


def _codes(error: OpenAIError) -> str:
    """The server's own short codes, never its message, which may quote what was asked."""
    found = [str(getattr(error, name, None) or "") for name in ("code", "type", "param")]
    return "".join(f", {code}" for code in found if re.fullmatch(r"[A-Za-z][A-Za-z_.]{0,60}", code))
