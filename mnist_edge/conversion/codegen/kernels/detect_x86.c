#if defined(__GNUC__) && defined(__x86_64__) && !(defined(EDGE_BACKEND) && EDGE_BACKEND == EDGE_C99)
#define EDGE_X86
#if defined(EDGE_BACKEND) && (EDGE_BACKEND < EDGE_AVX2 || EDGE_BACKEND > EDGE_AVX512_VNNI) && EDGE_BACKEND != EDGE_SSE2
#error "On x86-64, EDGE_BACKEND is EDGE_C99, EDGE_SSE2, EDGE_AVX2, EDGE_AVX_VNNI or EDGE_AVX512_VNNI"
#endif
#include <immintrin.h>
#if !defined(__clang__) && __GNUC__ >= 11
#define EDGE_HAS_AVX_VNNI
#elif defined(EDGE_BACKEND) && EDGE_BACKEND == EDGE_AVX_VNNI
#error "AVX-VNNI needs GCC 11 or later"
#endif
#endif
