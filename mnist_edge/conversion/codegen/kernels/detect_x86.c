#if defined(__GNUC__) && defined(__x86_64__) && !(defined(EDGE_BACKEND) && EDGE_BACKEND == EDGE_C99)
#define EDGE_X86
#include <immintrin.h>
#if !defined(__clang__) && __GNUC__ >= 11
#define EDGE_HAS_AVX_VNNI
#elif defined(EDGE_BACKEND) && EDGE_BACKEND == EDGE_AVX_VNNI
#error "AVX-VNNI needs GCC 11 or later"
#endif
#endif
