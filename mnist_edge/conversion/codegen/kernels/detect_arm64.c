#if defined(__GNUC__) && defined(__aarch64__) && !defined(__ARM_BIG_ENDIAN) && \
    !(defined(EDGE_BACKEND) && EDGE_BACKEND == EDGE_C99)
#define EDGE_ARM64
#if defined(EDGE_BACKEND) && EDGE_BACKEND != EDGE_NEON && EDGE_BACKEND != EDGE_NEON_DOT
#error "On 64-bit Arm, EDGE_BACKEND is EDGE_C99, EDGE_NEON or EDGE_NEON_DOT"
#endif
#include <arm_neon.h>
#ifdef __linux__
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#endif
