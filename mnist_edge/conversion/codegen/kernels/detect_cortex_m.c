#if defined(__GNUC__) && defined(__ARM_FEATURE_DSP) && __ARM_ARCH_PROFILE == 'M' && !defined(__ARM_BIG_ENDIAN) && \
    !(defined(EDGE_BACKEND) && EDGE_BACKEND == EDGE_C99)
#define EDGE_CORTEX_M
#define EDGE_WORDS __attribute__((aligned(4))) /* weights, which are loaded by words */
#if defined(__ARM_FEATURE_MVE) && !(defined(EDGE_BACKEND) && EDGE_BACKEND == EDGE_DSP)
#define EDGE_MVE
#endif
#if defined(EDGE_BACKEND) && EDGE_BACKEND != EDGE_DSP && !(defined(EDGE_MVE) && EDGE_BACKEND == EDGE_HELIUM)
#error "On Cortex-M with DSP instructions, EDGE_BACKEND is EDGE_C99, EDGE_DSP or, with Helium, EDGE_HELIUM"
#endif
#else
#define EDGE_WORDS
#endif
