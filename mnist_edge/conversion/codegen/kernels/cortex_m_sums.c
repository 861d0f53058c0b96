#ifdef EDGE_CORTEX_M
#define EDGE_MOST_SUMS 128 /* of one pixel, or 64 of each of two: 512 bytes of stack */

/* Sums of one or two neighbouring pixels, for the channels from `from` to before `end`, multiples of EDGE_BLOCK. */
typedef struct {
    int32_t value[EDGE_MOST_SUMS]; /* [channel][pixel] */
    int32_t pixels;
    int32_t from;
    int32_t end;
    uint32_t excess[2]; /* what is to be subtracted from all sums of each pixel */
} edge_sums;

/* The sums before the first product. */
static void edge_sums_begin(const edge_conv_dense_layer *layer, edge_sums *sums) {
    const int32_t *bias = &layer->output.bias[sums->from];
    int32_t *to = sums->value;
    if (sums->pixels == 2) {
        for (int32_t left = sums->end - sums->from; left != 0; left--) {
            const int32_t value = *bias;
            bias = &bias[1];
            to[0] = value;
            to[1] = value;
            to = &to[2];
        }
    } else {
        (void)memcpy(to, bias, sizeof(int32_t) * (size_t)(sums->end - sums->from));
    }
    sums->excess[0] = 0;
    sums->excess[1] = 0;
}
#endif
