"""Ctrl-C and SIGTERM in a command that has no end of its own: they end it between two pieces of its work."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType

STOPPING = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Turns SIGINT and SIGTERM into KeyboardInterrupt, but not within `whole`, until the ``with`` block ends.

    Otherwise a line or a file could be half written. A second signal interrupts at once. Signals reach the main thread
    only; in another thread, and for a signal that the parent process has made ignored, nothing is changed.

    Attributes:
        is_pending: whether a signal came within `whole`.
    """

    def __init__(self) -> None:
        self.is_pending = False
        self._is_whole = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                before = signal.getsignal(number)
                if before is not None and before != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]  # what signal.signal has returned

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """Finish this block before an interrupt.

        Raises:
            KeyboardInterrupt: a signal came in the meantime.
        """
        self._is_whole = True
        try:
            yield
        finally:
            self._is_whole = False
        if self.is_pending:
            raise KeyboardInterrupt

    def _handle(self, number: int, at: FrameType | None) -> None:
        if self._is_whole and not self.is_pending:
            self.is_pending = True
        else:
            raise KeyboardInterrupt
