static void edge_pad(const uint8_t *in, uint8_t *out, int32_t height, int32_t width, int32_t channels, int32_t top,
                     int32_t bottom, int32_t left, int32_t right, int32_t fill) {
    const int32_t row = width * channels;
    const int32_t before = left * channels;
    const int32_t after = right * channels;
    const int32_t whole = before + row + after;
    (void)memset(out, fill, (size_t)top * (size_t)whole);
    for (int32_t y = 0; y < height; y++) {
        uint8_t *const to = &out[(top + y) * whole];
        (void)memset(to, fill, (size_t)before);
        (void)memcpy(&to[before], &in[y * row], (size_t)row);
        (void)memset(&to[before + row], fill, (size_t)after);
    }
    (void)memset(&out[(top + height) * whole], fill, (size_t)bottom * (size_t)whole);
}

static void edge_depthwise(const edge_layer *layer, const uint8_t *in, uint8_t *out, int32_t height, int32_t width,
                           int32_t row, int32_t depth, int32_t stride_y, int32_t stride_x, int32_t down, int32_t across,
                           int32_t kernel_y, int32_t kernel_x, int32_t input_zero) {
    const int32_t spread = layer->channels / depth;
    for (int32_t y = 0; y < height; y++) {
        for (int32_t x = 0; x < width; x++) {
            uint8_t *const to = &out[((y * width) + x) * layer->channels];
            for (int32_t c = 0; c < layer->channels; c++) {
                const uint8_t *const from = &in[(y * stride_y * row) + (x * stride_x * depth) + (c / spread)];
                int32_t total = layer->bias[c];
                for (int32_t ky = 0; ky < kernel_y; ky++) {
                    for (int32_t kx = 0; kx < kernel_x; kx++) {
                        const int32_t value = (int32_t)from[(ky * down * row) + (kx * across * depth)];
                        total += (value - input_zero) * layer->weights[(((ky * kernel_x) + kx) * layer->channels) + c];
                    }
                }
                to[c] = edge_round(layer, total, c);
            }
        }
    }
}

static void edge_pool(int32_t average, const uint8_t *in, uint8_t *out, int32_t in_height, int32_t in_width,
                      int32_t channels, int32_t height, int32_t width, int32_t kernel_y, int32_t kernel_x,
                      int32_t stride_y, int32_t stride_x, int32_t top, int32_t left, int32_t low, int32_t high) {
    for (int32_t y = 0; y < height; y++) {
        const int32_t first_y = edge_larger((y * stride_y) - top, 0);
        const int32_t end_y = edge_clamp(((y * stride_y) - top) + kernel_y, 0, in_height);
        for (int32_t x = 0; x < width; x++) {
            const int32_t first_x = edge_larger((x * stride_x) - left, 0);
            const int32_t end_x = edge_clamp(((x * stride_x) - left) + kernel_x, 0, in_width);
            const int32_t count = (end_y - first_y) * (end_x - first_x);
            for (int32_t c = 0; c < channels; c++) {
                int32_t most = 0;
                int32_t sum = -128 * count;
                for (int32_t from_y = first_y; from_y < end_y; from_y++) {
                    for (int32_t from_x = first_x; from_x < end_x; from_x++) {
                        const int32_t value = (int32_t)in[(((from_y * in_width) + from_x) * channels) + c];
                        most = edge_larger(most, value);
                        sum += value;
                    }
                }
                if (average != 0) {
                    sum = (sum > 0) ? (sum + (count / 2)) : (sum - (count / 2));
                    most = (sum / count) + 128;
                }
                out[(((y * width) + x) * channels) + c] = (uint8_t)edge_clamp(most, low, high);
            }
        }
    }
}

/* Operands of fewer elements than the output repeat. `sign` is -1 for a difference. */
static void edge_add(const uint8_t *a, int32_t a_size, const uint8_t *b, int32_t b_size, uint8_t *out, int32_t size,
                     int32_t sign, int32_t a_zero, int32_t a_multiplier, int32_t a_shift, int32_t b_zero,
                     int32_t b_multiplier, int32_t b_shift, int32_t multiplier, int32_t shift, int32_t zero, int32_t low,
                     int32_t high) {
    int32_t at_a = 0;
    int32_t at_b = 0;
    for (int32_t i = 0; i < size; i++) {
        const int32_t raised_a = ((int32_t)a[at_a] - a_zero) * 1048576;
        const int32_t raised_b = ((int32_t)b[at_b] - b_zero) * 1048576;
        const int32_t first = edge_divide_by_power(edge_high(raised_a, a_multiplier), -a_shift);
        const int32_t second = edge_divide_by_power(edge_high(raised_b, b_multiplier), -b_shift);
        const int32_t total = edge_divide_by_power(edge_high(first + (sign * second), multiplier), -shift);
        out[i] = (uint8_t)edge_clamp(total + zero, low, high);
        at_a = ((at_a + 1) == a_size) ? 0 : (at_a + 1);
        at_b = ((at_b + 1) == b_size) ? 0 : (at_b + 1);
    }
}

/* Operands of fewer elements than the output repeat. */
static void edge_multiply(const uint8_t *a, int32_t a_size, const uint8_t *b, int32_t b_size, uint8_t *out, int32_t size,
                          int32_t a_zero, int32_t b_zero, int32_t multiplier, int32_t shift, int32_t zero, int32_t low,
                          int32_t high) {
    int32_t at_a = 0;
    int32_t at_b = 0;
    for (int32_t i = 0; i < size; i++) {
        const int32_t product = ((int32_t)a[at_a] - a_zero) * ((int32_t)b[at_b] - b_zero);
        out[i] = (uint8_t)edge_clamp(edge_scale(product, multiplier, shift, 2) + zero, low, high);
        at_a = ((at_a + 1) == a_size) ? 0 : (at_a + 1);
        at_b = ((at_b + 1) == b_size) ? 0 : (at_b + 1);
    }
}

/* The mean of the middle one of three dimensions. */
static void edge_mean(const uint8_t *in, uint8_t *out, int32_t before, int32_t count, int32_t after, int32_t input_zero,
                      int32_t multiplier, int32_t shift, int32_t zero) {
    for (int32_t i = 0; i < before; i++) {
        for (int32_t k = 0; k < after; k++) {
            int32_t total = -(count * input_zero);
            for (int32_t j = 0; j < count; j++) {
                total += (int32_t)in[(((i * count) + j) * after) + k];
            }
            out[(i * after) + k] = (uint8_t)edge_clamp(edge_scale(total, multiplier, shift, 2) + zero, 0, 255);
        }
    }
}

/* Rows of `length` bytes to rows that are `out_row` bytes apart. */
static void edge_copy_rows(const uint8_t *in, uint8_t *out, int32_t rows, int32_t length, int32_t out_row) {
    for (int32_t row = 0; row < rows; row++) {
        (void)memcpy(&out[row * out_row], &in[row * length], (size_t)length);
    }
}

static void edge_lookup(const uint8_t *in, uint8_t *out, int32_t size, const uint8_t *table) {
    for (int32_t i = 0; i < size; i++) {
        out[i] = table[in[i]];
    }
}

static int32_t edge_saturate(int64_t x) {
    int64_t near = (x > INT32_MAX) ? INT32_MAX : x;
    near = (near < INT32_MIN) ? INT32_MIN : near;
    return (int32_t)near;
}

/* Each of `rows` rows by itself. `table` holds exp of the distances 0, 1, .. from the row's largest logit, in fractions
 * of 31 bits; farther ones are 0. */
static void edge_softmax(const uint8_t *in, uint8_t *out, int32_t rows, int32_t classes, const int32_t *table,
                         int32_t counted) {
    for (int32_t row = 0; row < rows; row++) {
        const uint8_t *const from = &in[row * classes];
        int32_t most = 0;
        int32_t headroom = 0;
        int64_t total = 0;
        for (int32_t c = 0; c < classes; c++) {
            most = edge_larger(most, (int32_t)from[c]);
        }
        for (int32_t c = 0; c < classes; c++) {
            const int32_t distance = most - (int32_t)from[c];
            if (distance < counted) {
                total += edge_divide_by_power(table[distance], 12);
            }
        }
        while (total <= INT32_MAX) {
            total *= 2;
            headroom++;
        }
        /* 1 / (1 + fraction) by three steps of Newton and Raphson; the sum is (1 + fraction) * 2^31 */
        const int32_t half = (int32_t)(total / 2);
        int32_t x = 1515870810 + edge_high(half, -1010580540);
        for (int32_t step = 0; step < 3; step++) {
            x += edge_saturate((int64_t)edge_high(x, 536870912 - edge_high(half, x)) * 4);
        }
        x = edge_saturate((int64_t)x * 2);
        for (int32_t c = 0; c < classes; c++) {
            const int32_t distance = most - (int32_t)from[c];
            int32_t value = 0;
            if (distance < counted) {
                value = edge_divide_by_power(edge_high(x, table[distance]), (12 - headroom) + (31 - 8));
            }
            out[(row * classes) + c] = (uint8_t)edge_clamp(value, 0, 255);
        }
    }
}
