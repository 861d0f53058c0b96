typedef struct {
    int32_t height; /* of the output */
    int32_t width;
    int32_t channels;
    int32_t kernel_y;
    int32_t kernel_x;
    int32_t step_y; /* bytes between the inputs of neighbouring output pixels */
    int32_t step_x;
    int32_t dilation_y; /* bytes between the inputs of neighbouring weights */
    int32_t dilation_x;
    int32_t depth_multiplier; /* output channels for each input channel */
    int32_t in_zero;          /* zero point of the input, as it is stored */
    const int8_t *weights;    /* [kernel_y][kernel_x][channels] */
    edge_requantization output;
} edge_depthwise_layer;

static inline void edge_depthwise(const edge_depthwise_layer *layer, const uint8_t *in, uint8_t *out) {
    for (int32_t y = 0; y < layer->height; y++) {
        for (int32_t x = 0; x < layer->width; x++) {
            uint8_t *const to = &out[((y * layer->width) + x) * layer->channels];
            const int32_t first = (y * layer->step_y) + (x * layer->step_x);
            for (int32_t c = 0; c < layer->channels; c++) {
                const uint8_t *const from = &in[first + (c / layer->depth_multiplier)];
                int32_t total = layer->output.bias[c];
                for (int32_t ky = 0; ky < layer->kernel_y; ky++) {
                    for (int32_t kx = 0; kx < layer->kernel_x; kx++) {
                        const int32_t value = (int32_t)from[(ky * layer->dilation_y) + (kx * layer->dilation_x)];
                        const int32_t at = (ky * layer->kernel_x) + kx;
                        total += (value - layer->in_zero) * layer->weights[(at * layer->channels) + c];
                    }
                }
                to[c] = edge_requantize(&layer->output, total, c);
            }
        }
    }
}
