EDGE_INLINE EDGE_TARGET_$ISA void edge_layer_$ISA(const edge_layer *layer, const uint8_t *in, uint8_t *out) {
    int32_t input[EDGE_STEPS], weights[EDGE_STEPS];
    const int32_t pooled = layer->pool == 2, down = layer->pool * layer->step_y, across = layer->pool * layer->step_x;
    const int32_t next = layer->step_x, below = layer->step_y;
    const int32_t at[4] = {0, next, pooled ? below : 2 * next, pooled ? below + next : 3 * next};
    const int32_t few = layer->runs * layer->groups <= 8; /* to sort them out takes longer than to add them */
    const int32_t all = EDGE_SIGNED || few ? edge_all_steps(layer, input, weights) : 0;
    const uint8_t *blank = NULL; /* the answer of four pixels without any input */
    for (int32_t y = 0; y < layer->height; y++) {
        const uint8_t *first = in + y * down;
        uint8_t *to = out + y * layer->out_row;
        for (int32_t x = 0, step; x < layer->width; x += step, first += step * across, to += step * layer->channels) {
            int32_t channel = 0;
            if (pooled || layer->width - x >= 4) {
                const int32_t n = all ? all : edge_steps_$ISA(layer, first, at, 4, input, weights);
                const int32_t none = few ? !edge_any(layer, first, at, 4) : n == 0;
                step = pooled ? 1 : 4;
                if (none && blank) {
                    memcpy(to, blank, (size_t)(step * layer->channels));
                    continue;
                }
                blank = none ? to : blank;
$FOUR
            } else {
                const int32_t n = all ? all : edge_steps_$ISA(layer, first, at, 1, input, weights);
                step = 1;
$ONE
            }
        }
    }
}
