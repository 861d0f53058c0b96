/* Start-up code of a Cortex-M. */
#include "board.h"

void reset(void);

#include "cortex_m.h"

int32_t host(int32_t operation, const void *argument) {
    register int32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

/* SysTick: a counter of 24 bits that goes down with the board's clock. */
#define SYSTICK ((volatile uint32_t *)0xE000E010)
enum { CONTROL, RELOAD, VALUE, LAST = 0xFFFFFF };
#define COUNTFLAG (UINT32_C(1) << 16) /* in CONTROL: the counter has reached 0 since CONTROL was read */

void ticks_begin(void) {
    SYSTICK[RELOAD] = LAST;
    SYSTICK[VALUE] = 0; /* any value that is written makes it begin at RELOAD */
    SYSTICK[CONTROL] = 5; /* on, with the processor's clock */
}

uint32_t ticks_end(void) {
    const uint32_t value = SYSTICK[VALUE];
    return SYSTICK[CONTROL] & COUNTFLAG ? UINT32_MAX : LAST - value;
}

__attribute__((used, naked)) void reset(void) {
    /* Fill the stack with a pattern, before it is used: stack_used looks for the first word that has changed. */
    __asm__ volatile("ldr r0, =stack_bottom\n"
                     "ldr r1, =stack_top\n"
                     "ldr r2, =0xA5A5A5A5\n"
                     "1: stmia r0!, {r2}\n"
                     "cmp r0, r1\n"
                     "blo 1b\n"
                     "bl begin\n");
}

__attribute__((used)) void begin(void) {
    turn_helium_on();
    run_main();
}
