#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>
#include <stdint.h>

enum { HOST_READ_BINARY = 1, HOST_WRITE_BINARY = 5 };

int32_t host_open(const char *name, int32_t mode);
int32_t host_read(int32_t file, void *to, size_t size);
int32_t host_write(int32_t file, const void *from, size_t size);
void host_close(int32_t file);
uint32_t stack_used(void);
void ticks_begin(void);
uint32_t ticks_end(void); /* UINT32_MAX if the clock's counter has passed its largest value */
int main(void);

/* For start-up code: a call of the debugger's host, which each processor makes in its own way; the program from its
 * variables' initial values to its end; and its end by a fault. */
int32_t host(int32_t operation, const void *argument);
void run_main(void);
void fault(void);

#endif
