#ifdef __wasm__
/* Modules with and without vectors keep the same constants, so that both can share them. */
#define EDGE_KEPT(NAME) static const void *const NAME##_kept __attribute__((used)) = &NAME##_layer;
#ifdef EDGE_WASM
/* Functions of their own, so that the stack holds the lists of one layer at a time. */
#define EDGE_LAYER(NAME)                                                                    \
    EDGE_KEPT(NAME)                                                                         \
    static __attribute__((noinline)) void NAME##_simd128(const uint8_t *in, uint8_t *out) { \
        if (edge_suits_winograd(&NAME##_layer)) {                                           \
            edge_winograd_simd128(&NAME##_layer, in, out);                                  \
        } else {                                                                            \
            edge_conv_dense_simd128(&NAME##_layer, in, out);                                \
        }                                                                                   \
    }                                                                                       \
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
