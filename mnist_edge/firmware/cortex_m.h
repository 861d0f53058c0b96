/* SPDX-License-Identifier: Apache-2.0 */
/* The part of an emulated Cortex-M's start-up code that all programs have. A file declares its functions `reset` and `fault`
 * and then includes this. */
#include <stdint.h>

extern uint32_t stack_top;

static inline void turn_helium_on(void) {
#ifdef __ARM_FEATURE_MVE
    *(volatile uint32_t *)0xE000ED88 |= UINT32_C(0xF) << 20; /* CPACR: vector and floating-point instructions work */
    __asm__ volatile("dsb\n isb" ::: "memory");
#endif
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
