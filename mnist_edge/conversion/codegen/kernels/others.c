static void edge_pad(const uint8_t *in, uint8_t *out, int32_t height, int32_t width, int32_t channels, int32_t top,
                     int32_t bottom, int32_t left, int32_t right, int32_t fill) {
    const size_t row = (size_t)(width * channels), before = (size_t)(left * channels), after = (size_t)(right * channels);
    memset(out, fill, (size_t)top * (row + before + after));
    out += (size_t)top * (row + before + after);
    for (int32_t y = 0; y < height; y++, in += row) {
        memset(out, fill, before);
        memcpy(out + before, in, row);
        memset(out + before + row, fill, after);
        out += before + row + after;
    }
    memset(out, fill, (size_t)bottom * (row + before + after));
}

static void edge_depthwise(const edge_layer *layer, const uint8_t *in, uint8_t *out, int32_t height, int32_t width,
                           int32_t row, int32_t depth, int32_t stride_y, int32_t stride_x, int32_t down, int32_t across,
                           int32_t kernel_y, int32_t kernel_x, int32_t input_zero) {
    const int32_t spread = layer->channels / depth;
    for (int32_t y = 0; y < height; y++)
        for (int32_t x = 0; x < width; x++, out += layer->channels)
            for (int32_t c = 0; c < layer->channels; c++) {
                const uint8_t *from = in + y * stride_y * row + x * stride_x * depth + c / spread;
                int32_t total = layer->bias[c];
                for (int32_t ky = 0; ky < kernel_y; ky++)
                    for (int32_t kx = 0; kx < kernel_x; kx++)
                        total += (from[ky * down * row + kx * across * depth] - input_zero) *
                                 layer->weights[(ky * kernel_x + kx) * layer->channels + c];
                total = edge_scale(total, layer->multiplier[c], layer->shift[c], layer->rounds);
                out[c] = (uint8_t)edge_clamp(total + layer->zero, layer->low, layer->high);
            }
}

static void edge_pool(int average, const uint8_t *in, uint8_t *out, int32_t in_height, int32_t in_width, int32_t channels,
                      int32_t height, int32_t width, int32_t kernel_y, int32_t kernel_x, int32_t stride_y,
                      int32_t stride_x, int32_t top, int32_t left, int32_t low, int32_t high) {
    for (int32_t y = 0; y < height; y++)
        for (int32_t x = 0; x < width; x++)
            for (int32_t c = 0; c < channels; c++) {
                int32_t most = 0, sum = 0, count = 0;
                for (int32_t ky = 0; ky < kernel_y; ky++)
                    for (int32_t kx = 0; kx < kernel_x; kx++) {
                        const int32_t from_y = y * stride_y + ky - top, from_x = x * stride_x + kx - left;
                        if (from_y < 0 || from_y >= in_height || from_x < 0 || from_x >= in_width)
                            continue;
                        const int32_t value = in[(from_y * in_width + from_x) * channels + c];
                        most = value > most ? value : most;
                        sum += value - 128;
                        count++;
                    }
                if (average)
                    most = (sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count) + 128;
                *out++ = (uint8_t)edge_clamp(most, low, high);
            }
}

/* Operands of fewer elements than the output repeat. `sign` is -1 for a difference. */
static void edge_add(const uint8_t *a, int32_t a_size, const uint8_t *b, int32_t b_size, uint8_t *out, int32_t size,
                     int32_t sign, int32_t a_zero, int32_t a_multiplier, int32_t a_shift, int32_t b_zero,
                     int32_t b_multiplier, int32_t b_shift, int32_t multiplier, int32_t shift, int32_t zero, int32_t low,
                     int32_t high) {
    int32_t at_a = 0, at_b = 0;
    for (int32_t i = 0; i < size; i++) {
        const int32_t raised_a = (a[at_a] - a_zero) * (1 << 20), raised_b = (b[at_b] - b_zero) * (1 << 20);
        const int32_t left = edge_divide_by_power(edge_high(raised_a, a_multiplier), -a_shift);
        const int32_t right = edge_divide_by_power(edge_high(raised_b, b_multiplier), -b_shift);
        const int32_t total = edge_divide_by_power(edge_high(left + sign * right, multiplier), -shift);
        out[i] = (uint8_t)edge_clamp(total + zero, low, high);
        at_a = at_a + 1 == a_size ? 0 : at_a + 1;
        at_b = at_b + 1 == b_size ? 0 : at_b + 1;
    }
}

/* Operands of fewer elements than the output repeat. */
static void edge_multiply(const uint8_t *a, int32_t a_size, const uint8_t *b, int32_t b_size, uint8_t *out, int32_t size,
                          int32_t a_zero, int32_t b_zero, int32_t multiplier, int32_t shift, int32_t zero, int32_t low,
                          int32_t high) {
    int32_t at_a = 0, at_b = 0;
    for (int32_t i = 0; i < size; i++) {
        const int32_t product = (a[at_a] - a_zero) * (b[at_b] - b_zero);
        out[i] = (uint8_t)edge_clamp(edge_scale(product, multiplier, shift, 2) + zero, low, high);
        at_a = at_a + 1 == a_size ? 0 : at_a + 1;
        at_b = at_b + 1 == b_size ? 0 : at_b + 1;
    }
}

/* The mean of the middle one of three dimensions. */
static void edge_mean(const uint8_t *in, uint8_t *out, int32_t before, int32_t count, int32_t after, int32_t input_zero,
                      int32_t multiplier, int32_t shift, int32_t zero) {
    for (int32_t i = 0; i < before; i++)
        for (int32_t k = 0; k < after; k++) {
            int32_t total = -count * input_zero;
            for (int32_t j = 0; j < count; j++)
                total += in[(i * count + j) * after + k];
            out[i * after + k] = (uint8_t)edge_clamp(edge_scale(total, multiplier, shift, 2) + zero, 0, 255);
        }
}

/* Rows of `length` bytes to rows that are `out_row` bytes apart. */
static void edge_copy_rows(const uint8_t *in, uint8_t *out, int32_t rows, int32_t length, int32_t out_row) {
    for (int32_t row = 0; row < rows; row++)
        memcpy(out + row * out_row, in + row * length, (size_t)length);
}

static void edge_lookup(const uint8_t *in, uint8_t *out, int32_t size, const uint8_t *table) {
    for (int32_t i = 0; i < size; i++)
        out[i] = table[in[i]];
}

static int32_t edge_saturate(int64_t x) {
    return x > INT32_MAX ? INT32_MAX : x < INT32_MIN ? INT32_MIN : (int32_t)x;
}

/* Each of `rows` rows by itself. `table` holds exp of the distances 0, 1, .. from the row's largest logit, in fractions
 * of 31 bits; farther ones are 0. */
static void edge_softmax(const uint8_t *in, uint8_t *out, int32_t rows, int32_t classes, const int32_t *table,
                         int32_t counted) {
    for (int32_t row = 0; row < rows; row++, in += classes, out += classes) {
        int32_t most = 0, headroom = 0;
        uint32_t total = 0;
        for (int32_t c = 0; c < classes; c++)
            most = in[c] > most ? in[c] : most;
        for (int32_t c = 0; c < classes; c++)
            if (most - in[c] < counted)
                total += (uint32_t)edge_divide_by_power(table[most - in[c]], 12);
        while (!(total << headroom & UINT32_C(0x80000000)))
            headroom++;
        /* 1 / (1 + fraction) by three steps of Newton and Raphson */
        const int64_t sum = (int64_t)(total << headroom) - (INT64_C(1) << 31) + INT32_MAX;
        const int32_t half = (int32_t)((sum + 1) / 2);
        int32_t x = INT32_C(1515870810) + edge_high(half, -INT32_C(1010580540));
        for (int step = 0; step < 3; step++)
            x += edge_saturate((int64_t)edge_high(x, (1 << 29) - edge_high(half, x)) * 4);
        x = edge_saturate((int64_t)x * 2);
        for (int32_t c = 0; c < classes; c++) {
            int32_t value = 0;
            if (most - in[c] < counted)
                value = edge_divide_by_power(edge_high(x, table[most - in[c]]), 12 - headroom + 31 - 8);
            out[c] = (uint8_t)edge_clamp(value, 0, 255);
        }
    }
}
