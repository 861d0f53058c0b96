/* SPDX-License-Identifier: Apache-2.0 */
/* The serial line of a Nordic nRF51, as the micro:bit has it. */
#include "harness.h"

#define REGISTER(offset) (*(volatile uint32_t *)(0x40002000u + (offset)))
enum {
    START_RECEIVING = 0x000, START_SENDING = 0x008, RECEIVED = 0x108, SENT = 0x11C, ENABLE = 0x500, TAKEN = 0x518,
    GIVEN = 0x51C, BAUD = 0x524, PIN_TO_SEND = 0x50C, PIN_TO_RECEIVE = 0x514,
};

void board_init(void) {
    REGISTER(PIN_TO_SEND) = 24;
    REGISTER(PIN_TO_RECEIVE) = 25;
    REGISTER(BAUD) = 0x01D7E000; /* 115,200 */
    REGISTER(ENABLE) = 4;
    REGISTER(START_RECEIVING) = 1;
    REGISTER(START_SENDING) = 1;
}

uint8_t board_read_byte(void) {
    while (!REGISTER(RECEIVED))
        for (volatile int wait = 0; wait < 100; wait++)
            ; /* the emulator cannot deliver bytes while a register is read */
    REGISTER(RECEIVED) = 0;
    return (uint8_t)REGISTER(TAKEN);
}

void board_write_byte(uint8_t byte) {
    REGISTER(SENT) = 0;
    REGISTER(GIVEN) = byte;
    while (!REGISTER(SENT))
        ;
}
