static inline int32_t edge_larger(int32_t a, int32_t b) { return (a > b) ? a : b; }

static inline int32_t edge_clamp(int32_t value, int32_t low, int32_t high) {
#ifdef __wasm__ /* ziglang 0.17.1 loses the upper limit of the other form */
    const int32_t raised = edge_larger(value, low);
    return (raised > high) ? high : raised;
#else
    return (value > high) ? high : edge_larger(value, low);
#endif
}
