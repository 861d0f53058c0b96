"""The newest frame of a live source: frames that nobody took in time are dropped, never queued."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from mnist_edge.camera.frames import Frame, Frames

# Seconds that `close` waits for the frame that is being read. A camera's takes much less; a connection without data
# may take longer, and the thread then ends with the process.
CLOSING = 2.0
# Seconds between two looks at whether the main thread was interrupted; a wait without limit cannot be interrupted on
# every system.
WAITING = 0.5


class Newest:
    """A live source, read by a thread that keeps one frame: the newest."""

    live = True

    def __init__(self, source: Frames) -> None:
        self._source = source
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._ended = False
        self._failure: BaseException | None = None
        self._closing = False
        self._dropped = 0
        self._thread = threading.Thread(target=self._read, name="frames", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Number of frames that were replaced by newer ones before they were taken."""
        return self._dropped

    @property
    def damaged(self) -> int:
        """Number of packets that could not be decoded."""
        return self._source.damaged

    def __iter__(self) -> Iterator[Frame]:
        """Wait for the newest frame that was not taken yet, until the source ends or fails."""
        while True:
            with self._changed:
                while self._frame is None and not self._ended:
                    self._changed.wait(WAITING)
                frame, self._frame = self._frame, None
            if frame is not None:
                yield frame
            elif self._failure is not None:
                raise self._failure
            else:
                return

    def close(self) -> None:
        """Stop reading. The thread closes the source, because only it may use it."""
        self._closing = True
        self._thread.join(CLOSING)

    def _read(self) -> None:
        try:
            for frame in self._source:
                if self._closing:
                    break
                with self._changed:
                    self._dropped += self._frame is not None
                    self._frame = frame
                    self._changed.notify()
        except BaseException as error:  # the main thread raises it
            self._failure = error
        finally:
            self._source.close()
            with self._changed:
                self._ended = True
                self._changed.notify()
