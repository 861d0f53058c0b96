#ifdef __wasm__
/* Modules with and without vectors keep the same constants, so that both can share them. */
#define EDGE_KEPT(NAME) static const void *const NAME##_kept __attribute__((used)) = &NAME##_layer;
#ifdef EDGE_WASM
#define EDGE_LAYER(NAME)          \
    EDGE_KEPT(NAME)               \
    EDGE_LAYER_FOR(NAME, simd128) \
    EDGE_COMPUTE(NAME, , NAME##_simd128(in, out))
#ifndef EDGE_BACKEND
#define EDGE_BACKEND EDGE_SIMD128
#endif
#else
#define EDGE_LAYER(NAME) \
    EDGE_KEPT(NAME)      \
    EDGE_COMPUTE(NAME, , edge_conv_dense(&NAME##_layer, in, out))
#endif
#endif
