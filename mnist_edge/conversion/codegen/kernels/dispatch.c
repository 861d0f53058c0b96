/* The kernel of each backend is compiled once for each layer, so that the sizes of the layer are constants in it:
 * EDGE_LAYER(conv_1) defines conv_1_compute and the functions that it calls. */
#define EDGE_LAYER_FOR(NAME, ISA)                                                 \
    EDGE_TARGET_##ISA static void NAME##_##ISA(const uint8_t *in, uint8_t *out) { \
        edge_conv_dense_##ISA(&NAME##_layer, in, out);                            \
    }
#define EDGE_CASE(NAME, BACKEND, ISA) \
    case BACKEND:                     \
        NAME##_##ISA(in, out);        \
        break;
#define EDGE_COMPUTE(NAME, CASES, OTHERWISE)                                   \
    static void NAME##_compute(int backend, const uint8_t *in, uint8_t *out) { \
        switch (backend) {                                                     \
            CASES                                                              \
        default:                                                               \
            OTHERWISE;                                                         \
        }                                                                      \
    }
