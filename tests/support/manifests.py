"""The Kubernetes manifests as data: what an overlay is made of, and who may talk to whom in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.source_tree import ROOT

K8S = ROOT / "deploy/k8s"

Resource = dict[str, Any]


def documents(path: Path) -> list[Resource]:
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def kustomization(folder: Path) -> Resource:
    (only,) = documents(folder / "kustomization.yaml")
    return only


def reached(folder: Path) -> Iterator[Path]:
    """Every file that `kubectl kustomize` reads for a folder, generators' files included."""
    yield folder / "kustomization.yaml"
    content = kustomization(folder)
    for entry in [*content.get("resources", []), *content.get("components", [])]:
        path = (folder / entry).resolve()
        if path.is_dir():
            yield from reached(path)
        else:
            yield path
    for generator in content.get("configMapGenerator", []):
        yield from (folder / name for key in ("envs", "files") for name in generator.get(key, []))


def resources(overlay: str) -> list[Resource]:
    files = [path for path in reached(K8S / "overlays" / overlay) if path.name != "kustomization.yaml"]
    return [document for path in files if path.suffix == ".yaml" for document in documents(path)]


def of_kind(kind: str, overlay: str = "trial") -> dict[str, Resource]:
    return {one["metadata"]["name"]: one for one in resources(overlay) if one["kind"] == kind}


def pod(workload: Resource) -> Resource:
    spec: Resource = workload["spec"]["template"]["spec"]
    return spec


def container(workload: Resource) -> Resource:
    (only,) = pod(workload)["containers"]
    assert isinstance(only, dict)
    return only


def workloads() -> dict[str, Resource]:
    return {**of_kind("Deployment"), **of_kind("StatefulSet")}


def allowed(overlay: str) -> set[tuple[str, str, int]]:
    """(from, to, port) of every connection between pods that both ends' policies allow."""
    every = {**of_kind("Deployment", overlay), **of_kind("StatefulSet", overlay)}
    labels = {name: one["spec"]["template"]["metadata"]["labels"] for name, one in every.items()}
    policies = of_kind("NetworkPolicy", overlay).values()

    def matches(selector: Resource, name: str) -> bool:
        wanted = selector.get("matchLabels", {}).items() <= labels[name].items()
        return wanted and all(
            rule["operator"] == "In" and labels[name].get(rule["key"]) in rule["values"]
            for rule in selector.get("matchExpressions", [])
        )

    def number(port: Any, target: str) -> int | None:
        named = {one["name"]: one["containerPort"] for one in container(every[target])["ports"]}
        return named.get(port) if isinstance(port, str) else int(port)

    def side(direction: str, key: str) -> set[tuple[str, str, int]]:
        found = set()
        for policy in policies:
            for rule in policy["spec"].get(direction, []):
                for own in filter(lambda name: matches(policy["spec"]["podSelector"], name), labels):
                    for other in labels:
                        peers = rule.get(key)
                        if peers is None or any("podSelector" in p and matches(p["podSelector"], other) for p in peers):
                            source, target = (other, own) if direction == "ingress" else (own, other)
                            ports = (number(entry["port"], target) for entry in rule["ports"])
                            found |= {(source, target, port) for port in ports if port is not None}
        return found

    return side("ingress", "from") & side("egress", "to")
