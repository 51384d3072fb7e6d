"""Hashes the sources and files that a node depends on besides its inputs.

TFX's cache key contains the dotted name of a function, not its code.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

_PACKAGE = "components"


def _source_of(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec and spec.origin else None


def _imported(module: str, source: str, *, is_package: bool) -> set[str]:
    """Returns the modules of ``components`` that a source imports, in any scope."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                package = module if is_package else module.rpartition(".")[0]
                origin = importlib.util.resolve_name("." * node.level + origin, package)
            names.add(origin)
            names.update(f"{origin}.{alias.name}" for alias in node.names)
    return {name for name in names if name.split(".")[0] == _PACKAGE}


def _with_parents(module: str) -> set[str]:
    parts = module.split(".")
    return {".".join(parts[:n]) for n in range(1, len(parts) + 1)}


def sources(*modules: str) -> dict[str, Path]:
    """Returns {module: file} for all modules of ``components`` that these import, transitively."""
    found: dict[str, Path] = {}
    waiting = {name for module in modules for name in _with_parents(module)}
    while waiting:
        module = waiting.pop()
        path = _source_of(module)
        # A name without a file is a class or function of the module it was imported from.
        if module in found or path is None:
            continue
        found[module] = path
        text = path.read_text(encoding="utf-8")
        for name in _imported(module, text, is_package=path.name == "__init__.py"):
            waiting |= _with_parents(name) - found.keys()
    return found


def code_fingerprint(*modules: str, files: Sequence[Path] = ()) -> str:
    """Returns the hex SHA-256 of the modules and all that they import from ``components``.

    ``files`` are others that the modules' results depend on, such as templates; hashed in order.

    Raises:
        ModuleNotFoundError: one of ``modules`` does not exist.
    """
    reached = sources(*modules)
    for module in modules:
        if module not in reached:
            raise ModuleNotFoundError(f"no module {module!r} to take a fingerprint of")
    digest = hashlib.sha256()
    for module, path in sorted(reached.items()):
        digest.update(module.encode() + b"\0" + path.read_bytes() + b"\0")
    for path in files:
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()
