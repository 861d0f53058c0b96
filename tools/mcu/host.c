/* What every board has: the beginning and the end of the program, and files of the debugger's host (semihosting). */
#include "board.h"

#include <string.h>

extern uint32_t data_start, data_end, data_load, bss_start, bss_end, stack_bottom, stack_top;

#define PAINT UINT32_C(0xA5A5A5A5) /* the start-up code has filled the stack with it */
enum { SYS_OPEN = 1, SYS_CLOSE = 2, SYS_WRITE0 = 4, SYS_WRITE = 5, SYS_READ = 6, SYS_EXIT = 0x18 };

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

void run_main(void) {
    memcpy(&data_start, &data_load, (size_t)((char *)&data_end - (char *)&data_start));
    memset(&bss_start, 0, (size_t)((char *)&bss_end - (char *)&bss_start));
    main();
    host(SYS_EXIT, (const void *)0x20026); /* the application has ended */
    for (;;)
        ;
}

void fault(void) {
    host(SYS_WRITE0, "fault\n");
    host(SYS_EXIT, (const void *)0x20023);
    for (;;)
        ;
}
