"""Microcontrollers that generated C can be compiled for. A new one is one entry of `BOARDS`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Board:
    """A microcontroller's processor, its GCC, and the board on which it is emulated.

    Attributes:
        processor: its name, as reports give it.
        compiler_prefix: of the names of its GCC tools: ``<prefix>gcc``, ``<prefix>size``.
        flags: that choose the processor. link_flags: that choose its C library.
        emulator: the command that runs a program for it, without the program; empty if it cannot be emulated.
        flash, ram: memory of the emulated board in bytes. clock_mhz: of its processor.
        packages: Debian packages with all of these.
        start_up: name of the emulated board's start-up code, in tools/mcu and in
            `mnist_edge.toolchains.firmware.FOLDER`, which has its linker script too, and in a folder of this name the C
            library of a board without one.
        uart: of the emulated board: its source file in `mnist_edge.toolchains.firmware.FOLDER`, and flags for it; empty
            if there is none.
    """

    processor: str
    compiler_prefix: str
    flags: tuple[str, ...]
    link_flags: tuple[str, ...] = ()
    emulator: tuple[str, ...] = ()
    flash: int = 0
    ram: int = 0
    clock_mhz: int = 0
    packages: str = ""
    start_up: str = ""
    uart: tuple[str, ...] = ()

    @property
    def compiler(self) -> str:
        """Name of the C compiler."""
        return f"{self.compiler_prefix}gcc"

    @property
    def size_tool(self) -> str:
        """Name of the program that tells the sizes of an object file's sections."""
        return f"{self.compiler_prefix}size"


_MPS2 = ("uart_cmsdk.c", "-DUART=0x40004000")


def _cortex_m(
    core: str, machine: str, flags: tuple[str, ...] = (), flash: int = 4096, ram: int = 4096, clock_mhz: int = 25,
    uart: tuple[str, ...] = _MPS2,
) -> Board:  # fmt: skip
    """A Cortex-M of Arm and the board as which QEMU emulates it; its memory is given in KiB."""
    return Board(
        f"cortex-{core}", "arm-none-eabi-", (f"-mcpu=cortex-{core}", "-mthumb", *flags), ("--specs=nano.specs",),
        ("qemu-system-arm", "-M", machine, "-semihosting"), flash * 1024, ram * 1024, clock_mhz,
        "gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm", "cortex_m", uart,
    )  # fmt: skip


# Its clock is QEMU's: one instruction in a nanosecond, if instructions are counted.
_RISC_V = Board(
    "rv32imac", "riscv64-unknown-elf-", ("-march=rv32imac", "-mabi=ilp32"), ("-nostdlib", "-lgcc"),
    ("qemu-system-riscv32", "-M", "virt", "-bios", "none", "-semihosting"), 4096 * 1024, 4096 * 1024, 1000,
    "gcc-riscv64-unknown-elf qemu-system-misc", "riscv", ("uart_16550.c", "-DUART=0x10000000"),
)  # fmt: skip

BOARDS: dict[str, Board] = {
    board.processor: board
    for board in (
        _cortex_m("m0", "microbit", flash=256, ram=16, clock_mhz=16, uart=("uart_nrf51.c",)),
        _cortex_m("m3", "mps2-an385"),
        _cortex_m("m4", "mps2-an386"),
        _cortex_m("m7", "mps2-an500"),
        # Its vector instructions need the registers of the floating-point unit.
        _cortex_m(
            "m55",
            "mps3-an547",
            ("-mfloat-abi=hard",),
            flash=512,
            ram=512,
            clock_mhz=32,
            uart=("uart_cmsdk.c", "-DUART=0x49303000"),
        ),
        _RISC_V,
    )
}
