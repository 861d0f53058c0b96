static int32_t edge_saturate(int64_t x) {
    return (int32_t)((x > INT32_MAX) ? INT32_MAX : ((x < INT32_MIN) ? INT32_MIN : x));
}

/* `exponentials` are those of the distances 0, 1, .. to the largest logit of a row, as fractions of 31 bits. The
 * probability at distances from `counted` on is 0. */
static void edge_softmax(const uint8_t *in, uint8_t *out, int32_t rows, int32_t classes, const int32_t *exponentials,
                         int32_t counted) {
    for (int32_t row = 0; row < rows; row++) {
        const uint8_t *const from = &in[row * classes];
        int32_t largest = 0;
        int32_t headroom = 0;
        int64_t total = 0;
        for (int32_t c = 0; c < classes; c++) {
            largest = edge_larger(largest, (int32_t)from[c]);
        }
        /* The sum of the exponentials has 12 integer bits, and a step of the output is 2^-8: hence 12 and 31 - 8. */
        for (int32_t c = 0; c < classes; c++) {
            const int32_t distance = largest - (int32_t)from[c];
            if (distance < counted) {
                total += edge_divide_by_power(exponentials[distance], 12);
            }
        }
        while (total <= INT32_MAX) {
            total *= 2;
            headroom++;
        }
        /* Now the sum is (1 + f) * 2^31 with a fraction f. Compute 1 / (1 + f) by three steps of Newton and Raphson,
         * which begin at 48/17 - 32/17 * (1 + f) / 2. Both constants and x have 29 fraction bits: 536870912 is 1. */
        const int32_t half = (int32_t)(total / 2);
        int32_t x = 1515870810 + edge_high(half, -1010580540);
        for (int32_t step = 0; step < 3; step++) {
            x += edge_saturate((int64_t)edge_high(x, 536870912 - edge_high(half, x)) * 4);
        }
        x = edge_saturate((int64_t)x * 2);
        for (int32_t c = 0; c < classes; c++) {
            const int32_t distance = largest - (int32_t)from[c];
            int32_t value = 0;
            if (distance < counted) {
                value = edge_divide_by_power(edge_high(x, exponentials[distance]), (12 - headroom) + (31 - 8));
            }
            out[(row * classes) + c] = (uint8_t)edge_clamp(value, 0, 255);
        }
    }
}
