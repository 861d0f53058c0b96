/* What the backends with vectors share. They sum `pixels` output pixels (4: a pooling window or neighbours, or 1) by
 * some channels in registers. */

/* The steps of a sum, one for each four bytes of input: where its input and its weights begin, and how many there are. */
static int32_t edge_all_steps(const edge_layer *layer, int32_t *input, int32_t *weights) {
    int32_t n = 0;
    for (int32_t run = 0; run < layer->runs; run++)
        for (int32_t group = 0; group < layer->groups; group++, n++) {
            input[n] = layer->run_at[run] + 4 * group;
            weights[n] = n * layer->blocks * 64;
        }
    return n;
}

/* Four bytes of input of every pixel, together: 0 where all are. */
EDGE_INLINE int32_t edge_lit(const uint8_t *in, const int32_t *at, int32_t pixels) {
    int32_t any = 0, four;
    for (int32_t p = 0; p < pixels; p++) {
        memcpy(&four, in + at[p], 4);
        any |= four;
    }
    return any;
}

/* Whether any input of a short sum is not zero. */
EDGE_INLINE int edge_any(const edge_layer *layer, const uint8_t *in, const int32_t *at, int32_t pixels) {
    int32_t any = 0;
    for (int32_t run = 0; run < layer->runs; run++)
        for (int32_t group = 0; group < layer->groups; group++)
            any |= edge_lit(in + layer->run_at[run] + 4 * group, at, pixels);
    return any != 0;
}

/* As edge_all_steps, without those whose four bytes are zero in all pixels. */
EDGE_INLINE int32_t edge_steps(const edge_layer *layer, const uint8_t *in, const int32_t *at, int32_t pixels,
                               int32_t *input, int32_t *weights) {
    int32_t n = 0, row = 0;
    for (int32_t run = 0; run < layer->runs; run++)
        for (int32_t group = 0; group < layer->groups; group++, row += layer->blocks * 64) {
            input[n] = layer->run_at[run] + 4 * group;
            weights[n] = row;
            n += edge_lit(in + input[n], at, pixels) != 0;
        }
    return n;
}

/* From sums [pixels][channels][parts] to activations; `count` channels from `channel` on. */
EDGE_INLINE void edge_finish(const edge_layer *layer, const int32_t *sums, int32_t pixels, int32_t count, int32_t parts,
                             int32_t channel, uint8_t *out) {
    const int32_t left = layer->channels - channel, n = left < count ? left : count;
    for (int32_t c = 0; c < n; c++) {
        int32_t most = INT32_MIN;
        for (int32_t p = 0; p < pixels; p++) {
            const int32_t *sum = sums + (p * count + c) * parts;
            const int32_t total = (parts == 2 ? sum[0] + sum[1] : sum[0]) + layer->bias[channel + c];
            most = total > most ? total : most;
            if (layer->pool == 1)
                out[p * layer->channels + channel + c] = edge_round(layer, total, channel + c);
        }
        if (layer->pool == 2)
            out[channel + c] = edge_round(layer, most, channel + c);
    }
}
