#ifndef EDGE_LAYER
#define EDGE_LAYER(NAME) EDGE_COMPUTE(NAME, , edge_conv_dense(&NAME##_layer, in, out))
#endif
#ifndef EDGE_BACKEND
#define EDGE_BACKEND EDGE_C99
#endif

static const char *const edge_names[] = {"C99", "AVX2", "AVX-VNNI", "AVX512-VNNI", "NEON", "NEON with dot product"};

static int edge_backend(void) {
    return EDGE_BACKEND;
}
