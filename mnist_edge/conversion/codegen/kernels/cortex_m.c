#ifdef EDGE_CORTEX_M
/* Whether no output is below `zero`, as after a ReLU, and no sum is shifted left. */
static int32_t edge_cortex_m_is_simple(const edge_conv_dense_layer *layer) {
    int32_t simple = (layer->output.rounds == 2) && (layer->output.low == layer->output.zero);
    for (int32_t c = 0; c < layer->channels; c++) {
        simple = simple && (layer->output.shift[c] <= 0);
    }
    return simple;
}

/* As edge_requantize. If the layer is simple, sums below 0 have the same output as 0, and the others are rounded up. */
static inline uint8_t edge_cortex_m_output(const edge_requantization *output, int32_t simple, int32_t total,
                                           int32_t channel) {
    if (simple == 0) {
        return edge_requantize(output, total, channel);
    }
    if (total <= 0) {
        return (uint8_t)output->low;
    }
    const uint32_t product = (uint32_t)edge_high(total, output->multiplier[channel]);
    const uint32_t places = (uint32_t)(-output->shift[channel]);
    const uint32_t value = ((product + (((uint32_t)1 << places) / 2u)) >> places) + (uint32_t)output->zero;
    return (uint8_t)((value > (uint32_t)output->high) ? (uint32_t)output->high : value);
}

/* Outputs of one or two pixels. In a pooling window of 2 x 2, `row` is that of the two pixels, and the output is the
 * larger of theirs and, in row 1, of what is already there; otherwise `row` is -1. */
static void edge_cortex_m_finish(const edge_conv_dense_layer *layer, int32_t simple, const edge_sums *sums, int32_t row,
                                 uint8_t *out) {
    const edge_requantization output = layer->output;
    const int32_t count = edge_clamp(layer->channels, 0, sums->end) - sums->from;
    const int32_t two = (sums->pixels == 2) ? 1 : 0;
    uint8_t *const to = &out[sums->from];
#ifdef EDGE_MVE
    if (simple != 0) {
        edge_helium_finish(&output, sums, 0, (row == -1) ? 0 : 1, row == 1, count, to);
        if ((row == -1) && (two != 0)) {
            edge_helium_finish(&output, sums, 1, 1, 0, count, &to[layer->channels]);
        }
        return;
    }
#endif
    const int32_t *sum = sums->value;
    for (int32_t c = 0; c < count; c++) {
        const int32_t first = (int32_t)((uint32_t)sum[0] - sums->excess[0]);
        const int32_t last = (int32_t)((uint32_t)sum[two] - sums->excess[two]);
        sum = &sum[sums->pixels];
        if (row != -1) {
            const uint8_t value = edge_cortex_m_output(&output, simple, edge_larger(first, last), sums->from + c);
            to[c] = (row == 1) ? (uint8_t)edge_larger(to[c], value) : value;
        } else {
            to[c] = edge_cortex_m_output(&output, simple, first, sums->from + c);
            if (two != 0) {
                to[layer->channels + c] = edge_cortex_m_output(&output, simple, last, sums->from + c);
            }
        }
    }
}

/* The same for all channels of pixels whose inputs are all zero, from the outputs of another such pixel. */
static void edge_cortex_m_copy(const uint8_t *of_zeros, int32_t channels, int32_t pixels, int32_t row, uint8_t *to) {
    if (row == 1) {
        for (int32_t c = 0; (c < channels) && (to != of_zeros); c++) {
            to[c] = (uint8_t)edge_larger(to[c], of_zeros[c]);
        }
    } else {
        (void)memcpy(to, of_zeros, (size_t)channels);
        if ((row == -1) && (pixels == 2)) {
            (void)memcpy(&to[channels], of_zeros, (size_t)channels);
        }
    }
}

/* Outputs of all channels of one or two pixels; `row` as in edge_cortex_m_finish. `of_zeros` are the outputs of a pixel
 * whose inputs are all zero, or NULL. Returns whether any input is non-zero. */
static int32_t edge_cortex_m_outputs(const edge_conv_dense_layer *layer, int32_t simple, const uint8_t *in,
                                     int32_t pixels, int32_t row, const uint8_t *of_zeros, uint8_t *to) {
    const int32_t next = (pixels == 2) ? layer->step_x : 0;
    const int32_t padded = EDGE_BLOCK * layer->blocks;
    int32_t any = 0;
    edge_sums sums;
    sums.pixels = pixels;
    for (sums.from = 0; sums.from < padded; sums.from = sums.end) {
        sums.end = edge_clamp(sums.from + ((pixels == 2) ? (EDGE_MOST_SUMS / 2) : EDGE_MOST_SUMS), 0, padded);
        any = edge_sums_add(layer, in, next, &sums);
        if ((any == 0) && (of_zeros != NULL)) {
            edge_cortex_m_copy(of_zeros, layer->channels, pixels, row, to);
            break;
        }
        if (any == 0) {
            edge_sums_begin(layer, &sums);
        }
        edge_cortex_m_finish(layer, simple, &sums, row, to);
    }
    return any;
}

EDGE_KERNEL void edge_conv_dense_cortex_m(const edge_conv_dense_layer *layer, const uint8_t *in, uint8_t *out)
    EDGE_CONV_DENSE_CORTEX_M_SYMBOL;

EDGE_KERNEL void edge_conv_dense_cortex_m(const edge_conv_dense_layer *layer, const uint8_t *in, uint8_t *out) {
    const int32_t simple = edge_cortex_m_is_simple(layer);
    const uint8_t *of_zeros = NULL;
    for (int32_t y = 0; y < layer->height; y++) {
        int32_t pixels;
        for (int32_t x = 0; x < layer->width; x += (layer->pool == 2) ? 1 : pixels) {
            uint8_t *const to = &out[(y * layer->out_row) + (x * layer->channels)];
            const uint8_t *const first = &in[((y * layer->step_y) + (x * layer->step_x)) * layer->pool];
            int32_t any;
            if (layer->pool == 2) {
                pixels = 2;
                any = edge_cortex_m_outputs(layer, simple, first, pixels, 0, of_zeros, to);
                const uint8_t *const above = (any == 0) ? to : of_zeros;
                any |= edge_cortex_m_outputs(layer, simple, &first[layer->step_y], pixels, 1, above, to);
            } else {
                pixels = ((x + 1) < layer->width) ? 2 : 1;
                any = edge_cortex_m_outputs(layer, simple, first, pixels, -1, of_zeros, to);
            }
            of_zeros = (any == 0) ? to : of_zeros;
        }
    }
}
#endif
