static const char *const edge_names[] = {"C99", "AVX2", "AVX-VNNI", "AVX512-VNNI", "AMX", "NEON", "NEON with dot product"};

static int edge_backend(void) {
#ifdef EDGE_BACKEND
    return EDGE_BACKEND;
#elif EDGE_X86
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni")) {
#ifdef EDGE_KNOWS_AMX
        if (edge_may_use_amx())
            return EDGE_AMX;
#endif
        return EDGE_AVX512_VNNI;
    }
    if (!__builtin_cpu_supports("avx2"))
        return EDGE_C99;
#ifdef EDGE_KNOWS_AVX_VNNI
    if (__builtin_cpu_supports("avxvnni"))
        return EDGE_AVX_VNNI;
#endif
    return EDGE_AVX2;
#elif EDGE_ARM64 && defined(__linux__)
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP ? EDGE_NEON_DOT : EDGE_NEON;
#elif EDGE_ARM64
    return EDGE_NEON;
#else
    return EDGE_C99;
#endif
}

/* A layer's function: the backends' loops, compiled once more for each layer, whose sizes are then constants. */
#ifdef EDGE_KNOWS_AMX
#define EDGE_LAYER_AMX(NAME)                                                                                      \
    EDGE_TARGET_amx static void NAME##_amx(const uint8_t *in, uint8_t *out) {                                     \
        edge_layer_amx(&NAME, in, out);                                                                           \
    }
#define EDGE_TRY_AMX(NAME)                                                                                        \
    if (backend == EDGE_AMX) {                                                                                    \
        NAME##_amx(in, out);                                                                                      \
        return;                                                                                                   \
    }
#else
#define EDGE_LAYER_AMX(NAME)
#define EDGE_TRY_AMX(NAME)
#endif
#if EDGE_X86
#define EDGE_LAYER(NAME)                                                                                          \
    EDGE_TARGET_avx2 static void NAME##_avx2(const uint8_t *in, uint8_t *out) {                                   \
        edge_layer_avx2(&NAME, in, out);                                                                          \
    }                                                                                                             \
    EDGE_TARGET_avxvnni static void NAME##_avxvnni(const uint8_t *in, uint8_t *out) {                             \
        edge_layer_avxvnni(&NAME, in, out);                                                                       \
    }                                                                                                             \
    EDGE_TARGET_avx512 static void NAME##_avx512(const uint8_t *in, uint8_t *out) {                               \
        edge_layer_avx512(&NAME, in, out);                                                                        \
    }                                                                                                             \
    EDGE_LAYER_AMX(NAME)                                                                                          \
    static void NAME##_compute(int backend, const uint8_t *in, uint8_t *out) {                                    \
        EDGE_TRY_AMX(NAME)                                                                                        \
        if (backend == EDGE_AVX512_VNNI)                                                                          \
            NAME##_avx512(in, out);                                                                               \
        else if (backend == EDGE_AVX_VNNI)                                                                        \
            NAME##_avxvnni(in, out);                                                                              \
        else if (backend == EDGE_AVX2)                                                                            \
            NAME##_avx2(in, out);                                                                                 \
        else                                                                                                      \
            edge_layer_plain(&NAME, in, out);                                                                     \
    }
#elif EDGE_ARM64
#define EDGE_LAYER(NAME)                                                                                          \
    EDGE_TARGET_neon static void NAME##_neon(const uint8_t *in, uint8_t *out) {                                   \
        edge_layer_neon(&NAME, in, out);                                                                          \
    }                                                                                                             \
    EDGE_TARGET_neon_dot static void NAME##_neon_dot(const uint8_t *in, uint8_t *out) {                           \
        edge_layer_neon_dot(&NAME, in, out);                                                                      \
    }                                                                                                             \
    static void NAME##_compute(int backend, const uint8_t *in, uint8_t *out) {                                    \
        if (backend == EDGE_NEON_DOT)                                                                             \
            NAME##_neon_dot(in, out);                                                                             \
        else                                                                                                      \
            NAME##_neon(in, out);                                                                                 \
    }
#else
#define EDGE_LAYER(NAME)                                                                                          \
    static void NAME##_compute(int backend, const uint8_t *in, uint8_t *out) {                                    \
        (void)backend;                                                                                            \
        edge_layer_plain(&NAME, in, out);                                                                         \
    }
#endif
