"""The manifests fit the schemas, each other, and the services that they start. No cluster is needed."""

import importlib
import ipaddress
import re
import subprocess
import tomllib
from collections import Counter
from typing import Any

import kubernetes_validate
import pytest
import yaml

from services.runtime.settings import ServiceSettings
from tests.support.manifests import K8S, allowed, container, kustomization, of_kind, pod, reached, resources, workloads
from tests.support.source_tree import ROOT, repository_files, text_of

OVERLAYS = ("trial", "production")
VERSION = "1.30"
# Of the Prometheus operator: the schemas of Kubernetes do not have them.
FOREIGN = {"PodMonitor", "PrometheusRule"}
PARTS = {
    "features": "services.features",
    "features-worker": "services.features",
    "recommender": "services.recommender",
    "gateway": "gateway",
}
# preStop and drain are followed by closing pools and channels, which takes up to two seconds each.
CLOSING_SECONDS = 5


def settings_of(package: str) -> list[type[ServiceSettings]]:
    module = importlib.import_module(f"{package}.settings")
    found = [
        one
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, ServiceSettings) and one.__module__ == module.__name__
    ]
    assert found, package
    return found


def fields_of(package: str) -> dict[str, Any]:
    """Environment name -> default of every setting of a service."""
    return {
        str(field.alias or field.validation_alias): field.default
        for settings in settings_of(package)
        for field in settings.model_fields.values()
    }


def settings_env() -> dict[str, str]:
    lines = (K8S / "base/settings.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


# --- files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_that_a_kustomization_names_is_there(overlay: str) -> None:
    assert [str(path) for path in reached(K8S / "overlays" / overlay) if not path.is_file()] == []


def test_nothing_lies_unreferenced() -> None:
    """Files that no overlay reads are the README and what it tells to run."""
    used = {path.resolve() for overlay in OVERLAYS for path in reached(K8S / "overlays" / overlay)}
    readme = (K8S / "README.md").read_text(encoding="utf-8")
    idle = [
        path
        for path in repository_files()
        if path.startswith("deploy/k8s/") and (ROOT / path) not in used and path not in readme
    ]

    assert idle == ["deploy/k8s/README.md"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_resources_fit_the_schemas(overlay: str) -> None:
    found = resources(overlay)
    for resource in found:
        if resource["kind"] not in FOREIGN:
            kubernetes_validate.validate(resource, VERSION, strict=True)

    assert len(found) > 20
    doubled = Counter((one["kind"], one["metadata"]["name"]) for one in found)
    assert [name for name, times in doubled.items() if times > 1] == []


def test_a_misspelt_field_would_be_found() -> None:
    service = of_kind("Service")["gateway"] | {"spec": {"selektor": {}}}

    with pytest.raises(kubernetes_validate.ValidationError, match="selektor"):
        kubernetes_validate.validate(service, VERSION, strict=True)


def test_patches_and_counts_meet_something() -> None:
    """kustomize says nothing about a patch whose target does not exist."""
    content = kustomization(K8S / "overlays/production")
    kinds = {one["kind"] for one in resources("production")}
    deployments = of_kind("Deployment", "production")

    assert {patch["target"]["kind"] for patch in content["patches"]} <= kinds
    assert {entry["name"] for entry in content["replicas"]} <= deployments.keys()
    assert {entry["name"] for entry in content["images"]} == {
        container(one)["image"].partition(":")[0] for one in deployments.values()
    }
    # A count here and an autoscaler would fight at every rollout.
    assert not {entry["name"] for entry in content["replicas"]} & of_kind("HorizontalPodAutoscaler").keys()
    assert [name for name in of_kind("HorizontalPodAutoscaler") if "replicas" in deployments[name]["spec"]] == []


# --- settings and secrets ----------------------------------------------------------------------------------------


def test_settings_are_known_and_secrets_are_not_among_them() -> None:
    names = settings_env()
    known = {name for package in set(PARTS.values()) for name in fields_of(package)}

    assert names.keys() <= known, "names that no settings class reads"
    assert {"WINDOWSHOP_DRAIN_SECONDS"} <= names.keys()
    assert [name for name in names if name.endswith("_URL")] == []


@pytest.mark.parametrize("part", PARTS)
def test_a_part_gets_what_it_requires(part: str) -> None:
    """Each setting without a default comes from a Secret, and nothing else does."""
    given = container(of_kind("Deployment")[part])
    secrets = {one["name"] for one in given.get("env", [])}
    module = importlib.import_module(f"{PARTS[part]}.settings")
    required = {
        str(field.alias or field.validation_alias)
        for settings in settings_of(module.__package__ or PARTS[part])
        for field in settings.model_fields.values()
        if field.is_required()
    }

    assert secrets == required
    assert [one for one in given.get("env", []) if one.keys() != {"name", "valueFrom"}] == []
    assert [one["configMapRef"]["name"] for one in given["envFrom"]] == ["settings"]


def test_secrets_that_are_asked_for_are_the_ones_that_the_trial_makes() -> None:
    asked = {
        (one["valueFrom"]["secretKeyRef"]["name"], one["valueFrom"]["secretKeyRef"]["key"])
        for workload in workloads().values()
        for one in container(workload).get("env", [])
        if "valueFrom" in one
    }
    script = K8S / "components/embedded-stores/secrets.sh"
    first, second = (
        subprocess.run([script], check=True, capture_output=True, text=True, timeout=10).stdout for _ in range(2)
    )
    made = [document for document in yaml.safe_load_all(first) if document["kind"] == "Secret"]

    assert {(one["metadata"]["name"], key) for one in made for key in one["stringData"]} == asked
    assert {one["metadata"]["namespace"] for one in made} == {"windowshop"}
    assert not set(re.findall(r"[0-9a-f]{48}", first)) & set(re.findall(r"[0-9a-f]{48}", second))
    assert len(set(re.findall(r"[0-9a-f]{48}", first))) == 4
    for one in made:
        kubernetes_validate.validate(one, VERSION, strict=True)


def test_no_secret_stands_in_a_file() -> None:
    files = [path for path in repository_files() if path.startswith(("deploy/k8s/", "deploy/monitoring/"))]
    with_password = re.compile(
        r"://[^\s/$<:@]*:[^\s$<@]+@|password\s*[:=]\s*['\"]?(?!password)[A-Za-z0-9]{6,}", re.IGNORECASE
    )

    assert files
    assert [path for path in files if with_password.search(text_of(path))] == []
    assert [one for overlay in OVERLAYS for one in resources(overlay) if one["kind"] == "Secret"] == []


# --- ports and addresses -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "port", "setting"),
    [
        ("features", "grpc", "FEATURES_PORT"),
        ("features", "ops", "FEATURES_OPS_PORT"),
        ("features-worker", "ops", "FEATURES_WORKER_OPS_PORT"),
        ("recommender", "grpc", "RECOMMENDER_PORT"),
        ("recommender", "ops", "RECOMMENDER_OPS_PORT"),
        ("gateway", "http", "GATEWAY_PORT"),
        ("gateway", "ops", "GATEWAY_OPS_PORT"),
    ],
)
def test_ports_are_the_defaults_of_the_settings(part: str, port: str, setting: str) -> None:
    ports = {one["name"]: one["containerPort"] for one in container(of_kind("Deployment")[part])["ports"]}

    assert ports[port] == fields_of(PARTS[part])[setting]
    assert setting not in settings_env(), "the manifest relies on the default"


def test_no_service_puts_its_own_ports_into_an_environment() -> None:
    """Kubernetes would set GATEWAY_PORT=tcp://10.0.0.1:8000 for the Service `gateway`."""
    assert [name for name, one in workloads().items() if pod(one).get("enableServiceLinks") is not False] == []


def test_services_select_pods_and_lead_to_their_ports() -> None:
    every = workloads()
    for name, service in of_kind("Service").items():
        ports = {one["name"]: one["containerPort"] for one in container(every[name])["ports"]}
        labels = every[name]["spec"]["template"]["metadata"]["labels"]

        assert service["spec"]["selector"].items() <= labels.items()
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"], name
        assert (service["spec"].get("clusterIP") == "None") is (name != "gateway"), name


def test_addresses_name_headless_services() -> None:
    services = of_kind("Service")
    addresses = {name: value for name, value in settings_env().items() if name.endswith("_ADDRESS")}

    assert len(addresses) == 4
    for name, value in addresses.items():
        host, _, port = value.removeprefix("dns:///").partition(":")
        assert value.startswith("dns:///"), name
        assert services[host]["spec"]["clusterIP"] == "None", name
        assert int(port) in [one["port"] for one in services[host]["spec"]["ports"]], name


# --- start, health, end ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
def test_probes_ask_what_they_should(part: str) -> None:
    given = container(of_kind("Deployment")[part])
    ports = {one["name"]: one["containerPort"] for one in given["ports"]}
    live = {"path": "/livez", "port": "ops"}  # knows no dependency

    assert given["livenessProbe"]["httpGet"] == live
    assert given["startupProbe"]["httpGet"] == live
    if "grpc" in ports:
        assert given["readinessProbe"]["grpc"]["port"] == ports["grpc"]
    else:
        assert given["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "ops"}


@pytest.mark.parametrize("part", PARTS)
def test_a_pod_ends_before_it_is_killed(part: str) -> None:
    workload = of_kind("Deployment")[part]
    sleeps = container(workload)["lifecycle"]["preStop"]["sleep"]["seconds"]
    drains = float(settings_env()["WINDOWSHOP_DRAIN_SECONDS"])

    assert sleeps >= 5
    assert sleeps + drains + CLOSING_SECONDS < pod(workload)["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("part", PARTS)
def test_the_command_exists_and_the_image_is_this_version(part: str) -> None:
    given = container(of_kind("Deployment")[part])
    version = tomllib.loads(text_of("pyproject.toml"))["project"]["version"]
    (image,) = kustomization(K8S / "overlays/production")["images"]

    assert given["command"] == ["python", "-m", PARTS[part], *(["worker"] if part.endswith("-worker") else [])]
    assert (ROOT / PARTS[part].replace(".", "/") / "__main__.py").is_file()
    assert given["image"] == f"windowshop:{version}"
    assert image["newTag"] == version


@pytest.mark.parametrize("part", PARTS)
def test_a_rollout_and_a_drained_node_keep_the_service_up(part: str) -> None:
    workload = of_kind("Deployment")[part]
    labels = workload["spec"]["template"]["metadata"]["labels"]
    spread = pod(workload)["topologySpreadConstraints"]

    assert workload["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert of_kind("PodDisruptionBudget")[part]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert {one["labelSelector"]["matchLabels"]["app.kubernetes.io/name"] for one in spread} == {part}
    if part != "features-worker":
        scaler = of_kind("HorizontalPodAutoscaler")[part]["spec"]
        assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": part}
        assert scaler["minReplicas"] >= 2


# --- what a pod may do -------------------------------------------------------------------------------------------


def test_pods_are_restricted() -> None:
    (namespace,) = of_kind("Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, workload in workloads().items():
        given, whole = container(workload), pod(workload)
        assert whole["securityContext"]["runAsNonRoot"] is True, name
        assert whole["securityContext"]["runAsUser"] > 0, name
        assert whole["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert given["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert whole["serviceAccountName"] == name
        assert whole["automountServiceAccountToken"] is False, name
        assert of_kind("ServiceAccount")[name]["automountServiceAccountToken"] is False
        assert {"cpu", "memory"} <= given["resources"]["requests"].keys(), name
        assert "memory" in given["resources"]["limits"], name
        assert re.fullmatch(r"\S+:(?!latest$)\S+", given["image"]), name


def test_only_needed_connections_are_allowed() -> None:
    between_parts = {
        ("gateway", "features", 50051),
        ("gateway", "recommender", 50052),
        ("recommender", "features", 50051),
        ("features-worker", "recommender", 50052),
    }
    to_stores = {
        ("features", "postgres", 5432),
        ("features-worker", "postgres", 5432),
        ("recommender", "postgres", 5432),
        ("features", "redis", 6379),
        ("features-worker", "redis", 6379),
    }

    assert allowed("production") == between_parts
    assert allowed("trial") == between_parts | to_stores
    for overlay in OVERLAYS:
        deny = of_kind("NetworkPolicy", overlay)["default-deny"]["spec"]
        assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_the_trial_database_takes_the_connections_of_all_pods() -> None:
    pools = {
        "features": fields_of("services.features")["FEATURES_DATABASE_CONNECTIONS"],
        "recommender": fields_of("services.recommender")["RECOMMENDER_POOL_SIZE"],
    }
    scalers = of_kind("HorizontalPodAutoscaler")
    # One more pod each while a rollout is under way; one connection each that follows the catalogue; the worker.
    needed = sum((scalers[name]["spec"]["maxReplicas"] + 1) * (size + 1) for name, size in pools.items())
    needed += 2 * pools["features"]
    arguments = container(of_kind("StatefulSet")["postgres"])["args"]
    (limit,) = (int(one.partition("=")[2]) for one in arguments if one.startswith("max_connections="))

    assert needed <= limit - 3  # kept for the superuser


def test_outside_stores_can_be_reached() -> None:
    policies = of_kind("NetworkPolicy", "production")
    for name, port in (("postgres", 5432), ("redis", 6379)):
        (rule,) = policies[name]["spec"]["egress"]
        assert [ipaddress.ip_network(one["ipBlock"]["cidr"]) for one in rule["to"]]
        assert rule["ports"] == [{"port": port}]


def test_metrics_are_asked_of_every_part_and_let_through() -> None:
    (monitor,) = of_kind("PodMonitor", "production").values()
    (selected,) = monitor["spec"]["selector"]["matchExpressions"]
    policy = of_kind("NetworkPolicy", "production")["metrics"]["spec"]

    assert set(selected["values"]) == PARTS.keys()
    assert policy["podSelector"] == monitor["spec"]["selector"]
    assert [one["port"] for one in monitor["spec"]["podMetricsEndpoints"]] == ["ops"]
    assert policy["ingress"][0]["ports"] == [{"port": "ops"}]
