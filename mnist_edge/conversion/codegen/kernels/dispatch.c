static const char *const edge_names[] = {"C99", "AVX2", "AVX-VNNI", "AVX512-VNNI", "NEON", "NEON with dot product"};

static int edge_backend(void) {
#ifdef EDGE_BACKEND
    return EDGE_BACKEND;
$IF x86
#elif EDGE_X86
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni"))
        return EDGE_AVX512_VNNI;
    if (!__builtin_cpu_supports("avx2"))
        return EDGE_C99;
#ifdef EDGE_HAS_AVX_VNNI
    if (__builtin_cpu_supports("avxvnni"))
        return EDGE_AVX_VNNI;
#endif
    return EDGE_AVX2;
$END
$IF arm
#elif EDGE_ARM64 && defined(__linux__)
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP ? EDGE_NEON_DOT : EDGE_NEON;
#elif EDGE_ARM64
    return EDGE_NEON;
$END
#else
    return EDGE_C99;
#endif
}

/* A layer's functions: the backends' loops, compiled once more for each layer, whose sizes are then constants. */
#define EDGE_LAYER_BY(NAME, ISA)                                                                                  \
    EDGE_TARGET_##ISA static void NAME##_##ISA(const uint8_t *in, uint8_t *out) {                                 \
        edge_layer_##ISA(&NAME, in, out);                                                                         \
    }
#define EDGE_LAYER_OF(NAME, OTHERWISE, CASES)                                                                     \
    static void NAME##_compute(int backend, const uint8_t *in, uint8_t *out) {                                    \
        switch (backend) {                                                                                        \
            CASES                                                                                                 \
        default:                                                                                                  \
            OTHERWISE;                                                                                            \
        }                                                                                                         \
    }
#define EDGE_CASE(NAME, BACKEND, ISA)                                                                             \
    case BACKEND:                                                                                                 \
        NAME##_##ISA(in, out);                                                                                    \
        break;
$IF x86
#ifdef EDGE_HAS_AVX_VNNI
#define EDGE_LAYER_AVX_VNNI(NAME) EDGE_LAYER_BY(NAME, avxvnni)
#define EDGE_CASE_AVX_VNNI(NAME) EDGE_CASE(NAME, EDGE_AVX_VNNI, avxvnni)
#else
#define EDGE_LAYER_AVX_VNNI(NAME)
#define EDGE_CASE_AVX_VNNI(NAME)
#endif
$END
#if EDGE_X86
$IF x86
#define EDGE_LAYER(NAME)                                                                                          \
    EDGE_LAYER_BY(NAME, avx2) EDGE_LAYER_BY(NAME, avx512) EDGE_LAYER_AVX_VNNI(NAME)                                  \
    EDGE_LAYER_OF(NAME, edge_layer_plain(&NAME, in, out), EDGE_CASE(NAME, EDGE_AVX2, avx2)                        \
                  EDGE_CASE(NAME, EDGE_AVX512_VNNI, avx512) EDGE_CASE_AVX_VNNI(NAME))
$END
#elif EDGE_ARM64
$IF arm
#define EDGE_LAYER(NAME)                                                                                          \
    EDGE_LAYER_BY(NAME, neon) EDGE_LAYER_BY(NAME, neon_dot)                                                       \
    EDGE_LAYER_OF(NAME, NAME##_neon(in, out), EDGE_CASE(NAME, EDGE_NEON_DOT, neon_dot))
$END
#else
#define EDGE_LAYER(NAME) EDGE_LAYER_OF(NAME, edge_layer_plain(&NAME, in, out), )
#endif
