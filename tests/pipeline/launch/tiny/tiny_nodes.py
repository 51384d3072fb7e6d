"""Three trivial TFX components; TFX reads their annotations, so none of them may be a string."""

import os
import time
from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.artifact import Artifact

from components.errors import UserError


class Note(Artifact):
    """A folder with note.txt."""

    TYPE_NAME = "TinyNote"


class Never(Artifact):
    """An artifact that nothing puts out."""

    TYPE_NAME = "TinyNever"


def _spring(trap: str) -> None:
    """Does what the trap file says, if there is one."""
    order = Path(trap).read_text() if Path(trap).exists() else ""
    if order == "user error":
        raise UserError("papers.parquet: column 'abstract' is missing; add it")
    if order == "crash":
        try:
            int("ten")
        except ValueError as error:
            raise RuntimeError("wrapped") from error
    if order == "beam":
        import apache_beam as beam

        def fail(_: int) -> int:
            raise UserError("papers.parquet: row 3 is broken; mend it")

        with beam.Pipeline(argv=["--runner=DirectRunner"]) as pipeline:
            _ = pipeline | beam.Create([1]) | "Read rows" >> beam.Map(fail)
    if order == "full disk":
        # To the last byte, and an archive that cannot be completed: Python closes it when it is
        # collected, which may be much later.
        import zipfile

        archive = zipfile.ZipFile(trap + ".zip", "w")
        with Path(trap + ".fill").open("wb", buffering=0) as fill, archive.open("a", "w") as member:
            size = 1 << 16
            while size:
                try:
                    fill.write(b"x" * size)
                except OSError:
                    size //= 2
            for _ in range(100):
                member.write(os.urandom(1 << 16))
    if order == "sleep":
        Path(trap + ".reached").touch()
        time.sleep(60)


@component
def First(text: Parameter[str], note: OutputArtifact[Note]):  # noqa: N802
    """Writes a note, a progress record, and noise on every channel."""
    import warnings

    from absl import logging

    from components.contracts.progress import Note as Progress

    logging.info("%s", Progress("half of it is done"))
    logging.error("NOISE absl")
    warnings.warn("NOISE warning", stacklevel=1)
    print("NOISE print")
    os.system("echo NOISE child; echo NOISE child >&2")
    Path(note.uri, "note.txt").write_text(text)


@component
def Second(trap: Parameter[str], note: InputArtifact[Note], copy: OutputArtifact[Note]):  # noqa: N802
    """Copies the note, or does what the trap says."""
    _spring(trap)
    Path(copy.uri, "note.txt").write_text(Path(note.uri, "note.txt").read_text())


@component
def Third(note: InputArtifact[Note], copy: OutputArtifact[Note]):  # noqa: N802
    """Copies the note."""
    Path(copy.uri, "note.txt").write_text(Path(note.uri, "note.txt").read_text())


@component
def Hungry(note: InputArtifact[Never], copy: OutputArtifact[Note]):  # noqa: N802
    """Wants what nothing puts out."""
    Path(copy.uri, "note.txt").write_text(note.uri)


@component
def Evaluator(  # noqa: N802
    trap: Parameter[str], note: InputArtifact[Note], blessing: OutputArtifact[Note]
):
    """Blesses unless the trap says not to."""
    refused = Path(trap).exists() and Path(trap).read_text() == "not blessed"
    Path(blessing.uri, "note.txt").write_text(note.uri)
    blessing.set_int_custom_property("blessed", int(not refused))


@component
def EvaluationSummary(  # noqa: N802
    blessing: InputArtifact[Note], summary: OutputArtifact[Note]
):
    """Writes metrics.json."""
    import json

    reasons = [] if blessing.get_int_custom_property("blessed") else ["accuracy .5 is below .6"]
    figures = {"overall": {"accuracy": 0.75, "macro_f1": 0.5}, "reasons": reasons}
    Path(summary.uri, "metrics.json").write_text(json.dumps(figures))


@component
def InfraValidator(  # noqa: N802
    trap: Parameter[str], note: InputArtifact[Note], blessing: OutputArtifact[Note]
):
    """Blesses unless the trap says not to."""
    unfit = Path(trap).exists() and Path(trap).read_text() == "unfit"
    Path(blessing.uri, "note.txt").write_text(note.uri)
    blessing.set_int_custom_property("blessed", int(not unfit))
    lines = "latency: 9 ms, budget 1 ms\npeak memory: 9 MiB, budget 1 MiB" if unfit else ""
    blessing.set_string_custom_property("reasons", lines)


@component
def Pusher(trap: Parameter[str], note: InputArtifact[Note], pushed: OutputArtifact[Note]):  # noqa: N802
    """Pushes where the trap is set for the report; else may call the model rolled back."""
    Path(pushed.uri, "note.txt").write_text(note.uri)
    done = Path(trap).exists() and Path(trap).read_text() == "no report"
    pushed.set_int_custom_property("pushed", int(done))
    pushed.set_string_custom_property("pushed_destination", note.uri)
    if Path(trap).exists() and Path(trap).read_text() == "rolled back":
        pushed.set_string_custom_property("reason", "this model was rolled back")


@component
def RunReport(trap: Parameter[str], note: InputArtifact[Note], report: OutputArtifact[Note]):  # noqa: N802
    """Fails where the trap says so."""
    if Path(trap).exists() and Path(trap).read_text() == "no report":
        raise UserError("the page cannot be written")
    Path(report.uri, "report.html").write_text(note.uri)
