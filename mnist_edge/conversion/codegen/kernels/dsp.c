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

#ifdef EDGE_FOUR_BITS
/* The same for weights of 4 bits, plus 8. A word has those of two channels: one AND, whose operand is shifted, gives a
 * pair of them. */
#define EDGE_DSP_HALVES UINT32_C(0x000F000F)
#define EDGE_DSP_HALF_OF_TWO(SHIFT, A, B, INPUT_A, INPUT_B) \
    "and r11, r10, r9" SHIFT "\n" EDGE_DSP_ADD(A, INPUT_A) EDGE_DSP_ADD(B, INPUT_B)
#define EDGE_DSP_EVEN_OF_TWO \
    EDGE_DSP_HALF_OF_TWO("", "r4", "r5", "%2", "%4") EDGE_DSP_HALF_OF_TWO(", lsr #4", "r6", "r8", "%2", "%4")
#define EDGE_DSP_ODD_OF_TWO \
    EDGE_DSP_HALF_OF_TWO(", lsr #8", "r4", "r5", "%3", "%5") EDGE_DSP_HALF_OF_TWO(", lsr #12", "r6", "r8", "%3", "%5")
#define EDGE_DSP_LOOP_OF_TWO(WORK)                                                                                    \
    do {                                                                                                              \
        __asm__ volatile(EDGE_DSP_FOUR_TIMES("ldr r9, [%0], #4\n ldmia %1, {r4, r5, r6, r8}\n" WORK                   \
                                             "stmia %1!, {r4, r5, r6, r8}\n")                                         \
                         : "+r"(weights), "+r"(to)                                                                    \
                         : "r"(a_even), "r"(a_odd), "r"(b_even), "r"(b_odd), "r"(halves)                              \
                         : "r4", "r5", "r6", "r8", "r9", "r11", "memory");                                            \
    } while (--left != 0)
#define EDGE_DSP_HALF_OF_ONE(WEIGHTS, SHIFT, SUM, INPUT) \
    "and r6, r10, " WEIGHTS SHIFT "\n smlad " SUM ", " INPUT ", r6, " SUM "\n"
#define EDGE_DSP_HALVES_OF_ONE(FIRST, NEXT, INPUT)                                               \
    EDGE_DSP_HALF_OF_ONE("r8", FIRST, "r2", INPUT) EDGE_DSP_HALF_OF_ONE("r8", NEXT, "r3", INPUT) \
    EDGE_DSP_HALF_OF_ONE("r9", FIRST, "r4", INPUT) EDGE_DSP_HALF_OF_ONE("r9", NEXT, "r5", INPUT)
#define EDGE_DSP_EVEN_OF_ONE EDGE_DSP_HALVES_OF_ONE("", ", lsr #4", "%2")
#define EDGE_DSP_ODD_OF_ONE EDGE_DSP_HALVES_OF_ONE(", lsr #8", ", lsr #12", "%3")
#define EDGE_DSP_LOOP_OF_ONE(WORK)                                                                            \
    do {                                                                                                      \
        __asm__ volatile(EDGE_DSP_FOUR_TIMES("ldmia %0!, {r8, r9}\n ldmia %1, {r2, r3, r4, r5}\n" WORK        \
                                             "stmia %1!, {r2, r3, r4, r5}\n")                                 \
                         : "+r"(weights), "+r"(to)                                                            \
                         : "r"(even), "r"(odd), "r"(halves)                                                   \
                         : "r2", "r3", "r4", "r5", "r6", "r8", "r9", "memory");                               \
    } while (--left != 0)

static inline void edge_dsp_two_four_bits(const int8_t *group, int32_t blocks, uint32_t a, uint32_t b, int32_t *sums) {
    register const int8_t *weights __asm__("r12") = group;
    register int32_t *to __asm__("lr") = sums;
    register uint32_t a_even __asm__("r0") = a & EDGE_EVEN;
    register uint32_t a_odd __asm__("r1") = (a >> 8) & EDGE_EVEN;
    register uint32_t b_even __asm__("r2") = b & EDGE_EVEN;
    register uint32_t b_odd __asm__("r3") = (b >> 8) & EDGE_EVEN;
    register uint32_t halves __asm__("r10") = EDGE_DSP_HALVES;
    int32_t left = 2 * blocks;
    if ((a_odd | b_odd) == 0u) {
        EDGE_DSP_LOOP_OF_TWO(EDGE_DSP_EVEN_OF_TWO);
    } else if ((a_even | b_even) == 0u) {
        EDGE_DSP_LOOP_OF_TWO(EDGE_DSP_ODD_OF_TWO);
    } else {
        EDGE_DSP_LOOP_OF_TWO(EDGE_DSP_EVEN_OF_TWO EDGE_DSP_ODD_OF_TWO);
    }
}

static inline void edge_dsp_one_four_bits(const int8_t *group, int32_t blocks, uint32_t a, int32_t *sums) {
    register const int8_t *weights __asm__("r12") = group;
    register int32_t *to __asm__("lr") = sums;
    register uint32_t even __asm__("r0") = a & EDGE_EVEN;
    register uint32_t odd __asm__("r1") = (a >> 8) & EDGE_EVEN;
    register uint32_t halves __asm__("r10") = EDGE_DSP_HALVES;
    int32_t left = blocks;
    if (odd == 0u) {
        EDGE_DSP_LOOP_OF_ONE(EDGE_DSP_EVEN_OF_ONE);
    } else if (even == 0u) {
        EDGE_DSP_LOOP_OF_ONE(EDGE_DSP_ODD_OF_ONE);
    } else {
        EDGE_DSP_LOOP_OF_ONE(EDGE_DSP_EVEN_OF_ONE EDGE_DSP_ODD_OF_ONE);
    }
}

/* Add the products of a group with weights of 4 bits, and the inputs to what is subtracted in the end. */
static inline void edge_dsp_add_four_bits(const int8_t *weights, int32_t blocks, uint32_t a, uint32_t b,
                                          edge_sums *sums) {
    __asm__("usada8 %0, %1, %2, %0" : "+r"(sums->excess[0]) : "r"(a), "r"(0));
    __asm__("usada8 %0, %1, %2, %0" : "+r"(sums->excess[1]) : "r"(b), "r"(0));
    if (sums->pixels == 2) {
        edge_dsp_two_four_bits(weights, blocks, a, b, sums->value);
    } else {
        edge_dsp_one_four_bits(weights, blocks, a, sums->value);
    }
}

#endif /* EDGE_FOUR_BITS */
/* Returns 0, and no sums, if every input is zero. `next` are the bytes between the inputs of the two pixels. */
static int32_t edge_sums_add(const edge_conv_dense_layer *layer, const uint8_t *in, int32_t next, edge_sums *sums) {
    const int32_t row = layer->blocks * EDGE_BLOCK * EDGE_GROUP_BYTES;
    const int32_t blocks = (sums->end - sums->from) / EDGE_BLOCK;
    const int8_t *weights = &layer->weights[sums->from * EDGE_GROUP_BYTES];
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
#ifdef EDGE_FOUR_BITS
                if (layer->group_bytes != EDGE_GROUP) {
                    edge_dsp_add_four_bits(weights, blocks, a, b, sums);
                } else if (sums->pixels == 2) {
#else
                if (sums->pixels == 2) {
#endif /* EDGE_FOUR_BITS */
                    edge_dsp_two(weights, blocks, a, b, sums->value);
                } else {
                    edge_dsp_one(weights, blocks, a, sums->value);
                }
            }
            x = &x[EDGE_GROUP];
            weights = &weights[row];
        }
    }
#ifdef EDGE_FOUR_BITS
    if (any != 0) {
        sums->excess[0] *= 8u; /* 0 if weights have 8 bits */
        sums->excess[1] *= 8u;
    }
#endif /* EDGE_FOUR_BITS */
    return any;
}
#endif
