/* Functions that the compiler may call where it uses no instruction of WebAssembly's for memory. */
#include <stddef.h>

#define EDGE_OWN __attribute__((no_builtin("memcpy", "memmove", "memset")))

void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);

EDGE_OWN void *memcpy(void *to, const void *from, size_t size) { return memmove(to, from, size); }

EDGE_OWN void *memmove(void *to, const void *from, size_t size) {
    unsigned char *const target = to;
    const unsigned char *const source = from;
    if (target <= source) {
        for (size_t i = 0; i < size; i++) {
            target[i] = source[i];
        }
    } else {
        for (size_t i = size; i > 0; i--) {
            target[i - 1] = source[i - 1];
        }
    }
    return to;
}

EDGE_OWN void *memset(void *to, int value, size_t size) {
    unsigned char *const target = to;
    for (size_t i = 0; i < size; i++) {
        target[i] = (unsigned char)value;
    }
    return to;
}
