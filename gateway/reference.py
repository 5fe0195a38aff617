"""The OpenAPI document as one HTML page that needs nothing else: no script, no other host."""

from __future__ import annotations

from html import escape
from typing import Any

# The page runs nothing and loads nothing, whatever a text in it says.
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}

_STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #8884 }
details { margin: .5rem 0; padding: .4rem .8rem; border: 1px solid #8884; border-radius: .4rem }
summary { cursor: pointer }
code { font: .9em/1.4 ui-monospace, monospace }
.method { display: inline-block; min-width: 4.2rem; font-weight: 700 }
table { border-collapse: collapse; margin: .6rem 0 }
td, th { text-align: left; padding: .15rem 1.2rem .15rem 0; vertical-align: top }
.text { color: #8a8a8a }
"""


def page(document: dict[str, Any]) -> str:
    """The page of ``document``."""
    info = document["info"]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])} API</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{escape(info['title'])} <code>{escape(info['version'])}</code></h1>"
        f"<p>{escape(info['description'])}</p><p>For programs: <a href='/openapi.json'>/openapi.json</a></p>"
        f"{''.join(_groups(document))}<h2>Messages</h2>"
        f"{''.join(_schema(name, schema) for name, schema in document['components']['schemas'].items())}"
        "</body></html>"
    )


def _groups(document: dict[str, Any]) -> list[str]:
    groups: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(method, path, operation))
    return [f"<h2>{escape(name)}</h2>{''.join(operations)}" for name, operations in groups.items()]


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = [
        _row(f"{p['name']} ({p['in']})", _type(p["schema"]), p.get("description", ""))
        for p in operation.get("parameters", ())
    ]
    for content_type, body in operation.get("requestBody", {}).get("content", {}).items():
        rows.append(_row("body", content_type, body["schema"].get("description", _type(body["schema"]))))
    for status, answer in operation["responses"].items():
        for content_type, content in answer.get("content", {}).items():
            rows.append(_row(f"answer {status}", content_type, _type(content["schema"])))
    return (
        f'<details id="{escape(operation["operationId"])}"><summary><span class="method">{method.upper()}</span>'
        f'<code>{escape(path)}</code> <span class="text">{escape(operation["summary"])}</span></summary>'
        f"<table>{''.join(rows)}</table></details>"
    )


def _schema(name: str, schema: dict[str, Any]) -> str:
    rows = [_row(field, _type(value), value.get("description", "")) for field, value in schema["properties"].items()]
    return (
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"<table>{''.join(rows)}</table></details>"
    )


def _row(name: str, kind: str, text: str) -> str:
    return f'<tr><td><code>{escape(name)}</code></td><td>{escape(kind)}</td><td class="text">{escape(text)}</td></tr>'


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[1]
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(schema["enum"])
    kind = schema["type"]
    if kind == "array":
        return f"list of {_type(schema['items'])}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"{_type(schema['additionalProperties'])} by name"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)
