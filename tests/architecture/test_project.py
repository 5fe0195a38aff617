"""The project's own papers: dependencies, Makefile, README."""

import os
import re
import subprocess
import sys
import tomllib
from collections import defaultdict

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.source_tree import ROOT, repository_files, text_of

TARGETS = ("setup", "proto", "run", "test", "check", "bench", "clean")
DOCUMENTED_URLS = (
    'curl "http://localhost:8000/features/User/user_001?features=user_browsing_category,user_purchase_count_30d"',
    'curl "http://localhost:8000/features/Product/prod_100?features=product_popularity_score,product_rating"',
)


def locked() -> dict[str, list[str]]:
    """Name -> versions of the lock; several where they depend on the machine."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*])?==([^ ;\\]+)", text_of("requirements.lock"), re.MULTILINE)
    versions: dict[str, list[str]] = defaultdict(list)
    for name, version in pins:
        versions[canonicalize_name(name)].append(version)
    return versions


def test_the_lock_has_every_dependency_in_a_version_that_fits() -> None:
    papers = tomllib.loads(text_of("pyproject.toml"))
    project = papers["project"]
    # What builds is installed beforehand: nothing is fetched for it (`--no-build-isolation`).
    wanted = [*project["dependencies"], *papers["build-system"]["requires"]]
    wanted += [dependency for extra in project["optional-dependencies"].values() for dependency in extra]
    pins = locked()
    wrong = []
    for text in wanted:
        requirement = Requirement(text)
        versions = pins[canonicalize_name(requirement.name)]
        if not any(requirement.specifier.contains(version, prereleases=True) for version in versions):
            wrong.append(f"{text}: locked is {versions}")

    assert not wrong, "run 'make lock':\n" + "\n".join(wrong)


def test_everything_in_the_lock_has_a_hash() -> None:
    pins = re.split(r"^(?=\S+==)", text_of("requirements.lock"), flags=re.MULTILINE)[1:]

    assert len(pins) > 50
    assert [pin.splitlines()[0] for pin in pins if "--hash=sha256:" not in pin] == []


def test_make_help_lists_the_targets() -> None:
    out = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, check=True, capture_output=True, text=True)
    listed = set(re.findall(r"^\s*(?:\x1b\[\d*m)?([a-z-]+)", out.stdout, re.MULTILINE))

    assert set(TARGETS) <= listed
    makefile = text_of("Makefile")
    described = set(re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE))
    assert described <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert described <= set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split())  # type: ignore[index]


def test_the_readme_has_the_two_commands_and_the_documented_urls() -> None:
    readme = text_of("README.md")

    for line in ("make run", "make test", *DOCUMENTED_URLS):
        assert line in readme, line


def test_the_paths_that_contributors_are_sent_to_are_there() -> None:
    named = re.findall(r"`([\w.-]+(?:/[\w.-]+)+/?|\.\w+)`", text_of("CONTRIBUTING.md"))

    assert "gateway/routes.py" in named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_links_between_papers_lead_somewhere() -> None:
    """In every paper: relative links and their anchors' files; addresses of the web are not looked at."""
    papers = [path for path in repository_files() if path.endswith(".md")]
    links = [(path, link) for path in papers for link in re.findall(r"\]\(([^)\s]+)\)", text_of(path))]
    local = [(path, link) for path, link in links if "://" not in link and not link.startswith(("#", "mailto:"))]

    assert local
    broken = [
        f"{path}: {link}" for path, link in local if not (ROOT / path).parent.joinpath(link.split("#")[0]).exists()
    ]
    assert broken == []


def test_the_tests_of_a_file_run_in_one_process() -> None:
    """They share what takes long to make, and what the ones before did to it."""
    found = re.search(r"-n 2 --dist \w+", text_of("Makefile"))
    assert found
    files = [f"tests/unit/runtime/test_{name}.py" for name in ("coalescing", "generations")]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *found.group().split(), *files],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        check=True,
    )
    ran = re.findall(r"\[(gw\d)\] .* PASSED (tests/[^:]+)::", run.stdout)
    assert {file for _, file in ran} == set(files)
    assert len(ran) > len(set(ran)) == len(files), run.stdout
