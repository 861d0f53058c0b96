/* Four groups with a non-zero input are collected, wherever they lie. For each channel, their 16 weights are gathered
 * and multiplied with the 16 inputs of one or two pixels. Both must be unsigned: the weights are made so by adding 128,
 * and 128 times the sum of the inputs is subtracted in the end. */
#ifdef EDGE_MVE
#define EDGE_GATHERED 4

typedef struct {
    uint32_t input[2][EDGE_GATHERED]; /* groups of each pixel */
    uint32_t before[EDGE_GATHERED];   /* addresses EDGE_GROUP bytes before the weights of the first channel */
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

#ifdef EDGE_FOUR_BITS
/* Weights of 4 bits, plus 8, are unsigned: q5 and q2 are those of two channels. */
#define EDGE_HELIUM_PAIR "vldrw.u32 q2, [q3, #4]!\n vand q5, q2, q4\n vshr.u8 q2, q2, #4\n"
#define EDGE_HELIUM_CHANNEL(WEIGHTS)                                                             \
    "ldrd r4, r6, [%0]\n vmladava.u8 r4, " WEIGHTS ", q0\n vmladava.u8 r6, " WEIGHTS ", q1\n" \
    "strd r4, r6, [%0], #8\n"
#define EDGE_HELIUM_PAIR_OF_TWO EDGE_HELIUM_PAIR EDGE_HELIUM_CHANNEL("q5") EDGE_HELIUM_CHANNEL("q2")
#define EDGE_HELIUM_PAIR_OF_ONE                                                                    \
    EDGE_HELIUM_PAIR "ldrd r4, r6, [%0]\n vmladava.u8 r4, q5, q0\n vmladava.u8 r6, q2, q0\n" \
    "strd r4, r6, [%0], #8\n"
#define EDGE_HELIUM_FOUR_BITS(WORK)                                                                           \
    __asm__ volatile("vldrw.u32 q0, [%1]\n vldrw.u32 q1, [%1, #16]\n vldrw.u32 q3, [%1, #32]\n"               \
                     "vmov.i8 q4, #15\n dls lr, %2\n 1:\n" WORK WORK "le lr, 1b"                              \
                     : "+r"(to)                                                                               \
                     : "r"(groups), "r"(fours)                                                                \
                     : "r4", "r6", "lr", "q0", "q1", "q2", "q3", "q4", "q5", "memory")

#endif /* EDGE_FOUR_BITS */
/* Add the products of the groups to all sums. */
static void edge_helium_add(const edge_conv_dense_layer *layer, edge_helium_groups *groups, edge_sums *sums) {
    int32_t *to = sums->value;
    const int32_t fours = (sums->end - sums->from) / 4;
#ifdef EDGE_FOUR_BITS
    if ((layer->group_bytes != EDGE_GROUP) && (sums->pixels == 2)) {
        EDGE_HELIUM_FOUR_BITS(EDGE_HELIUM_PAIR_OF_TWO);
    } else if (layer->group_bytes != EDGE_GROUP) {
        EDGE_HELIUM_FOUR_BITS(EDGE_HELIUM_PAIR_OF_ONE);
    } else if (sums->pixels == 2) {
#else
    (void)layer;
    if (sums->pixels == 2) {
#endif /* EDGE_FOUR_BITS */
        __asm__ volatile(EDGE_HELIUM_LOOP(EDGE_HELIUM_TWO_PIXELS EDGE_HELIUM_TWO_PIXELS EDGE_HELIUM_TWO_PIXELS
                                              EDGE_HELIUM_TWO_PIXELS)
                         : "+r"(to)
                         : "r"(groups), "r"(fours)
                         : "r4", "r6", "lr", "q0", "q1", "q2", "q3", "q4", "memory");
    } else {
        __asm__ volatile(EDGE_HELIUM_LOOP(EDGE_HELIUM_TWO_CHANNELS EDGE_HELIUM_TWO_CHANNELS)
                         : "+r"(to)
                         : "r"(groups), "r"(fours)
                         : "r4", "r6", "lr", "q0", "q1", "q2", "q3", "q4", "memory");
    }
    __asm__ volatile("vldrw.u32 q0, [%2]\n vldrw.u32 q1, [%2, #16]\n vaddva.u8 %0, q0\n vaddva.u8 %1, q1"
                     : "+Te"(sums->excess[0]), "+Te"(sums->excess[1])
                     : "r"(groups)
                     : "q0", "q1", "memory");
    groups->count = 0;
}

/* As the function of this name in the DSP kernels. */
static int32_t edge_sums_add(const edge_conv_dense_layer *layer, const uint8_t *in, int32_t next, edge_sums *sums) {
    const uint32_t row = (uint32_t)(layer->blocks * EDGE_BLOCK * EDGE_GROUP_BYTES);
    uint32_t before = (uint32_t)&layer->weights[sums->from * EDGE_GROUP_BYTES] - EDGE_GROUP;
    edge_helium_groups groups;
    int32_t any = 0;
    groups.count = 0;
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
                groups.input[0][groups.count] = a;
                groups.input[1][groups.count] = b;
                groups.before[groups.count] = before;
                groups.count++;
                if (groups.count == EDGE_GATHERED) {
                    edge_helium_add(layer, &groups, sums);
                }
            }
            x = &x[EDGE_GROUP];
            before += row;
        }
    }
    if (groups.count != 0) {
        for (int32_t i = groups.count; i < EDGE_GATHERED; i++) {
            groups.input[0][i] = 0;
            groups.input[1][i] = 0;
            groups.before[i] = groups.before[0];
        }
        edge_helium_add(layer, &groups, sums);
    }
    if (any != 0) {
#ifdef EDGE_FOUR_BITS
        const uint32_t added = (layer->group_bytes != EDGE_GROUP) ? 8u : 128u; /* to each weight */
#else
        const uint32_t added = 128u; /* to each weight */
#endif /* EDGE_FOUR_BITS */
        sums->excess[0] *= added;
        sums->excess[1] *= added;
    }
    return any;
}

/* Outputs of a layer if edge_cortex_m_is_simple, four channels at a time. Sums lie STRIDE words apart, from %0 on; the
 * output is that of the larger of two sums, after %6 and %7 are subtracted. %8 has the zero point, the upper limit, and
 * the words from one sum to the other. With EDGE_HELIUM_AGAIN, an output that is there stays if it is larger. The
 * predicate register changes too, but compilers accept no "vpr" in the list of changed registers. */
#define EDGE_HELIUM_AGAIN "vpst\n vldrbt.u32 q3, [%3]\n vmax.s32 q0, q0, q3\n"
#define EDGE_HELIUM_FINISH(STRIDE, BYTES, AGAIN)                                                                \
    __asm__ volatile("ldr %5, [%8]\n vdup.32 q5, %5\n ldr %5, [%8, #4]\n vdup.32 q4, %5\n"                      \
                     "movs %5, #0\n vidup.u32 q6, %5, #" STRIDE "\n ldr %5, [%8, #8]\n vadd.i32 q7, q6, %5\n"   \
                     "1:\n vctp.32 %4\n vldrw.u32 q0, [%0, q6, uxtw #2]\n vldrw.u32 q1, [%0, q7, uxtw #2]\n"   \
                     "vsub.i32 q0, q0, %6\n vsub.i32 q1, q1, %7\n vmax.s32 q0, q0, q1\n"                       \
                     "vldrw.u32 q2, [%1], #16\n vqrdmulh.s32 q0, q0, q2\n"                                     \
                     "vldrb.s32 q3, [%2], #4\n vrshl.s32 q0, q0, q3\n vadd.i32 q0, q0, q5\n"                   \
                     "vmax.s32 q0, q0, q5\n vmin.s32 q0, q0, q4\n" AGAIN "vpst\n vstrbt.32 q0, [%3]\n"        \
                     "add %3, %3, #4\n add %0, %0, #" BYTES "\n subs %4, %4, #4\n bgt 1b"                      \
                     : "+r"(sum), "+r"(multiplier), "+l"(shift), "+l"(to), "+r"(left), "=&Te"(work)             \
                     : "r"(sums->excess[first]), "r"(sums->excess[last]), "r"(fixed)                           \
                     : "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "cc", "memory")

/* Of the sums of pixels `first` and `last`, which may be the same one. */
static void edge_helium_finish(const edge_requantization *output, const edge_sums *sums, int32_t first, int32_t last,
                               int32_t again, int32_t count, uint8_t *out) {
    const int32_t fixed[3] = {output->zero, output->high, last - first};
    const int32_t *sum = &sums->value[first];
    const int32_t *multiplier = &output->multiplier[sums->from];
    const int8_t *shift = &output->shift[sums->from];
    uint8_t *to = out;
    int32_t left = count;
    int32_t work;
    if (again != 0) {
        EDGE_HELIUM_FINISH("2", "32", EDGE_HELIUM_AGAIN);
    } else if (sums->pixels == 2) {
        EDGE_HELIUM_FINISH("2", "32", "");
    } else {
        EDGE_HELIUM_FINISH("1", "16", "");
    }
}
#endif
