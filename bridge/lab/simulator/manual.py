"""The simulator explains itself: its addresses, its control API, every switch and fault, for eyes and for programs."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from aiohttp import web

from bridge.lab.simulator.faults import FAULTS
from bridge.lab.simulator.lens.choices import choices
from bridge.lab.simulator.lens.switches import Switches

__all__ = ["manual", "manual_json", "manual_text"]

_SWITCHES = """\
SWITCHES: how one lens API differs from another. Set them with --switch NAME=VALUE, or while it runs:
  curl -X PATCH {control}/switches -d '{{"NAME": VALUE}}'    (JSON: none is null)"""
_FAULTS = """\
FAULTS: what goes wrong on request, for all sessions or for one (/sessions/ID/faults):
  curl -X POST {control}/faults -d '{{"fault": "drop", "closing": "cut"}}'"""


def manual_text(control_url: str) -> str:
    """Every switch as ``name=default``, every fault by its name, and what they mean and take, indented below."""
    switches = "\n".join(one.as_text() for one in choices(Switches))
    faults = "\n".join(
        "\n".join([name, f"    {_summary(kind)}", *(_indented(one.as_text()) for one in choices(kind))])
        for name, kind in FAULTS.items()
    )
    sections = (_SWITCHES.format(control=control_url), switches, _FAULTS.format(control=control_url), faults)
    return "\n\n".join(sections) + "\n"


def manual_json() -> dict[str, object]:
    """The same for a program."""
    return {
        "switches": [one.as_json() for one in choices(Switches)],
        "faults": [
            {"name": name, "means": _summary(kind), "fields": [one.as_json() for one in choices(kind)]}
            for name, kind in FAULTS.items()
        ],
    }


def manual(control_api: str, urls: Callable[[], tuple[str, str]]) -> web.RouteDef:
    """``GET /``: text, or JSON where Accept names it. ``urls`` are those of the lens API and of the control API."""

    async def show(request: web.Request) -> web.Response:
        base_url, control_url = urls()
        if "json" in request.headers.get("Accept", "").lower():
            return web.json_response({"base_url": base_url, "control_url": control_url, **manual_json()})
        head = f"A simulated lens API.\n\nlens API     {base_url}\ncontrol API  {control_url}\n"
        return web.Response(text=f"{head}\n{control_api}\n{manual_text(control_url)}")

    return web.get("/", show)


def _summary(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "").splitlines()[0]


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
