"""deploy/helm: Helm takes the chart, Kubernetes takes what it makes, and that is what the relay needs."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from relay.config import SETTING_NAMES, load_settings
from relay.http.health import CHECK_SECONDS
from relay.http.server import END_SECONDS
from tests.deploy import dockerfile
from tests.relay.cli.processes import ROOT, relay_process
from tests.support import real_redis
from tests.support.s3 import s3_server

CHART = ROOT / "deploy" / "helm" / "coach-relay"
KUBERNETES = ("1.27", "1.30", "1.34")
NEEDED: dict[str, Any] = {
    "host": "relay.example",
    "redis": {"url": "redis+sentinel://one:26379,two:26379/mymaster"},
    "s3": {"bucket": "coach-files"},
}
ALL: dict[str, Any] = {
    **NEEDED,
    "redis": {"url": "rediss://redis:6379/0", "wait": "aof 1", "existingSecret": "coach-relay-redis"},
    "s3": {
        "bucket": "coach-files",
        "endpoint": "https://s3.example",
        "prefix": "a",
        "existingSecret": "coach-relay-s3",
    },
    "turn": {"urls": ["turns:turn.example:443?transport=tcp"], "existingSecret": "coach-relay-turn"},
    "settings": {"log_level": "warning", "max_upload_bytes": 2147483648},
    "metrics": {"podMonitor": True},
    "imagePullSecrets": [{"name": "pull"}],
    "podAnnotations": {"a": "b"},
    "serviceAccount": {"annotations": {"role": "x"}},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "relay", "operator": "Exists"}],
}
# Helm's library runs threads of its own: it stays out of this process.
HELM = """
import json, sys
import helm_python
path, values = sys.argv[1], json.loads(sys.argv[2])
report = helm_python.lint(path, values, strict=True)
with helm_python.Chart.load(path) as chart:
    try:
        rendered = chart.render(values, name="growth", namespace="coaching")
    except helm_python.HelmError as error:
        rendered, report = {}, {"messages": [{"severity": 3, "error": str(error)}]}
print(json.dumps({"report": report, "rendered": rendered}))
"""


def helm(values: dict[str, Any]) -> dict[str, Any]:
    """What Helm finds and makes, without a cluster."""
    pytest.importorskip("helm_python", reason="Helm is not here: deploy/test-programs.sh installs it")
    done = subprocess.run(
        [sys.executable, "-c", HELM, str(CHART), json.dumps(values)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def documents(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The objects that it makes, by kind."""
    rendered = helm(values)["rendered"]
    made = [
        one
        for name, text in rendered.items()
        if name.endswith(".yaml")
        for one in yaml.safe_load_all(text)
        if one
    ]
    assert len({one["kind"] for one in made}) == len(made)
    return {one["kind"]: one for one in made}


@pytest.fixture(scope="module", params=[NEEDED, ALL], ids=["needed", "all"])
def values(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.param
    return found


@pytest.fixture(scope="module")
def made(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return documents(values)


def container(made: dict[str, dict[str, Any]]) -> dict[str, Any]:
    (found,) = made["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_helm_finds_no_fault(values: dict[str, Any]) -> None:
    report = helm(values)["report"]
    assert [one for one in report["messages"] if one["severity"] > 1] == []


@pytest.mark.parametrize("release", KUBERNETES)
def test_kubernetes_knows_every_field(made: dict[str, dict[str, Any]], release: str) -> None:
    checker = pytest.importorskip("kubernetes_validate", reason="deploy/test-programs.sh installs it")
    checked = [one for kind, one in made.items() if kind != "PodMonitor"]
    assert len(checked) == 7
    for one in checked:
        checker.validate(one, release, strict=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": ""},
        {"host": "https://relay.example"},
        {"redis": {"url": ""}},
        {"redis": {"url": "redis://:a-password@redis:6379"}},
        {"redis": {"url": "redis://redis", "password": "a-password"}},
        {"s3": {"bucket": ""}},
        {"turn": {"urls": ["turn:turn.example:3478"], "existingSecret": ""}},
        {"settings": {"turn_secret": "a-password"}},
        {"settings": {"redis_password": "a-password"}},
        {"image": {"tag": "latest"}},
        {"replicaCount": 3},
    ],
)
def test_what_is_missing_or_secret_or_misspelt_is_refused(wrong: dict[str, Any]) -> None:
    found = helm({**NEEDED, **wrong})
    assert found["rendered"] == {}
    (name, value) = next(iter(wrong.items()))
    named = next(iter(value)) if name == "settings" else name
    assert named in str(found["report"])


def test_each_probe_asks_what_it_is_for(made: dict[str, dict[str, Any]]) -> None:
    relay = container(made)
    paths = {
        name: relay[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert paths == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    assert relay["readinessProbe"]["timeoutSeconds"] > CHECK_SECONDS
    ports = {one["name"]: one["containerPort"] for one in relay["ports"]}
    assert ports["http"] == int(dockerfile.last("EXPOSE").text)
    assert variables(relay)["COACH_RELAY_METRICS_LISTEN"].endswith(f":{ports['metrics']}")


def variables(relay: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one.get("value") for one in relay["env"]}


def test_it_may_take_as_long_to_stop_as_the_relay_takes(made: dict[str, dict[str, Any]]) -> None:
    pod = made["Deployment"]["spec"]["template"]["spec"]
    relay = container(made)
    wait = int(relay["lifecycle"]["preStop"]["exec"]["command"][1])
    drain = int(variables(relay)["COACH_RELAY_DRAIN_SECONDS"])
    assert pod["terminationGracePeriodSeconds"] > wait + drain + END_SECONDS


def test_the_relay_knows_every_setting_that_it_is_given(made: dict[str, dict[str, Any]]) -> None:
    for name in variables(container(made)):
        assert name.removeprefix("COACH_RELAY_").lower() in SETTING_NAMES
    given = {name: value or "x" for name, value in variables(container(made)).items()}
    settings = load_settings(environ=given | {"XDG_DATA_HOME": "/x"}, options={"behind_proxy": True})
    assert settings.public_origins == ("https://relay.example",)


def test_secrets_are_named_and_never_written(made: dict[str, dict[str, Any]]) -> None:
    for one in container(made)["env"]:
        if re.search(r"SECRET|PASSWORD|KEY", one["name"]):
            assert "value" not in one
            assert set(one["valueFrom"]["secretKeyRef"]) == {"name", "key"}
    assert "Secret" not in made


def test_a_pod_may_do_nothing_but_its_work(made: dict[str, dict[str, Any]]) -> None:
    pod = made["Deployment"]["spec"]["template"]["spec"]
    relay = container(made)
    user, group = dockerfile.last("USER").text.split(":")
    assert pod["securityContext"]["runAsUser"] == int(user)
    assert pod["securityContext"]["runAsGroup"] == int(group)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert relay["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert {one["mountPath"] for one in relay["volumeMounts"]} == {"/data", "/tmp"}
    assert all("emptyDir" in one for one in pod["volumes"])
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)


def test_everything_selects_the_same_pods(made: dict[str, dict[str, Any]]) -> None:
    labels = made["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        made["Deployment"]["spec"]["selector"]["matchLabels"],
        made["Service"]["spec"]["selector"],
        made["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        made["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(one == selectors[0] for one in selectors)
    assert selectors[0].items() <= labels.items()
    scaled = made["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (scaled["kind"], scaled["name"]) == ("Deployment", made["Deployment"]["metadata"]["name"])
    assert "replicas" not in made["Deployment"]["spec"]  # or each upgrade would undo the scaling


def test_only_the_proxy_and_the_monitoring_may_come_in(made: dict[str, dict[str, Any]]) -> None:
    policy = made["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    for rule in policy["ingress"]:
        assert rule["from"]
    assert [rule["ports"] for rule in policy["ingress"]] == [[{"port": "http"}], [{"port": "metrics"}]]
    ports = {one["port"] for rule in policy["egress"] for one in rule["ports"]}
    assert ports == {53, 6379, 26379, 443}


def test_the_doctor_may_reach_each_turn_address() -> None:
    urls = ["turn:a.example:3479?transport=udp", "turn:a.example?transport=tcp", "turns:a.example:443"]
    made = documents({**NEEDED, "turn": {"urls": urls, "existingSecret": "turn"}})
    found = [one for rule in made["NetworkPolicy"]["spec"]["egress"][2:] for one in rule["ports"]]
    assert [(one["port"], one["protocol"]) for one in found] == [(3479, "UDP"), (3478, "TCP"), (443, "TCP")]


def test_a_websocket_passes_the_ingress_as_nginx_lets_it(made: dict[str, dict[str, Any]]) -> None:
    annotations = made["Ingress"]["metadata"]["annotations"]
    ours = dict(one.split(" ", 1) for one in nginx_settings())
    for name in ("proxy_read_timeout", "proxy_send_timeout"):
        key = f"nginx.ingress.kubernetes.io/{name.replace('_', '-')}"
        assert annotations[key] + "s" == ours[name].strip()
    assert annotations["nginx.ingress.kubernetes.io/enable-access-log"] == "false"
    (rule,) = made["Ingress"]["spec"]["rules"]
    assert rule["host"] == "relay.example"


def nginx_settings() -> Iterator[str]:
    text = (ROOT / "deploy" / "proxy" / "nginx.conf").read_text(encoding="utf-8")
    yield from re.findall(r"^\s+(proxy_\w+_timeout [^;]+);", text, re.M)


def test_without_scaling_there_are_as_many_as_are_asked_for() -> None:
    made = documents({**NEEDED, "autoscaling": {"enabled": False}, "replicas": 2})
    assert made["Deployment"]["spec"]["replicas"] == 2
    assert "HorizontalPodAutoscaler" not in made


def test_its_version_is_the_relays() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == version("coach-relay")


async def test_what_the_chart_starts_serves_and_ends_within_its_grace(tmp_path: Path) -> None:
    """The image's command with the pod's variables; Redis and the storage are real ones here."""
    if real_redis.PROGRAM is None:
        pytest.skip(real_redis.MISSING)
    with real_redis.real_redis(real_redis.Standalone) as redis, s3_server(tmp_path) as storage:
        given = {
            **ALL,
            "redis": {"url": redis.url},
            "s3": {"bucket": storage.bucket(), "endpoint": storage.endpoint, "existingSecret": "s3"},
        }
        made = documents(given)
        pod, relay = made["Deployment"]["spec"]["template"]["spec"], container(made)
        assert not {"command", "args"} & set(relay)
        here = {
            "COACH_RELAY_PORT": "0",
            "COACH_RELAY_METRICS_LISTEN": "127.0.0.1:0",
            "COACH_RELAY_DATA_DIR": str(tmp_path / "data"),
        }
        variables = {one["name"]: one.get("value", "secret") for one in relay["env"]}
        env = {**dockerfile.image_environment(), **variables, **here}
        command = (sys.executable, "-m", "relay.cli.main", *dockerfile.last("CMD").words)
        async with relay_process(tmp_path, command=command, **env) as running:
            async with aiohttp.ClientSession(running.url.replace("0.0.0.0", "127.0.0.1")) as http:
                for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                    async with http.get(relay[probe]["httpGet"]["path"]) as answer:
                        assert answer.status == 200, await answer.text()
            async with asyncio.timeout(pod["terminationGracePeriodSeconds"]):
                assert await running.stop() == 0
