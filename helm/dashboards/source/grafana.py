"""The few parts of Grafana's dashboard model that are used here, each as a function that gives its JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Json = dict[str, Any]

SELECTOR = 'job=~"$job", stream=~"$stream"'
"""What every query about sessions begins with."""

GRID_COLUMNS = 24
_SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
_SCHEMA_VERSION = 39  # Grafana 10.4 and newer read it as it is; an older one ignores what it does not know
GREEN, YELLOW, ORANGE, RED, BLUE, PURPLE, GREY = "green", "yellow", "orange", "red", "blue", "purple", "#8e8e8e"

State = tuple[int, str, str]
"""A number, the text it stands for, and its colour."""

Thresholds = Sequence[tuple[float | None, str]]
"""Lower bounds and the colour from there on; the first bound is None."""

ZERO_IS_GOOD: Thresholds = ((None, GREEN), (0.5, RED))
ZERO_IS_USUAL: Thresholds = ((None, GREEN), (0.5, ORANGE))
ONE_IS_GOOD: Thresholds = ((None, RED), (0.5, GREEN))


def query(expr: str, legend: str = "", *, instant: bool = False, shape: str = "time_series") -> Json:
    """One PromQL expression. ``shape`` is ``time_series``, ``heatmap`` or ``table``."""
    when: Json = {"instant": True, "range": False} if instant else {"instant": False, "range": True}
    return {
        "datasource": _SOURCE,
        "editorMode": "code",
        "expr": " ".join(expr.split()),
        "format": shape,
        "legendFormat": legend or "__auto",
        **when,
    }


def time_series(
    title: str,
    description: str,
    *queries: Json,
    unit: str = "short",
    width: int = 8,
    stacked: bool = False,
    bars: bool = False,
    steps: bool = False,
    minimum: float | None = 0,
) -> Json:
    """Lines over time; ``bars`` for what is counted, ``steps`` for what holds until it changes."""
    custom: Json = {
        "drawStyle": "bars" if bars else "line",
        "fillOpacity": 60 if bars else 20 if stacked else 8,
        "lineInterpolation": "stepAfter" if steps else "linear",
        "lineWidth": 1,
        "showPoints": "never",
        "stacking": {"group": "A", "mode": "normal" if stacked or bars else "none"},
    }
    defaults: Json = {"color": {"mode": "palette-classic"}, "custom": custom, "unit": unit}
    if minimum is not None:
        defaults["min"] = minimum
    if bars:
        defaults["decimals"] = 0
    options: Json = {
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return _panel("timeseries", title, description, queries, width, 8, defaults, options)


def stat(
    title: str,
    description: str,
    *queries: Json,
    unit: str = "short",
    thresholds: Thresholds = ((None, BLUE),),
    width: int = 4,
    spark: bool = False,
    states: Iterable[State] = (),
) -> Json:
    """One number, with its course behind it where ``spark`` is set."""
    defaults: Json = {
        "color": {"mode": "thresholds"},
        "mappings": _mappings(states),
        "thresholds": _thresholds(thresholds),
        "unit": unit,
    }
    options: Json = {
        "colorMode": "value",
        "graphMode": "area" if spark else "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
    }
    return _panel("stat", title, description, queries, width, 4, defaults, options)


def state_timeline(
    title: str, description: str, *queries: Json, states: Iterable[State], width: int = 24, height: int = 8
) -> Json:
    """One coloured band per series."""
    defaults: Json = {
        "color": {"mode": "thresholds"},
        "custom": {"fillOpacity": 80, "lineWidth": 0},
        "mappings": _mappings(states),
        "thresholds": _thresholds(((None, GREY),)),
    }
    options: Json = {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "auto",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return _panel("state-timeline", title, description, queries, width, height, defaults, options)


def heatmap(title: str, description: str, expr: str, *, unit: str = "s", width: int = 12) -> Json:
    """How values spread over the buckets of a histogram, over time."""
    options: Json = {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Spectral", "reverse": True, "steps": 64, "exponent": 0.5, "fill": "red"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "showColorScale": False, "yHistogram": False},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
    }
    return _panel("heatmap", title, description, [query(expr, "{{le}}", shape="heatmap")], width, 8, {}, options)


def table(
    title: str,
    description: str,
    columns: Mapping[str, Json],
    *,
    key: str,
    units: Mapping[str, str] | None = None,
    states: Mapping[str, Iterable[State]] | None = None,
    hidden: Sequence[str] = (),
    width: int = 24,
) -> Json:
    """One row per ``key``; each column is an instant query whose value is shown under the column's name."""
    renamed = {f"Value #{ref}": name for ref, name in zip(_refs(), columns, strict=False)}
    overrides = [_override(name, "unit", unit) for name, unit in (units or {}).items()]
    for name, column_states in (states or {}).items():
        properties = [
            {"id": "mappings", "value": _mappings(column_states)},
            {"id": "custom.cellOptions", "value": {"type": "color-text"}},
        ]
        overrides.append({"matcher": {"id": "byName", "options": name}, "properties": properties})
    panel = _panel(
        "table",
        title,
        description,
        list(columns.values()),
        width,
        8,
        {"custom": {"align": "auto", "cellOptions": {"type": "auto"}}},
        {"cellHeight": "sm", "showHeader": True, "sortBy": [{"desc": False, "displayName": key}]},
    )
    panel["fieldConfig"]["overrides"] = overrides
    excluded = dict.fromkeys(("Time", *(name for name in renamed if renamed[name] in hidden)), True)
    panel["transformations"] = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": excluded, "indexByName": {}, "renameByName": renamed}},
    ]
    return panel


def row(title: str) -> Json:
    """A heading; the panels after it stand below it."""
    return {"type": "row", "title": title, "collapsed": False, "panels": []}


def dashboard(uid: str, title: str, description: str, panels: Iterable[Json], *, one_stream: bool = False) -> Json:
    """A whole dashboard. ``one_stream``: its variable ``stream`` takes one session rather than any number."""
    return {
        "annotations": {"list": [_alerts()]},
        "description": description,
        "editable": True,
        "graphTooltip": 1,
        "links": [_links()],
        "panels": _laid_out(panels),
        "refresh": "30s",
        "schemaVersion": _SCHEMA_VERSION,
        "tags": ["lens-bridge"],
        "templating": {"list": _variables(one_stream)},
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "",
        "title": title,
        "uid": uid,
        "version": 1,
    }


def _panel(
    kind: str,
    title: str,
    description: str,
    queries: Sequence[Json],
    width: int,
    height: int,
    defaults: Json,
    options: Json,
) -> Json:
    return {
        "type": kind,
        "title": title,
        "description": " ".join(description.split()),
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "gridPos": {"h": height, "w": width, "x": 0, "y": 0},
        "options": options,
        "targets": [{"refId": ref, **one} for ref, one in zip(_refs(), queries, strict=False)],
    }


def _laid_out(panels: Iterable[Json]) -> list[Json]:
    """Fill lines from the left; a panel that does not fit begins the next one."""
    placed: list[Json] = []
    x = y = line_height = 0
    for number, panel in enumerate(panels, start=1):
        size = panel.get("gridPos", {"w": GRID_COLUMNS, "h": 1})
        if x + size["w"] > GRID_COLUMNS:
            x, y, line_height = 0, y + line_height, 0
        placed.append({**panel, "id": number, "gridPos": {"h": size["h"], "w": size["w"], "x": x, "y": y}})
        x, line_height = x + size["w"], max(line_height, size["h"])
    return placed


def _variables(one_stream: bool) -> list[Json]:
    pick_any: Json = {"includeAll": True, "multi": True, "current": {"text": ["All"], "value": ["$__all"]}}
    pick_one: Json = {"includeAll": False, "multi": False}
    found = 'label_values(lens_bridge_lease_held{job=~"$job"}, stream)'
    return [
        {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus"},
        _label_variable("job", "Job", "label_values(lens_bridge_build_info, job)", pick_any),
        _label_variable("stream", "Session" if one_stream else "Sessions", found, pick_one if one_stream else pick_any),
    ]


def _label_variable(name: str, label: str, definition: str, choice: Json) -> Json:
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": _SOURCE,
        "definition": definition,
        "query": definition,
        "refresh": 2,
        "sort": 1,
        **({"allValue": ".*"} if choice["includeAll"] else {}),
        **choice,
    }


def _alerts() -> Json:
    return {
        "name": "Alerts",
        "datasource": _SOURCE,
        "enable": True,
        "expr": 'ALERTS{alertname=~"LensBridge.+", alertstate="firing"}',
        "iconColor": RED,
        "tagKeys": "severity",
        "textFormat": "{{stream}}{{instance}}",
        "titleFormat": "{{alertname}}",
    }


def _links() -> Json:
    return {
        "title": "Lens Bridge",
        "type": "dashboards",
        "icon": "external link",
        "tooltip": "",
        "tags": ["lens-bridge"],
        "asDropdown": False,
        "targetBlank": False,
        "includeVars": True,
        "keepTime": True,
    }


def _mappings(states: Iterable[State]) -> list[Json]:
    options = {str(number): {"text": text, "color": color, "index": number} for number, text, color in states}
    return [{"type": "value", "options": options}] if options else []


def _thresholds(steps: Thresholds) -> Json:
    return {"mode": "absolute", "steps": [{"color": color, "value": bound} for bound, color in steps]}


def _override(name: str, setting: str, value: Any) -> Json:
    return {"matcher": {"id": "byName", "options": name}, "properties": [{"id": setting, "value": value}]}


def _refs() -> str:
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
