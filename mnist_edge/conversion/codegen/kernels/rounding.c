static inline int32_t edge_clamp(int32_t value, int32_t low, int32_t high) {
    return value < low ? low : value > high ? high : value;
}

static inline int32_t edge_high(int32_t a, int32_t b) {
    return (int32_t)(((int64_t)a * b + (INT64_C(1) << 30)) >> 31);
}

static inline int32_t edge_divide_by_power(int32_t x, int32_t exponent) {
    return exponent == 0 ? x : (int32_t)(((int64_t)x + (INT64_C(1) << (exponent - 1)) - (x < 0)) >> exponent);
}

static inline int32_t edge_scale(int32_t x, int32_t multiplier, int32_t shift, int32_t rounds) {
    if (rounds == 1)
        return (int32_t)(((int64_t)x * multiplier + (INT64_C(1) << (30 - shift))) >> (31 - shift));
    if (shift > 0)
        return edge_high((int32_t)((int64_t)x * (INT64_C(1) << shift)), multiplier);
    return edge_divide_by_power(edge_high(x, multiplier), -shift);
}

static inline uint8_t edge_round(const edge_layer *layer, int32_t total, int32_t channel) {
    const int32_t value = edge_scale(total, layer->multiplier[channel], layer->shift[channel], layer->rounds);
    return (uint8_t)edge_clamp(value + layer->zero, layer->low, layer->high);
}
