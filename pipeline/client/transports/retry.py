"""Sends a request again after a transient failure, within the deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.stop import stop_before_delay
from tenacity.wait import wait_random_exponential

from pipeline.client.errors import ClientError

Answer = TypeVar("Answer")

# Seconds. Full jitter, so that clients which failed together do not come back together:
# https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
_FIRST_WAIT = 0.1
_LONGEST_WAIT = 5.0
_backoff = wait_random_exponential(multiplier=_FIRST_WAIT, max=_LONGEST_WAIT)


def call(
    send: Callable[[float], Answer],
    *,
    deadline: float,
    retries: int,
    sleep: Callable[[float], None] = time.sleep,
) -> Answer:
    """Calls ``send`` until it succeeds or fails for good.

    Args:
        send: takes the seconds that are left; raises a ``ClientError``.
        deadline: seconds for all of it; no wait goes beyond.
        retries: further calls after a transient failure.
        sleep: waits that many seconds.

    Raises:
        ClientError: the last failure.
    """
    started = time.monotonic()
    attempts = Retrying(
        stop=stop_after_attempt(retries + 1) | stop_before_delay(deadline),
        wait=_wait,
        retry=retry_if_exception(lambda error: isinstance(error, ClientError) and error.transient),
        sleep=sleep,
        reraise=True,
    )
    return attempts(lambda: send(max(deadline - (time.monotonic() - started), 0.001)))


def _wait(state: RetryCallState) -> float:
    """Seconds until the next attempt: the server's wish, where it has one."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, ClientError) else None
    return _backoff(state) if asked is None else asked
