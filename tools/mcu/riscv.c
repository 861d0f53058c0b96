/* Start-up code of a RISC-V processor of 32 bits. */
#include "board.h"

/* The debugger's host knows the call by the two instructions around it, which stand for nothing else. */
__attribute__((noinline, aligned(16))) int32_t host(int32_t operation, const void *argument) {
    register int32_t a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = argument;
    __asm__ volatile(".option push\n"
                     ".option norvc\n"
                     "slli zero, zero, 0x1f\n"
                     "ebreak\n"
                     "srai zero, zero, 7\n"
                     ".option pop\n"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
    return a0;
}

/* The counter of cycles, of 64 bits in two registers: QEMU counts instructions in it if it is told to. */
static uint64_t begun;

static uint64_t cycles(void) {
    uint32_t high, low, again;
    do
        __asm__ volatile(".option push\n"
                         ".option arch, +zicsr\n"
                         "csrr %0, mcycleh\n"
                         "csrr %1, mcycle\n"
                         "csrr %2, mcycleh\n"
                         ".option pop\n"
                         : "=r"(high), "=r"(low), "=r"(again));
    while (high != again);
    return (uint64_t)high << 32 | low;
}

void ticks_begin(void) { begun = cycles(); }

uint32_t ticks_end(void) {
    const uint64_t ticks = cycles() - begun;
    return ticks < UINT32_MAX ? (uint32_t)ticks : UINT32_MAX;
}

__attribute__((used, naked, section(".vectors"))) void reset(void) {
    /* Fill the stack with a pattern, before it is used: stack_used looks for the first word that has changed. */
    __asm__ volatile(".option push\n"
                     ".option norelax\n"
                     ".option arch, +zicsr\n"
                     "la gp, __global_pointer$\n"
                     "la sp, stack_top\n"
                     "la t0, stack_bottom\n"
                     "li t1, 0xA5A5A5A5\n"
                     "1: sw t1, 0(t0)\n"
                     "addi t0, t0, 4\n"
                     "bltu t0, sp, 1b\n"
                     "la t0, trap\n"
                     "csrw mtvec, t0\n"
                     ".option pop\n"
                     "j run_main\n");
}

__attribute__((used, aligned(4))) void trap(void) { fault(); }
