/* A backend is a set of kernels with vector instructions. It is chosen when the net runs, by what the processor has, or
 * when this file is compiled: -DEDGE_BACKEND=EDGE_AVX2. Vectors need GCC or Clang; other compilers get plain C. */
#define EDGE_C99 0
#define EDGE_AVX2 1
#define EDGE_AVX_VNNI 2
#define EDGE_AVX512_VNNI 3
#define EDGE_NEON 4
#define EDGE_NEON_DOT 5
