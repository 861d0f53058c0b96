#ifdef EDGE_CORTEX_M
/* One function for all layers: flash is scarce. */
#define EDGE_LAYER(NAME) EDGE_COMPUTE(NAME, , edge_conv_dense_dsp(&NAME##_layer, in, out))
#ifndef EDGE_BACKEND
#define EDGE_BACKEND EDGE_DSP
#endif
#endif
