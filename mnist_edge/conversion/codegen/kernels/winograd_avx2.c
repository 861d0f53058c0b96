/* Convolutions of 3 x 3 with stride 1, by Winograd's F(2 x 2, 3 x 3): the four outputs of a tile come from 16 products
 * for each input and output channel instead of 36. Weights are transformed times 4, so that all numbers are integers,
 * and the sums, which are 4 times those of a convolution, are exact. As in other kernels, zeros are skipped. This takes
 * 100 KB of stack in one frame. */
#ifdef EDGE_X86
#define EDGE_TILES 4     /* that are computed together, so that weights stay in the first cache */
#define EDGE_DEPTH 128   /* largest number of input channels, since each pair of them has one of 64 bits */
#define EDGE_PACKED 2048 /* largest number of input channels times output channels that are computed together */

/* Whether the layer is a convolution of 3 x 3 with stride 1, or is equivalent to such a convolution, as one of 3 x 6
 * with a stride of 2 along rows is. `step_x` is the number of input channels of that convolution. */
EDGE_INLINE int edge_suits_winograd(const edge_conv_dense_layer *layer) {
    const int32_t pool = layer->pool, tiles = layer->height * layer->width * pool * pool / 4;
    return layer->runs == 3 && EDGE_GROUP * layer->groups == 3 * layer->step_x && layer->run_at[0] == 0 &&
           layer->run_at[1] == layer->step_y && layer->run_at[2] == 2 * layer->step_y && layer->step_x % 16 == 0 &&
           layer->step_x <= EDGE_DEPTH && tiles >= 8 &&
           (pool == 2 || (layer->height % 2 == 0 && layer->width % 2 == 0));
}

/* Row i of G g for three rows of weights g, times 2. */
EDGE_INLINE EDGE_TARGET_avx2 void edge_transform_weights(__m256i a, __m256i b, __m256i c, __m256i *to) {
    const __m256i ends = _mm256_add_epi16(a, c);
    to[0] = _mm256_add_epi16(a, a);
    to[1] = _mm256_add_epi16(ends, b);
    to[2] = _mm256_sub_epi16(ends, b);
    to[3] = _mm256_add_epi16(c, c);
}

/* The weights of `count` channels from `channel` on: [16][pairs of inputs][count][2]. As in the direct kernel, a pair
 * are the inputs at even or those at odd places of a group; of four groups, first come the former, then the latter. */
EDGE_INLINE EDGE_TARGET_avx2 void edge_pack_winograd(const edge_conv_dense_layer *layer, int32_t channel,
                                                     int32_t count, int16_t *packed) {
    const int32_t groups = layer->step_x / EDGE_GROUP, row = layer->blocks * EDGE_BLOCK * EDGE_GROUP_BYTES;
    for (int32_t group = 0; group < groups; group++) {
        for (int32_t c = 0; c < count; c += 8) {
            const int8_t *const from = layer->weights + group * row + EDGE_GROUP_BYTES * (channel + c);
            __m256i even[3][4], odd[3][4], done[4];
            EDGE_UNROLL for (int x = 0; x < 3; x++) {
                edge_bytes_avx2 w[3];
                EDGE_UNROLL for (int y = 0; y < 3; y++) {
                    w[y] = edge_load_avx2(layer, from + (3 * y + x) * groups * row, 0);
                }
                edge_transform_weights(w[0].even, w[1].even, w[2].even, even[x]);
                edge_transform_weights(w[0].odd, w[1].odd, w[2].odd, odd[x]);
            }
            const int32_t pair = group / 4 * 8 + group % 4;
            EDGE_UNROLL for (int half = 0; half < 2; half++) {
                EDGE_UNROLL for (int i = 0; i < 4; i++) {
                    edge_transform_weights(half ? odd[0][i] : even[0][i], half ? odd[1][i] : even[1][i],
                                           half ? odd[2][i] : even[2][i], done);
                    EDGE_UNROLL for (int j = 0; j < 4; j++) {
                        int16_t *const to = packed + (((4 * i + j) * 2 * groups + pair + 4 * half) * count + c) * 2;
                        _mm256_storeu_si256((__m256i *)(void *)to, done[j]);
                    }
                }
            }
        }
    }
}

/* The 4 x 4 inputs of a tile: [16][pairs][2]; and a bit for each pair that is not zero. */
EDGE_INLINE EDGE_TARGET_avx2 void edge_transform_input(const edge_conv_dense_layer *layer, const uint8_t *in,
                                                       int16_t *to, uint64_t *non_zero) {
    const __m128i low = _mm_set1_epi16(255);
    memset(non_zero, 0, 16 * sizeof non_zero[0]);
    for (int32_t c = 0; c < layer->step_x; c += 16) {
        __m256i half[4][4];
        EDGE_UNROLL for (int x = 0; x < 4; x++) {
            __m256i wide[4];
            EDGE_UNROLL for (int y = 0; y < 4; y++) {
                const uint8_t *const from = in + y * layer->step_y + x * layer->step_x + c;
                const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)from);
                const __m256i even = _mm256_castsi128_si256(_mm_and_si128(bytes, low));
                wide[y] = _mm256_inserti128_si256(even, _mm_srli_epi16(bytes, 8), 1);
            }
            half[0][x] = _mm256_sub_epi16(wide[0], wide[2]);
            half[1][x] = _mm256_add_epi16(wide[1], wide[2]);
            half[2][x] = _mm256_sub_epi16(wide[2], wide[1]);
            half[3][x] = _mm256_sub_epi16(wide[1], wide[3]);
        }
        EDGE_UNROLL for (int i = 0; i < 4; i++) {
            const __m256i whole[4] = {
                _mm256_sub_epi16(half[i][0], half[i][2]), _mm256_add_epi16(half[i][1], half[i][2]),
                _mm256_sub_epi16(half[i][2], half[i][1]), _mm256_sub_epi16(half[i][1], half[i][3])};
            EDGE_UNROLL for (int j = 0; j < 4; j++) {
                const __m256i zero = _mm256_cmpeq_epi32(whole[j], _mm256_setzero_si256());
                const uint32_t some = ~(uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(zero)) & 255u;
                non_zero[4 * i + j] |= (uint64_t)some << (c / 2);
                _mm256_storeu_si256((__m256i *)(void *)(to + (4 * i + j) * layer->step_x + c), whole[j]);
            }
        }
    }
}

/* Sums of 8 * `vectors` channels over the inputs of one place in a tile. */
#define EDGE_WINOGRAD_SUM(VECTORS)                                                                            \
    EDGE_INLINE EDGE_TARGET_avx2 void edge_winograd_sum_##VECTORS(const int16_t *input, uint64_t non_zero,    \
                                                                  const int16_t *packed, int32_t *sums) {     \
        __m256i total[VECTORS];                                                                               \
        EDGE_UNROLL for (int v = 0; v < VECTORS; v++) {                                                       \
            total[v] = _mm256_setzero_si256();                                                                \
        }                                                                                                     \
        for (; non_zero; non_zero &= non_zero - 1) {                                                          \
            const int32_t pair = __builtin_ctzll(non_zero);                                                   \
            const int16_t *const weights = packed + pair * 16 * VECTORS;                                      \
            int32_t both;                                                                                     \
            memcpy(&both, input + 2 * pair, sizeof both);                                                     \
            const __m256i x = _mm256_set1_epi32(both);                                                        \
            EDGE_UNROLL for (int v = 0; v < VECTORS; v++) {                                                   \
                const __m256i w = _mm256_loadu_si256((const __m256i *)(const void *)(weights + 16 * v));      \
                edge_add_avx2(total[v], _mm256_madd_epi16(x, w));                                             \
            }                                                                                                 \
        }                                                                                                     \
        EDGE_UNROLL for (int v = 0; v < VECTORS; v++) {                                                       \
            _mm256_storeu_si256((__m256i *)(void *)(sums + 8 * v), total[v]);                                 \
        }                                                                                                     \
    }
EDGE_WINOGRAD_SUM(2)
EDGE_WINOGRAD_SUM(4)
EDGE_WINOGRAD_SUM(8)

/* Outputs of a tile from its sums, [16][`next`], for 16 channels from `channel` on. */
EDGE_INLINE EDGE_TARGET_avx2 void edge_finish_winograd(const edge_conv_dense_layer *layer, const int32_t *sums,
                                                       int32_t next, int32_t channel, uint8_t *out) {
    __m256i tile[2][2][2];
    EDGE_UNROLL for (int v = 0; v < 2; v++) {
        __m256i rows[2][4];
        EDGE_UNROLL for (int j = 0; j < 4; j++) {
            __m256i m[4];
            EDGE_UNROLL for (int i = 0; i < 4; i++) {
                m[i] = _mm256_loadu_si256((const __m256i *)(const void *)(sums + (4 * i + j) * next + 8 * v));
            }
            rows[0][j] = _mm256_add_epi32(_mm256_add_epi32(m[0], m[1]), m[2]);
            rows[1][j] = _mm256_sub_epi32(_mm256_sub_epi32(m[1], m[2]), m[3]);
        }
        EDGE_UNROLL for (int i = 0; i < 2; i++) {
            const __m256i left = _mm256_add_epi32(_mm256_add_epi32(rows[i][0], rows[i][1]), rows[i][2]);
            const __m256i right = _mm256_sub_epi32(_mm256_sub_epi32(rows[i][1], rows[i][2]), rows[i][3]);
            tile[i][0][v] = _mm256_srai_epi32(left, 2);
            tile[i][1][v] = _mm256_srai_epi32(right, 2);
        }
    }
    if (layer->pool == 2) {
        EDGE_UNROLL for (int v = 0; v < 2; v++) {
            tile[0][0][v] = _mm256_max_epi32(_mm256_max_epi32(tile[0][0][v], tile[0][1][v]),
                                             _mm256_max_epi32(tile[1][0][v], tile[1][1][v]));
        }
        edge_store_avx2(&layer->output, tile[0][0], channel, layer->channels, out);
    } else {
        EDGE_UNROLL for (int i = 0; i < 4; i++) {
            edge_store_avx2(&layer->output, tile[i / 2][i % 2], channel, layer->channels,
                            out + i / 2 * layer->out_row + i % 2 * layer->channels);
        }
    }
}

EDGE_INLINE EDGE_TARGET_avx2 void edge_winograd_avx2(const edge_conv_dense_layer *layer, const uint8_t *in,
                                                     uint8_t *out) {
    __attribute__((aligned(64))) int16_t packed[16 * EDGE_PACKED];
    __attribute__((aligned(64))) int16_t input[EDGE_TILES][16 * EDGE_DEPTH];
    __attribute__((aligned(64))) int32_t sums[EDGE_TILES][16 * 64];
    uint64_t non_zero[EDGE_TILES][16];
    uint8_t *to[EDGE_TILES];
    const int32_t depth = layer->step_x, together = 2 / layer->pool; /* outputs along an edge of a tile */
    const int32_t across = layer->width / together, tiles = layer->height / together * across;
    const int32_t widest = depth <= 32 ? 64 : depth <= 64 ? 32 : 16;
    for (int32_t channel = 0, count; channel < layer->blocks * EDGE_BLOCK; channel += count) {
        const int32_t left = layer->blocks * EDGE_BLOCK - channel;
        count = widest == 64 && left >= 64 ? 64 : widest >= 32 && left >= 32 ? 32 : 16;
        edge_pack_winograd(layer, channel, count, packed);
        for (int32_t first = 0; first < tiles; first += EDGE_TILES) {
            const int32_t n = tiles - first < EDGE_TILES ? tiles - first : EDGE_TILES;
            for (int32_t t = 0; t < n; t++) {
                const int32_t y = (first + t) / across, x = (first + t) % across;
                edge_transform_input(layer, in + 2 * y * layer->step_y + 2 * x * depth, input[t], non_zero[t]);
                to[t] = out + together * (y * layer->out_row + x * layer->channels);
            }
            for (int32_t at = 0; at < 16; at++) {
                const int16_t *const weights = packed + at * depth * count;
                for (int32_t t = 0; t < n; t++) {
                    const int16_t *const x = input[t] + at * depth;
                    int32_t *const sum = sums[t] + at * count;
                    if (count == 64) {
                        edge_winograd_sum_8(x, non_zero[t][at], weights, sum);
                    } else if (count == 32) {
                        edge_winograd_sum_4(x, non_zero[t][at], weights, sum);
                    } else {
                        edge_winograd_sum_2(x, non_zero[t][at], weights, sum);
                    }
                }
            }
            for (int32_t t = 0; t < n; t++) {
                for (int32_t c = 0; c < count; c += 16) {
                    edge_finish_winograd(layer, sums[t] + c, count, channel + c, to[t]);
                }
            }
        }
    }
}
#endif
