/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a generated net for a host that sends images over a serial line: docs/microcontrollers.md has the protocol.
 * With -include taps.h in addition, the harness can find which layer is wrong.
 *
 * Compile all files with these definitions; the example is for dense-int8.c and dense-int8.h:
 *   -DNET_HEADER='"dense-int8.h"' -DNET=dense_int8 -DNET_UPPER=DENSE_INT8 -DEDGE_FINGERPRINT
 * Then fill in the functions below for the board, and call harness_serve from main. */
#ifndef HARNESS_H
#define HARNESS_H

#include <stdint.h>

/* Turns the serial line on: 8 data bits, no parity, 1 stop bit. It is called once. */
void board_init(void);

/* Waits for the next byte of the line. The line must keep the bytes that arrive between two calls. */
uint8_t board_read_byte(void);

/* Waits until a byte can be sent, and sends it. */
void board_write_byte(uint8_t byte);

/* Optional, with -DBOARD_COUNTS_CYCLES: a counter of the processor's cycles, which may wrap around, and its clock, from
 * which `mnist-edge bench --board` computes a time; 0 if the clock is not known. */
uint32_t board_cycles(void);
uint32_t board_clock_hz(void);

/* Optional, with -DBOARD_KNOWS_STACK: the lowest address of the stack. Stacks grow downwards. */
uint32_t *board_stack_lowest(void);

/* Answers the host's requests. It does not return. */
void harness_serve(void);

#endif
