/* The sums of one or two pixels lie in memory, and every group of inputs adds its products to those of all channels:
 * nothing is listed in advance. Each group with a non-zero input takes, for two pixels and two channels, one load of
 * weights and two of sums. Bytes are widened to pairs of 16 bits, inputs 0 and 2 (even) and 1 and 3 (odd). If the inputs
 * of a pair are all zero, it is left out. */
#ifdef EDGE_CORTEX_M
#define EDGE_DSP_SUMS 128 /* of one pixel, or 64 of two: 512 bytes of stack */
#define EDGE_EVEN UINT32_C(0x00FF00FF)

/* The registers are named, since lists of registers must ascend. r7 is left to compilers, for the stack's frame. */
#define EDGE_DSP_ADD(SUM, INPUT) "smlad " SUM ", " INPUT ", r11, " SUM "\n"
#define EDGE_DSP_TWO(WEIGHTS, PART, A, B, INPUT_A, INPUT_B) \
    "sxtb16 r11, " WEIGHTS PART "\n" EDGE_DSP_ADD(A, INPUT_A) EDGE_DSP_ADD(B, INPUT_B)
#define EDGE_DSP_BLOCK_OF_TWO(WORK) \
    ".rept 8\n ldrd r9, r10, [%0], #8\n ldmia %1, {r4, r5, r6, r8}\n" WORK "stmia %1!, {r4, r5, r6, r8}\n .endr"
#define EDGE_DSP_ONE(WEIGHTS, PART, SUM, INPUT) \
    "sxtb16 r6, " WEIGHTS PART "\n smlad " SUM ", " INPUT ", r6, " SUM "\n"
#define EDGE_DSP_ONE_OF_EACH(PART, INPUT)                                                 \
    EDGE_DSP_ONE("r8", PART, "r2", INPUT) EDGE_DSP_ONE("r9", PART, "r3", INPUT)           \
    EDGE_DSP_ONE("r10", PART, "r4", INPUT) EDGE_DSP_ONE("r11", PART, "r5", INPUT)
#define EDGE_DSP_BLOCK_OF_ONE(WORK) \
    ".rept 4\n ldmia %0!, {r8, r9, r10, r11}\n ldmia %1, {r2, r3, r4, r5}\n" WORK "stmia %1!, {r2, r3, r4, r5}\n .endr"

/* Add the products of one group of two pixels' inputs to `sums`, [blocks * EDGE_BLOCK][2]. */
static inline void edge_dsp_two(const int8_t *group, int32_t blocks, uint32_t a, uint32_t b, int32_t *sums) {
    register const int8_t *weights __asm__("r12") = group;
    register int32_t *to __asm__("lr") = sums;
    register uint32_t a_even __asm__("r0") = a & EDGE_EVEN;
    register uint32_t a_odd __asm__("r1") = (a >> 8) & EDGE_EVEN;
    register uint32_t b_even __asm__("r2") = b & EDGE_EVEN;
    register uint32_t b_odd __asm__("r3") = (b >> 8) & EDGE_EVEN;
    int32_t left = blocks;
    if ((a_odd | b_odd) == 0u) {
        do {
            __asm__ volatile(EDGE_DSP_BLOCK_OF_TWO(EDGE_DSP_TWO("r9", "", "r4", "r5", "%2", "%3")
                                                       EDGE_DSP_TWO("r10", "", "r6", "r8", "%2", "%3"))
                             : "+r"(weights), "+r"(to)
                             : "r"(a_even), "r"(b_even)
                             : "r4", "r5", "r6", "r8", "r9", "r10", "r11", "memory");
        } while (--left != 0);
    } else if ((a_even | b_even) == 0u) {
        do {
            __asm__ volatile(EDGE_DSP_BLOCK_OF_TWO(EDGE_DSP_TWO("r9", ", ror #8", "r4", "r5", "%2", "%3")
                                                       EDGE_DSP_TWO("r10", ", ror #8", "r6", "r8", "%2", "%3"))
                             : "+r"(weights), "+r"(to)
                             : "r"(a_odd), "r"(b_odd)
                             : "r4", "r5", "r6", "r8", "r9", "r10", "r11", "memory");
        } while (--left != 0);
    } else {
        do {
            __asm__ volatile(EDGE_DSP_BLOCK_OF_TWO(EDGE_DSP_TWO("r9", "", "r4", "r5", "%2", "%4")
                                                       EDGE_DSP_TWO("r9", ", ror #8", "r4", "r5", "%3", "%5")
                                                       EDGE_DSP_TWO("r10", "", "r6", "r8", "%2", "%4")
                                                       EDGE_DSP_TWO("r10", ", ror #8", "r6", "r8", "%3", "%5"))
                             : "+r"(weights), "+r"(to)
                             : "r"(a_even), "r"(a_odd), "r"(b_even), "r"(b_odd)
                             : "r4", "r5", "r6", "r8", "r9", "r10", "r11", "memory");
        } while (--left != 0);
    }
}

/* The same for one pixel, whose sums are [blocks * EDGE_BLOCK]. */
static inline void edge_dsp_one(const int8_t *group, int32_t blocks, uint32_t a, int32_t *sums) {
    register const int8_t *weights __asm__("r12") = group;
    register int32_t *to __asm__("lr") = sums;
    register uint32_t even __asm__("r0") = a & EDGE_EVEN;
    register uint32_t odd __asm__("r1") = (a >> 8) & EDGE_EVEN;
    int32_t left = blocks;
    if (odd == 0u) {
        do {
            __asm__ volatile(EDGE_DSP_BLOCK_OF_ONE(EDGE_DSP_ONE_OF_EACH("", "%2"))
                             : "+r"(weights), "+r"(to)
                             : "r"(even)
                             : "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "memory");
        } while (--left != 0);
    } else if (even == 0u) {
        do {
            __asm__ volatile(EDGE_DSP_BLOCK_OF_ONE(EDGE_DSP_ONE_OF_EACH(", ror #8", "%2"))
                             : "+r"(weights), "+r"(to)
                             : "r"(odd)
                             : "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "memory");
        } while (--left != 0);
    } else {
        do {
            __asm__ volatile(EDGE_DSP_BLOCK_OF_ONE(EDGE_DSP_ONE_OF_EACH("", "%2") EDGE_DSP_ONE_OF_EACH(", ror #8", "%3"))
                             : "+r"(weights), "+r"(to)
                             : "r"(even), "r"(odd)
                             : "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "memory");
        } while (--left != 0);
    }
}

/* Sums of `blocks` blocks of channels from `block` on, for one pixel, or for two that are `next` bytes apart, [channel]
 * [pixel]. Returns whether any input is non-zero. */
static int32_t edge_dsp_sums(const edge_conv_dense_layer *layer, const uint8_t *in, int32_t pixels, int32_t next,
                             int32_t block, int32_t blocks, int32_t *sums) {
    const int32_t *bias = &layer->output.bias[block * EDGE_BLOCK];
    const int8_t *weights = &layer->weights[block * EDGE_BLOCK * EDGE_GROUP];
    const int32_t row = layer->blocks * EDGE_BLOCK * EDGE_GROUP;
    uint32_t any = 0;
    for (int32_t c = 0; c < blocks * EDGE_BLOCK; c++) {
        sums[c * pixels] = bias[c];
        sums[(c * pixels) + pixels - 1] = bias[c];
    }
    for (int32_t run = 0; run < layer->runs; run++) {
        const uint8_t *x = &in[layer->run_at[run]];
        for (int32_t group = 0; group < layer->groups; group++) {
            uint32_t a;
            uint32_t b = 0;
            (void)memcpy(&a, x, sizeof a);
            if (pixels == 2) {
                (void)memcpy(&b, &x[next], sizeof b);
            }
            if ((a | b) != 0u) {
                any |= a | b;
                if (pixels == 2) {
                    edge_dsp_two(weights, blocks, a, b, sums);
                } else {
                    edge_dsp_one(weights, blocks, a, sums);
                }
            }
            x = &x[EDGE_GROUP];
            weights = &weights[row];
        }
    }
    return any != 0u;
}

/* Requantized; the sum is checked first, since most outputs are 0 after a ReLU. */
static inline uint8_t edge_dsp_output(const edge_requantization *output, int32_t total, int32_t channel) {
    return (total <= 0) && (output->low == output->zero) ? (uint8_t)output->low
                                                         : edge_requantize(output, total, channel);
}

/* Outputs of all channels of one or two pixels. In a pooling window of 2 x 2, `row` is that of the two pixels, and the
 * output is the larger of theirs and, for row 1, of what is already there; otherwise `row` is -1. Returns whether any
 * input is non-zero. If none is, `blank` are the outputs, if it is not NULL. */
static int32_t edge_dsp_outputs(const edge_conv_dense_layer *layer, const uint8_t *in, int32_t pixels, int32_t row,
                                const uint8_t *blank, uint8_t *to) {
    int32_t sums[EDGE_DSP_SUMS];
    const int32_t most = EDGE_DSP_SUMS / EDGE_BLOCK / pixels;
    int32_t any = 0;
    for (int32_t block = 0; block < layer->blocks; block += most) {
        const int32_t blocks = edge_clamp(layer->blocks - block, 0, most);
        const int32_t from = EDGE_BLOCK * block;
        const int32_t count = edge_clamp(layer->channels - from, 0, EDGE_BLOCK * blocks);
        any = edge_dsp_sums(layer, in, pixels, layer->step_x, block, blocks, sums);
        if ((any == 0) && (blank != NULL)) {
            for (int32_t c = 0; c < layer->channels; c++) {
                to[c] = row == 1 ? (uint8_t)edge_larger(to[c], blank[c]) : blank[c];
                if ((row == -1) && (pixels == 2)) {
                    to[layer->channels + c] = blank[c];
                }
            }
            break;
        }
        for (int32_t c = 0; c < count; c++) {
            const int32_t first = sums[c * pixels];
            const int32_t last = sums[(c * pixels) + pixels - 1];
            uint8_t *const at = &to[from + c];
            if (row == -1) {
                at[0] = edge_dsp_output(&layer->output, first, from + c);
                if (pixels == 2) {
                    at[layer->channels] = edge_dsp_output(&layer->output, last, from + c);
                }
            } else {
                const uint8_t value = edge_dsp_output(&layer->output, edge_larger(first, last), from + c);
                at[0] = (row == 1) ? (uint8_t)edge_larger(at[0], value) : value;
            }
        }
    }
    return any;
}

static void edge_conv_dense_dsp(const edge_conv_dense_layer *layer, const uint8_t *in, uint8_t *out) {
    const uint8_t *blank = NULL; /* outputs of a pixel whose inputs are all zero, once they are known */
    for (int32_t y = 0; y < layer->height; y++) {
        int32_t pixels;
        for (int32_t x = 0; x < layer->width; x += (layer->pool == 2) ? 1 : pixels) {
            uint8_t *const to = &out[(y * layer->out_row) + (x * layer->channels)];
            const uint8_t *const first = &in[((y * layer->step_y) + (x * layer->step_x)) * layer->pool];
            int32_t any;
            pixels = ((layer->pool == 2) || ((x + 1) < layer->width)) ? 2 : 1;
            if (layer->pool == 2) {
                any = edge_dsp_outputs(layer, first, 2, 0, blank, to);
                any |= edge_dsp_outputs(layer, &first[layer->step_y], 2, 1, blank, to);
            } else {
                any = edge_dsp_outputs(layer, first, pixels, -1, blank, to);
            }
            blank = (any == 0) ? to : blank;
        }
    }
}
#endif
