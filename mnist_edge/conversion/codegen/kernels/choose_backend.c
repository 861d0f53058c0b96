#ifndef EDGE_LAYER
#if defined(EDGE_BACKEND) && EDGE_BACKEND != EDGE_C99
#error "EDGE_BACKEND is EDGE_C99: this file has no other backend for this compiler and processor"
#endif
#define EDGE_LAYER(NAME) EDGE_COMPUTE(NAME, , edge_conv_dense(&NAME##_layer, in, out))
#endif
#ifndef EDGE_BACKEND
#define EDGE_BACKEND EDGE_C99
#endif

/* From EDGE_C99 on. */
static const char *const edge_names[] = {"C99",  "AVX2",                  "AVX-VNNI",     "AVX512-VNNI",
                                         "NEON", "NEON with dot product", "Cortex-M DSP", "Helium",
                                         "SSE2", "WebAssembly SIMD128"};

static int edge_backend(void) {
    return EDGE_BACKEND;
}
