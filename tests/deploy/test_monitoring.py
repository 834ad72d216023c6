"""deploy/prometheus and deploy/grafana: each name in them is served, and alerts come when they are due."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from relay.core.quotas import NAMES
from relay.hub.watch import CALL_PATHS, OTHER
from relay.wire.connection import State
from relay.wire.errors import ErrorCode
from tests.deploy.programs import output_of, program
from tests.deploy.running import started
from tests.relay.cli.processes import PATIENCE, ROOT
from tests.relay.http.support import world_in
from tests.support.ports import free_port

PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "coach-relay.json"
OPERATIONS = ROOT / "docs" / "OPERATIONS.md"
NAME = re.compile(r"\b(?:coach_relay|process)_[a-z_]+\b")
LABELS = {
    "code": {code.value for code in ErrorCode},
    "path": {*CALL_PATHS, OTHER},
    "quota": set(NAMES),
    "state": {state.value for state in State},
    "job": {"coach-relay"},
}


def rules() -> list[dict[str, Any]]:
    loaded = yaml.safe_load((PROMETHEUS / "rules.yaml").read_text(encoding="utf-8"))
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return found


def expressions() -> dict[str, str]:
    """Everything that asks Prometheus for something, by where it stands."""
    found = {rule["alert"]: rule["expr"] for rule in rules()}
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    return found


async def served(folder: Path) -> set[str]:
    """The names of the samples of a relay, a device connected."""
    async with world_in(folder, metrics_listen="127.0.0.1:0") as world:
        for path in ("/livez", "/v1/engagements"):
            async with world.http.get(path):
                pass
        async with (
            world.device("anna"),
            aiohttp.ClientSession() as http,
            http.get(world.running.metrics_url) as answer,
        ):
            text = await answer.text()
    families = list(text_string_to_metric_families(text))
    # A counter with a label has no sample before it has counted something.
    counters = {f"{family.name}_total" for family in families if family.type == "counter"}
    return {sample.name for family in families for sample in family.samples} | counters


async def test_each_metric_that_is_asked_for_is_served(tmp_path: Path) -> None:
    names = await served(tmp_path)
    asked = {name for expression in expressions().values() for name in NAME.findall(expression)}
    assert len(asked) > 20
    assert asked - names == set()
    told = set(NAME.findall(OPERATIONS.read_text(encoding="utf-8")))
    assert told - names - {name.removesuffix("_count") for name in names} == set()


async def test_each_metric_that_is_served_is_shown_or_told_of(tmp_path: Path) -> None:
    """What nobody can see is not worth its cost."""
    shown = " ".join(expressions().values()) + OPERATIONS.read_text(encoding="utf-8")
    ours = {name for name in await served(tmp_path) if name.startswith("coach_relay_")}
    base = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in ours}
    assert {name for name in base if name not in shown} == set()


@pytest.mark.parametrize("where", sorted(expressions()))
def test_each_label_that_is_asked_for_has_that_value(where: str) -> None:
    for label, value in re.findall(r'(\w+)=~?"([^"$]+)"', expressions()[where]):
        assert set(value.split("|")) <= LABELS[label], (label, value)


def test_prometheus_takes_rules_and_configuration() -> None:
    promtool = program("promtool")
    output_of([promtool, "check", "rules", str(PROMETHEUS / "rules.yaml")])
    output_of([promtool, "check", "config", str(PROMETHEUS / "prometheus.yaml")], cwd=PROMETHEUS)


def test_each_alert_comes_when_it_is_due_and_a_relay_at_work_raises_none() -> None:
    output_of([program("promtool"), "test", "rules", "rules.test.yaml"], cwd=PROMETHEUS)
    cases = yaml.safe_load((PROMETHEUS / "rules.test.yaml").read_text(encoding="utf-8"))["tests"]
    names = {rule["alert"] for rule in rules()}
    assert {one["alertname"] for one in cases[0]["alert_rule_test"]} == names
    labels = [one["labels"] for one in cases[1]["promql_expr_test"][0]["exp_samples"]]
    assert {re.findall(r'"(\w+)"', label)[0] for label in labels} == names


def test_prometheus_can_read_each_question_of_the_dashboard(tmp_path: Path) -> None:
    asked = [
        {"record": f"question:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(expressions().values())
    ]
    file = tmp_path / "questions.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": asked}]}), encoding="utf-8")
    output_of([program("promtool"), "check", "rules", str(file)])


def test_what_to_do_is_told_of_each_alert() -> None:
    text = OPERATIONS.read_text(encoding="utf-8")
    for rule in rules():
        assert f"| `{rule['alert']}` |" in text, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]


def test_the_dashboard_has_a_panel_in_each_place_and_nothing_of_anybody() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)
    questions = [panel["title"] for panel in panels if panel["type"] == "row"]
    assert questions[:3] == ["Is it delivering?", "How late?", "Is the store slow?"]


async def test_a_real_prometheus_asks_a_real_relay_and_no_alert_rings(tmp_path: Path) -> None:
    port = free_port()
    async with world_in(tmp_path, metrics_listen="127.0.0.1:0") as world, aiohttp.ClientSession() as http:
        target = world.running.metrics_url.removeprefix("http://").removesuffix("/metrics")
        config = (PROMETHEUS / "prometheus.yaml").read_text(encoding="utf-8")
        assert '["127.0.0.1:9470"]' in config
        config = config.replace("127.0.0.1:9470", target).replace(": 15s", ": 1s")
        (tmp_path / "prometheus.yaml").write_text(config, encoding="utf-8")
        (tmp_path / "rules.yaml").write_text((PROMETHEUS / "rules.yaml").read_text("utf-8"), encoding="utf-8")
        command = [
            program("prometheus"),
            f"--config.file={tmp_path / 'prometheus.yaml'}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        async with started(command, port, tmp_path), asyncio.timeout(PATIENCE), world.device("anna"):
            api = f"http://127.0.0.1:{port}/api/v1"

            async def asked(path: str) -> Any:
                async with http.get(f"{api}/{path}") as answer:
                    if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:  # it starts
                        return None
                    return (await answer.json(content_type=None)).get("data")

            # Until it has asked once, and has looked at each rule: another process.
            while not (await asked("query?query=coach_relay_devices==1") or {}).get("result"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            while any(rule["health"] == "unknown" for rule in await rules_of(asked)):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            assert {rule["health"] for rule in await rules_of(asked)} == {"ok"}
            assert (await asked("alerts"))["alerts"] == []


async def rules_of(asked: Callable[[str], Awaitable[Any]]) -> list[dict[str, Any]]:
    found = await asked("rules")
    return [rule for group in found["groups"] for rule in group["rules"]]


async def test_prometheus_finds_the_format_good(tmp_path: Path) -> None:
    async with (
        world_in(tmp_path, metrics_listen="127.0.0.1:0") as world,
        world.device("anna"),
        aiohttp.ClientSession() as http,
        http.get(world.running.metrics_url) as answer,
    ):
        file = tmp_path / "metrics"
        file.write_bytes(await answer.read())
    command = f"{program('promtool')} check metrics < {file}"
    assert await asyncio.to_thread(output_of, ["/bin/sh", "-c", command]) == ""
