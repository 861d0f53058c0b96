/* Kernels. Activations are stored unsigned: u = q + 128, so that 0 is the least value, and a ReLU's zero.
 * Weights of convolutions and dense layers are packed as [input / 4][output channels padded to 16][4]. */

#if defined(__GNUC__) && defined(__x86_64__) && !defined(EDGE_PLAIN)
#define EDGE_X86 1
#include <immintrin.h>
#else
#define EDGE_X86 0
#endif

/* A convolution or dense layer. The input is read in `runs` contiguous stretches of `groups` times four bytes for each
 * output pixel, `run_at[r]` bytes from its first; weights beyond a stretch are zero. */
typedef struct {
    int32_t height, width;         /* of the output, after pooling */
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

static void edge_store_plain(const edge_layer *layer, const int32_t *total, int32_t at, uint8_t *out) {
    for (int32_t c = 0; c < 16 && at + c < layer->channels; c++) {
        int32_t value = edge_scale(total[c], layer->multiplier[at + c], layer->shift[at + c], layer->rounds);
        out[at + c] = (uint8_t)edge_clamp(value + layer->zero, layer->low, layer->high);
    }
}

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
        for (int32_t x = 0; x < layer->width; x++, out += layer->channels) {
            const uint8_t *first = in + y * layer->pool * layer->step_y + x * layer->pool * layer->step_x;
            for (int32_t block = 0; block < layer->blocks; block++) {
                edge_sum_plain(layer, first, block, total);
                for (int32_t pixel = 1; pixel < layer->pool * layer->pool; pixel++) {
                    edge_sum_plain(layer, first + pixel / 2 * layer->step_y + pixel % 2 * layer->step_x, block, other);
                    for (int32_t c = 0; c < 16; c++)
                        total[c] = other[c] > total[c] ? other[c] : total[c];
                }
                edge_store_plain(layer, total, 16 * block, out);
            }
        }
}

#if EDGE_X86
#define EDGE_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define EDGE_INLINE static inline __attribute__((always_inline))
/* The compiler would copy the sum around its own intrinsic of this instruction. */
#define EDGE_DOT(sum, x, weights) __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(weights))

/* (x * multiplier + 2^(down - 1)) >> down, in 64 bits: the even and the odd ones of 16 lanes, and back together. */
EDGE_INLINE EDGE_VNNI __m512i edge_multiply_vnni(__m512i x, __m512i multiplier, __m512i down) {
    const __m512i one = _mm512_set1_epi64(1), low = _mm512_set1_epi64(0xFFFFFFFF);
    const __m512i down_even = _mm512_and_si512(down, low), down_odd = _mm512_srli_epi64(down, 32);
    __m512i even = _mm512_mul_epi32(x, multiplier);
    __m512i odd = _mm512_mul_epi32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(multiplier, 32));
    even = _mm512_add_epi64(even, _mm512_sllv_epi64(one, _mm512_sub_epi64(down_even, one)));
    odd = _mm512_add_epi64(odd, _mm512_sllv_epi64(one, _mm512_sub_epi64(down_odd, one)));
    odd = _mm512_slli_epi64(_mm512_srav_epi64(odd, down_odd), 32);
    return _mm512_mask_blend_epi32(0xAAAA, _mm512_srav_epi64(even, down_even), odd);
}

EDGE_INLINE EDGE_VNNI void edge_store_vnni(const edge_layer *layer, __m512i total, int32_t at, uint8_t *out) {
    const int32_t left = layer->channels - at;
    const __mmask16 mask = left >= 16 ? 0xFFFF : (__mmask16)((1u << left) - 1);
    const __m512i multiplier = _mm512_loadu_si512(layer->multiplier + at);
    const __m512i shift = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(layer->shift + at)));
    const __m512i one = _mm512_set1_epi32(1);
    if (layer->rounds == 1) {
        total = edge_multiply_vnni(total, multiplier, _mm512_sub_epi32(_mm512_set1_epi32(31), shift));
    } else {
        const __m512i up = _mm512_max_epi32(shift, _mm512_setzero_si512());
        const __m512i down = _mm512_max_epi32(_mm512_sub_epi32(_mm512_setzero_si512(), shift), _mm512_setzero_si512());
        total = edge_multiply_vnni(_mm512_sllv_epi32(total, up), multiplier, _mm512_set1_epi32(31));
        /* half of 2^down, none where down is 0, and 1 less for negative numbers */
        const __m512i half = _mm512_srli_epi32(_mm512_sllv_epi32(one, down), 1);
        const __mmask16 fix = _mm512_cmplt_epi32_mask(total, _mm512_setzero_si512()) & _mm512_test_epi32_mask(down, down);
        total = _mm512_add_epi32(total, half);
        total = _mm512_mask_sub_epi32(total, fix, total, one);
        total = _mm512_srav_epi32(total, down);
    }
    total = _mm512_add_epi32(total, _mm512_set1_epi32(layer->zero));
    total = _mm512_max_epi32(total, _mm512_set1_epi32(layer->low));
    total = _mm512_min_epi32(total, _mm512_set1_epi32(layer->high));
    _mm512_mask_cvtepi32_storeu_epi8(out + at, mask, total);
}

/* PIXELS (4: a pooling window, or 1) by BLOCKS of 16 channels are summed in registers. */
#define EDGE_BLOCK_VNNI(NAME, PIXELS, BLOCKS)                                                                          \
    EDGE_VNNI static void NAME(const edge_layer *layer, const uint8_t *in, int32_t block, uint8_t *out) {              \
        __m512i total[PIXELS][BLOCKS];                                                                                 \
        const int8_t *weights = layer->weights + block * 64;                                                           \
        const int32_t row = layer->blocks * 64;                                                                        \
        _Pragma("GCC unroll 4") for (int b = 0; b < BLOCKS; b++) {                                                     \
            const __m512i bias = _mm512_loadu_si512(layer->bias + 16 * (block + b));                                   \
            _Pragma("GCC unroll 4") for (int p = 0; p < PIXELS; p++) total[p][b] = bias;                               \
        }                                                                                                              \
        for (int32_t run = 0; run < layer->runs; run++) {                                                              \
            const uint8_t *x = in + layer->run_at[run];                                                                \
            for (int32_t group = 0; group < layer->groups; group++, x += 4, weights += row) {                          \
                __m512i w[BLOCKS];                                                                                     \
                _Pragma("GCC unroll 4") for (int b = 0; b < BLOCKS; b++) w[b] = _mm512_loadu_si512(weights + 64 * b);  \
                _Pragma("GCC unroll 4") for (int p = 0; p < PIXELS; p++) {                                             \
                    int32_t four;                                                                                      \
                    memcpy(&four, x + p / 2 * layer->step_y + p % 2 * layer->step_x, 4);                               \
                    if (PIXELS == 1 && four == 0)                                                                      \
                        continue;                                                                                      \
                    const __m512i wide = _mm512_set1_epi32(four);                                                      \
                    _Pragma("GCC unroll 4") for (int b = 0; b < BLOCKS; b++) EDGE_DOT(total[p][b], wide, w[b]);        \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        _Pragma("GCC unroll 4") for (int b = 0; b < BLOCKS; b++) {                                                     \
            __m512i most = total[0][b];                                                                                \
            _Pragma("GCC unroll 4") for (int p = 1; p < PIXELS; p++) most = _mm512_max_epi32(most, total[p][b]);       \
            edge_store_vnni(layer, most, 16 * (block + b), out);                                                       \
        }                                                                                                              \
    }
EDGE_BLOCK_VNNI(edge_vnni_4_4, 4, 4)
EDGE_BLOCK_VNNI(edge_vnni_4_2, 4, 2)
EDGE_BLOCK_VNNI(edge_vnni_4_1, 4, 1)
EDGE_BLOCK_VNNI(edge_vnni_1_4, 1, 4)
EDGE_BLOCK_VNNI(edge_vnni_1_2, 1, 2)
EDGE_BLOCK_VNNI(edge_vnni_1_1, 1, 1)

EDGE_VNNI static void edge_layer_vnni(const edge_layer *layer, const uint8_t *in, uint8_t *out) {
    for (int32_t y = 0; y < layer->height; y++)
        for (int32_t x = 0; x < layer->width; x++, out += layer->channels) {
            const uint8_t *first = in + y * layer->pool * layer->step_y + x * layer->pool * layer->step_x;
            int32_t block = 0;
            for (; layer->blocks - block >= 4; block += 4)
                (layer->pool == 2 ? edge_vnni_4_4 : edge_vnni_1_4)(layer, first, block, out);
            for (; layer->blocks - block >= 2; block += 2)
                (layer->pool == 2 ? edge_vnni_4_2 : edge_vnni_1_2)(layer, first, block, out);
            for (; block < layer->blocks; block++)
                (layer->pool == 2 ? edge_vnni_4_1 : edge_vnni_1_1)(layer, first, block, out);
        }
}

static int edge_has_vnni(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}
#endif

static void edge_compute(const edge_layer *layer, const uint8_t *in, uint8_t *out) {
#if EDGE_X86
    if (edge_has_vnni()) {
        edge_layer_vnni(layer, in, out);
        return;
    }
#endif
    edge_layer_plain(layer, in, out);
}

static void edge_pad(const uint8_t *in, uint8_t *out, int32_t height, int32_t width, int32_t channels, int32_t top,
                     int32_t bottom, int32_t left, int32_t right, int32_t fill) {
    const size_t row = (size_t)(width * channels), before = (size_t)(left * channels), after = (size_t)(right * channels);
    memset(out, fill, (size_t)top * (row + before + after));
    out += (size_t)top * (row + before + after);
    for (int32_t y = 0; y < height; y++, in += row) {
        memset(out, fill, before);
        memcpy(out + before, in, row);
        memset(out + before + row, fill, after);
        out += before + row + after;
    }
    memset(out, fill, (size_t)bottom * (row + before + after));
}

static void edge_depthwise(const edge_layer *layer, const uint8_t *in, uint8_t *out, int32_t height, int32_t width,
                           int32_t row, int32_t depth, int32_t stride_y, int32_t stride_x, int32_t down, int32_t across,
                           int32_t kernel_y, int32_t kernel_x, int32_t input_zero) {
    const int32_t spread = layer->channels / depth;
    for (int32_t y = 0; y < height; y++)
        for (int32_t x = 0; x < width; x++, out += layer->channels)
            for (int32_t c = 0; c < layer->channels; c++) {
                const uint8_t *from = in + y * stride_y * row + x * stride_x * depth + c / spread;
                int32_t total = layer->bias[c];
                for (int32_t ky = 0; ky < kernel_y; ky++)
                    for (int32_t kx = 0; kx < kernel_x; kx++)
                        total += (from[ky * down * row + kx * across * depth] - input_zero) *
                                 layer->weights[(ky * kernel_x + kx) * layer->channels + c];
                total = edge_scale(total, layer->multiplier[c], layer->shift[c], layer->rounds);
                out[c] = (uint8_t)edge_clamp(total + layer->zero, layer->low, layer->high);
            }
}

static void edge_pool(int average, const uint8_t *in, uint8_t *out, int32_t in_height, int32_t in_width, int32_t channels,
                      int32_t height, int32_t width, int32_t kernel_y, int32_t kernel_x, int32_t stride_y,
                      int32_t stride_x, int32_t top, int32_t left, int32_t low, int32_t high) {
    for (int32_t y = 0; y < height; y++)
        for (int32_t x = 0; x < width; x++)
            for (int32_t c = 0; c < channels; c++) {
                int32_t most = 0, sum = 0, count = 0;
                for (int32_t ky = 0; ky < kernel_y; ky++)
                    for (int32_t kx = 0; kx < kernel_x; kx++) {
                        const int32_t from_y = y * stride_y + ky - top, from_x = x * stride_x + kx - left;
                        if (from_y < 0 || from_y >= in_height || from_x < 0 || from_x >= in_width)
                            continue;
                        const int32_t value = in[(from_y * in_width + from_x) * channels + c];
                        most = value > most ? value : most;
                        sum += value - 128;
                        count++;
                    }
                if (average)
                    most = (sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count) + 128;
                *out++ = (uint8_t)edge_clamp(most, low, high);
            }
}

static void edge_add(const uint8_t *a, const uint8_t *b, uint8_t *out, int32_t size, int32_t a_zero, int32_t a_multiplier,
                     int32_t a_shift, int32_t b_zero, int32_t b_multiplier, int32_t b_shift, int32_t multiplier,
                     int32_t shift, int32_t zero, int32_t low, int32_t high) {
    for (int32_t i = 0; i < size; i++) {
        const int32_t left = edge_divide_by_power(edge_high((a[i] - a_zero) * (1 << 20), a_multiplier), -a_shift);
        const int32_t right = edge_divide_by_power(edge_high((b[i] - b_zero) * (1 << 20), b_multiplier), -b_shift);
        const int32_t total = edge_divide_by_power(edge_high(left + right, multiplier), -shift);
        out[i] = (uint8_t)edge_clamp(total + zero, low, high);
    }
}

static int32_t edge_saturate(int64_t x) {
    return x > INT32_MAX ? INT32_MAX : x < INT32_MIN ? INT32_MIN : (int32_t)x;
}

/* `table` holds exp of the distances 0, 1, .. from the largest logit, in fractions of 31 bits; farther ones are 0. */
static void edge_softmax(const uint8_t *in, int8_t *out, int32_t classes, const int32_t *table, int32_t counted) {
    int32_t most = 0, headroom = 0;
    uint32_t total = 0;
    for (int32_t c = 0; c < classes; c++)
        most = in[c] > most ? in[c] : most;
    for (int32_t c = 0; c < classes; c++)
        if (most - in[c] < counted)
            total += (uint32_t)edge_divide_by_power(table[most - in[c]], 12);
    while (!(total << headroom & UINT32_C(0x80000000)))
        headroom++;
    /* 1 / (1 + fraction) by three steps of Newton and Raphson */
    const int64_t sum = (int64_t)(total << headroom) - (INT64_C(1) << 31) + INT32_MAX;
    const int32_t half = (int32_t)((sum + 1) / 2);
    int32_t x = INT32_C(1515870810) + edge_high(half, -INT32_C(1010580540));
    for (int step = 0; step < 3; step++)
        x += edge_saturate((int64_t)edge_high(x, (1 << 29) - edge_high(half, x)) * 4);
    x = edge_saturate((int64_t)x * 2);
    for (int32_t c = 0; c < classes; c++) {
        int32_t value = 0;
        if (most - in[c] < counted)
            value = edge_divide_by_power(edge_high(x, table[most - in[c]]), 12 - headroom + 31 - 8);
        out[c] = (int8_t)(edge_clamp(value, 0, 255) - 128);
    }
}
