typedef struct {
    const int32_t *bias; /* the bias includes the zero point of the input */
    const int32_t *multiplier;
    const int8_t *shift;
    int32_t rounds; /* multiplier, shift and rounds: see edge_scale */
    int32_t zero;   /* of stored outputs: the zero point, and the limits of the activation function */
    int32_t low;
    int32_t high;
} edge_requantization;

/* The output of a channel whose products and bias sum up to `total`. */
static inline uint8_t edge_requantize(const edge_requantization *output, int32_t total, int32_t channel) {
    const int32_t value = edge_scale(total, output->multiplier[channel], output->shift[channel], output->rounds);
    return (uint8_t)edge_clamp(value + output->zero, output->low, output->high);
}
