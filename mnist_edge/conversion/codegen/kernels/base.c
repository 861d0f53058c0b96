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
    int32_t height, width;         /* of the output, after pooling */
    int32_t out_row;               /* bytes from an output row to the next one */
    int32_t step_y, step_x;        /* bytes from an output pixel's input to the next one's, before pooling */
    int32_t pool;                  /* 2: the largest of 2 x 2 pixels is kept; 1: all are */
    int32_t runs, groups;
    const int32_t *run_at;
    int32_t channels, blocks;      /* blocks of 16 channels */
    const int8_t *weights;
    const int32_t *bias;           /* with the input's zero point in it */
    const int32_t *multiplier;     /* of 31 bits, one a channel */
    const int8_t *shift;           /* the product is multiplied with 2^(shift - 31) */
    int32_t rounds;                /* 2: to 32 bits, and then again, as LiteRT does in convolutions; 1: once */
    int32_t zero, low, high;       /* of the output, unsigned */
} edge_layer;

static inline int32_t edge_clamp(int32_t value, int32_t low, int32_t high) {
    return value < low ? low : value > high ? high : value;
}

static inline int32_t edge_high(int32_t a, int32_t b) {
    return (int32_t)(((int64_t)a * b + (INT64_C(1) << 30)) >> 31);
}

static inline int32_t edge_divide_by_power(int32_t x, int32_t exponent) {
    return exponent == 0 ? x : (int32_t)(((int64_t)x + (INT64_C(1) << (exponent - 1)) - (x < 0)) >> exponent);
}

static inline int32_t edge_scale(int32_t x, int32_t multiplier, int32_t shift, int32_t rounds) {
    if (rounds == 1)
        return (int32_t)(((int64_t)x * multiplier + (INT64_C(1) << (30 - shift))) >> (31 - shift));
    if (shift > 0)
        return edge_high((int32_t)((int64_t)x * (INT64_C(1) << shift)), multiplier);
    return edge_divide_by_power(edge_high(x, multiplier), -shift);
}

static inline uint8_t edge_round(const edge_layer *layer, int32_t total, int32_t channel) {
    const int32_t value = edge_scale(total, layer->multiplier[channel], layer->shift[channel], layer->rounds);
    return (uint8_t)edge_clamp(value + layer->zero, layer->low, layer->high);
}

$IF vectors
#if !EDGE_SIGNED
$END
static void edge_sum_plain(const edge_layer *layer, const uint8_t *in, int32_t block, int32_t *total) {
    const int8_t *weights = layer->weights + block * 64;
    const int32_t row = layer->blocks * 64;
    memcpy(total, layer->bias + block * 16, 16 * sizeof *total);
    for (int32_t run = 0; run < layer->runs; run++) {
        const uint8_t *x = in + layer->run_at[run];
        for (int32_t group = 0; group < layer->groups; group++, x += 4, weights += row) {
            const int32_t a = x[0], b = x[1], c = x[2], d = x[3];
            if ((a | b | c | d) == 0)
                continue;
            for (int32_t o = 0; o < 16; o++)
                total[o] += a * weights[4 * o] + b * weights[4 * o + 1] + c * weights[4 * o + 2] + d * weights[4 * o + 3];
        }
    }
}

static void edge_layer_plain(const edge_layer *layer, const uint8_t *in, uint8_t *out) {
    int32_t total[16], other[16];
    for (int32_t y = 0; y < layer->height; y++)
        for (int32_t x = 0; x < layer->width; x++) {
            uint8_t *const to = out + y * layer->out_row + x * layer->channels;
            const uint8_t *first = in + y * layer->pool * layer->step_y + x * layer->pool * layer->step_x;
            for (int32_t block = 0; block < layer->blocks; block++) {
                edge_sum_plain(layer, first, block, total);
                for (int32_t pixel = 1; pixel < layer->pool * layer->pool; pixel++) {
                    edge_sum_plain(layer, first + pixel / 2 * layer->step_y + pixel % 2 * layer->step_x, block, other);
                    for (int32_t c = 0; c < 16; c++)
                        total[c] = other[c] > total[c] ? other[c] : total[c];
                }
                for (int32_t c = 0; c < 16 && 16 * block + c < layer->channels; c++)
                    to[16 * block + c] = edge_round(layer, total[c], 16 * block + c);
            }
        }
}
$IF vectors
#endif
$END
