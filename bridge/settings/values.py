"""Checks of single values, as pure functions. A ValueError says what to do and never repeats a secret."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

__all__ = [
    "ORIGIN_PATTERN",
    "api_base_url",
    "bearer_token",
    "glob_list",
    "listed",
    "masked_url",
    "misread_placeholder",
    "name_template",
    "printable_key",
    "proxy_url",
    "route_map",
    "session_list",
    "speaks_tls",
    "url_password",
    "web_origin",
    "word_list",
]

MASK = "**********"

ORIGIN_PATTERN = r"(\*|https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?)"
"""Of a web page, as browsers send it (RFC 6454, section 6.2: scheme, host, port), or all of them."""

_ORIGIN = re.compile(ORIGIN_PATTERN)
_SHORTEST_TOKEN = 16
_KEY = re.compile(r"[^\s\x00-\x1f\x7f]{1,1000}")  # of Redis: one that can stand in a line
_PRINTABLE = re.compile(r"[\x21-\x7e]+")  # what may stand in an Authorization header
_PLACEHOLDER_OF_OTHERS = re.compile(r"\{[\s{.$]*(session|(session[-_ ]?)?(name|id))[\s}]*\}", re.IGNORECASE)


def glob_list(given: object) -> object:
    """Patterns as a sequence, also from JSON or parted by commas; raise ValueError for one that matches nothing."""
    if isinstance(given, str):
        given = json.loads(given) if given.lstrip().startswith("[") else given.split(",")
    if isinstance(given, list | tuple):
        given = tuple(one.strip() if isinstance(one, str) else one for one in given)
        if any(one == "" or (isinstance(one, str) and re.search(r"\s", one)) for one in given):
            raise ValueError("holds an empty pattern, or one with a blank in it: no type has that")
    return given


def printable_key(text: str) -> str:
    """Return the API key as it is; raise ValueError where it could not be sent in a header."""
    if not text.strip():
        raise ValueError("is blank; remove it, or copy the key again")
    if text.lower().startswith("bearer "):
        raise ValueError("must be the key alone, without the word Bearer in front")
    if "\n" in text or "\r" in text:
        raise ValueError("holds a line break; copy the key again, without it")
    if re.search(r"\s", text):
        raise ValueError("holds a space; copy the key again, without it")
    if not _PRINTABLE.fullmatch(text):
        raise ValueError("holds a character outside ASCII, or one that cannot be seen; copy the key again")
    return text


def bearer_token(text: str) -> str:
    """Return the token as it is; raise ValueError where it could not be sent in a header, or is soon guessed."""
    printable_key(text)
    if len(text) < _SHORTEST_TOKEN:
        raise ValueError(f"must have {_SHORTEST_TOKEN} characters or more; make one with `openssl rand -hex 16`")
    return text


def web_origin(text: str) -> str:
    """Return the origin as browsers send it; raise ValueError for what is none."""
    if not _ORIGIN.fullmatch(text):
        raise ValueError("must be scheme, host and port alone, e.g. https://app.example.com, or * for all")
    return text.rstrip("/").lower()


def misread_placeholder(template: str) -> str | None:
    """The part of a stream key that other tools would fill in, e.g. ``{name}``; here braces stand for themselves."""
    found = _PLACEHOLDER_OF_OTHERS.search(template)
    return found[0] if found else None


def name_template(template: str) -> str:
    """Return the template of a session's name as it is; raise ValueError where it makes no name, or one for all."""
    filled = template.replace("<session_id>", "").replace("<lens_id>", "")
    if filled == template:
        raise ValueError("must hold <session_id> or <lens_id>: one name cannot stand for all sessions")
    if not re.fullmatch(r"[A-Za-z0-9._:-]{0,100}", filled):
        raise ValueError("must be <session_id>, <lens_id> and up to 100 of A-Z a-z 0-9 . _ : -")
    return template


def word_list(value: object) -> object:
    """Bring a text of words with commas between them, or of JSON, into a list. What is none is left for the schema."""
    if not isinstance(value, str):
        return value
    found = _from_text(value.strip(), "a,b")
    return found if isinstance(found, list) else [value]


def listed(names: Sequence[str]) -> str:
    """The first names in words: there may be a thousand."""
    shown = names if len(names) <= 3 else [*names[:2], f"{len(names) - 2} others"]
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def speaks_tls(url: str) -> bool:
    """Whether the scheme of an HTTP URL asks for TLS."""
    return urlsplit(url).scheme == "https"


def api_base_url(text: str) -> str:
    """Return an HTTP URL without a slash at its end; raise ValueError for anything that is more or less than that."""
    parts = _split(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must begin with http:// or https:// and name a host")
    if "@" in parts.netloc:
        raise ValueError("must hold no user or password; the key goes into source.api_key_file")
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise ValueError("must end with the path: no query and no fragment")
    return text.rstrip("/")


def proxy_url(text: str) -> str:
    """Return the URL of an HTTP proxy as it is; raise ValueError for anything that is more or less than that."""
    parts = _split(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must look like http://proxy.example:3128, or https:// where the proxy itself speaks TLS")
    if parts.path not in {"", "/"} or parts.query or parts.fragment or "?" in text or "#" in text:
        raise ValueError("must end after host and port; special characters in a password must be percent-encoded")
    return text


def url_password(url: str) -> str:
    """The password that a URL holds, as it stands there; "" for none."""
    credentials, _, _ = url.partition("://")[2].partition("/")[0].rpartition("@")
    return credentials.partition(":")[2]


def masked_url(url: str) -> str:
    """The URL with its password hidden: scheme, user, host, port and path can be seen."""
    # Not by urlsplit: it refuses several hosts in brackets, as a list of Sentinels may have them.
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    credentials, at, hosts = authority.rpartition("@")
    username, colon, _ = credentials.partition(":")
    hidden = f"{username}:{MASK}" if colon else username
    return f"{scheme}://{hidden}{at if hidden else ''}{hosts}{slash}{path}"


def route_map(given: object) -> object:
    """Routes as a mapping of glob to key, in their order: also from JSON, and from a list of such, which keeps an order
    where a mapping may lose it. Raises ValueError for what makes no sense by itself."""
    if isinstance(given, str):
        try:
            given = json.loads(given, object_pairs_hook=lambda pairs: [dict([pair]) for pair in pairs])
        except ValueError:
            given = None
    parts = [given] if isinstance(given, dict) else given
    if isinstance(parts, list) and any(isinstance(one, list) for one in parts):  # of JSON: a list of mappings
        parts = [pair for one in parts for pair in (one if isinstance(one, list) else [one])]
    if not isinstance(parts, list | tuple) or not all(isinstance(one, dict) for one in parts):
        raise ValueError('must be a mapping of glob to key, e.g. {"inference.*": "lens:{<name>}:results"}, or a list')
    routes: dict[str, str] = {}
    for glob, key in (pair for one in parts for pair in one.items()):
        if not isinstance(glob, str) or not glob.strip() or re.search(r"[\s,]", glob.strip()):
            raise ValueError(f"{glob!r:.60} is no glob on one type: no blanks, no commas; a route for each")
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise ValueError(f"{glob}: needs a key, e.g. lens:{{<name>}}:results, without blanks")
        if glob.strip() in routes:
            raise ValueError(f"{glob} stands there twice")
        routes[glob.strip()] = key
    return routes


def session_list(value: object) -> object:
    """Bring every way to write sessions into one: a list of mappings. What is none of them is left for the schema."""
    if isinstance(value, str):
        value = _from_text(value.strip())
    if isinstance(value, dict):
        return [_under(name, one) for name, one in value.items()]
    if isinstance(value, list | tuple):
        return [_named(one) if isinstance(one, str) else one for one in value]
    return value


def _from_text(text: str, instead: str = "lsn-a,lsn-b or name=lsn-a") -> object:
    if not text.startswith(("[", "{")):
        return [one.strip() for one in text.split(",") if one.strip()]
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not valid JSON at character {error.pos + 1}; or write {instead}") from None


def _under(name: object, given: object) -> dict[object, object]:
    """One of a mapping: its id alone, or what a session of a list has but for the name, which stands in front."""
    if not isinstance(given, dict):
        return {"name": name, "session_id": given}
    if "name" in given:
        raise ValueError(f"{name}: the name stands in front already; remove name")
    return {"name": name, **given}


def _named(text: str) -> dict[str, str]:
    name, equals, session_id = text.partition("=")
    return {"name": name.strip(), "session_id": session_id.strip()} if equals else {"session_id": text}


def _split(text: str) -> SplitResult:
    if re.search(r"[\s\x00-\x1f\x7f]", text):
        raise ValueError("must hold no spaces and no line breaks")
    try:
        parts = urlsplit(text)
        _ = parts.port  # checked only when it is read
    except ValueError:
        raise ValueError("has a bad host or port (1 to 65535); special characters must be percent-encoded") from None
    if parts.port == 0:
        raise ValueError("has a bad port: 0; it must be 1 to 65535")
    return parts
