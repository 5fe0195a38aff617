"""How answers look on the terminal and as JSON. Results go to stdout, everything else to stderr."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import click
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table
from windowshop.features.v1 import features_pb2 as f
from windowshop.recommender.v1 import model_pb2 as m
from windowshop.recommender.v1 import recommendation_pb2 as r
from windowshop.recommender.v1 import serving_config_pb2 as s

from windowshop_client.ndjson import BadLine
from windowshop_client.values import value_of

SHOWN_ERRORS = 10
SHOWN_ROWS = 3

json_option = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")


def as_dict(answer: Message) -> dict[str, object]:
    """proto3 JSON in lowerCamelCase, counts of zero included."""
    return dict(MessageToDict(answer, always_print_fields_with_no_presence=True))


def show_json(answer: Message | dict[str, object]) -> None:
    """The answer on stdout."""
    data = as_dict(answer) if isinstance(answer, Message) else answer
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def features_json(answer: f.GetFeaturesResponse) -> dict[str, object]:
    """The shape that the REST route of features has."""
    shape: dict[str, object] = {"entity": answer.entity, "id": answer.id}
    shape["features"] = {name: _plain(value) for name, value in sorted(answer.features.items())}
    shape["metadata"] = {
        name: {
            "status": f.FeatureStatus.Name(value.status),
            "computedAt": value.computed_at.ToJsonString() if value.HasField("computed_at") else None,
            "ageSeconds": round(value.age_seconds, 3),
            "refreshSeconds": value.refresh_seconds,
        }
        for name, value in sorted(answer.features.items())
    }
    if answer.degraded:
        shape["degraded"] = list(answer.degraded)
    return shape


def show_features(answer: f.GetFeaturesResponse) -> None:
    """One row a feature."""
    rows = (
        (
            name,
            _brief(_plain(value)),
            f.FeatureStatus.Name(value.status),
            f"{value.age_seconds:.1f} s",
            f"{value.refresh_seconds:,} s",
        )
        for name, value in sorted(answer.features.items())
    )
    show_table(("feature", "value", "status", "age", "refresh"), rows)
    _warn(answer.degraded)


def show_recommendations(answer: r.RecommendResponse) -> None:
    """One row a product."""
    rows = (
        (
            result.id,
            result.product.title,
            result.product.categories[0] if result.product.categories else "",
            f"{result.product.price:,.2f}" if result.product.HasField("price") else "",
            f"{result.score:.3f}",
            ", ".join(result.reasons),
        )
        for result in answer.results
    )
    if answer.results:
        show_table(("product", "title", "category", "price", "score", "why"), rows)
    else:
        click.echo(f"nothing to recommend: {answer.empty_reason or 'no reason given'}")
    explained = [result for result in answer.results if result.HasField("explanation")]
    if explained:
        click.echo()
        show_table(("product", "score is made of", "found by", "moved by"), map(_explanation, explained))
    _warn(answer.degraded)


def show_model(model: m.Model) -> None:
    """A model and its metrics."""
    click.echo(f"model {model.id}: {m.ModelState.Name(model.state)}{f' ({model.reason})' if model.reason else ''}")
    for name, value in sorted(model.metrics.items()):
        click.echo(f"  {name:<24} {_metric(name, value)}")


def show_models(models: Iterable[m.Model]) -> None:
    """One row a model."""
    rows = (
        (
            model.id,
            m.ModelState.Name(model.state),
            _when(model.create_time.ToDatetime(tzinfo=UTC)) if model.HasField("create_time") else "",
            ", ".join(f"{name} {_metric(name, value)}" for name, value in sorted(model.metrics.items())),
            model.reason,
        )
        for model in models
    )
    show_table(("model", "state", "created", "metrics", "reason"), rows)


def show_serving_configs(configs: Iterable[s.ServingConfig]) -> None:
    """One row a config."""
    rows = (
        (
            config.id,
            s.ConfigOrigin.Name(config.origin).lower(),
            s.Objective.Name(config.objective).lower(),
            ", ".join(f"{source.name} {source.weight:g}" for source in config.sources),
            _when(config.update_time.ToDatetime(tzinfo=UTC)) if config.HasField("update_time") else "",
        )
        for config in configs
    )
    show_table(("serving config", "origin", "ordered by", "sources", "changed"), rows)


def show_bad_lines(lines: Sequence[BadLine], total: int) -> None:
    """The first bad lines of an import, on stderr."""
    for bad in lines[:SHOWN_ERRORS]:
        click.echo(f"line {bad.line}: {bad.reason}: {bad.message}", err=True)
    if total > SHOWN_ERRORS:
        click.echo(f"... and {total - SHOWN_ERRORS:,} more", err=True)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table as wide as the terminal; elsewhere tab-separated lines, which cut and awk understand."""
    console = Console()
    if not console.is_terminal:
        for row in (columns, *rows):
            click.echo("\t".join(row))
        return
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _explanation(result: r.Recommendation) -> tuple[str, str, str, str]:
    parts = sorted(result.explanation.contributions, key=lambda part: -abs(part.contribution))
    return (
        result.id,
        ", ".join(f"{part.column} {part.contribution:+.3f}" for part in parts if part.contribution),
        ", ".join(f"{found.source} #{found.rank}" for found in result.explanation.sources),
        ", ".join(result.explanation.moved_by),
    )


def _plain(value: f.FeatureValue) -> object:
    plain = value_of(value)
    return _when(plain) if isinstance(plain, datetime) else plain


def _brief(plain: object) -> str:
    """A value in a cell: of a table the first rows."""
    if plain is None:
        return "-"
    if not isinstance(plain, dict):
        return str(plain)
    rows = [
        f"{key}: " + " ".join(f"{name} {_short(number)}" for name, number in row.items()) for key, row in plain.items()
    ]
    more = [f"... {len(rows) - SHOWN_ROWS:,} more"] if len(rows) > SHOWN_ROWS else []
    return "; ".join([*rows[:SHOWN_ROWS], *more]) or "empty"


def _short(number: float) -> str:
    return f"{number:.0f}" if number == round(number) or abs(number) >= 1e6 else f"{number:.4g}"


def _metric(name: str, value: float) -> str:
    """Instants as such, whole numbers whole, others with four digits."""
    if name.endswith("_ms"):
        return _when(datetime.fromtimestamp(value / 1000, UTC))
    return f"{value:,.0f}" if value == round(value) else f"{value:,.4g}"


def _when(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _warn(degraded: Iterable[str]) -> None:
    missing = ", ".join(degraded)
    if missing:
        click.echo(f"degraded: {missing}", err=True)
