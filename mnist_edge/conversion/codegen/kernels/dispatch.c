static const char *const edge_names[] = {"C99", "AVX2", "AVX-VNNI", "AVX512-VNNI", "NEON", "NEON with dot product"};

static int edge_backend(void) {
#ifdef EDGE_BACKEND
    return EDGE_BACKEND;
#elif EDGE_X86
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni"))
        return EDGE_AVX512_VNNI;
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

static void edge_compute(int backend, const edge_layer *layer, const uint8_t *in, uint8_t *out) {
    switch (backend) {
#if EDGE_X86
    case EDGE_AVX512_VNNI:
        edge_layer_avx512(layer, in, out);
        break;
    case EDGE_AVX_VNNI:
        edge_layer_avxvnni(layer, in, out);
        break;
    case EDGE_AVX2:
        edge_layer_avx2(layer, in, out);
        break;
#endif
#if EDGE_ARM64
    case EDGE_NEON_DOT:
        edge_layer_neon_dot(layer, in, out);
        break;
    default:
        edge_layer_neon(layer, in, out);
#else
    default:
        edge_layer_plain(layer, in, out);
#endif
    }
}
