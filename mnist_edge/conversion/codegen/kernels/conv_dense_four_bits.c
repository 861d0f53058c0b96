/* Add the products of a group of inputs with weights of 4 bits to the sums of a block's channels. Weights are stored plus
 * 8, so that 8 times the sum of the inputs is subtracted. */
static void edge_conv_dense_add_four_bits(const int8_t *weights, const uint8_t *x, int32_t *total) {
    const int32_t a = (int32_t)x[0];
    const int32_t b = (int32_t)x[1];
    const int32_t c = (int32_t)x[2];
    const int32_t d = (int32_t)x[3];
    const int32_t excess = 8 * (a + b + c + d);
    for (int32_t o = 0; o < EDGE_BLOCK; o += 2) {
        const uint32_t e = (uint32_t)(uint8_t)weights[2 * o];
        const uint32_t f = (uint32_t)(uint8_t)weights[(2 * o) + 1];
        const uint32_t g = (uint32_t)(uint8_t)weights[(2 * o) + 2];
        const uint32_t h = (uint32_t)(uint8_t)weights[(2 * o) + 3];
        total[o] += (a * (int32_t)(uint32_t)(e & 15u)) + (b * (int32_t)(uint32_t)(f & 15u)) +
                    (c * (int32_t)(uint32_t)(g & 15u)) + (d * (int32_t)(uint32_t)(h & 15u)) - excess;
        total[o + 1] += (a * (int32_t)(uint32_t)(e >> 4)) + (b * (int32_t)(uint32_t)(f >> 4)) +
                        (c * (int32_t)(uint32_t)(g >> 4)) + (d * (int32_t)(uint32_t)(h >> 4)) - excess;
    }
}
