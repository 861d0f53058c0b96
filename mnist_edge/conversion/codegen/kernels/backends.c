/* A backend is a set of kernels with vector instructions. On x86-64 and 64-bit Arm it is chosen when the net runs, by
 * what the processor has; on Cortex-M when this file is compiled: DSP or Helium, by the compiler's target. An option
 * selects one in advance: -DEDGE_BACKEND=EDGE_AVX2. Vectors need GCC or Clang; other compilers get plain C. No backend
 * is 0 or 1: the preprocessor takes an unknown name for 0, and -DEDGE_BACKEND without a value defines 1. */
#define EDGE_C99 2
#define EDGE_AVX2 3
#define EDGE_AVX_VNNI 4
#define EDGE_AVX512_VNNI 5
#define EDGE_NEON 6
#define EDGE_NEON_DOT 7
#define EDGE_DSP 8
#define EDGE_HELIUM 9
#define EDGE_SSE2 10
#define EDGE_SIMD128 11
