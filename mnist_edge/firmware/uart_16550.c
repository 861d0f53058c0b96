/* SPDX-License-Identifier: Apache-2.0 */
/* The serial line of a 16550 UART, as QEMU's RISC-V board "virt" has it; -DUART=0x... is its address. */
#include "harness.h"

#define REGISTERS ((volatile uint8_t *)UART)
enum { DATA = 0, FIFO = 2, LINE = 3, STATE = 5 };  /* numbers of 8-bit registers */
enum { RECEIVED = 1, ROOM_TO_SEND = 1 << 5 };      /* bits of STATE */

void board_init(void) {
    REGISTERS[LINE] = 3; /* 8 data bits, no parity, 1 stop bit; the emulator takes no notice of the speed */
    REGISTERS[FIFO] = 1; /* keeps 16 bytes */
}

uint8_t board_read_byte(void) {
    while (!(REGISTERS[STATE] & RECEIVED))
        for (volatile int wait = 0; wait < 100; wait++)
            ; /* the emulator cannot deliver bytes while a register is read */
    return REGISTERS[DATA];
}

void board_write_byte(uint8_t byte) {
    while (!(REGISTERS[STATE] & ROOM_TO_SEND))
        ;
    REGISTERS[DATA] = byte;
}
