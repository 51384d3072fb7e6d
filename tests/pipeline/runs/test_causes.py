"""One line out of what Beam, TFX and Python wrap around a cause."""

import traceback

import pytest

from components.errors import UserError
from pipeline.runs import causes


def chained(outer: Exception, inner: BaseException | None) -> Exception:
    try:
        raise outer from inner
    except Exception as error:
        return error


def test_user_error_anywhere_in_the_chain_is_shown_as_it_is() -> None:
    inner = chained(UserError("x.toml: key a: mend it"), KeyError("a"))
    assert causes.one_line(chained(RuntimeError("node failed"), inner)) == "x.toml: key a: mend it"


def test_root_of_other_errors_is_shown_with_its_type() -> None:
    assert causes.one_line(chained(RuntimeError("outer"), OSError(5, "Input/output error"))) == (
        "OSError: [Errno 5] Input/output error"
    )
    assert causes.one_line(MemoryError()) == "MemoryError"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device"),
        (
            RuntimeError("OSError: [Errno 122] Disk quota exceeded [while running 'Write']"),
            "RuntimeError: OSError: [Errno 122] Disk quota exceeded",
        ),
        (
            RuntimeError(
                "Error when executing query: database or disk is full query:  UPDATE `Execution` "
                "SET `name` = 'a query: b'\n WHERE id = 2;"
            ),
            "RuntimeError: Error when executing query: database or disk is full",
        ),
        (
            RuntimeError("Cannot commit: Error: database or disk is full"),
            "RuntimeError: Cannot commit: Error: database or disk is full",
        ),
        (
            RuntimeError(
                "Traceback (most recent call last):\nOSError: [Errno 28] No space left on device"
            ),
            "OSError: [Errno 28] No space left on device",
        ),
    ],
)
def test_full_disk_is_said_with_what_to_do(error: Exception, words: str) -> None:
    assert causes.one_line(error) == (
        f"the disk is full ({words}): make room for run.output_dir, "
        "or name a folder on another disk"
    )


def test_beam_step_names_and_line_breaks_go() -> None:
    error = ValueError("a\n  b [while running 'Read/Map(f)'] [while running 'Outer']")
    assert causes.one_line(error) == "ValueError: a b"


@pytest.mark.parametrize("kind", [UserError, ValueError])
def test_traceback_text_of_a_beam_worker(kind: type[ValueError]) -> None:
    try:
        raise kind("row 3: bad [while running 'Read']")
    except ValueError:
        text = traceback.format_exc()
    error = RuntimeError(f"Error processing instruction 1. Original traceback is\n{text}")
    expected = "row 3: bad" if kind is UserError else "ValueError: row 3: bad"
    assert causes.one_line(error) == expected


def test_what_to_do_about_a_long_user_error_is_not_cut() -> None:
    message = "x.parquet: " + "column 'y' is odd; " * 100 + "mend it."
    worker = f"Traceback (most recent call last):\ncomponents.arrow.UnreadableFileError: {message}"
    assert causes.one_line(UserError(message)) == message
    assert causes.one_line(RuntimeError(worker)) == message


def test_long_messages_are_cut() -> None:
    assert len(causes.one_line(ValueError("x" * 10_000))) < 600
