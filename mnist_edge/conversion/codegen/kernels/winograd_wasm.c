/* Convolutions of 3 x 3 with stride 1, by Winograd's F(2 x 2, 3 x 3): the four outputs of a tile come from 16 products
 * for each input and output channel instead of 36. Weights are transformed times 4, so that all numbers are integers,
 * and the sums, which are 4 times those of a convolution, are exact. Pairs of zeros are skipped. This takes 100 KB of
 * stack in one frame. */
#ifdef EDGE_WASM
#define EDGE_TILES 4     /* that are computed together, so that weights stay in the first cache */
#define EDGE_DEPTH 128   /* largest number of input channels, since each pair of them has one of 64 bits */
#define EDGE_PACKED 2048 /* largest number of input channels times output channels that are computed together */

/* Whether the layer is a convolution of 3 x 3 with stride 1, or is equivalent to such a convolution, as one of 3 x 6
 * with a stride of 2 along rows is. `step_x` is the number of input channels of that convolution. */
EDGE_INLINE int edge_suits_winograd(const edge_conv_dense_layer *layer) {
    const int32_t pool = layer->pool, tiles = layer->height * layer->width * pool * pool / 4;
    return layer->runs == 3 && EDGE_GROUP * layer->groups == 3 * layer->step_x && layer->run_at[0] == 0 &&
           layer->run_at[1] == layer->step_y && layer->run_at[2] == 2 * layer->step_y && layer->step_x % 8 == 0 &&
           layer->step_x <= EDGE_DEPTH && tiles >= 8 &&
           (pool == 2 || (layer->height % 2 == 0 && layer->width % 2 == 0));
}

/* Row i of G g for three rows of weights g, times 2. */
EDGE_INLINE void edge_transform_weights(v128_t a, v128_t b, v128_t c, v128_t *to) {
    const v128_t ends = wasm_i16x8_add(a, c);
    to[0] = wasm_i16x8_add(a, a);
    to[1] = wasm_i16x8_add(ends, b);
    to[2] = wasm_i16x8_sub(ends, b);
    to[3] = wasm_i16x8_add(c, c);
}

/* The weights of `count` channels from `channel` on: [16][pairs of inputs][count][2]. */
EDGE_INLINE void edge_pack_winograd(const edge_conv_dense_layer *layer, int32_t channel, int32_t count,
                                    int16_t *packed) {
    const int32_t groups = layer->step_x / EDGE_GROUP, row = layer->blocks * EDGE_BLOCK * EDGE_GROUP;
    for (int32_t group = 0; group < groups; group++) {
        for (int32_t c = 0; c < count; c += 4) {
            const int8_t *const from = layer->weights + group * row + EDGE_GROUP * (channel + c);
            v128_t columns[2][3][4], done[2][4];
            for (int x = 0; x < 3; x++) {
                for (int half = 0; half < 2; half++) {
                    v128_t w[3];
                    for (int y = 0; y < 3; y++) {
                        w[y] = wasm_i16x8_load8x8(from + (3 * y + x) * groups * row + 8 * half);
                    }
                    edge_transform_weights(w[0], w[1], w[2], columns[half][x]);
                }
            }
            for (int i = 0; i < 4; i++) {
                for (int half = 0; half < 2; half++) {
                    edge_transform_weights(columns[half][0][i], columns[half][1][i], columns[half][2][i], done[half]);
                }
                for (int j = 0; j < 4; j++) {
                    int16_t *const to = packed + ((4 * i + j) * 2 * groups + 2 * group) * count * 2 + 2 * c;
                    wasm_v128_store(to, wasm_i32x4_shuffle(done[0][j], done[1][j], 0, 2, 4, 6));
                    wasm_v128_store(to + 2 * count, wasm_i32x4_shuffle(done[0][j], done[1][j], 1, 3, 5, 7));
                }
            }
        }
    }
}

/* The 4 x 4 inputs of a tile: [16][inputs]; and a bit for each pair of inputs that is not zero. */
EDGE_INLINE void edge_transform_input(const edge_conv_dense_layer *layer, const uint8_t *in, int16_t *to,
                                      uint64_t *non_zero) {
    memset(non_zero, 0, 16 * sizeof non_zero[0]);
    for (int32_t c = 0; c < layer->step_x; c += 8) {
        v128_t half[4][4];
        for (int x = 0; x < 4; x++) {
            v128_t wide[4];
            for (int y = 0; y < 4; y++) {
                wide[y] = wasm_u16x8_load8x8(in + y * layer->step_y + x * layer->step_x + c);
            }
            half[0][x] = wasm_i16x8_sub(wide[0], wide[2]);
            half[1][x] = wasm_i16x8_add(wide[1], wide[2]);
            half[2][x] = wasm_i16x8_sub(wide[2], wide[1]);
            half[3][x] = wasm_i16x8_sub(wide[1], wide[3]);
        }
        for (int i = 0; i < 4; i++) {
            const v128_t whole[4] = {wasm_i16x8_sub(half[i][0], half[i][2]), wasm_i16x8_add(half[i][1], half[i][2]),
                                     wasm_i16x8_sub(half[i][2], half[i][1]), wasm_i16x8_sub(half[i][1], half[i][3])};
            for (int j = 0; j < 4; j++) {
                const uint32_t some = (uint32_t)wasm_i32x4_bitmask(wasm_i32x4_ne(whole[j], wasm_i32x4_splat(0)));
                non_zero[4 * i + j] |= (uint64_t)some << (c / 2);
                wasm_v128_store(to + (4 * i + j) * layer->step_x + c, whole[j]);
            }
        }
    }
}

/* Sums of 4 * `VECTORS` channels, of `count`, over the inputs of one place in a tile. */
#define EDGE_WINOGRAD_SUM(VECTORS)                                                                         \
    EDGE_INLINE void edge_winograd_sum_##VECTORS(const int16_t *input, uint64_t non_zero, int32_t count,   \
                                                 const int16_t *packed, int32_t *sums) {                   \
        v128_t total[VECTORS];                                                                             \
        for (int v = 0; v < VECTORS; v++) {                                                                \
            total[v] = wasm_i32x4_splat(0);                                                                \
        }                                                                                                  \
        for (; non_zero; non_zero &= non_zero - 1) {                                                       \
            const int32_t pair = __builtin_ctzll(non_zero);                                                \
            const int16_t *const weights = packed + pair * 2 * count;                                      \
            const v128_t x = wasm_v128_load32_splat(input + 2 * pair);                                     \
            for (int v = 0; v < VECTORS; v++) {                                                            \
                const v128_t w = wasm_v128_load(weights + 8 * v);                                          \
                total[v] = wasm_i32x4_add(total[v], wasm_i32x4_dot_i16x8(x, w));                           \
            }                                                                                              \
        }                                                                                                  \
        for (int v = 0; v < VECTORS; v++) {                                                                \
            wasm_v128_store(sums + 4 * v, total[v]);                                                       \
        }                                                                                                  \
    }
EDGE_WINOGRAD_SUM(4)
EDGE_WINOGRAD_SUM(8)

/* Outputs of a tile from its sums, [16][`next`], for 4 channels from `channel` on. */
EDGE_INLINE void edge_finish_winograd(const edge_conv_dense_layer *layer, const int32_t *sums, int32_t next,
                                      int32_t channel, uint8_t *out) {
    v128_t tile[2][2], rows[2][4];
    for (int j = 0; j < 4; j++) {
        v128_t m[4];
        for (int i = 0; i < 4; i++) {
            m[i] = wasm_v128_load(sums + (4 * i + j) * next);
        }
        rows[0][j] = wasm_i32x4_add(wasm_i32x4_add(m[0], m[1]), m[2]);
        rows[1][j] = wasm_i32x4_sub(wasm_i32x4_sub(m[1], m[2]), m[3]);
    }
    for (int i = 0; i < 2; i++) {
        const v128_t left = wasm_i32x4_add(wasm_i32x4_add(rows[i][0], rows[i][1]), rows[i][2]);
        const v128_t right = wasm_i32x4_sub(wasm_i32x4_sub(rows[i][1], rows[i][2]), rows[i][3]);
        tile[i][0] = wasm_i32x4_shr(left, 2);
        tile[i][1] = wasm_i32x4_shr(right, 2);
    }
    if (layer->pool == 2) {
        const v128_t upper = wasm_i32x4_max(tile[0][0], tile[0][1]), lower = wasm_i32x4_max(tile[1][0], tile[1][1]);
        edge_store_simd128(layer, wasm_i32x4_max(upper, lower), channel, out);
    } else {
        for (int i = 0; i < 4; i++) {
            uint8_t *const to = out + i / 2 * layer->out_row + i % 2 * layer->channels;
            edge_store_simd128(layer, tile[i / 2][i % 2], channel, to);
        }
    }
}

EDGE_INLINE void edge_winograd_simd128(const edge_conv_dense_layer *layer, const uint8_t *in, uint8_t *out) {
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
                    if (count == 16) {
                        edge_winograd_sum_4(x, non_zero[t][at], count, weights, sum);
                    } else {
                        for (int32_t c = 0; c < count; c += 32) {
                            edge_winograd_sum_8(x, non_zero[t][at], count, weights + 2 * c, sum + c);
                        }
                    }
                }
            }
            for (int32_t t = 0; t < n; t++) {
                for (int32_t c = 0; c < count; c += 4) {
                    edge_finish_winograd(layer, sums[t] + c, count, channel + c, to[t]);
                }
            }
        }
    }
}
#endif
