/* Start-up code of a Cortex-M, and files of the debugger's host (semihosting). */
#include "board.h"

#include <string.h>

extern uint32_t data_start, data_end, data_load, bss_start, bss_end, stack_bottom, stack_top;

#define PAINT UINT32_C(0xA5A5A5A5)
enum { SYS_OPEN = 1, SYS_CLOSE = 2, SYS_WRITE0 = 4, SYS_WRITE = 5, SYS_READ = 6, SYS_EXIT = 0x18 };

static int32_t host(int32_t operation, const void *argument) {
    register int32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

int32_t host_open(const char *name, int32_t mode) {
    const uint32_t arguments[3] = {(uint32_t)name, (uint32_t)mode, (uint32_t)strlen(name)};
    return host(SYS_OPEN, arguments);
}

/* Returns the number of bytes that could not be read; host_write, those that could not be written. */
int32_t host_read(int32_t file, void *to, size_t size) {
    const uint32_t arguments[3] = {(uint32_t)file, (uint32_t)to, size};
    return host(SYS_READ, arguments);
}

int32_t host_write(int32_t file, const void *from, size_t size) {
    const uint32_t arguments[3] = {(uint32_t)file, (uint32_t)from, size};
    return host(SYS_WRITE, arguments);
}

void host_close(int32_t file) {
    const uint32_t arguments[1] = {(uint32_t)file};
    host(SYS_CLOSE, arguments);
}

uint32_t stack_used(void) {
    const uint32_t *word = &stack_bottom;
    while (word < &stack_top && *word == PAINT)
        word++;
    return (uint32_t)((const char *)&stack_top - (const char *)word);
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

static void stop(void) {
    host(SYS_EXIT, (const void *)0x20026); /* the application has ended */
    for (;;)
        ;
}

static void fault(void) {
    host(SYS_WRITE0, "fault\n");
    host(SYS_EXIT, (const void *)0x20023);
    for (;;)
        ;
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
#ifdef __ARM_FEATURE_MVE
    *(volatile uint32_t *)0xE000ED88 |= UINT32_C(0xF) << 20; /* CPACR: vector and floating-point instructions work */
    __asm__ volatile("dsb\n isb" ::: "memory");
#endif
    memcpy(&data_start, &data_load, (size_t)((char *)&data_end - (char *)&data_start));
    memset(&bss_start, 0, (size_t)((char *)&bss_end - (char *)&bss_start));
    main();
    stop();
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
