static inline int32_t edge_larger(int32_t a, int32_t b) { return (a > b) ? a : b; }

static inline int32_t edge_clamp(int32_t value, int32_t low, int32_t high) {
    return (value > high) ? high : edge_larger(value, low);
}
