"""Makes helm/values.schema.json: ``python -m tests.deploy.chart_schema``.

Names and types come from values.yaml, the part below ``config`` from the worker's own settings. So a value that the
worker would not know fails at installation, before a pod is started. What needs more than a type or a range is left to
helm/templates/_refusals.tpl, whose messages say what to do; so are the known mistakes of helm/refused-values.yaml.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from bridge.settings import loading as configuration
from bridge.settings.reference import SETTINGS
from tests.deploy.chart_values import CHART, Value, documented_values

__all__ = ["FILE", "render"]

FILE = CHART / "values.schema.json"
REFUSED: dict[str, Any] = yaml.safe_load((CHART / "refused-values.yaml").read_text(encoding="utf-8"))

Schema = dict[str, Any]

# What the chart sets by itself, mostly from values of its own; secrets among them, which must not get into a ConfigMap.
# Of `metrics` it sets nothing, but has values of that name.
OWNED: dict[str, tuple[str, ...]] = {
    "source": ("api_key",),
    "redis": ("url", "username", "password", "sentinel_username", "sentinel_password"),
    "metrics": (),
    "serve": ("host", "token"),
}
_NOT_FOR_HELM = ("title", "default", "format", "writeOnly")

_SCALARS: Schema = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
_OBJECTS: Schema = {"type": "array", "items": {"type": "object"}}
_PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
_PROBE: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        name: {"type": "integer", "minimum": lowest}
        for name, lowest in {
            "initialDelaySeconds": 0,
            "periodSeconds": 1,
            "timeoutSeconds": 1,
            "failureThreshold": 1,
            "successThreshold": 1,
        }.items()
    },
}
_NAMED: Schema = {
    "type": "array",
    "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
}

_TEXTS: Schema = {"type": "array", "items": {"type": "string", "minLength": 1}}
_SHARE: Schema = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+%$"}]}
_DURATION = "([0-9]+(ms|s|m|h))+"


def _strict(properties: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties}


# As in the APIs of Kubernetes and of the Prometheus Operator.
_SCALING: Schema = _strict(
    {
        "stabilizationWindowSeconds": {"type": "integer", "minimum": 0, "maximum": 3600},
        "selectPolicy": {"enum": ["Max", "Min", "Disabled"]},
        "tolerance": {"type": ["number", "string"]},
        "policies": {
            "type": "array",
            "items": _strict(
                {
                    "type": {"enum": ["Pods", "Percent"]},
                    "value": {"type": "integer", "minimum": 1},
                    "periodSeconds": {"type": "integer", "minimum": 1, "maximum": 1800},
                }
            )
            | {"required": ["type", "value", "periodSeconds"]},
        },
    }
)
_BEHAVIOR = _strict({"scaleUp": _SCALING, "scaleDown": _SCALING})
_ACTION = _strict(
    {
        "exec": {"type": "object", "required": ["command"]},
        "httpGet": {"type": "object", "required": ["port"]},
        "sleep": _strict({"seconds": {"type": "integer", "minimum": 0}}) | {"required": ["seconds"]},
        "tcpSocket": {"type": "object", "required": ["port"]},
    }
) | {"minProperties": 1, "maxProperties": 1}
_DNS = _strict(
    {
        "nameservers": _TEXTS | {"maxItems": 3},
        "searches": _TEXTS | {"maxItems": 32},
        "options": {
            "type": "array",
            "items": _strict({"name": {"type": "string", "minLength": 1}, "value": {"type": "string"}})
            | {"required": ["name"]},
        },
    }
)
_ALIASES: Schema = {
    "type": "array",
    "items": _strict({"ip": {"type": "string", "minLength": 2}, "hostnames": _TEXTS | {"minItems": 1}})
    | {"required": ["ip", "hostnames"]},
}
_MONITOR: dict[str, Schema] = {
    "interval": {"type": "string", "pattern": f"^{_DURATION}$"},
    "scrapeTimeout": {"type": "string", "pattern": f"^({_DURATION})?$"},
    "targetLabels": _TEXTS,
    "podTargetLabels": _TEXTS,
}

# What cannot be seen from a default.
_CLOSER: dict[str, Schema] = {
    "sessions": {"type": ["array", "object", "null"]},
    "image.digest": {"type": "string", "pattern": "^(sha256:[a-f0-9]{64})?$"},
    "image.pullPolicy": {"enum": ["IfNotPresent", "Always", "Never"]},
    "imagePullSecrets": _OBJECTS,
    "service.type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    "service.port": _PORT,
    "serve.service.type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    "serve.service.port": _PORT,
    "serve.resources": {"type": "object"},
    "service.ipFamilyPolicy": {"enum": ["", "SingleStack", "PreferDualStack", "RequireDualStack"]},
    "service.ipFamilies": {"type": "array", "items": {"enum": ["IPv4", "IPv6"]}},
    "redis.trial.server": {"enum": ["redis", "valkey"]},
    "networkPolicy.redisPorts": {"type": "array", "items": _PORT},
    "networkPolicy.sentinelPorts": {"type": "array", "items": _PORT},
    "networkPolicy.sourcePorts": {"type": "array", "items": _PORT},
    "podDisruptionBudget.maxUnavailable": {
        "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^[1-9][0-9]*%$"}]
    },
    **{
        f"metrics.{one}.{name}": schema for one in ("podMonitor", "serviceMonitor") for name, schema in _MONITOR.items()
    },
    **{f"{one}.behavior": _BEHAVIOR for one in ("autoscaling", "keda")},
    **{f"autoscaling.{name}": {"type": "integer", "minimum": 1} for name in ("minReplicas", "maxReplicas")},
    "strategy.type": {"enum": ["RollingUpdate", "Recreate"]},
    "strategy.rollingUpdate.maxSurge": _SHARE,
    "strategy.rollingUpdate.maxUnavailable": _SHARE,
    "lifecycle": _strict({"postStart": _ACTION, "preStop": _ACTION, "stopSignal": {"type": "string"}}),
    "dnsPolicy": {"enum": ["", "ClusterFirst", "Default", "ClusterFirstWithHostNet", "None"]},
    "dnsConfig": _DNS,
    "hostAliases": _ALIASES,
    "terminationMarginSeconds": {"type": "integer", "minimum": 5},
    "extraVolumeMounts": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["name", "mountPath"],
            "properties": {name: {"type": "string"} for name in ("name", "mountPath")},
        },
    },
    "extraObjects": {"type": "array", "items": {"type": ["object", "string"]}},
    **dict.fromkeys(("extraEnv", "extraVolumes", "initContainers", "extraContainers"), _NAMED),
    **{f"probes.{name}": _PROBE for name in ("liveness", "readiness", "startup")},
    **{name: {"type": "object"} for name in ("resources", "podSecurityContext", "securityContext", "affinity")},
}


def render() -> str:
    """The whole schema, as it stands in the file."""
    root = _strict({"global": {"type": "object", "description": "Of the chart that this one is a part of."}})
    for value in documented_values():
        _put(root, value.path, _of(value) | {"description": value.description})
    _let_pass(root)
    return json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", **root}, indent=2) + "\n"


def _put(root: Schema, path: str, schema: Schema) -> None:
    *sections, name = path.split(".")
    place = root
    for section in sections:
        place = place["properties"].setdefault(section, _strict({}))
    place["properties"].setdefault(name, schema)


def _let_pass(root: Schema) -> None:
    """What the templates refuse in better words than "additional properties"."""
    advice = dict(REFUSED["never"])
    for path in SETTINGS:
        section, dot, _ = path.partition(".")
        if dot:
            found = path if section in OWNED else section
            advice.setdefault(found, f"set config.{found} instead")
    for path, words in advice.items():
        _put(root, path, {"description": f"Refused: {words}."})
    for path in REFUSED["mappings"]:
        place = root
        for section in path.split("."):
            place = place["properties"][section]
        del place["type"]


def _of(value: Value) -> Schema:
    if value.path == "config":
        return _settings()
    if value.path in _CLOSER:
        return _CLOSER[value.path]
    match value.default:
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer", "minimum": 0}
        case str():
            return {"type": "string"}
        case list():
            return _OBJECTS
        case _:
            return _SCALARS


def _settings() -> Schema:
    """The worker's settings, less what the chart sets."""
    worker = configuration.schema()
    sections = _plain(worker, worker["$defs"])["properties"]
    del sections["sessions"]
    for section, names in OWNED.items():
        for name in names:
            del sections[section]["properties"][name]
    sections["source"]["properties"]["proxy"] |= {"anyOf": [{"type": "string"}, {"type": "null"}]}  # no secret here
    for section, name in (("admin", "port"), ("serve", "port"), ("serve", "admin_port")):
        sections[section]["properties"][name] |= _PORT  # a port chosen by the system would be of no use in a pod
    return _strict(sections)


def _plain(node: Any, definitions: Mapping[str, Any]) -> Any:
    """Without references, and without what only editors read."""
    if isinstance(node, list):
        return [_plain(one, definitions) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _plain(definitions[node["$ref"].rpartition("/")[2]] | _without(node, "$ref"), definitions)
    if isinstance(node.get("properties"), dict):
        kept = {name: _plain(one, definitions) for name, one in node["properties"].items()}
        return {**_plain(_without(node, "properties"), definitions), "properties": kept}
    return {name: _plain(one, definitions) for name, one in _without(node, "$defs", *_NOT_FOR_HELM).items()}


def _without(node: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in node.items() if name not in names}


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
