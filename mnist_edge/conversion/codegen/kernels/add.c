/* An operand of fewer elements than the output is repeated. */
typedef struct {
    int32_t size; /* elements of the output and of the operands */
    int32_t a_size;
    int32_t b_size;
    int32_t sign;   /* 1: a + b; -1: a - b */
    int32_t a_zero; /* zero point, as it is stored, and scale of an operand: see edge_scale */
    int32_t a_multiplier;
    int32_t a_shift;
    int32_t b_zero;
    int32_t b_multiplier;
    int32_t b_shift;
    int32_t multiplier; /* scale, zero point and limits of the output */
    int32_t shift;
    int32_t zero;
    int32_t low;
    int32_t high;
} edge_add_layer;

static inline void edge_add(const edge_add_layer *layer, const uint8_t *a, const uint8_t *b, uint8_t *out) {
    int32_t at_a = 0;
    int32_t at_b = 0;
    for (int32_t i = 0; i < layer->size; i++) {
        /* 1048576 is 2^20: operands are raised by 20 bits before they are scaled, as in LiteRT. */
        const int32_t raised_a = ((int32_t)a[at_a] - layer->a_zero) * 1048576;
        const int32_t raised_b = ((int32_t)b[at_b] - layer->b_zero) * 1048576;
        const int32_t scaled_a = edge_divide_by_power(edge_high(raised_a, layer->a_multiplier), -layer->a_shift);
        const int32_t scaled_b = edge_divide_by_power(edge_high(raised_b, layer->b_multiplier), -layer->b_shift);
        const int32_t sum = scaled_a + (layer->sign * scaled_b);
        const int32_t value = edge_divide_by_power(edge_high(sum, layer->multiplier), -layer->shift);
        out[i] = (uint8_t)edge_clamp(value + layer->zero, layer->low, layer->high);
        at_a = ((at_a + 1) == layer->a_size) ? 0 : (at_a + 1);
        at_b = ((at_b + 1) == layer->b_size) ? 0 : (at_b + 1);
    }
}
