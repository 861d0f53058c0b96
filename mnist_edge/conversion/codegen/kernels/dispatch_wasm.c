#ifdef EDGE_WASM
#define EDGE_LAYER(NAME)         \
    EDGE_LAYER_FOR(NAME, simd128) \
    EDGE_COMPUTE(NAME, , NAME##_simd128(in, out))
#ifndef EDGE_BACKEND
#define EDGE_BACKEND EDGE_SIMD128
#endif
#endif
