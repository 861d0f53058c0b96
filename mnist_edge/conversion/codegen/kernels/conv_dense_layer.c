#define EDGE_GROUP 4  /* neighbouring inputs, whose products with the weights of a channel are summed in one step */
#define EDGE_BLOCK 16 /* output channels that are computed together */
/* For each output pixel, `runs` stretches of `groups` * EDGE_GROUP bytes of input are multiplied with weights and
 * summed. A dense layer is a convolution of one pixel with one run. The weights are packed as [runs * groups]
 * [blocks * EDGE_BLOCK][EDGE_GROUP]; those behind the end of a stretch and behind the last channel are zero. */
#ifdef EDGE_FOUR_BITS
/* Weights from -8 to 7 may be stored plus 8 in 4 bits: byte k of every four has those of input k, the lower half that of
 * one channel, and the upper half that of the next channel. */
#endif /* EDGE_FOUR_BITS */
typedef struct {
    int32_t height; /* of the output, after pooling */
    int32_t width;
    int32_t out_row; /* bytes from one row of the output to the next */
    int32_t step_y;  /* bytes between the inputs of neighbouring output pixels, before pooling */
    int32_t step_x;
    int32_t pool; /* 2: the maximum of 2 x 2 pixels is the output; 1: every pixel is an output */
    int32_t runs;
    int32_t groups;
    const int32_t *run_at; /* where each run begins, in bytes from the first */
    int32_t channels;
    int32_t blocks;
#ifdef EDGE_FOUR_BITS
    int32_t group_bytes; /* of a channel's weights for a group: EDGE_GROUP, or half of it if weights have 4 bits */
#endif /* EDGE_FOUR_BITS */
    const int8_t *weights;
    edge_requantization output;
} edge_conv_dense_layer;
