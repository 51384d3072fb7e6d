"""Generates `real.toml` and the docs' configuration page from the settings' models.

python -m pipeline.config.reference            exits with 1 if a file is stale
python -m pipeline.config.reference --write    writes both
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import tomlkit

from components.atomic import write_text
from components.settings import Settings, is_group
from pipeline.config.pipeline_config import PipelineConfig

REAL_CONFIG = Path(__file__).with_name("real.toml")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"

# Values in real.toml: the required keys, and stricter thresholds for the real corpus.
_REAL = {
    "run.name": "arxiv-real",
    "run.output_dir": "../../var/real",
    "data.parquet": "../../var/real/input/arxiv_cleaned.parquet",
    "data.glove": "../../var/glove/glove.6B.100d.txt",
    "evaluation.min_accuracy": 0.85,
    "evaluation.min_macro_f1": 0.65,
    "evaluation.max_cross_entropy": 0.45,
}
_LIMITS = {
    "minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}",
    "pattern": "`{}`",
}  # fmt: skip


class Key(NamedTuple):
    """One key of the configuration: its dotted name, JSON schema and default, None if unset."""

    name: str
    schema: Mapping[str, Any]
    default: Any
    required: bool

    @property
    def basic(self) -> bool:
        """Whether it is one of the few keys that users usually set."""
        return self.schema.get("level") == "basic"

    @property
    def description(self) -> str:
        """One sentence on one line."""
        return " ".join(self.schema["description"].split())

    @property
    def shown(self) -> list[tuple[str, Any]]:
        """Names and values for lines of TOML: one, or one per key of a table."""
        if isinstance(self.default, Mapping):
            return [(f"{self.name}.{_quoted(key)}", one) for key, one in self.default.items()]
        return [(self.name, self.schema.get("examples", [self.default])[0])]

    @property
    def kind(self) -> str:
        """The type in words."""
        schema = self.schema.get("anyOf", [self.schema])[0]
        if schema["type"] == "array":
            return f"list of {schema['items']['type']}s"
        kind = "path" if schema.get("format") == "path" else schema["type"]
        return "table" if kind == "object" else kind

    @property
    def default_text(self) -> str:
        """The default in Markdown."""
        if isinstance(self.default, Mapping):
            lines = (f"`{_quoted(key)} = {_toml(one)}`" for key, one in self.default.items())
            return "<br>".join(lines)
        if self.default is None:
            return "required" if self.required else "unset"
        return f"`{_toml(self.default)}`"

    @property
    def allowed(self) -> str:
        """The allowed values in Markdown; empty if only the type restricts them."""
        limits = [text.format(self.schema[k]) for k, text in _LIMITS.items() if k in self.schema]
        choices = self.schema.get("enum") or self.schema.get("items", {}).get("enum", ())
        return ", ".join([*limits, *(f"`{_toml(choice)}`" for choice in choices)])


class Table(NamedTuple):
    """A table of the configuration with its own keys, without those of inner tables."""

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
    """Yields a table and its inner tables, in the models' order.

    The description is by default the first line of the model's docstring; ``defaults`` are the
    values of keys left out, None for a table with required keys.
    """
    schemas = kind.model_json_schema()["properties"]
    keys, inner = [], []
    for key, field in kind.model_fields.items():
        default = field.get_default() if defaults is None else getattr(defaults, key)
        dotted = f"{name}.{key}" if name else key
        if is_group(field.annotation):
            given = default if isinstance(default, Settings) else None
            inner.append((field.annotation, dotted, field.description or "", given))
        else:
            plain = None if field.is_required() else _plain(default)
            keys.append(Key(dotted, schemas[key], plain, field.is_required()))
    if keys:
        yield Table(name, description or (kind.__doc__ or "").splitlines()[0], keys)
    for one in inner:
        yield from tables(*one)  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return "/".join(value.parts[-2:])
    if isinstance(value, Mapping):
        return {key: one.model_dump(exclude_defaults=True) for key, one in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        inline = tomlkit.inline_table()
        inline.update(value)
        return inline.as_string()
    return tomlkit.item(value).as_string()


def _quoted(key: str) -> str:
    return tomlkit.key([key]).as_string()


def _comment(text: str) -> str:
    return "\n".join(f"# {line}" for line in textwrap.wrap(text, 97))


def generated() -> dict[Path, str]:
    """Returns {file: generated text}."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(toml=_toml, comment=_comment)
    found = list(tables())
    basic = [key for table in found for key in table.keys if key.basic]
    return {
        path: environment.get_template(f"{path.name}.j2").render(
            tables=found, basic=basic, real=_REAL
        )
        for path in (REAL_CONFIG, PAGE)
    }


def main() -> int:
    """Writes or checks the files; returns the exit code."""
    stale = 0
    for path, text in generated().items():
        if "--write" in sys.argv[1:]:
            path.parent.mkdir(exist_ok=True)
            write_text(path, text)
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            print(f"{path} is stale: `make docs` writes it", file=sys.stderr)
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
