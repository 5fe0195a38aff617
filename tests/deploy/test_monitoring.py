"""Every alert is tested and explained, and no rule or panel asks for a metric that nobody exposes."""

import ast
import json
import re
import textwrap
from collections import defaultdict
from typing import Any

import pytest
import yaml

from tests.support.source_tree import ROOT, python_files, text_of, tree_of

MONITORING = "deploy/monitoring"
RENDERED = "deploy/k8s/components/monitoring/rules.yaml"
# Prometheus makes these itself, from the scrape.
SCRAPED_METRICS = {"up": {"job", "instance"}}
SCRAPED_LABELS = {"job", "instance", "namespace", "pod"}
# By the library's classes and ours, which begin with Loop.
KINDS = {"Counter": ("",), "Gauge": ("",), "Histogram": ("_bucket", "_count", "_sum")}
# Words of PromQL that look like names and are not followed by a parenthesis.
WORDS = {"or", "and", "unless", "bool", "offset", "inf", "nan"}
CLAUSE = r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)"


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(text_of(f"{MONITORING}/rules.yaml"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    return {rule["alert"]: rule for rule in rules}


def panels() -> list[dict[str, Any]]:
    board = json.loads(text_of(f"{MONITORING}/dashboard.json"))
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries() -> dict[str, str]:
    """Where it stands -> PromQL."""
    found = {name: rule["expr"] for name, rule in alerts().items()}
    for panel in panels():
        for target in panel["targets"]:
            found[f"{panel['title']} {target['refId']}"] = target["expr"].replace("$__rate_interval", "5m")
    return found


def exposed() -> dict[str, set[str]]:
    """Series name -> labels, of every metric that the services and the gateway declare."""
    series: dict[str, set[str]] = dict(SCRAPED_METRICS)
    for path in python_files("services", "gateway"):
        # collections.Counter is another one.
        if "prometheus_client" not in text_of(path) and "services.runtime.metrics" not in text_of(path):
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                kind = node.func.id.removeprefix("Loop")
                if kind not in KINDS:
                    continue
                name, labels = declared(node)
                for end in KINDS[kind]:
                    series[name + end] = labels | ({"le"} if end == "_bucket" else set())
    return series


def declared(call: ast.Call) -> tuple[str, set[str]]:
    """Name and labels, which must be literals: a metric that a reader cannot search for is lost."""
    name = ast.literal_eval(call.args[0])
    labels = (
        call.args[2] if len(call.args) > 2 else next((k.value for k in call.keywords if k.arg == "labelnames"), None)
    )
    return name, set(ast.literal_eval(labels)) if labels is not None else set()


def used(query: str) -> dict[str, set[str]]:
    """Series name -> labels that a query selects by, or, under "", groups by."""
    found: dict[str, set[str]] = defaultdict(set)
    query = re.sub(r'"[^"]*"', '""', query)  # texts may look like anything
    for clause in re.findall(CLAUSE, query):
        found[""] |= {label.strip() for label in clause.split(",") if label.strip()}
    rest = re.sub(CLAUSE, " ", query)
    for name, matchers in re.findall(r"\b([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}", rest):
        found[name] |= set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", matchers))
    rest = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", rest)
    for name in re.findall(r"(?<![\w.])[a-zA-Z_:][\w:]*\b(?!\s*\()", rest):
        if name not in WORDS:
            found[name] |= set()
    return dict(found)


def test_names_are_found_in_queries() -> None:
    query = 'sum by (job, le) (rate(a_total{x=~"b{2}|c", y!="d"}[5m])) / on () e_count > 0.01 or up{job="f"} == 1'

    assert used(query) == {"": {"job", "le"}, "a_total": {"x", "y"}, "e_count": set(), "up": {"job"}}


@pytest.mark.parametrize(("place", "query"), queries().items(), ids=queries())
def test_only_metrics_that_are_exposed_are_asked_for(place: str, query: str) -> None:
    series = exposed()
    names = used(query)
    groups_by = names.pop("", set())

    assert names
    assert names.keys() <= series.keys(), place
    for name, labels in names.items():
        assert labels <= series[name] | SCRAPED_LABELS, f"{place}: {name} has no such label"
    assert groups_by <= SCRAPED_LABELS.union(*(series[name] for name in names)), place


@pytest.mark.parametrize("alert", alerts())
def test_an_alert_is_tested_to_fire_and_to_stay_quiet(alert: str) -> None:
    """Run them with `promtool test rules deploy/monitoring/rules.test.yaml`."""
    document = yaml.safe_load(text_of(f"{MONITORING}/rules.test.yaml"))
    expected = [
        case["exp_alerts"]
        for test in document["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == alert
    ]

    assert document["rule_files"] == ["rules.yaml"]
    assert any(expected), "no test in which it fires"
    assert not all(expected), "no test in which it stays quiet"


def test_tests_test_alerts_that_there_are() -> None:
    document = yaml.safe_load(text_of(f"{MONITORING}/rules.test.yaml"))
    tested = {case["alertname"] for test in document["tests"] for case in test["alert_rule_test"]}

    assert tested == alerts().keys()


@pytest.mark.parametrize("alert", alerts())
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(alert: str) -> None:
    rule = alerts()[alert]

    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "runbook"}
    assert rule["annotations"]["runbook"] == f"docs/runbook.md#{alert.lower()}"


def test_the_runbook_has_a_section_for_each_alert() -> None:
    sections = re.split(r"^## ", text_of("docs/runbook.md"), flags=re.MULTILINE)[1:]
    lengths = {section.splitlines()[0]: len(section.split()) for section in sections}

    assert list(lengths) == list(alerts())
    assert [name for name, words in lengths.items() if words < 20] == []


def test_the_runbook_names_metrics_that_are_exposed() -> None:
    names = set(re.findall(r"`((?:windowshop|grpc_server|http_request)_[a-z_]+)", text_of("docs/runbook.md")))
    series = exposed()

    assert len(names) > 5
    assert [name for name in names if name not in series and f"{name}_count" not in series] == []


def test_the_operator_gets_the_same_rules() -> None:
    rules = text_of(f"{MONITORING}/rules.yaml")
    header, found, body = text_of(RENDERED).partition("spec:\n")

    assert found
    assert body == textwrap.indent(rules, "  "), "run deploy/monitoring/render.sh"
    assert yaml.safe_load(header + found + body)["spec"] == yaml.safe_load(rules)
    assert (ROOT / MONITORING / "render.sh").is_file()


def test_panels_have_a_place_and_a_query() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels()]

    assert len(places) == len(set(places))
    assert [panel["title"] for panel in panels() if not panel["targets"]] == []
