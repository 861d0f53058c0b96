/* Sums of the 16 channels of a block, for one pixel. Groups of zeros, which are frequent after a ReLU, are skipped. */
static void edge_conv_dense_sum(const edge_conv_dense_layer *layer, const uint8_t *in, int32_t block, int32_t *total) {
    const int8_t *weights = &layer->weights[block * EDGE_BLOCK * EDGE_GROUP];
    const int32_t row = layer->blocks * EDGE_BLOCK * EDGE_GROUP;
    (void)memcpy(total, &layer->output.bias[block * EDGE_BLOCK], sizeof(int32_t) * (size_t)EDGE_BLOCK);
    for (int32_t run = 0; run < layer->runs; run++) {
        const uint8_t *x = &in[layer->run_at[run]];
        for (int32_t group = 0; group < layer->groups; group++) {
            const int32_t a = (int32_t)x[0];
            const int32_t b = (int32_t)x[1];
            const int32_t c = (int32_t)x[2];
            const int32_t d = (int32_t)x[3];
            if ((a + b + c + d) != 0) {
                for (int32_t o = 0; o < EDGE_BLOCK; o++) {
                    total[o] += (a * weights[4 * o]) + (b * weights[(4 * o) + 1]) + (c * weights[(4 * o) + 2]) +
                                (d * weights[(4 * o) + 3]);
                }
            }
            x = &x[EDGE_GROUP];
            weights = &weights[row];
        }
    }
}

EDGE_KERNEL void edge_conv_dense(const edge_conv_dense_layer *layer, const uint8_t *in, uint8_t *out)
    EDGE_CONV_DENSE_SYMBOL;

EDGE_KERNEL void edge_conv_dense(const edge_conv_dense_layer *layer, const uint8_t *in, uint8_t *out) {
    int32_t total[EDGE_BLOCK];
    int32_t other[EDGE_BLOCK];
    for (int32_t y = 0; y < layer->height; y++) {
        for (int32_t x = 0; x < layer->width; x++) {
            uint8_t *const to = &out[(y * layer->out_row) + (x * layer->channels)];
            const uint8_t *const first = &in[((y * layer->step_y) + (x * layer->step_x)) * layer->pool];
            for (int32_t block = 0; block < layer->blocks; block++) {
                const int32_t from = EDGE_BLOCK * block;
                edge_conv_dense_sum(layer, first, block, total);
                /* The largest sum has the largest output, so that only the maximum is requantized. */
                for (int32_t pixel = 1; pixel < (layer->pool * layer->pool); pixel++) {
                    const int32_t at = ((pixel / 2) * layer->step_y) + ((pixel % 2) * layer->step_x);
                    edge_conv_dense_sum(layer, &first[at], block, other);
                    for (int32_t c = 0; c < EDGE_BLOCK; c++) {
                        total[c] = edge_larger(total[c], other[c]);
                    }
                }
                for (int32_t c = 0; c < edge_clamp(layer->channels - from, 0, EDGE_BLOCK); c++) {
                    to[from + c] = edge_requantize(&layer->output, total[c], from + c);
                }
            }
        }
    }
}
