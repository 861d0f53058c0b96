/* Kernels. Activations are stored unsigned: u = q + 128, so that 0 is the least value, and a ReLU's zero.
 * Weights of convolutions and dense layers are packed as [input / 4][output channels padded to 16][4].
$IF vectors
 * That order serves every backend. The backend is chosen when a net runs, or here: -DEDGE_BACKEND=EDGE_C99
$END
 */
$IF vectors
#define EDGE_C99 0
#define EDGE_AVX2 1
#define EDGE_AVX_VNNI 2
#define EDGE_AVX512_VNNI 3
#define EDGE_NEON 4
#define EDGE_NEON_DOT 5

$END
$IF x86
#if defined(__GNUC__) && defined(__x86_64__) && !(defined(EDGE_BACKEND) && EDGE_BACKEND == EDGE_C99)
#define EDGE_X86 1
#include <immintrin.h>
#if !defined(__clang__) && __GNUC__ >= 11
#define EDGE_HAS_AVX_VNNI 1
#elif defined(EDGE_BACKEND) && EDGE_BACKEND == EDGE_AVX_VNNI
#error "AVX-VNNI needs GCC 11 or later"
#endif
#else
#define EDGE_X86 0
#endif
$END
$IF arm
#if defined(__GNUC__) && defined(__aarch64__) && !(defined(EDGE_BACKEND) && EDGE_BACKEND == EDGE_C99)
#define EDGE_ARM64 1
#include <arm_neon.h>
#ifdef __linux__
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#else
#define EDGE_ARM64 0
#endif
$END
$IF only_x86
#define EDGE_ARM64 0
$END
$IF only_arm
#define EDGE_X86 0
$END
$IF vectors
#define EDGE_SIGNED EDGE_ARM64 /* inputs are multiplied as signed numbers */
#if EDGE_X86 || EDGE_ARM64
#define EDGE_INLINE static inline __attribute__((always_inline))
#define EDGE_UNROLL _Pragma("GCC unroll 16")
#endif

$END
/* Placement of weights, for a linker script: -D'EDGE_WEIGHTS_SECTION=__attribute__((section(".weights")))'
 * Alignment of weights, for speed alone: any alignment is correct, -DEDGE_ALIGNED= is none. */
#ifndef EDGE_WEIGHTS_SECTION
#define EDGE_WEIGHTS_SECTION
#endif
#ifndef EDGE_ALIGNED
#ifdef __GNUC__
#define EDGE_ALIGNED __attribute__((aligned(64))) /* no vector of weights lies in two lines of the cache */
#else
#define EDGE_ALIGNED
#endif
#endif

/* A convolution or dense layer. The input is read in `runs` contiguous stretches of `groups` times four bytes for each
 * output pixel, `run_at[r]` bytes from its first; weights beyond a stretch are zero. */
typedef struct {
    int32_t height;
    int32_t width;             /* of the output, after pooling */
    int32_t out_row;           /* bytes from an output row to the next one */
    int32_t step_y;            /* bytes from an output pixel's input to that of the pixel below, before pooling */
    int32_t step_x;            /* and of the pixel to the right */
    int32_t pool;              /* 2: the largest of 2 x 2 pixels is kept; 1: all are */
    int32_t runs;
    int32_t groups;
    const int32_t *run_at;
    int32_t channels;
    int32_t blocks;            /* of 16 channels */
    const int8_t *weights;
    const int32_t *bias;       /* with the input's zero point in it */
    const int32_t *multiplier; /* of 31 bits, one a channel */
    const int8_t *shift;       /* the product is multiplied with 2^(shift - 31) */
    int32_t rounds;            /* 2: to 32 bits, and then again, as LiteRT does in convolutions; 1: once */
    int32_t zero;
    int32_t low;
    int32_t high;              /* of the output, unsigned */
} edge_layer;

static inline int32_t edge_larger(int32_t a, int32_t b) {
    return (a > b) ? a : b;
}

static inline int32_t edge_clamp(int32_t value, int32_t low, int32_t high) {
    const int32_t raised = edge_larger(value, low);
    return (raised > high) ? high : raised;
}

/* The upper half of twice a product, rounded. Negative numbers are shifted right as all compilers do: arithmetically. */
static inline int32_t edge_high(int32_t a, int32_t b) {
    return (int32_t)((((int64_t)a * b) + 1073741824) >> 31);
}

/* x / 2^exponent, rounded to nearest, ties away from zero. */
static inline int32_t edge_divide_by_power(int32_t x, int32_t exponent) {
    const uint64_t half = ((uint64_t)1 << (uint32_t)exponent) / 2u;
    int64_t raised = (int64_t)x + (int64_t)half;
    if ((x < 0) && (exponent > 0)) {
        raised -= 1;
    }
    return (int32_t)(raised >> exponent);
}

static inline int32_t edge_scale(int32_t x, int32_t multiplier, int32_t shift, int32_t rounds) {
    int32_t scaled;
    if (rounds == 1) {
        const int32_t places = 30 - shift;
        const uint64_t half = (uint64_t)1 << (uint32_t)places;
        scaled = (int32_t)((((int64_t)x * multiplier) + (int64_t)half) >> (places + 1));
    } else if (shift > 0) {
        const uint32_t power = (uint32_t)1 << (uint32_t)shift;
        scaled = edge_high(x * (int32_t)power, multiplier);
    } else {
        scaled = edge_divide_by_power(edge_high(x, multiplier), -shift);
    }
    return scaled;
}

static inline uint8_t edge_round(const edge_layer *layer, int32_t total, int32_t channel) {
    const int32_t value = edge_scale(total, layer->multiplier[channel], layer->shift[channel], layer->rounds);
    return (uint8_t)edge_clamp(value + layer->zero, layer->low, layer->high);
}

$IF vectors
#if !EDGE_SIGNED
$END
static void edge_sum_plain(const edge_layer *layer, const uint8_t *in, int32_t block, int32_t *total) {
    const int8_t *weights = &layer->weights[block * 64];
    const int32_t row = layer->blocks * 64;
    (void)memcpy(total, &layer->bias[block * 16], 16u * sizeof(int32_t));
    for (int32_t run = 0; run < layer->runs; run++) {
        const uint8_t *x = &in[layer->run_at[run]];
        for (int32_t group = 0; group < layer->groups; group++) {
            const int32_t a = (int32_t)x[0];
            const int32_t b = (int32_t)x[1];
            const int32_t c = (int32_t)x[2];
            const int32_t d = (int32_t)x[3];
            if ((a + b + c + d) != 0) {
                for (int32_t o = 0; o < 16; o++) {
                    total[o] += (a * weights[4 * o]) + (b * weights[(4 * o) + 1]) + (c * weights[(4 * o) + 2]) +
                                (d * weights[(4 * o) + 3]);
                }
            }
            x = &x[4];
            weights = &weights[row];
        }
    }
}

static void edge_layer_plain(const edge_layer *layer, const uint8_t *in, uint8_t *out) {
    int32_t total[16];
    int32_t other[16];
    for (int32_t y = 0; y < layer->height; y++) {
        for (int32_t x = 0; x < layer->width; x++) {
            uint8_t *const to = &out[(y * layer->out_row) + (x * layer->channels)];
            const uint8_t *const first = &in[((y * layer->step_y) + (x * layer->step_x)) * layer->pool];
            for (int32_t block = 0; block < layer->blocks; block++) {
                const int32_t from = 16 * block;
                const int32_t count = edge_clamp(layer->channels - from, 0, 16);
                edge_sum_plain(layer, first, block, total);
                for (int32_t pixel = 1; pixel < (layer->pool * layer->pool); pixel++) {
                    const int32_t at = ((pixel / 2) * layer->step_y) + ((pixel % 2) * layer->step_x);
                    edge_sum_plain(layer, &first[at], block, other);
                    for (int32_t c = 0; c < 16; c++) {
                        total[c] = edge_larger(total[c], other[c]);
                    }
                }
                for (int32_t c = 0; c < count; c++) {
                    to[from + c] = edge_round(layer, total[c], from + c);
                }
            }
        }
    }
}
$IF vectors
#endif
$END
