#if !EDGE_SIGNED
static void edge_sum_plain(const edge_layer *layer, const uint8_t *in, int32_t block, int32_t *total) {
    const int8_t *weights = layer->weights + block * 64;
    const int32_t row = layer->blocks * 64;
    memcpy(total, layer->bias + block * 16, 16 * sizeof *total);
    for (int32_t run = 0; run < layer->runs; run++) {
        const uint8_t *x = in + layer->run_at[run];
        for (int32_t group = 0; group < layer->groups; group++, x += 4, weights += row) {
            const int32_t a = x[0], b = x[1], c = x[2], d = x[3];
            if ((a | b | c | d) == 0)
                continue;
            for (int32_t o = 0; o < 16; o++)
                total[o] += a * weights[4 * o] + b * weights[4 * o + 1] + c * weights[4 * o + 2] + d * weights[4 * o + 3];
        }
    }
}

static void edge_layer_plain(const edge_layer *layer, const uint8_t *in, uint8_t *out) {
    int32_t total[16], other[16];
    for (int32_t y = 0; y < layer->height; y++)
        for (int32_t x = 0; x < layer->width; x++) {
            uint8_t *const to = out + y * layer->out_row + x * layer->channels;
            const uint8_t *first = in + y * layer->pool * layer->step_y + x * layer->pool * layer->step_x;
            for (int32_t block = 0; block < layer->blocks; block++) {
                edge_sum_plain(layer, first, block, total);
                for (int32_t pixel = 1; pixel < layer->pool * layer->pool; pixel++) {
                    edge_sum_plain(layer, first + pixel / 2 * layer->step_y + pixel % 2 * layer->step_x, block, other);
                    for (int32_t c = 0; c < 16; c++)
                        total[c] = other[c] > total[c] ? other[c] : total[c];
                }
                for (int32_t c = 0; c < 16 && 16 * block + c < layer->channels; c++)
                    to[16 * block + c] = edge_round(layer, total[c], 16 * block + c);
            }
        }
}
#endif
