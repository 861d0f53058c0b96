typedef struct {
    int32_t average; /* 1: the mean of a window; 0: its maximum */
    int32_t in_height;
    int32_t in_width;
    int32_t channels;
    int32_t height; /* of the output */
    int32_t width;
    int32_t kernel_y;
    int32_t kernel_x;
    int32_t stride_y;
    int32_t stride_x;
    int32_t top; /* rows and columns by which the first window begins before the input; they do not count */
    int32_t left;
    int32_t low; /* limits of the output, as it is stored */
    int32_t high;
} edge_pool_layer;

static inline void edge_pool(const edge_pool_layer *layer, const uint8_t *in, uint8_t *out) {
    for (int32_t y = 0; y < layer->height; y++) {
        const int32_t window_y = (y * layer->stride_y) - layer->top;
        const int32_t first_y = edge_larger(window_y, 0);
        const int32_t end_y = edge_clamp(window_y + layer->kernel_y, 0, layer->in_height);
        for (int32_t x = 0; x < layer->width; x++) {
            const int32_t window_x = (x * layer->stride_x) - layer->left;
            const int32_t first_x = edge_larger(window_x, 0);
            const int32_t end_x = edge_clamp(window_x + layer->kernel_x, 0, layer->in_width);
            const int32_t count = (end_y - first_y) * (end_x - first_x);
            for (int32_t c = 0; c < layer->channels; c++) {
                int32_t result = 0;
                int32_t sum = -128 * count; /* of the values, which are stored plus 128 */
                for (int32_t from_y = first_y; from_y < end_y; from_y++) {
                    for (int32_t from_x = first_x; from_x < end_x; from_x++) {
                        const int32_t pixel = (from_y * layer->in_width) + from_x;
                        const int32_t value = (int32_t)in[(pixel * layer->channels) + c];
                        result = edge_larger(result, value);
                        sum += value;
                    }
                }
                if (layer->average != 0) {
                    sum = (sum > 0) ? (sum + (count / 2)) : (sum - (count / 2));
                    result = (sum / count) + 128;
                }
                out[(((y * layer->width) + x) * layer->channels) + c] =
                    (uint8_t)edge_clamp(result, layer->low, layer->high);
            }
        }
    }
}
