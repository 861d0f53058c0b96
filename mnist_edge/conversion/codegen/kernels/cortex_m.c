#ifdef EDGE_CORTEX_M
#define EDGE_SUMS 128 /* of one pixel, or 64 of each of two: 512 bytes of stack */

/* As edge_requantize, which is much longer: most outputs are 0 after a ReLU, and the others then have positive sums. */
static inline uint8_t edge_cortex_m_output(const edge_requantization *output, int32_t total, int32_t channel) {
    const int32_t shift = output->shift[channel];
    if (output->low != output->zero) {
        return edge_requantize(output, total, channel);
    }
    if (total <= 0) {
        return (uint8_t)output->low;
    }
    if ((output->rounds == 1) || (shift > 0)) {
        return edge_requantize(output, total, channel);
    }
    const uint32_t product = (uint32_t)edge_high(total, output->multiplier[channel]);
    const uint32_t half = ((uint32_t)1 << (uint32_t)-shift) / 2u;
    const uint32_t value = ((product + half) >> (uint32_t)-shift) + (uint32_t)output->zero;
    return (uint8_t)((value > (uint32_t)output->high) ? (uint32_t)output->high : value);
}

/* Outputs of the channels from `from` to before `end`, from the sums of one or two pixels. In a pooling window of 2 x 2,
 * `row` is that of the two pixels, and the output is the larger of theirs and, in row 1, of what is already there;
 * otherwise `row` is -1. */
static void edge_cortex_m_finish(const edge_conv_dense_layer *layer, const int32_t *sums, int32_t pixels, int32_t row,
                            int32_t from, int32_t end, uint8_t *to) {
    const edge_requantization output = layer->output;
    const int32_t *sum = sums;
    for (int32_t c = from; c < end; c++) {
        const int32_t first = sum[0];
        const int32_t last = sum[pixels - 1];
        sum = &sum[pixels];
        if (row == -1) {
            to[c] = edge_cortex_m_output(&output, first, c);
            if (pixels == 2) {
                to[layer->channels + c] = edge_cortex_m_output(&output, last, c);
            }
        } else {
            const uint8_t value = edge_cortex_m_output(&output, edge_larger(first, last), c);
            to[c] = (row == 1) ? (uint8_t)edge_larger(to[c], value) : value;
        }
    }
}

/* The same for all channels of pixels whose inputs are all zero, from the outputs of another such pixel. */
static void edge_cortex_m_copy(const uint8_t *blank, int32_t channels, int32_t pixels, int32_t row, uint8_t *to) {
    if (row == 1) {
        for (int32_t c = 0; (c < channels) && (to != blank); c++) {
            to[c] = (uint8_t)edge_larger(to[c], blank[c]);
        }
    } else {
        (void)memcpy(to, blank, (size_t)channels);
        if (row != 0 && pixels == 2) {
            (void)memcpy(&to[channels], blank, (size_t)channels);
        }
    }
}

/* Outputs of all channels of one or two pixels; `row` as in edge_cortex_m_finish. `blank` are the outputs of a pixel whose
 * inputs are all zero, or NULL. Returns whether any input is non-zero. */
static int32_t edge_cortex_m_outputs(const edge_conv_dense_layer *layer, const uint8_t *in, int32_t pixels, int32_t row,
                                const uint8_t *blank, uint8_t *to) {
    int32_t sums[EDGE_SUMS];
    int32_t any = 0;
    const int32_t most = EDGE_SUMS / EDGE_BLOCK / pixels;
    for (int32_t block = 0; block < layer->blocks; block += most) {
        const int32_t blocks = edge_clamp(layer->blocks - block, 0, most);
        const int32_t from = EDGE_BLOCK * block;
        any = edge_cortex_m_sums(layer, in, pixels, block, blocks, sums);
        if ((any == 0) && (blank != NULL)) {
            edge_cortex_m_copy(blank, layer->channels, pixels, row, to);
            break;
        }
        if (any == 0) {
            edge_cortex_m_begin(&layer->output.bias[from], blocks * EDGE_BLOCK, pixels, sums);
        }
        edge_cortex_m_finish(layer, sums, pixels, row, from, edge_clamp(layer->channels, 0, from + (EDGE_BLOCK * blocks)), to);
    }
    return any;
}

static void edge_conv_dense_cortex_m(const edge_conv_dense_layer *layer, const uint8_t *in, uint8_t *out) {
    const uint8_t *blank = NULL;
    for (int32_t y = 0; y < layer->height; y++) {
        int32_t pixels;
        for (int32_t x = 0; x < layer->width; x += (layer->pool == 2) ? 1 : pixels) {
            uint8_t *const to = &out[(y * layer->out_row) + (x * layer->channels)];
            const uint8_t *const first = &in[((y * layer->step_y) + (x * layer->step_x)) * layer->pool];
            int32_t any;
            if (layer->pool == 2) {
                pixels = 2;
                any = edge_cortex_m_outputs(layer, first, pixels, 0, blank, to);
                any |= edge_cortex_m_outputs(layer, &first[layer->step_y], pixels, 1, (any == 0) ? to : blank, to);
            } else {
                pixels = ((x + 1) < layer->width) ? 2 : 1;
                any = edge_cortex_m_outputs(layer, first, pixels, -1, blank, to);
            }
            blank = (any == 0) ? to : blank;
        }
    }
}
#endif
