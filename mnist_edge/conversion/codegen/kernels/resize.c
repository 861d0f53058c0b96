typedef struct {
    int32_t height; /* of the output */
    int32_t width;
    int32_t in_width;
    int32_t channels;
    const int32_t *rows; /* of the input, for each row of the output */
    const int32_t *columns;
} edge_resize_layer;

static void edge_resize(const edge_resize_layer *layer, const uint8_t *in, uint8_t *out) {
    for (int32_t y = 0; y < layer->height; y++) {
        for (int32_t x = 0; x < layer->width; x++) {
            const int32_t from = ((layer->rows[y] * layer->in_width) + layer->columns[x]) * layer->channels;
            const int32_t to = ((y * layer->width) + x) * layer->channels;
            (void)memcpy(&out[to], &in[from], (size_t)layer->channels);
        }
    }
}
