"""Finds and removes outputs of earlier runs that nothing needs any more.

ML Metadata cannot delete rows. An artifact whose folder is removed is marked DELETED: TFX neither
resolves such an artifact nor takes it from the cache.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from components.contracts.properties import BLESSED, PUSHED, PUSHED_DESTINATION
from components.errors import UserError
from components.metadata_store import Artifact, Lineage, MetadataStore
from pipeline.runs import record
from pipeline.runs.history import History, RunState
from pipeline.runs.layout import OutputFolder

SCRATCH = "a finished node's own scratch folder"

_SYSTEM = ".system"


@dataclass(frozen=True)
class Removal:
    """A folder or file to remove; its size in bytes, and the id of the artifact that it holds."""

    path: Path
    why: str
    size: int
    artifact: int | None = None


@dataclass(frozen=True)
class Plan:
    """What can be removed.

    Attributes:
        removals: folders and files, largest first.
        gone: ids of live artifacts in ML Metadata whose folders are missing.
        kept: {id of a live artifact: why it stays}.
        unfinished: number of executions that a killed run left as running.
    """

    removals: tuple[Removal, ...]
    gone: tuple[int, ...]
    kept: dict[int, str]
    unfinished: int = 0

    @property
    def size(self) -> int:
        """Bytes that the removals free."""
        return sum(removal.size for removal in self.removals)


def plan(
    history: History, folder: OutputFolder, keep_runs: int, keep_blessed: int | None = None
) -> Plan:
    """Decides what to remove and what to keep; changes nothing.

    It keeps every blessed model, or the last ``keep_blessed`` ones; every model whose pushed
    version is in the serving folder or was pushed last; these models' verdicts and pushes, and all
    their ancestors; the inputs and outputs of the last ``keep_runs`` complete runs and of any run
    after them; and everything outside the pipeline root.

    Raises:
        UserError: ``keep_runs`` or ``keep_blessed`` is less than 1.
    """
    if keep_runs < 1:
        raise UserError(f"--keep {keep_runs}: at least one run must be kept")
    if keep_blessed is not None and keep_blessed < 1:
        raise UserError(f"--keep-blessed {keep_blessed}: at least one blessed model must be kept")
    lineage = history.lineage
    why: dict[int, str] = {}
    # The first reason is the one shown.
    for kept, reason in (*_of_models(lineage, keep_blessed), *_of_runs(history, keep_runs)):
        why.setdefault(kept, reason)
    root = Path(os.path.realpath(folder.pipeline_root))
    alive = [artifact for artifact in lineage.artifacts.values() if artifact.alive]
    taken = {_inside(artifact, root) for artifact in alive if artifact.id in why} - {None}
    removals: list[Removal] = []
    gone: list[int] = []
    for artifact in alive:
        place = _inside(artifact, root)
        if artifact.id in why or place is None:
            continue
        if not os.path.lexists(place):
            gone.append(artifact.id)
        elif not any(
            there == place or there in place.parents or place in there.parents
            for there in taken
            if there
        ):
            reason = f"{artifact.type} of no run that is kept"
            removals.append(Removal(place, reason, _size(place), artifact.id))
    removals += _orphans(root, lineage)
    for run_id in record.read_all(folder).keys() - lineage.runs.keys():
        file = folder.record_file(run_id)
        reason = "record of a run that ML Metadata does not know"
        removals.append(Removal(file, reason, _size(file)))
    return Plan(
        tuple(sorted(removals, key=lambda removal: (-removal.size, removal.path))),
        tuple(gone),
        {artifact.id: why[artifact.id] for artifact in alive if artifact.id in why},
        sum(execution.left_running for execution in lineage.executions),
    )


def carry_out(plan: Plan, store: MetadataStore) -> None:
    """Carries out a plan; the caller must still hold the run lock that the plan was made under.

    Artifacts are marked before their folders are removed: if this is interrupted, the next plan
    finds the rest as folders that belong to no artifact.

    Raises:
        UserError: a folder cannot be removed.
    """
    marked = [one.artifact for one in plan.removals if one.artifact is not None]
    store.mark_deleted([*marked, *plan.gone])
    for removal in plan.removals:
        try:
            if removal.path.is_dir() and not removal.path.is_symlink():
                shutil.rmtree(removal.path)
            else:
                removal.path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot remove {removal.path}: {error.strerror or error}; "
                "mend the folder's permissions and run gc again, which resumes"
            ) from error


def _of_runs(history: History, keep_runs: int) -> Iterator[tuple[int, str]]:
    """Yields (artifact id, reason) of the last complete runs' inputs and outputs, and any since."""
    complete = 0
    for run_id in reversed(history.ids):
        for execution in history.lineage.runs.get(run_id, []):
            for link in (*execution.inputs, *execution.outputs):
                yield link.artifact.id, f"run {run_id}"
        complete += history.run(run_id).state is RunState.COMPLETE
        if complete == keep_runs:
            return


def _of_models(lineage: Lineage, keep_blessed: int | None) -> Iterator[tuple[int, str]]:
    """Yields (artifact id, reason) of kept models, their ancestors and their descendants."""
    pushes = [one.id for one in lineage.artifacts.values() if one.properties.get(PUSHED) == 1]
    blessed = _last_blessed(lineage, keep_blessed)
    for artifact in filter(lambda one: one.alive, lineage.artifacts.values()):
        if artifact.id in blessed:
            models, why = blessed[artifact.id], "blessed model"
        elif artifact.type == "PushedModel" and artifact.id in pushes:
            served = Path(str(artifact.properties.get(PUSHED_DESTINATION, "")))
            if not served.is_dir() and artifact.id != max(pushes):
                continue
            models, why = _models_judged(lineage, artifact.id), "pushed model"
            yield artifact.id, why
        else:
            continue
        yield from ((model, why) for model in models)
        makers = lineage.makers(models)
        for maker in makers:
            yield from ((one.id, f"origin of a {why}") for one in maker.made_from)
        # An execution comes from the cache with all of its outputs, or not at all.
        for maker in makers:
            yield from ((one.id, f"made along with the origin of a {why}") for one in maker.put_out)
        yield from ((one, f"about a {why}") for one in lineage.descendants(models))


def _last_blessed(lineage: Lineage, count: int | None) -> dict[int, set[int]]:
    """Returns {blessing: its models} of the last ``count`` blessed models; None means all."""
    found: dict[int, set[int]] = {}
    models: set[int] = set()
    for number in sorted(lineage.artifacts, reverse=True):
        artifact = lineage.artifacts[number]
        blesses = artifact.type == "ModelBlessing" and artifact.properties.get(BLESSED) == 1
        if not blesses or not artifact.alive:
            continue
        judged = _models_judged(lineage, number)
        # A model may have several blessings.
        if count is None or judged <= models or len(models) < count:
            found[number] = judged
            models |= judged
    return found


def _models_judged(lineage: Lineage, artifact: int) -> set[int]:
    """Returns the input models of the executions that made a blessing or a push."""
    return {
        link.artifact.id
        for execution in lineage.sources.get(artifact, [])
        for link in execution.inputs
        if link.key == "model"
    }


def _orphans(root: Path, lineage: Lineage) -> Iterator[Removal]:
    """Yields folders of executions that belong to no artifact, and nodes' scratch folders.

    Folders are matched by their last three parts: in an output folder that was copied or moved, ML
    Metadata has the artifacts' old paths, and their folders are no orphans.
    """
    known = {
        Path(artifact.uri).parts[-3:]
        for artifact in lineage.artifacts.values()
        if artifact.state not in ("DELETED", "ABANDONED")
    }
    for node in sorted({execution.node for execution in lineage.executions} - {""}):
        for output in _folders(root / node):
            if output.name == _SYSTEM:
                for kind in _folders(output):
                    yield from (Removal(one, SCRATCH, _size(one)) for one in sorted(kind.iterdir()))
                continue
            for place in sorted(output.iterdir()):
                if place.name.isdigit() and (node, output.name, place.name) not in known:
                    yield Removal(place, "belongs to no artifact", _size(place))


def _folders(place: Path) -> Iterable[Path]:
    """Returns the folders in a folder, without following links."""
    if place.is_symlink() or not place.is_dir():
        return ()
    return (one for one in sorted(place.iterdir()) if one.is_dir() and not one.is_symlink())


def _inside(artifact: Artifact, root: Path) -> Path | None:
    """Returns the artifact's folder if it is at least three levels below the root, else None."""
    if not artifact.uri or "://" in artifact.uri:
        return None
    path = Path(os.path.normpath(artifact.uri))
    place = Path(os.path.realpath(path.parent)) / path.name
    if root not in place.parents or len(place.relative_to(root).parts) < 3:
        return None
    return place


def _size(place: Path) -> int:
    """Returns the bytes of a file or of all files in a folder; links are not followed."""
    if place.is_symlink() or not place.is_dir():
        return place.lstat().st_size
    return sum(
        (Path(folder) / name).lstat().st_size
        for folder, _, files in os.walk(place)
        for name in files
    )
