import importlib
import sys
from pathlib import Path

import pytest

from pipeline.fingerprint import code_fingerprint, sources


@pytest.fixture
def package(tmp_path: Path, monkeypatch) -> Path:
    """A `components` package of its own, first on the path."""
    root = tmp_path / "components"
    (root / "node").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "shared.py").write_text("VALUE = 1\n")
    (root / "lazy.py").write_text("VALUE = 2\n")
    (root / "other.py").write_text("VALUE = 3\n")
    (root / "node" / "__init__.py").write_text("")
    (root / "node" / "helper.py").write_text("from components.shared import VALUE\n")
    (root / "node" / "entry.py").write_text(
        "from .helper import VALUE\ndef f():\n    import components.lazy\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [n for n in sys.modules if n.split(".")[0] == "components"]:
        monkeypatch.delitem(sys.modules, name)
    importlib.invalidate_caches()
    return root


@pytest.mark.usefixtures("package")
def test_follows_absolute_relative_and_local_imports() -> None:
    assert set(sources("components.node.entry")) == {
        "components",
        "components.node",
        "components.node.entry",
        "components.node.helper",
        "components.shared",
        "components.lazy",
    }


@pytest.mark.parametrize("edited", ["node/entry.py", "node/helper.py", "shared.py", "lazy.py"])
def test_an_edit_of_anything_reached_changes_the_fingerprint(package: Path, edited: str) -> None:
    before = code_fingerprint("components.node.entry")
    path = package / edited
    path.write_text(path.read_text() + "# edited\n")
    assert code_fingerprint("components.node.entry") != before


def test_an_edit_of_another_file_it_depends_on_changes_it_too(package: Path) -> None:
    template = package / "page.html"
    template.write_text("<p>")
    before = code_fingerprint("components.node.entry", files=[template])
    template.write_text("<div>")
    after = code_fingerprint("components.node.entry", files=[template])
    assert (len(after), after != before) == (64, True)


def test_an_edit_elsewhere_does_not(package: Path) -> None:
    before = code_fingerprint("components.node.entry")
    (package / "other.py").write_text("VALUE = 4\n")
    assert code_fingerprint("components.node.entry") == before


@pytest.mark.usefixtures("package")
def test_an_unknown_module_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"components\.nod"):
        code_fingerprint("components.nod")
