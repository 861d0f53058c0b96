/* SPDX-License-Identifier: Apache-2.0 */
/* The serial line of a CMSDK APB UART, as Arm's MPS2 and MPS3 boards have it; -DUART=0x... is its address. */
#include "harness.h"

#define REGISTERS ((volatile uint32_t *)UART)
enum { DATA, STATE, CONTROL, DIVIDER = 4 }; /* numbers of 32-bit registers */
enum { FULL_TO_SEND = 1, RECEIVED = 2 };    /* bits of STATE */

void board_init(void) {
    REGISTERS[DIVIDER] = 217; /* 115,200 baud with a clock of 25 MHz; the emulator takes no notice */
    REGISTERS[CONTROL] = 3;   /* sends and receives */
}

uint8_t board_read_byte(void) {
    while (!(REGISTERS[STATE] & RECEIVED))
        for (volatile int wait = 0; wait < 100; wait++)
            ; /* the emulator cannot deliver bytes while a register is read */
    return (uint8_t)REGISTERS[DATA];
}

void board_write_byte(uint8_t byte) {
    while (REGISTERS[STATE] & FULL_TO_SEND)
        ;
    REGISTERS[DATA] = byte;
}
