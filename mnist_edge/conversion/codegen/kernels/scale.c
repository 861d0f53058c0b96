/* x * multiplier * 2^(shift - 31). LiteRT rounds once in dense layers, and twice in all others: after the product and
 * after the shift. The generator has checked that no x of this net overflows when it is shifted left. */
static inline int32_t edge_scale(int32_t x, int32_t multiplier, int32_t shift, int32_t rounds) {
    int32_t scaled;
    if (rounds == 1) {
        const int32_t places = 30 - shift;
        const uint64_t half = (uint64_t)1 << (uint32_t)places;
        scaled = (int32_t)((((int64_t)x * multiplier) + (int64_t)half) >> (places + 1));
    } else if (shift > 0) {
        const uint32_t power = (uint32_t)1 << (uint32_t)shift;
        scaled = edge_high(x * (int32_t)power, multiplier);
    } else {
        scaled = edge_divide_by_power(edge_high(x, multiplier), -shift);
    }
    return scaled;
}
