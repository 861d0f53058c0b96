/* SPDX-License-Identifier: Apache-2.0 */
/* Answers the requests of `mnist-edge verify --board`. C99, no heap, no library except string.h. */
#include "harness.h"

#include <stddef.h>
#include <string.h>

#include NET_HEADER

#define JOINED(a, b) a##b
#define JOIN(a, b) JOINED(a, b)
#define INPUT_BYTES JOIN(NET_UPPER, _INPUT_BYTES)
#define OUTPUT_BYTES JOIN(NET_UPPER, _OUTPUT_BYTES)
#define SCRATCH_BYTES JOIN(NET_UPPER, _SCRATCH_BYTES)
#define LAYERS JOIN(NET_UPPER, _LAYERS)
#define MODEL_SHA256 JOIN(NET_UPPER, _MODEL_SHA256)
uint32_t JOIN(NET, _fingerprint)(void); /* with -DEDGE_FINGERPRINT */

enum { PROTOCOL_VERSION = 2 };
enum { HELLO = 1, WRITE = 2, RUN = 3, TRACE = 4, REPLY = 0x80, REFUSAL = 0xFF }; /* types of frames */
enum { DAMAGED = 1, UNKNOWN = 2, OTHER_INPUT = 3 };                     /* reasons of a refusal */
enum { HAS_CYCLES = 1, HAS_STACK = 2 };                                 /* flags of the reply to RUN */
enum { HEAD = 3, CRC = 4, OFFSET = 4 };                                 /* sizes in bytes: type and sequence number, ... */

/* Most bytes of a packed input in one WRITE. Less takes less RAM and more time. */
#ifndef HARNESS_CHUNK
#define HARNESS_CHUNK 1024
#endif
#define LARGER(a, b) ((a) > (b) ? (a) : (b))
#define CHUNK LARGER(16, INPUT_BYTES < HARNESS_CHUNK ? INPUT_BYTES : HARNESS_CHUNK)
#ifdef HARNESS_TAPS
#define TAPPED LAYERS /* number of layers that TRACE reports */
#else
#define TAPPED 0
#endif
/* The reply to HELLO has up to 134 bytes, that to RUN has 9 and the answer, that to TRACE 4 for each layer. */
#define REPLY_BYTES LARGER(134, LARGER(9 + OUTPUT_BYTES, 4 * TAPPED) + HEAD + CRC)
#define FRAME_BYTES LARGER(OFFSET + CHUNK + HEAD + CRC, REPLY_BYTES)

static uint8_t frame[FRAME_BYTES], input[INPUT_BYTES], scratch[SCRATCH_BYTES];
static int8_t answer[OUTPUT_BYTES];

static uint32_t crc32(const uint8_t *bytes, size_t size) {
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (UINT32_C(0xEDB88320) & (0u - (crc & 1u)));
    }
    return ~crc;
}

static void put32(uint8_t *to, uint32_t value) {
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get32(const uint8_t *from) {
    return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

/* Waits for a frame that is not empty and decodes it (COBS). Returns its size without the CRC; 0 if it is damaged. */
static size_t receive(void) {
    size_t size = 0;
    uint32_t left = 0; /* bytes before the next code */
    int zero = 0, fits = 1, begun = 0;
    for (;;) {
        const uint8_t byte = board_read_byte();
        if (byte == 0 && begun)
            break;
        if (byte == 0)
            continue;
        const int is_code = left == 0, stores = !is_code || zero;
        if (stores && size == FRAME_BYTES)
            fits = 0;
        else if (stores)
            frame[size++] = is_code ? 0 : byte;
        if (is_code) {
            left = byte - 1u;
            zero = byte != 0xFF; /* a zero follows this block, unless the frame ends */
        } else {
            left--;
        }
        begun = 1;
    }
    if (left != 0 || !fits || size < HEAD + CRC || get32(&frame[size - CRC]) != crc32(frame, size - CRC))
        return 0;
    return size - CRC;
}

/* Sends the first bytes of the frame, and their CRC. */
static void transmit(size_t size) {
    size_t at = 0;
    put32(&frame[size], crc32(frame, size));
    size += CRC;
    board_write_byte(0);
    for (;;) {
        size_t count = 0;
        while (count < 254 && at + count < size && frame[at + count] != 0)
            count++;
        board_write_byte((uint8_t)(count + 1));
        for (size_t i = 0; i < count; i++)
            board_write_byte(frame[at + i]);
        at += count;
        if (at == size)
            break;
        at += count < 254; /* the zero */
    }
    board_write_byte(0);
}

static size_t refuse(uint8_t reason) {
    if (reason == DAMAGED)
        frame[1] = frame[2] = 0xFF; /* the sequence number is not known */
    frame[0] = REFUSAL;
    frame[HEAD] = reason;
    return HEAD + 1;
}

static size_t hello(uint32_t fingerprint) {
    uint8_t *const body = &frame[HEAD];
    const char *const kernels = JOIN(NET, _backend)();
    const size_t length = strlen(kernels) < 40 ? strlen(kernels) : 40;
    body[0] = PROTOCOL_VERSION;
    put32(&body[1], INPUT_BYTES);
    put32(&body[5], OUTPUT_BYTES);
    put32(&body[9], CHUNK);
    put32(&body[13], fingerprint);
#ifdef BOARD_COUNTS_CYCLES
    put32(&body[17], board_clock_hz());
#else
    put32(&body[17], 0);
#endif
    body[21] = (uint8_t)TAPPED;
    body[22] = (uint8_t)(TAPPED >> 8);
    memcpy(&body[23], MODEL_SHA256, 64);
    memcpy(&body[87], kernels, length);
    return HEAD + 87 + length;
}

/* Stores a part of the input: its offset, then any number of times the number of zeros, that of other bytes, and these. */
static size_t write(size_t size) {
    const uint8_t *body = &frame[HEAD], *const end = &frame[size];
    if (size < HEAD + OFFSET)
        return refuse(UNKNOWN);
    uint32_t at = get32(body);
    for (body += OFFSET; end - body >= 2; body += 2 + body[1]) {
        const uint32_t zeros = body[0], count = body[1];
        if (count > (uint32_t)(end - body) - 2 || at > INPUT_BYTES || zeros + count > INPUT_BYTES - at)
            return refuse(UNKNOWN);
        memset(&input[at], 0, zeros);
        memcpy(&input[at + zeros], &body[2], count);
        at += zeros + count;
    }
    return body == end ? HEAD : refuse(UNKNOWN);
}

#ifdef BOARD_KNOWS_STACK
#define PAINT UINT32_C(0xA5A5A5A5)
enum { MARGIN = 256 }; /* bytes below the address of a variable that its own function may use */
#endif

/* Runs the net. The stack below this function is filled with a pattern first: what has changed afterwards was used. */
static size_t run(size_t size) {
    uint8_t *const body = &frame[HEAD];
    uint32_t cycles = 0, stack = 0;
    uint8_t flags = 0;
    if (size != HEAD + CRC)
        return refuse(UNKNOWN);
    if (get32(body) != crc32(input, INPUT_BYTES))
        return refuse(OTHER_INPUT);
#ifdef BOARD_KNOWS_STACK
    volatile uint32_t here = 0;
    volatile uint32_t *const lowest = board_stack_lowest(), *word = lowest;
    for (; (uintptr_t)word < (uintptr_t)&here - MARGIN; word++)
        *word = PAINT;
#endif
#ifdef BOARD_COUNTS_CYCLES
    cycles = board_cycles();
#endif
    JOIN(NET, _run)((const void *)input, (void *)answer, scratch);
#ifdef BOARD_COUNTS_CYCLES
    cycles = board_cycles() - cycles;
    flags |= HAS_CYCLES;
#endif
#ifdef BOARD_KNOWS_STACK
    for (word = lowest; (uintptr_t)word < (uintptr_t)&here - MARGIN && *word == PAINT; word++)
        ;
    stack = (uint32_t)((uintptr_t)&here - (uintptr_t)word);
    flags |= HAS_STACK;
#endif
    body[0] = flags;
    put32(&body[1], cycles);
    put32(&body[5], stack);
    memcpy(&body[9], answer, OUTPUT_BYTES);
    return HEAD + 9 + OUTPUT_BYTES;
}

#ifdef HARNESS_TAPS
static uint32_t traced[LAYERS]; /* CRC-32 of each layer's outputs */
static int is_tracing;

void harness_tap(int number, const void *values, size_t size) {
    if (is_tracing && number >= 1 && number <= LAYERS)
        traced[number - 1] = crc32(values, size);
}

/* Runs the net as RUN does, and returns a checksum of what each layer stored. */
static size_t trace(size_t size) {
    is_tracing = 1;
    const size_t taken = run(size);
    is_tracing = 0;
    if (frame[0] == REFUSAL)
        return taken;
    for (int i = 0; i < LAYERS; i++)
        put32(&frame[HEAD + 4 * i], traced[i]);
    return HEAD + 4 * LAYERS;
}
#else
static size_t trace(size_t size) {
    (void)size;
    return refuse(UNKNOWN);
}
#endif

static size_t reply(uint8_t type, size_t size, uint32_t fingerprint) {
    switch (type) {
    case HELLO:
        return hello(fingerprint);
    case WRITE:
        return write(size);
    case RUN:
        return run(size);
    default:
        return trace(size);
    }
}

void harness_serve(void) {
    const uint32_t fingerprint = JOIN(NET, _fingerprint)();
    board_init();
    for (;;) {
        const size_t size = receive();
        const uint8_t type = frame[0];
        if (size == 0)
            transmit(refuse(DAMAGED));
        else if (type < HELLO || type > TRACE)
            transmit(refuse(UNKNOWN));
        else {
            frame[0] = (uint8_t)(type | REPLY);
            transmit(reply(type, size, fingerprint));
        }
    }
}
