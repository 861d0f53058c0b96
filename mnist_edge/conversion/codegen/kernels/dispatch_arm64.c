#ifdef EDGE_ARM64
#define EDGE_LAYER(NAME)           \
    EDGE_LAYER_FOR(NAME, neon)     \
    EDGE_LAYER_FOR(NAME, neon_dot) \
    EDGE_COMPUTE(NAME, EDGE_CASE(NAME, EDGE_NEON_DOT, neon_dot), NAME##_neon(in, out))

#ifndef EDGE_BACKEND
static int edge_best_backend(void) {
#ifdef __linux__
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP ? EDGE_NEON_DOT : EDGE_NEON;
#else
    return EDGE_NEON;
#endif
}
#define EDGE_BACKEND edge_best_backend()
#endif
#endif
