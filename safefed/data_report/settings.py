"""The settings that made a data set, as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safefed.config import SourceConfig


def settings(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, value) of everything in a manifest that decided the data."""
    sources = [_source(tree) for tree in manifest.get("source", [])]
    hashes = [digest for found in manifest.get("source_sha256", []) for digest in found]
    facts = {
        "Source": "; ".join(sources),
        "Source sha-256": ", ".join(hashes),
        "Action": manifest["action"],
        "Filter": manifest.get("filter"),
        "Filter revision": manifest.get("filter_revision"),
        "Threshold": manifest.get("threshold"),
        "Policy": policy_text(manifest) or "none" if "filter" in manifest else None,
        "Constitution": manifest.get("constitution"),
        "Constitution version": manifest.get("constitution_version"),
        "Constitution revision": manifest.get("constitution_revision"),
        "Revision": _options(manifest.get("revise", {}), "constitution", "generator"),
        "Revising model": _reviser(manifest),
        "Revising model's revision": manifest.get("generator_revision"),
        "Revising model's answers": _tokens(manifest),
        "safefed": manifest.get("safefed"),
    }
    return [(name, str(value)) for name, value in facts.items() if value not in (None, "")]


def _reviser(manifest: Mapping[str, Any]) -> str:
    generator = manifest.get("revise", {}).get("generator", {})
    if generator.get("kind") == "endpoint":
        return f"{generator['model']} at {generator['url']}"
    return _options(manifest.get("model") or {})


def _tokens(manifest: Mapping[str, Any]) -> str:
    """What the revisions cost; "" where nobody counted."""
    found = manifest.get("generations") or {}
    if found.get("prompt_tokens") is None:
        return ""
    return (
        f"{found['answers']:,} answers, {found['failed']:,} failed requests; tokens: {found['prompt_tokens']:,} read "
        f"({found['cached_tokens']:,} from the server's cache), {found['completion_tokens']:,} written"
    )


def policy_text(manifest: Mapping[str, Any]) -> str:
    """The policy's rules as ``S4 drop, prompt keep``; "" without one."""
    policy = manifest.get("policy", {})
    rules = {**policy.get("category", {}), **policy.get("axis", {})}
    return ", ".join(f"{kind} {fate}" for kind, fate in rules.items())


def _source(tree: Mapping[str, Any]) -> str:
    """A source by its file's name, without the folders it lies in, and the options that are not the defaults."""
    defaults = {key: field.default for key, field in SourceConfig.model_fields.items()}
    changed = {key: value for key, value in tree.items() if value != defaults.get(key)}
    if join := changed.get("join"):
        changed["join"] = Path(join["file"]).name
    options = _options(changed, "path")
    return f"{Path(tree['path']).name} ({options})" if options else Path(tree["path"]).name


def _options(tree: Mapping[str, Any], *without: str) -> str:
    return ", ".join(f"{key} {value}" for key, value in tree.items() if value is not None and key not in without)
