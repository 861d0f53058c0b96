#ifdef EDGE_CORTEX_M
/* One function for all layers, since flash is scarce. */
#define EDGE_LAYER(NAME) EDGE_COMPUTE(NAME, , edge_conv_dense_cortex_m(&NAME##_layer, in, out))
#if !defined(EDGE_BACKEND) && defined(EDGE_MVE)
#define EDGE_BACKEND EDGE_HELIUM
#elif !defined(EDGE_BACKEND)
#define EDGE_BACKEND EDGE_DSP
#endif
#endif
