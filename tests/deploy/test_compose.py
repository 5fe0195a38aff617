"""compose.yaml parses, and the services know every environment name in it. No engine is needed."""

import re
import subprocess
from typing import Any

import pytest
import yaml

from gateway.settings import GatewaySettings
from services.features.settings import FeatureSettings
from services.recommender.settings import RecommenderSettings
from services.runtime.settings import ServiceSettings
from tests.support.source_tree import ROOT, repository_files, text_of

SETTINGS: dict[str, type[ServiceSettings]] = {
    "features": FeatureSettings,
    "features-worker": FeatureSettings,
    "recommender": RecommenderSettings,
    "gateway": GatewaySettings,
}
COMPOSE = "deploy/compose.yaml"


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(text_of(COMPOSE))["services"]
    return found


@pytest.mark.parametrize("name", SETTINGS)
def test_the_service_knows_each_name_and_gets_what_it_needs(name: str) -> None:
    fields = SETTINGS[name].model_fields.values()
    given = set(services()[name]["environment"])
    assert given <= {str(field.alias) for field in fields}
    assert {str(field.alias) for field in fields if field.is_required()} <= given


@pytest.mark.parametrize("name", SETTINGS)
def test_each_process_is_checked_on_a_port_it_listens_on(name: str) -> None:
    ports = {field.default for field in SETTINGS[name].model_fields.values() if isinstance(field.default, int)}
    (checked,) = re.findall(r":(\d+)/readyz", services()[name]["healthcheck"]["test"][-1])
    assert int(checked) in ports


@pytest.mark.parametrize("name", SETTINGS)
def test_no_process_is_reachable_from_outside_or_may_more_than_it_needs(name: str) -> None:
    service = services()[name]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True


def test_every_dependency_and_volume_is_declared() -> None:
    document = yaml.safe_load(text_of(COMPOSE))
    for name, service in services().items():
        assert set(service.get("depends_on", {})) <= set(services()), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in document["volumes"] or (ROOT / "deploy" / source).is_file(), volume


def test_the_secrets_script_gives_each_password_and_no_file_has_them() -> None:
    printed = subprocess.run([ROOT / "deploy/compose-secrets.sh"], check=True, capture_output=True, text=True).stdout
    made = dict(line.split("=", 1) for line in printed.splitlines())
    wanted = set(re.findall(r"\$\{(\w+):\?", text_of(COMPOSE)))
    assert set(made) == wanted
    assert all(re.fullmatch("[0-9a-f]{48}", value) for value in made.values())
    assert "deploy/.env" not in repository_files()
    assert subprocess.run(["git", "check-ignore", "--quiet", "deploy/.env"], cwd=ROOT, check=False).returncode == 0


def test_the_image_is_made_of_files_that_exist_and_runs_as_a_user() -> None:
    lines = text_of("deploy/Dockerfile").splitlines()
    copied = [
        word for line in lines if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]
    ]
    assert copied
    assert all((ROOT / path).exists() for path in copied)
    allowed = {line[1:] for line in text_of("deploy/Dockerfile.dockerignore").splitlines() if line.startswith("!")}
    assert set(copied) <= allowed
    assert "USER 10001:10001" in lines
