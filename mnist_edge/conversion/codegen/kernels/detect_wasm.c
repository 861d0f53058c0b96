#if defined(__wasm_simd128__) && !(defined(EDGE_BACKEND) && EDGE_BACKEND == EDGE_C99)
#define EDGE_WASM
#if defined(EDGE_BACKEND) && EDGE_BACKEND != EDGE_SIMD128
#error "For WebAssembly, EDGE_BACKEND is EDGE_C99 or, with -msimd128, EDGE_SIMD128"
#endif
#include <wasm_simd128.h>
#endif
