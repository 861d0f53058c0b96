/* An operand of fewer elements than the output is repeated. */
typedef struct {
    int32_t size; /* elements of the output and of the operands */
    int32_t a_size;
    int32_t b_size;
    int32_t a_zero; /* zero points of the operands, as they are stored */
    int32_t b_zero;
    int32_t multiplier; /* scale, zero point and limits of the output */
    int32_t shift;
    int32_t zero;
    int32_t low;
    int32_t high;
} edge_multiply_layer;

static inline void edge_multiply(const edge_multiply_layer *layer, const uint8_t *a, const uint8_t *b, uint8_t *out) {
    int32_t at_a = 0;
    int32_t at_b = 0;
    for (int32_t i = 0; i < layer->size; i++) {
        const int32_t product = ((int32_t)a[at_a] - layer->a_zero) * ((int32_t)b[at_b] - layer->b_zero);
        const int32_t value = edge_scale(product, layer->multiplier, layer->shift, 2);
        out[i] = (uint8_t)edge_clamp(value + layer->zero, layer->low, layer->high);
        at_a = ((at_a + 1) == layer->a_size) ? 0 : (at_a + 1);
        at_b = ((at_b + 1) == layer->b_size) ? 0 : (at_b + 1);
    }
}
