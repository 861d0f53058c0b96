typedef struct {
    int32_t size[4]; /* of each dimension */
    int32_t in_step[4]; /* from one value to the next along each dimension */
    int32_t out_step[4];
} edge_rearrange_layer;

static void edge_rearrange(const edge_rearrange_layer *layer, const uint8_t *in, uint8_t *out) {
    for (int32_t a = 0; a < layer->size[0]; a++) {
        for (int32_t b = 0; b < layer->size[1]; b++) {
            for (int32_t c = 0; c < layer->size[2]; c++) {
                const int32_t from = (a * layer->in_step[0]) + (b * layer->in_step[1]) + (c * layer->in_step[2]);
                const int32_t to = (a * layer->out_step[0]) + (b * layer->out_step[1]) + (c * layer->out_step[2]);
                for (int32_t d = 0; d < layer->size[3]; d++) {
                    out[to + (d * layer->out_step[3])] = in[from + (d * layer->in_step[3])];
                }
            }
        }
    }
}
