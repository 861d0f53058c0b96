"""Results of ``export``."""

from __future__ import annotations

from dataclasses import dataclass

from mnist_edge.results.parity import KernelReport, ParityReport


@dataclass(frozen=True)
class Footprint:
    """Memory that generated C needs on a microcontroller.

    Attributes:
        path: the C file.
        compiled_for: the processor that it was compiled for; None if no compiler for it is installed.
        flash_bytes: of code and constants; without a compiler of the constants alone, to which code adds about 2 KB.
        ram_bytes: of the scratch buffer, one image and one answer, without the stack.
        stack_bytes: largest depth of the stack, without the C library's ``memcpy``; None without a compiler.
        four_bit_layers: names of the layers whose weights have 4 bits.
    """

    path: str
    compiled_for: str | None
    flash_bytes: int
    ram_bytes: int
    stack_bytes: int | None
    four_bit_layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class BoardFit:
    """Whether generated C fits a board, and an estimate of its time there, which nobody measured.

    Attributes:
        path: the C file.
        board: name of the board. title: its name in words.
        processor, clock_mhz: of the board.
        flash_bytes, ram_bytes: that the board has.
        fits: whether flash is enough, and RAM with the stack. The rest of the firmware is not counted.
        instructions: estimate of the executed instructions for one input, lowest and highest; None if there is none,
            because layers without weights, or the call itself, may take most of them.
        image_ms: estimate of the time of one input in milliseconds, lowest and highest; None likewise.
    """

    path: str
    board: str
    title: str
    processor: str
    clock_mhz: int
    flash_bytes: int
    ram_bytes: int
    fits: bool
    instructions: tuple[int, int] | None
    image_ms: tuple[float, float] | None


@dataclass(frozen=True)
class Artifact:
    """One exported file.

    Attributes:
        path: the file.
        format: name of the format, as ``--format`` takes it.
        model: name of the model.
        quantization: the precision: ``int8``, ``float16`` or ``float32``.
        sha256: of the content, in hexadecimal digits.
        size_bytes: of the content.
        fresh: True if this command made the file; False if it existed and was up to date.
        parity: comparisons with the float model, one for each engine.
        kernels: comparisons of engines with each other.
    """

    path: str
    format: str
    model: str
    quantization: str
    sha256: str
    size_bytes: int
    fresh: bool
    parity: tuple[ParityReport, ...] = ()
    kernels: tuple[KernelReport, ...] = ()
