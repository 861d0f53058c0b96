/* The input is [before][count][after], and the output [before][after]. */
typedef struct {
    int32_t before;
    int32_t count;
    int32_t after;
    int32_t in_zero;    /* zero point of the input, as it is stored */
    int32_t multiplier; /* from a sum of `count` values to their mean: see edge_scale */
    int32_t shift;
    int32_t zero; /* zero point of the output, as it is stored */
} edge_mean_layer;

static inline void edge_mean(const edge_mean_layer *layer, const uint8_t *in, uint8_t *out) {
    for (int32_t i = 0; i < layer->before; i++) {
        for (int32_t k = 0; k < layer->after; k++) {
            int32_t total = -(layer->count * layer->in_zero);
            for (int32_t j = 0; j < layer->count; j++) {
                total += (int32_t)in[(((i * layer->count) + j) * layer->after) + k];
            }
            const int32_t value = edge_scale(total, layer->multiplier, layer->shift, 2) + layer->zero;
            out[(i * layer->after) + k] = (uint8_t)edge_clamp(value, 0, 255);
        }
    }
}
