#if defined(__GNUC__) && defined(__ARM_FEATURE_DSP) && __ARM_ARCH_PROFILE == 'M' && !defined(__ARM_BIG_ENDIAN) && \
    !(defined(EDGE_BACKEND) && EDGE_BACKEND == EDGE_C99)
#define EDGE_CORTEX_M
#if defined(EDGE_BACKEND) && EDGE_BACKEND != EDGE_DSP
#error "On Cortex-M with DSP instructions, EDGE_BACKEND is EDGE_C99 or EDGE_DSP"
#endif
#endif
