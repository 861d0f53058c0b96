#if (-1 >> 1) != -1
#error "Negative numbers must be shifted right arithmetically, as all known compilers do."
#endif

/* a * b / 2^31, rounded to nearest, ties upwards: the product of two fractions of 31 bits. 1073741824 is 2^30. */
static inline int32_t edge_high(int32_t a, int32_t b) { return (int32_t)((((int64_t)a * b) + 1073741824) >> 31); }

/* x / 2^exponent, rounded to nearest, ties away from zero. */
static inline int32_t edge_divide_by_power(int32_t x, int32_t exponent) {
    const uint64_t half = ((uint64_t)1 << (uint32_t)exponent) / 2u;
    const int64_t raised = (int64_t)x + (int64_t)half;
    return (int32_t)((((x < 0) && (exponent > 0)) ? (raised - 1) : raised) >> exponent);
}
