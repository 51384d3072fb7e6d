"""No node reads an artifact that was changed after it was made."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tfx.types import standard_artifacts

from components.contracts.manifest import Manifest
from components.contracts.properties import CONTENT_DIGEST
from components.errors import UserError
from pipeline.launch.checked_runner import check_unchanged


@pytest.fixture
def examples(tmp_path: Path) -> standard_artifacts.Examples:
    """Transformed examples and a vocabulary, as their node left them."""
    for name in ("Split-train/a.gz", "Split-eval/a.gz", "assets/vocabulary"):
        (tmp_path / "made" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "made" / name).write_text(name)
    made = standard_artifacts.Examples()
    made.uri = str(tmp_path / "made")
    made.set_string_custom_property(CONTENT_DIGEST, Manifest.of(tmp_path / "made").digest)
    return made


@pytest.mark.parametrize(
    "change",
    [
        lambda made: (made / "assets" / "vocabulary").write_text("assets/vocabularz"),
        lambda made: (made / "Split-train" / "a.gz").write_text(""),
        lambda made: (made / "Split-train" / "a.gz").unlink(),
        lambda made: (made / "Split-train" / "b.gz").touch(),
        lambda made: (made / "Split-eval" / "a.gz").rename(made / "Split-eval" / "c.gz"),
        lambda made: shutil.copy(made / "Split-eval" / "a.gz", made / "Split-train" / "a.gz"),
    ],
)
def test_changed_artifact_is_refused(
    examples: standard_artifacts.Examples, change: Callable[[Path], object]
) -> None:
    folder = Path(examples.uri)
    check_unchanged([examples])
    change(folder)
    with pytest.raises(UserError) as refused:
        check_unchanged([examples])
    assert str(refused.value) == (
        f"{folder} was changed or damaged after it was made; remove that folder and run again: "
        "what is missing is made anew"
    )


def test_what_is_no_change_is_let_pass(examples: standard_artifacts.Examples) -> None:
    folder = Path(examples.uri)
    # As Beam's workers and network file systems leave them.
    (folder / "Split-train" / "beam-temp-a-12").mkdir()
    (folder / "Split-train" / ".nfs0001").touch()
    (folder / "assets" / "vocabulary").touch()
    unknown = standard_artifacts.Examples()
    unknown.uri = examples.uri
    check_unchanged([examples, unknown])
    shutil.rmtree(folder)
    check_unchanged([examples])


def test_artifact_that_cannot_be_read_is_named(
    examples: standard_artifacts.Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path, _mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(UserError, match=r"/made/.*: cannot be read: Permission denied$"):
        check_unchanged([examples])
