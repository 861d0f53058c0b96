#if defined(__GNUC__) && defined(__aarch64__) && !(defined(EDGE_BACKEND) && EDGE_BACKEND == EDGE_C99)
#define EDGE_ARM64
#include <arm_neon.h>
#ifdef __linux__
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#endif
