/* SPDX-License-Identifier: Apache-2.0 */
/* Start-up code of an emulated Cortex-M, which serves the host. */
#include "harness.h"

#include <stddef.h>
#include <string.h>

extern uint32_t data_start, data_end, data_load, bss_start, bss_end, stack_bottom, stack_top;

uint32_t *board_stack_lowest(void) {
    return &stack_bottom;
}

__attribute__((used)) void reset(void) {
#ifdef __ARM_FEATURE_MVE
    *(volatile uint32_t *)0xE000ED88 |= UINT32_C(0xF) << 20; /* CPACR: vector and floating-point instructions work */
    __asm__ volatile("dsb\n isb" ::: "memory");
#endif
    memcpy(&data_start, &data_load, (size_t)((char *)&data_end - (char *)&data_start));
    memset(&bss_start, 0, (size_t)((char *)&bss_end - (char *)&bss_start));
    harness_serve();
}

/* The host then gets no answer any more. */
static void fault(void) {
    for (;;)
        ;
}

typedef union {
    void *top; /* of the stack: the first entry */
    void (*handler)(void);
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    {.top = &stack_top}, {.handler = reset}, {.handler = fault}, {.handler = fault}, {.handler = fault},
    {.handler = fault},  {.handler = fault}, {.top = 0},         {.top = 0},         {.top = 0},
    {.top = 0},          {.handler = fault}, {.top = 0},         {.top = 0},         {.handler = fault},
    {.handler = fault},
};
