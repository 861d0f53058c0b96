#ifdef EDGE_X86
#define EDGE_LAYER_FOR_AVX2(NAME)                                              \
    EDGE_TARGET_avx2 static void NAME##_avx2(const uint8_t *in, uint8_t *out) { \
        if (edge_suits_winograd(&NAME##_layer)) {                              \
            edge_winograd_avx2(&NAME##_layer, in, out);                        \
        } else {                                                               \
            edge_conv_dense_avx2(&NAME##_layer, in, out);                      \
        }                                                                      \
    }
#ifdef EDGE_HAS_AVX_VNNI
#define EDGE_LAYER_FOR_AVX_VNNI(NAME) EDGE_LAYER_FOR(NAME, avxvnni)
#define EDGE_CASE_AVX_VNNI(NAME) EDGE_CASE(NAME, EDGE_AVX_VNNI, avxvnni)
#else
#define EDGE_LAYER_FOR_AVX_VNNI(NAME)
#define EDGE_CASE_AVX_VNNI(NAME)
#endif
#define EDGE_LAYER(NAME)                                                                                              \
    EDGE_LAYER_FOR(NAME, sse2)                                                                                        \
    EDGE_LAYER_FOR_AVX2(NAME)                                                                                         \
    EDGE_LAYER_FOR(NAME, avx512)                                                                                      \
    EDGE_LAYER_FOR_AVX_VNNI(NAME)                                                                                     \
    EDGE_COMPUTE(NAME,                                                                                                \
                 EDGE_CASE(NAME, EDGE_AVX2, avx2) EDGE_CASE(NAME, EDGE_AVX512_VNNI, avx512) EDGE_CASE_AVX_VNNI(NAME)  \
                     EDGE_CASE(NAME, EDGE_SSE2, sse2),                                                                \
                 edge_conv_dense(&NAME##_layer, in, out))

#ifndef EDGE_BACKEND
static int edge_best_backend(void) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni")) {
        return EDGE_AVX512_VNNI;
    }
    if (!__builtin_cpu_supports("avx2")) {
        return EDGE_SSE2;
    }
#ifdef EDGE_HAS_AVX_VNNI
    if (__builtin_cpu_supports("avxvnni")) {
        return EDGE_AVX_VNNI;
    }
#endif
    return EDGE_AVX2;
}
#define EDGE_BACKEND edge_best_backend()
#endif
#endif
