/* SPDX-License-Identifier: Apache-2.0 */
/* Start-up code of an emulated RISC-V processor of 32 bits, which serves the host. */
#include "harness.h"

#include <stddef.h>
#include <string.h>

extern uint32_t data_start, data_end, data_load, bss_start, bss_end, stack_bottom;

uint32_t *board_stack_lowest(void) {
    return &stack_bottom;
}

__attribute__((used)) void begin(void) {
    memcpy(&data_start, &data_load, (size_t)((char *)&data_end - (char *)&data_start));
    memset(&bss_start, 0, (size_t)((char *)&bss_end - (char *)&bss_start));
    harness_serve();
}

/* The host then gets no answer any more. */
__attribute__((used, aligned(4))) void trap(void) {
    for (;;)
        ;
}

__attribute__((used, naked, section(".vectors"))) void reset(void) {
    __asm__ volatile(".option push\n"
                     ".option norelax\n"
                     ".option arch, +zicsr\n"
                     "la gp, __global_pointer$\n"
                     "la sp, stack_top\n"
                     "la t0, trap\n"
                     "csrw mtvec, t0\n"
                     ".option pop\n"
                     "j begin\n");
}
