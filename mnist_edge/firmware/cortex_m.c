/* SPDX-License-Identifier: Apache-2.0 */
/* Start-up code of an emulated Cortex-M, which serves the host. */
#include "harness.h"

#include <stddef.h>
#include <string.h>

extern uint32_t data_start, data_end, data_load, bss_start, bss_end, stack_bottom;

void reset(void);

/* The host then gets no answer any more. */
static void fault(void) {
    for (;;)
        ;
}

#include "cortex_m.h"

uint32_t *board_stack_lowest(void) {
    return &stack_bottom;
}

__attribute__((used)) void reset(void) {
    turn_helium_on();
    memcpy(&data_start, &data_load, (size_t)((char *)&data_end - (char *)&data_start));
    memset(&bss_start, 0, (size_t)((char *)&bss_end - (char *)&bss_start));
    harness_serve();
}
