/* For a linker script: -D'EDGE_WEIGHTS_SECTION=__attribute__((section(".weights")))' places the weights of all layers.
 * Their alignment matters for speed only. With -DEDGE_ALIGNED= they have none, or on Cortex-M that of words. */
#ifndef EDGE_WEIGHTS_SECTION
#define EDGE_WEIGHTS_SECTION
#endif
#if !defined(EDGE_ALIGNED) && defined(__GNUC__)
#define EDGE_ALIGNED __attribute__((aligned(64))) /* a cache line: no vector of weights lies in two of them */
#elif !defined(EDGE_ALIGNED)
#define EDGE_ALIGNED
#endif
