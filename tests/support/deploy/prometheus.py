"""A real Prometheus and a real Alertmanager on loopback, at the pace of a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.deploy.needs import need_program
from tests.support.deploy.processes import ServerProcess, free_port, get_json

__all__ = ["JOB", "Alertmanager", "Prometheus"]

JOB = "lens-bridge"


class Prometheus(ServerProcess):
    """Scrapes ``targets`` (host:port) and evaluates ``rules`` each second."""

    def __init__(
        self,
        directory: Path,
        targets: Sequence[str],
        rules: Mapping[str, Any] | None = None,
        alertmanager: str | None = None,
    ) -> None:
        executable = need_program("prometheus")
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "rules.yaml").write_text(yaml.safe_dump(rules or {"groups": []}))
        config: dict[str, Any] = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": list(targets)}]}],
        }
        if alertmanager is not None:
            receivers = [{"static_configs": [{"targets": [alertmanager]}]}]
            config["alerting"] = {"alertmanagers": receivers}
        (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
        port = free_port()
        command = [
            executable,
            f"--config.file={directory / 'prometheus.yaml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        super().__init__(command, port, "/-/ready", directory / "prometheus.log")

    async def ask(self, expr: str, at: float | None = None) -> list[dict[str, Any]]:
        """An instant query. Fails the test where Prometheus refuses it."""
        when = {} if at is None else {"time": f"{at:.3f}"}
        return await self._result("query", query=expr, **when)

    async def ask_range(self, expr: str, start: float, end: float, step_seconds: float) -> list[dict[str, Any]]:
        """A query over time."""
        return await self._result(
            "query_range", query=expr, start=f"{start:.3f}", end=f"{end:.3f}", step=f"{step_seconds:g}"
        )

    async def value(self, expr: str) -> float | None:
        """The one number that an expression gives, or None where it gives nothing."""
        found = await self.ask(expr)
        return float(found[0]["value"][1]) if found else None

    async def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        answer = await get_json(f"{self.url}/api/v1/alerts")
        return {one["labels"]["alertname"] for one in answer["data"]["alerts"] if one["state"] == "firing"}

    async def _result(self, path: str, **parameters: str) -> list[dict[str, Any]]:
        answer = await get_json(f"{self.url}/api/v1/{path}", **parameters)
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found


class Alertmanager(ServerProcess):
    """Sends every alert at once to a webhook."""

    def __init__(self, directory: Path, webhook: str) -> None:
        executable = need_program("prometheus-alertmanager")
        directory.mkdir(parents=True, exist_ok=True)
        config = {
            "route": {"receiver": "webhook", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"},
            "receivers": [{"name": "webhook", "webhook_configs": [{"url": webhook, "send_resolved": True}]}],
        }
        (directory / "alertmanager.yaml").write_text(yaml.safe_dump(config))
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        command = [
            executable,
            f"--config.file={directory / 'alertmanager.yaml'}",
            f"--storage.path={directory / 'alertmanager'}",
            f"--web.listen-address={self.address}",
            "--cluster.listen-address=",  # alone, so no gossip port
        ]
        super().__init__(command, port, "/-/ready", directory / "alertmanager.log")
