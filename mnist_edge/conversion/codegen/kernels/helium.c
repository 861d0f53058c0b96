/* Four groups with a non-zero input are collected, wherever they lie. For each channel, their 16 weights are gathered and
 * multiplied with the 16 inputs of one or two pixels. Both must be unsigned: the weights are made so by adding 128, and
 * 128 times the sum of the inputs is subtracted in the end. */
#ifdef EDGE_MVE
#define EDGE_GATHERED 4

typedef struct {
    uint32_t input[2][EDGE_GATHERED]; /* groups of each pixel */
    uint32_t before[EDGE_GATHERED];   /* addresses EDGE_GROUP bytes before the weights of the first channel */
    uint32_t total[2];                /* of all inputs of each pixel until now */
    int32_t count;
} edge_helium_groups;

/* Weights of the next channel, as unsigned numbers, from the four addresses in q3. */
#define EDGE_HELIUM_WEIGHTS "vldrw.u32 q2, [q3, #4]!\n veor q2, q2, q4\n"
#define EDGE_HELIUM_TWO_PIXELS                                                                         \
    "ldrd r4, r6, [%0]\n" EDGE_HELIUM_WEIGHTS "vmladava.u8 r4, q2, q0\n vmladava.u8 r6, q2, q1\n" \
    "strd r4, r6, [%0], #8\n"
#define EDGE_HELIUM_TWO_CHANNELS                                                                                   \
    "ldrd r4, r6, [%0]\n" EDGE_HELIUM_WEIGHTS "vmladava.u8 r4, q2, q0\n" EDGE_HELIUM_WEIGHTS                   \
    "vmladava.u8 r6, q2, q0\n strd r4, r6, [%0], #8\n"
#define EDGE_HELIUM_LOOP(WORK) \
    "vldrw.u32 q0, [%1]\n vldrw.u32 q1, [%1, #16]\n vldrw.u32 q3, [%1, #32]\n vmov.i8 q4, #128\n dls lr, %2\n" \
    "1:\n" WORK "le lr, 1b"

/* Add the products of the groups to the sums of `channels` channels, [channel][pixel]. */
static void edge_helium_add(edge_helium_groups *groups, int32_t channels, int32_t pixels, int32_t *sums) {
    int32_t *to = sums;
    groups->count = 0;
    if (pixels == 2) {
        __asm__ volatile(EDGE_HELIUM_LOOP(EDGE_HELIUM_TWO_PIXELS EDGE_HELIUM_TWO_PIXELS EDGE_HELIUM_TWO_PIXELS
                                              EDGE_HELIUM_TWO_PIXELS)
                         : "+r"(to)
                         : "r"(groups), "r"(channels / 4)
                         : "r4", "r6", "lr", "q0", "q1", "q2", "q3", "q4", "memory");
    } else {
        __asm__ volatile(EDGE_HELIUM_LOOP(EDGE_HELIUM_TWO_CHANNELS EDGE_HELIUM_TWO_CHANNELS)
                         : "+r"(to)
                         : "r"(groups), "r"(channels / 4)
                         : "r4", "r6", "lr", "q0", "q1", "q2", "q3", "q4", "memory");
    }
    __asm__ volatile("vldrw.u32 q0, [%2]\n vldrw.u32 q1, [%2, #16]\n vaddva.u8 %0, q0\n vaddva.u8 %1, q1"
                     : "+Te"(groups->total[0]), "+Te"(groups->total[1])
                     : "r"(groups)
                     : "q0", "q1", "memory");
}

/* As the function of this name in the DSP kernels. */
static int32_t edge_cortex_m_sums(const edge_conv_dense_layer *layer, const uint8_t *in, int32_t pixels, int32_t block,
                                  int32_t blocks, int32_t *sums) {
    const int8_t *weights = &layer->weights[block * EDGE_BLOCK * EDGE_GROUP];
    const int32_t row = layer->blocks * EDGE_BLOCK * EDGE_GROUP;
    const int32_t channels = blocks * EDGE_BLOCK;
    edge_helium_groups groups;
    groups.total[0] = 0;
    groups.total[1] = 0;
    groups.count = 0;
    int32_t any = 0;
    for (int32_t run = 0; run < layer->runs; run++) {
        const uint8_t *x = &in[layer->run_at[run]];
        for (int32_t left = layer->groups; left != 0; left--) {
            uint32_t a;
            uint32_t b = 0;
            (void)memcpy(&a, x, sizeof a);
            if (pixels == 2) {
                (void)memcpy(&b, &x[layer->step_x], sizeof b);
            }
            if ((a | b) != 0u) {
                if (any == 0) {
                    edge_cortex_m_begin(&layer->output.bias[block * EDGE_BLOCK], channels, pixels, sums);
                    any = 1;
                }
                groups.input[0][groups.count] = a;
                groups.input[1][groups.count] = b;
                groups.before[groups.count] = (uint32_t)weights - EDGE_GROUP;
                groups.count++;
                if (groups.count == EDGE_GATHERED) {
                    edge_helium_add(&groups, channels, pixels, sums);
                }
            }
            x = &x[EDGE_GROUP];
            weights = &weights[row];
        }
    }
    if (groups.count != 0) {
        for (int32_t i = groups.count; i < EDGE_GATHERED; i++) {
            groups.input[0][i] = 0;
            groups.input[1][i] = 0;
            groups.before[i] = groups.before[0];
        }
        edge_helium_add(&groups, channels, pixels, sums);
    }
    if (any != 0) {
        const uint32_t first = 128u * groups.total[0];
        const uint32_t last = 128u * groups.total[1];
        uint32_t *to = (uint32_t *)sums;
        for (int32_t left = channels; left != 0; left--) {
            to[0] -= first;
            if (pixels == 2) {
                to[1] -= last;
            }
            to = &to[pixels];
        }
    }
    return any;
}
#endif
