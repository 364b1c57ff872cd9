"""What workers have found at the API, as it stands in Redis for those that begin, and for people's commands. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from bridge.model.keys import NAME_PATTERN, found_key
from bridge.model.place import Session

__all__ = ["FIELD", "key_of_found", "name_of", "parse_found", "render_found", "sessions_of"]

FIELD = "sessions"
"""Of the hash: readers may ask for hashes anyway."""


def key_of_found(base_url: str, lens_ids: Iterable[str], statuses: Iterable[str]) -> str:
    """Where that stands which was found by these rules. Two deployments on one Redis may have others."""
    rules = json.dumps([base_url, sorted(lens_ids), sorted(statuses)])
    return found_key(hashlib.sha256(rules.encode()).hexdigest()[:16])


def name_of(template: str, session_id: str, lens_id: str) -> str:
    """The stable name that `discovery.name` makes."""
    return template.replace("<session_id>", session_id).replace("<lens_id>", lens_id)


def render_found(found: Mapping[str, str]) -> str:
    """Lens ids by session id, as they stand in Redis."""
    return json.dumps(found, sort_keys=True, separators=(",", ":"))


def parse_found(text: object) -> dict[str, str]:
    """The same back; nothing where it is none of ours."""
    try:
        said: Any = json.loads(text) if isinstance(text, bytes | str) else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(said, dict):
        return {}
    return {one: lens for one, lens in said.items() if re.fullmatch(NAME_PATTERN, one) and isinstance(lens, str)}


def sessions_of(found: Mapping[str, str], template: str, named: Iterable[Session]) -> list[Session]:
    """The sessions that were found and that none of ``named`` stands for, by the names that they have."""
    ids = {one.session_id for one in named}
    made = [Session(name=name_of(template, one, lens), session_id=one) for one, lens in found.items() if one not in ids]
    return [one for one in made if re.fullmatch(NAME_PATTERN, one.name)]
