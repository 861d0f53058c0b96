"""Boards that people buy: their memory and clock, and an estimate of the time of one input.

Flash, RAM and clock are those of the vendors' documents: "RP2040 Datasheet" and "Raspberry Pi Pico Datasheet"; "RP2350
Datasheet" and "Raspberry Pi Pico 2 Datasheet"; "nRF52840 Product Specification" and Arduino's page of the Nano 33 BLE;
"ESP32-C3 Series Datasheet"; ST's data sheets of the STM32F446xC/E (RM0390 has the sizes of its two SRAMs) and of the
STM32F767xx (AN4667 describes its memories).

No board was measured. An estimate is a product of three numbers: multiplications of weights for one input, which
generated C knows; instructions for each of them; and cycles for each instruction.
"""

from __future__ import annotations

from dataclasses import dataclass

from mnist_edge.errors import suggest
from mnist_edge.toolchains.boards import Board

# Lowest and highest number of executed instructions for one input, of the nets `cnn` and `dense`. The first keys are a
# net's numbers of products and parameters, by which it is recognized. The second are kernels: "dsp" uses the DSP
# instructions of Cortex-M, "m0" is plain C on a Cortex-M0, and "c" plain C in general, with the lowest number on a
# Cortex-M3 and the highest on a Cortex-M0. Counted in QEMU (GCC 12.2, -Os) for ten digits and one image of noise. Other
# images of noise take up to 0.3 % more.
_COUNTED = {
    (4_241_152, 421_642): {
        "dsp": (3_403_000, 5_186_000),
        "m0": (24_469_000, 35_415_000),
        "c": (11_571_000, 35_415_000),
    },
    (101_632, 101_770): {"dsp": (31_000, 146_000), "m0": (167_000, 915_000), "c": (80_000, 915_000)},
}
# The same for each multiplication of a weight, for other nets: lowest and highest of `cnn`, `dense` and the four nets
# of tests/support/architectures.py. Depthwise convolutions, which have few inputs in a sum, take the most.
_FOR_EACH_PRODUCT = {"dsp": (0.3, 19.0), "m0": (1.6, 47.0), "c": (0.7, 47.0)}

# Highest ratio of instructions with weights of 4 bits to those with 8 bits: plain C on RISC-V takes 1.17 times as many.
_FOUR_BITS = 1.25

_WITH_DSP = ("all", "arm")  # sets of kernels that have those for Cortex-M

# Cycles for an instruction, lowest and highest. These ranges are stated, not measured. With memory that never waits,
# Arm's table of cycles ("Cortex-M4 Processor Technical Reference Manual", 100166, section 3.3) gives 1 for arithmetic,
# products included, 2 for a load, 1 more for each further register of the same load, and 2 to 4 for a branch that is
# taken. Only the M7, and for some pairs the M33, executes two instructions at once: Arm publishes 5.01 and 4.02
# CoreMark/MHz for them, and 3.40 for the M4.
_ON_CHIP = (1.0, 3.0)  # flash on the chip, which has wait states behind a small cache
_EXTERNAL = (1.0, 5.0)  # flash outside the chip behind a cache of 16 KB, which is smaller than the weights
_EXTERNAL_M33 = (0.8, 5.0)
_DUAL_ISSUE = (0.6, 3.0)  # on the chip


@dataclass(frozen=True)
class KnownBoard:
    """A board that can be bought.

    Attributes:
        title: its name. flash_bytes, ram_bytes: of the board or the chip. clock_mhz: highest that is allowed.
        compiler: the processor, and how GCC compiles for it.
        kernels: a key of `_FOR_EACH_PRODUCT`. cycles: for an instruction, lowest and highest.
    """

    title: str
    flash_bytes: int
    ram_bytes: int
    clock_mhz: int
    compiler: Board
    kernels: str
    cycles: tuple[float, float]

    def instructions(
        self, products: int, parameters: int, backend: str, has_four_bits: bool = False
    ) -> tuple[int, int]:
        """Estimate of the executed instructions for one input, lowest and highest.

        Args:
            products: multiplications of weights for one input. parameters: weights and biases.
            backend: set of kernels in the C file, as ``--backend`` takes it.
            has_four_bits: whether weights have 4 bits in some layers.
        """
        kernels = "c" if self.kernels == "dsp" and backend not in _WITH_DSP else self.kernels
        counted = _COUNTED.get((products, parameters))
        slower = _FOUR_BITS if has_four_bits else 1.0
        if counted is not None:
            return counted[kernels][0], round(slower * counted[kernels][1])
        low, high = _FOR_EACH_PRODUCT[kernels]
        return round(low * products), round(slower * high * products)

    def image_ms(self, instructions: tuple[int, int]) -> tuple[float, float]:
        """Estimate of the time of one input in milliseconds, lowest and highest."""
        low, high = (
            count * cycles / (1000 * self.clock_mhz) for count, cycles in zip(instructions, self.cycles, strict=True)
        )
        return low, high


def _arm(core: str) -> Board:
    return Board(core, "arm-none-eabi-", (f"-mcpu={core}", "-mthumb"), packages="gcc-arm-none-eabi")


# The package of the compiler has no C library, and an object file needs none: see `footprint`.
_RISCV = Board(
    "rv32imc", "riscv64-unknown-elf-", ("-march=rv32imc", "-mabi=ilp32", "-ffreestanding", "-fbuiltin"),
    packages="gcc-riscv64-unknown-elf",
)  # fmt: skip
_K, _M = 1024, 1024 * 1024
BOARDS = {
    # 133 MHz in the data sheet. The SDK's default is 125 MHz; from version 2.1.1 on it can set 200 MHz.
    "pico": KnownBoard("Raspberry Pi Pico", 2 * _M, 264 * _K, 133, _arm("cortex-m0plus"), "m0", _EXTERNAL),
    "pico2": KnownBoard("Raspberry Pi Pico 2", 4 * _M, 520 * _K, 150, _arm("cortex-m33"), "dsp", _EXTERNAL_M33),
    "nano33ble": KnownBoard("Arduino Nano 33 BLE", _M, 256 * _K, 64, _arm("cortex-m4"), "dsp", _ON_CHIP),
    # 16 KB of 400 KB of RAM are the cache of the flash; 4 MB of flash are those of ESP32-C3FH4 and of usual modules.
    "esp32c3": KnownBoard("ESP32-C3", 4 * _M, 384 * _K, 160, _RISCV, "c", _EXTERNAL),
    "nucleo-f446re": KnownBoard("NUCLEO-F446RE", 512 * _K, 128 * _K, 180, _arm("cortex-m4"), "dsp", _ON_CHIP),
    "nucleo-f767zi": KnownBoard("NUCLEO-F767ZI", 2 * _M, 512 * _K, 216, _arm("cortex-m7"), "dsp", _DUAL_ISSUE),
}


def named(name: str) -> KnownBoard:
    """The board of a name.

    Raises:
        UsageError: there is no such board.
    """
    if name not in BOARDS:
        raise suggest(name, list(BOARDS), "board")
    return BOARDS[name]
