/* The sums of one or two pixels lie in memory, and every group of inputs adds its products to those of all channels:
 * nothing is listed in advance. Each group with a non-zero input takes, for two pixels and two channels, one load of
 * weights and two of sums. Bytes are widened to pairs of 16 bits, inputs 0 and 2 (even) and 1 and 3 (odd). A pair whose
 * inputs are all zero is left out. */
#if defined(EDGE_CORTEX_M) && !defined(EDGE_MVE)
#define EDGE_EVEN UINT32_C(0x00FF00FF)

/* The registers are named, since lists of registers must ascend. r7 is left to compilers, for the stack's frame. r9 is
 * used: builds that reserve it need -DEDGE_BACKEND=EDGE_C99. */
#define EDGE_DSP_ADD(SUM, INPUT) "smlad " SUM ", " INPUT ", r11, " SUM "\n"
#define EDGE_DSP_TWO(WEIGHTS, PART, A, B, INPUT_A, INPUT_B) \
    "sxtb16 r11, " WEIGHTS PART "\n" EDGE_DSP_ADD(A, INPUT_A) EDGE_DSP_ADD(B, INPUT_B)
#define EDGE_DSP_FOUR_TIMES(TEXT) TEXT TEXT TEXT TEXT
#define EDGE_DSP_TWO_CHANNELS(WORK) \
    "ldrd r9, r10, [%0], #8\n ldmia %1, {r4, r5, r6, r8}\n" WORK "stmia %1!, {r4, r5, r6, r8}\n"
#define EDGE_DSP_BLOCK_OF_TWO(WORK) EDGE_DSP_FOUR_TIMES(EDGE_DSP_TWO_CHANNELS(WORK) EDGE_DSP_TWO_CHANNELS(WORK))
#define EDGE_DSP_ONE(WEIGHTS, PART, SUM, INPUT) \
    "sxtb16 r6, " WEIGHTS PART "\n smlad " SUM ", " INPUT ", r6, " SUM "\n"
#define EDGE_DSP_ONE_OF_EACH(PART, INPUT)                                                 \
    EDGE_DSP_ONE("r8", PART, "r2", INPUT) EDGE_DSP_ONE("r9", PART, "r3", INPUT)           \
    EDGE_DSP_ONE("r10", PART, "r4", INPUT) EDGE_DSP_ONE("r11", PART, "r5", INPUT)
#define EDGE_DSP_BLOCK_OF_ONE(WORK)                                            \
    EDGE_DSP_FOUR_TIMES("ldmia %0!, {r8, r9, r10, r11}\n ldmia %1, {r2, r3, r4, r5}\n" WORK \
                        "stmia %1!, {r2, r3, r4, r5}\n")

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
            __asm__ volatile(EDGE_DSP_BLOCK_OF_ONE(EDGE_DSP_ONE_OF_EACH("", "%2")
                                                       EDGE_DSP_ONE_OF_EACH(", ror #8", "%3"))
                             : "+r"(weights), "+r"(to)
                             : "r"(even), "r"(odd)
                             : "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "memory");
        } while (--left != 0);
    }
}

/* Returns 0, and no sums, if every input is zero. `next` are the bytes between the inputs of the two pixels. */
static int32_t edge_sums_add(const edge_conv_dense_layer *layer, const uint8_t *in, int32_t next, edge_sums *sums) {
    const int32_t row = layer->blocks * EDGE_BLOCK * EDGE_GROUP;
    const int32_t blocks = (sums->end - sums->from) / EDGE_BLOCK;
    const int8_t *weights = &layer->weights[sums->from * EDGE_GROUP];
    int32_t any = 0;
    for (int32_t run = 0; run < layer->runs; run++) {
        const uint8_t *x = &in[layer->run_at[run]];
        for (int32_t left = layer->groups; left != 0; left--) {
            uint32_t a;
            uint32_t b;
            (void)memcpy(&a, x, sizeof a);
            (void)memcpy(&b, &x[next], sizeof b);
            if ((a | b) != 0u) {
                if (any == 0) {
                    edge_sums_begin(layer, sums);
                    any = 1;
                }
                if (sums->pixels == 2) {
                    edge_dsp_two(weights, blocks, a, b, sums->value);
                } else {
                    edge_dsp_one(weights, blocks, a, sums->value);
                }
            }
            x = &x[EDGE_GROUP];
            weights = &weights[row];
        }
    }
    return any;
}
#endif
