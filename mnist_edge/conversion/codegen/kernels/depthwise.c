typedef struct {
    int32_t size[3]; /* height, width and channels of the output */
    int32_t kernel[2];
    int32_t step[2];       /* bytes between the inputs of neighbouring output pixels, down and across */
    int32_t dilation[2];   /* bytes between the inputs of neighbouring weights */
    int32_t repeats;       /* output channels for each input channel */
    const int8_t *weights; /* [kernel[0]][kernel[1]][channels] */
    edge_requantization output;
} edge_depthwise_layer;

static inline void edge_depthwise(const edge_depthwise_layer *layer, const uint8_t *in, uint8_t *out) {
    int32_t total[16]; /* of channels that are computed together: compilers make vectors of the loops over them */
    for (int32_t y = 0; y < layer->size[0]; y++) {
        for (int32_t x = 0; x < layer->size[1]; x++) {
            uint8_t *const to = &out[((y * layer->size[1]) + x) * layer->size[2]];
            const uint8_t *const first = &in[(y * layer->step[0]) + (x * layer->step[1])];
            for (int32_t c = 0; c < layer->size[2]; c += 16) {
                const int32_t count = edge_clamp(layer->size[2] - c, 0, 16);
                (void)memcpy(total, &layer->output.bias[c], sizeof(int32_t) * (size_t)count);
                for (int32_t ky = 0; ky < layer->kernel[0]; ky++) {
                    for (int32_t kx = 0; kx < layer->kernel[1]; kx++) {
                        const uint8_t *const from = &first[(ky * layer->dilation[0]) + (kx * layer->dilation[1])];
                        const int8_t *const weight = &layer->weights[((ky * layer->kernel[1]) + kx) * layer->size[2]];
                        for (int32_t i = 0; i < count; i++) {
                            const int32_t at = c + i;
                            total[i] += (int32_t)from[(layer->repeats == 1) ? at : (at / layer->repeats)] * weight[at];
                        }
                    }
                }
                for (int32_t i = 0; i < count; i++) {
                    to[c + i] = edge_requantize(&layer->output, total[i], c + i);
                }
            }
        }
    }
}
