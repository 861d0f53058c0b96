"""``watch``: the digits in a video, announced while it runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_edge.camera.announcer import Announcer
from mnist_edge.camera.frames import Frame, Frames, without_password
from mnist_edge.camera.sources import open_frames
from mnist_edge.camera.unsure import UnsureFolder
from mnist_edge.errors import ContentError, InterruptError, MnistEdgeError, missing_extra
from mnist_edge.results import Announcement, Prediction, WatchSummary
from mnist_edge.runtime import open_session
from mnist_edge.runtime.predict import check_takes_pictures, predict_frame
from mnist_edge.runtime.selection import pick_file
from mnist_edge.runtime.session import Session
from mnist_edge.store.workspace import DEFAULT_MODEL, DEFAULT_WORKSPACE, short_name
from mnist_edge.workflows.interrupts import Interrupts

if TYPE_CHECKING:
    from mnist_edge.serving.live import LivePage

# Longest wait for the time of a frame in a file, in seconds: damaged files have jumps of days.
LONGEST_WAIT = 5.0

# Called with a digit when it is announced.
Announce = Callable[[Announcement], None]
# Called after every frame, with its digits and the frames searched per second so far.
Show = Callable[[Sequence[Prediction], float], None]


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """Where ``watch`` serves a page that shows the video.

    Attributes:
        host, port: where it listens; port 0 for any free one.
        token: that clients must send; None to make one if other machines can connect.
        started: called with the page's address once the source is open, before the first frame.
    """

    host: str
    port: int
    token: str | None
    started: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class WatchOptions:
    """What ``watch`` watches, and with which model.

    Attributes:
        source: the number of a camera, a video file, or a URL.
        model: a file, a model's folder, a workspace or a name.
        workspace: where names are looked up.
        engine: a name, or ``auto``. threads: that it may use.
        trust: accept a model file whose content differs from its manifest.
        keep_unsure: folder for pictures of figures without a stable label; None to save none.
        page: a page that shows the video; a file is then watched at its own speed. None for no page.
    """

    source: str | int = 0
    model: str = DEFAULT_MODEL
    workspace: Path = DEFAULT_WORKSPACE
    engine: str = "auto"
    threads: int = 1
    trust: bool = False
    keep_unsure: Path | None = None
    page: PageOptions | None = None


@dataclass(frozen=True)
class WatchResult:
    """What was watched, and the file and the engine that answered.

    Attributes:
        summary: counts, and frames per second.
        path: of the model file. file: its short name. model: the model's name.
        engine: its name. engine_reason: why it was chosen.
        calibrated: whether the manifest has a temperature for this file. verified: whether the manifest has its hash.
        error: why it ended before the video did; None if it did not.
    """

    summary: WatchSummary
    path: Path
    file: str
    model: str
    engine: str
    engine_reason: str
    calibrated: bool
    verified: bool
    error: MnistEdgeError | None


def watch(options: WatchOptions, announce: Announce, show: Show) -> WatchResult:
    """Search every frame for digits, and announce each digit once when it is stable, until the video ends.

    Ctrl-C and SIGTERM end it after the frame that is being searched: a live source as its end would, a video file with
    an InterruptError. An error after the first frame is in the result, next to the counts.

    Raises:
        UsageError: no such video file, model or engine, a model that takes no pictures, or a token that cannot be sent.
        MissingError: there is no such camera, the URL cannot be reached, or an extra or an engine is missing.
        ContentError: the file is no video, or the model's file is corrupt or not what its manifest says.
        StageError: the camera, the file, the folder for pictures or the page's port may not be used.
        KeyboardInterrupt: Ctrl-C or SIGTERM before the first frame.
    """
    session = open_session(
        pick_file(options.workspace, options.model, options.engine), options.engine, options.threads, options.trust
    )
    check_takes_pictures(session)
    error: MnistEdgeError | None = None
    interrupted = False
    with Interrupts() as interrupts, contextlib.ExitStack() as stack:
        page = None if options.page is None else stack.enter_context(_serving(options.page, options.source))
        frames = _opened(options.source, len(session.image_shape) == 3, interrupts, stack)
        if options.page is not None and page is not None:
            options.page.started(page.address)
        folder = None if options.keep_unsure is None else UnsureFolder(options.keep_unsure)
        watching = _Watching(session, folder, announce, show, page)
        try:
            for frame in frames:
                if page is not None and not frames.live:
                    watching.wait_for(frame)
                with interrupts.whole():
                    watching.take(frame)
        except KeyboardInterrupt:
            if not frames.live and watching.searched == 0:
                raise
            interrupted = True
            error = None if frames.live else InterruptError()
        except MnistEdgeError as failure:
            if watching.searched == 0:
                raise
            error = failure
        summary = watching.summary(without_password(options.source), frames, interrupted)
    return WatchResult(
        summary,
        session.path,
        file=short_name(session.path, options.workspace),
        model=session.contract.model,
        engine=session.engine,
        engine_reason=session.reason,
        calibrated=session.temperature is not None,
        verified=session.verified,
        error=error,
    )


def _opened(source: str | int, colour: bool, interrupts: Interrupts, stack: contextlib.ExitStack) -> Frames:
    """Open a source, and let ``stack`` close it.

    A signal that comes while FFmpeg connects takes effect afterwards, because PyAV drops exceptions of its callbacks.

    Raises:
        KeyboardInterrupt: a signal came. MnistEdgeError: see `open_frames`.
    """
    try:
        with interrupts.whole():
            frames = open_frames(source, colour)
            stack.callback(frames.close)
    except MnistEdgeError:
        if interrupts.is_pending:
            raise KeyboardInterrupt from None
        raise
    return frames


def _serving(options: PageOptions, source: str | int) -> contextlib.closing[LivePage]:
    try:
        from mnist_edge.serving.live import LivePage
    except ImportError as error:
        raise missing_extra("The page of watch", "serve") from error
    name = without_password(source)
    about = name if isinstance(source, int) or "://" in source else Path(source).name
    return contextlib.closing(LivePage(options.host, options.port, options.token, about))


class _Watching:
    """The state of one ``watch``: the tracks, and what is counted."""

    def __init__(
        self,
        session: Session,
        folder: UnsureFolder | None,
        announce: Announce,
        show: Show,
        page: LivePage | None,
    ) -> None:
        self._session = session
        self._folder = folder
        self._announce = announce
        self._show = show
        self._page = page
        self._announcer = Announcer()
        self._begun = 0.0
        self._file_begun = 0.0  # when the file's clock was at 0
        self._announced = 0
        self.searched = 0

    def take(self, frame: Frame) -> None:
        """Search a frame, announce what became stable, and save what stays unsure.

        Raises:
            ContentError: the model answers with NaN.
            StageError: a picture cannot be saved.
        """
        if self.searched == 0:
            self._begun = self._file_begun = time.perf_counter()
        digits = self._digits(frame)
        self.searched += 1
        news = self._announcer.update(digits)
        names = self._session.contract.class_names
        for item in news.stable:
            self._announced += 1
            digit = Announcement(frame.number, frame.seconds, item.label, names[item.label], item.confidence, item.box)
            self._announce(digit)
            if self._page is not None:
                self._page.announce(digit)
        if self._folder is not None:
            for box in news.unsure:
                self._folder.keep(frame.picture, box)
        self._show(digits, self._rate())
        if self._page is not None:
            self._page.show(frame.number, frame.picture, digits, self._rate())

    def wait_for(self, frame: Frame) -> None:
        """Wait until the time of a frame of a file has come, but no longer than `LONGEST_WAIT`."""
        if self.searched == 0:
            return
        wait = self._file_begun + frame.seconds - time.perf_counter()
        if wait > LONGEST_WAIT:
            self._file_begun -= wait - LONGEST_WAIT  # later frames are as far after this one as in the file
        time.sleep(min(max(0.0, wait), LONGEST_WAIT))

    def summary(self, source: str, frames: Frames, interrupted: bool) -> WatchSummary:
        """What was counted until now."""
        return WatchSummary(
            source=source,
            live=frames.live,
            frames=self.searched + frames.dropped,
            dropped=frames.dropped,
            damaged=frames.damaged,
            seconds=self._elapsed(),
            frames_per_second=self._rate(),
            announced=self._announced,
            kept=0 if self._folder is None else self._folder.kept,
            not_kept=0 if self._folder is None else self._folder.not_kept,
            interrupted=interrupted,
        )

    def _digits(self, frame: Frame) -> list[Prediction]:
        predictions = predict_frame(self._session, frame.picture)
        failed = [item.error for item in predictions if item.error is not None]
        if failed:
            raise ContentError(failed[0], "Export the model again, or take another with --model.")
        return predictions

    def _elapsed(self) -> float:
        return 0.0 if self.searched == 0 else time.perf_counter() - self._begun

    def _rate(self) -> float:
        elapsed = self._elapsed()
        return self.searched / elapsed if elapsed > 0 else 0.0
