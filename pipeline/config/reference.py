"""Generates `real.toml` and the configuration page of the docs from the settings' models.

python -m pipeline.config.reference            exits with 1 if a file is stale
python -m pipeline.config.reference --write    writes both
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit

from components.atomic import write_text
from components.settings import Settings, is_group
from pipeline.config.pipeline_config import PipelineConfig

REAL_CONFIG = Path(__file__).with_name("real.toml")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"

# What real.toml sets: the keys without a default, and stricter thresholds for the real corpus.
_REAL = {
    "run.name": "arxiv-real",
    "run.output_dir": "../../var/real",
    "data.parquet": "../../var/real/input/arxiv_cleaned.parquet",
    "data.glove": "../../var/glove/glove.6B.100d.txt",
    "evaluation.min_accuracy": 0.85,
    "evaluation.min_macro_f1": 0.65,
    "evaluation.max_cross_entropy": 0.45,
}
_REAL_HEADER = """\
# The real job: your parquet of arXiv papers and the real GloVe vectors. Copy this file, edit it,
# and run
#
#     make run CONFIG=/path/to/your.toml
#
# Relative paths start from the folder of the file. Each key is written with its tables' names, so
# that any line works on its own.
#
# This file is generated: `make docs` writes it and docs/configuration.md from the models.
"""
_REST_HEADER = """\
# --- Everything else ------------------------------------------------------------------------------
# Uncomment a line to change it. The values shown are the defaults, the measured best on 39,440
# papers; of paths without a fixed default they are examples.
"""
_PAGE_HEADER = """\
# Configuration

This page is generated from the settings' models: `make docs` writes it and
`pipeline/config/real.toml`.

A configuration is one TOML file, named by `ARXIV_PIPELINE_CONFIG` (or `CONFIG=` for make,
`--config` for `arxiv-pipeline`). Relative paths start from the file's own folder. `training.seed`
is the key `seed` of the table `[training]`; TOML accepts both ways of writing it. An unknown key, a
wrong type, a missing file and an impossible value are errors: one line says which key, which value
and what is allowed.

## The keys to set
"""
_TABLE_HEADER = """\
| key | type | default | allowed | description |
|---|---|---|---|---|
"""


class Key(NamedTuple):
    """One key of the configuration.

    Attributes:
        name: dotted, with the names of its tables.
        schema: its JSON schema.
        default: as a plain value; None where it is required or unset.
        required: whether it has no default.
    """

    name: str
    schema: Mapping[str, Any]
    default: Any
    required: bool

    @property
    def basic(self) -> bool:
        """Whether it is one of the few keys that users set."""
        return self.schema.get("level") == "basic"


class Table(NamedTuple):
    """A table of the configuration with the keys directly in it."""

    name: str
    description: str
    keys: list[Key]

    @property
    def rest(self) -> list[Key]:
        """The keys that are not basic."""
        return [key for key in self.keys if not key.basic]


def tables(
    kind: type[Settings] = PipelineConfig,
    name: str = "",
    description: str = "",
    defaults: Settings | None = None,
) -> Iterator[Table]:
    """Yields a table and those within it, in the models' order.

    Args:
        kind: the table's model.
        name: the table's dotted name; empty for the whole configuration.
        description: one sentence; empty takes the first line of the model's docstring.
        defaults: the values of keys left out; None for a table with required keys.
    """
    schemas = kind.model_json_schema()["properties"]
    prefix = f"{name}." if name else ""
    keys, inner = [], []
    for key, field in kind.model_fields.items():
        default = field.get_default() if defaults is None else getattr(defaults, key)
        if is_group(field.annotation):
            given = default if isinstance(default, Settings) else None
            inner.append((field.annotation, prefix + key, field.description or "", given))
        else:
            plain = None if field.is_required() else _plain(default)
            keys.append(Key(prefix + key, schemas[key], plain, field.is_required()))
    if keys:
        yield Table(name, description or (kind.__doc__ or "").splitlines()[0], keys)
    for one in inner:
        yield from tables(*one)  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return "/".join(value.parts[-2:])
    if isinstance(value, Mapping):
        return {
            key: one.model_dump(mode="json", exclude_defaults=True) for key, one in value.items()
        }
    return list(value) if isinstance(value, tuple) else value


def real_config() -> str:
    """Returns the text of `real.toml`: the basic keys, then the others, commented out."""
    parts = [_REAL_HEADER]
    for key in _basic():
        value = _REAL.get(key.name, key.default)
        parts.append(f"{_comment(key)}{key.name} = {_toml(value)}\n")
    parts.append(_REST_HEADER)
    for table in tables():
        if table.rest:
            parts.append(f"# --- {table.name}: {table.description}\n")
        for key in table.rest:
            lines = _lines(key.name, key.schema.get("examples", [key.default])[0])
            parts.append(_comment(key) + "".join(f"# {line}\n" for line in lines))
    return "\n".join(parts)


def _basic() -> list[Key]:
    return [key for table in tables() for key in table.keys if key.basic]


def _lines(name: str, value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{name}.{_toml_key(key)} = {_toml(one)}" for key, one in value.items()]
    return [f"{name} = {_toml(value)}"]


def _comment(key: Key) -> str:
    lines = textwrap.wrap(key.schema["description"], 97)
    return "".join(f"# {line}\n" for line in lines)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        inline = tomlkit.inline_table()
        inline.update(value)
        return inline.as_string()
    return tomlkit.item(value).as_string()


def _toml_key(name: str) -> str:
    return tomlkit.key([name]).as_string()


def page() -> str:
    """Returns the text of the reference page."""
    parts = [_PAGE_HEADER, _TABLE_HEADER + _rows(_basic()), "## Everything else\n"]
    for table in tables():
        if table.rest:
            parts.append(f"### {table.name}\n\n{table.description}\n")
            parts.append(_TABLE_HEADER + _rows(table.rest))
    return "\n".join(parts)


def _rows(keys: list[Key]) -> str:
    return "".join(
        f"| `{key.name}` | {_type(key.schema)} | {_default(key)} | {_allowed(key.schema)} "
        f"| {key.schema['description']} |\n"
        for key in keys
    )


def _default(key: Key) -> str:
    if key.required:
        return "required"
    if key.default is None:
        return "unset"
    if isinstance(key.default, Mapping):
        return "<br>".join(
            f"`{_toml_key(name)} = {_toml(one)}`" for name, one in key.default.items()
        )
    return f"`{_toml(key.default)}`"


def _type(schema: Mapping[str, Any]) -> str:
    schema = schema.get("anyOf", [schema])[0]
    if schema.get("format") == "path":
        return "path"
    if schema["type"] == "array":
        return f"list of {schema['items']['type']}s"
    return {"object": "table"}.get(schema["type"], schema["type"])


def _allowed(schema: Mapping[str, Any]) -> str:
    words = {
        "minimum": "≥ {}", "exclusiveMinimum": "> {}",
        "maximum": "≤ {}", "exclusiveMaximum": "< {}",
        "pattern": "`{}`",
    }  # fmt: skip
    limits = [text.format(schema[word]) for word, text in words.items() if word in schema]
    choices = schema.get("enum") or schema.get("items", {}).get("enum", ())
    return ", ".join([*limits, *(f"`{_toml(choice)}`" for choice in choices)])


def main() -> int:
    """Writes or checks the two files; returns the exit code."""
    stale = 0
    for path, text in ((REAL_CONFIG, real_config()), (PAGE, page())):
        if "--write" in sys.argv[1:]:
            path.parent.mkdir(exist_ok=True)
            write_text(path, text)
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            print(f"{path} is stale: `make docs` writes it", file=sys.stderr)
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
