"""Progress records: the line that a log gets, and the record that a handler gets."""

import logging

import pytest
from absl import logging as absl_logging

from components.contracts.progress import EpochProgress, Note, progress_in

EPOCH = EpochProgress(
    phase=1, epoch=3, epochs=8, loss=0.51234, val_log_loss=0.43306, val_accuracy=0.848,
    val_macro_f1=0.573, learning_rate=0.001, seconds=48.04, improved=True, done=False,
)  # fmt: skip


def test_line_about_an_epoch() -> None:
    assert str(EPOCH) == (
        "training: phase 1 epoch 3/8  loss 0.5123  val loss 0.4331  val accuracy 0.8480"
        "  val macro-F1 0.5730  lr 0.001  48.0 s  best  at most 240 s left in phase"
    )
    worse = EPOCH.model_copy(update={"improved": False})
    assert str(worse).endswith("  48.0 s  at most 240 s left in phase")


def test_phase_that_ends_has_no_epochs_left() -> None:
    assert EPOCH.epochs_left == 5
    early = EPOCH.model_copy(update={"improved": False, "done": True})
    assert early.epochs_left == 0
    assert str(early).endswith("  48.0 s  phase stopped early")
    # The last epoch that the phase may have is no early stop.
    assert str(early.model_copy(update={"epoch": 8})).endswith("  48.0 s")


@pytest.mark.parametrize("info", [logging.info, absl_logging.info])
def test_handler_gets_the_record_and_the_log_its_line(
    info, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    absl_logging.set_verbosity(absl_logging.INFO)
    for logged in (EPOCH, Note("tuning: half of 10 % done"), "training: phase 1 epoch 3/8"):
        info("%s", logged)
    info("training: phase 1 epoch 3/8")
    assert [progress_in(message) for message in caplog.records] == [
        EPOCH, Note("tuning: half of 10 % done"), None, None,
    ]  # fmt: skip
    assert caplog.messages[:2] == [str(EPOCH), "tuning: half of 10 % done"]
