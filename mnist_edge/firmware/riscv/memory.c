/* SPDX-License-Identifier: Apache-2.0 */
/* What generated C and the harness need of a C library, for a RISC-V processor. */
#include <stdint.h>
#include <string.h>

/* Debian's C library for this compiler takes a gigabyte; generated C calls memcpy and memset alone. Words are copied
 * if both ends are aligned. */
void *memcpy(void *restrict to, const void *restrict from, size_t size) {
    uint8_t *target = to;
    const uint8_t *source = from;
    if ((((uintptr_t)to | (uintptr_t)from) & 3) == 0)
        for (; size >= 4; size -= 4, target += 4, source += 4)
            *(uint32_t *)(void *)target = *(const uint32_t *)(const void *)source;
    while (size--)
        *target++ = *source++;
    return to;
}

void *memset(void *to, int value, size_t size) {
    uint8_t *target = to;
    for (; size && (uintptr_t)target & 3; size--)
        *target++ = (uint8_t)value;
    for (; size >= 4; size -= 4, target += 4)
        *(uint32_t *)(void *)target = UINT32_C(0x01010101) * (uint8_t)value;
    while (size--)
        *target++ = (uint8_t)value;
    return to;
}

size_t strlen(const char *text) {
    const char *end = text;
    while (*end)
        end++;
    return (size_t)(end - text);
}
