/* Sums of two products fit no 16 bits where one factor has no sign, so all are widened first: two sums a channel. */
#define EDGE_TARGET_avx2 __attribute__((target("avx2")))
typedef __m256i edge_vector_avx2, edge_bytes_avx2;
#define edge_zero_avx2() _mm256_setzero_si256()
#define edge_load_avx2(from) _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(from)))
#define edge_wide_avx2(four) _mm256_cvtepu8_epi16(_mm_set1_epi32(four))
#define edge_dot_avx2(sum, x, weights) ((sum) = _mm256_add_epi32(sum, _mm256_madd_epi16(x, weights)))
#define edge_steps_avx2 edge_steps
#define edge_finish_avx2(layer, sums, pixels, vectors, channel, out) \
    edge_finish(layer, sums, pixels, 4 * (vectors), 2, channel, out)

#define EDGE_TARGET_avxvnni __attribute__((target("avx2")))
typedef __m256i edge_vector_avxvnni, edge_bytes_avxvnni;
#define edge_zero_avxvnni() _mm256_setzero_si256()
#define edge_max_avxvnni(a, b) _mm256_max_epi32(a, b)
#define edge_load_avxvnni(from) _mm256_loadu_si256((const __m256i *)(const void *)(from))
#define edge_wide_avxvnni(four) _mm256_set1_epi32(four)
#define edge_dot_avxvnni(sum, x, weights) __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(x), "x"(weights))
#define edge_steps_avxvnni edge_steps
#define edge_finish_avxvnni(layer, sums, pixels, vectors, channel, out) \
    edge_finish(layer, sums, pixels, 8 * (vectors), 1, channel, out)

#define EDGE_TARGET_avx512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,popcnt")))
typedef __m512i edge_vector_avx512, edge_bytes_avx512;
#define edge_zero_avx512() _mm512_setzero_si512()
#define edge_max_avx512(a, b) _mm512_max_epi32(a, b)
#define edge_load_avx512(from) _mm512_loadu_si512(from)
#define edge_wide_avx512(four) _mm512_set1_epi32(four)
/* The compiler would copy the sum around its own intrinsic of this instruction. */
#define edge_dot_avx512(sum, x, weights) __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(weights))

/* As edge_steps, sixteen at a time; up to sixteen more numbers are written behind those counted. */
EDGE_INLINE EDGE_TARGET_avx512 int32_t edge_steps_avx512(const edge_layer *layer, const uint8_t *in, const int32_t *at,
                                                         int32_t pixels, int32_t *input, int32_t *weights) {
    const int32_t row = layer->blocks * 64;
    const __m512i order = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i fours = _mm512_slli_epi32(order, 2), rows = _mm512_mullo_epi32(order, _mm512_set1_epi32(row));
    int32_t n = 0;
    for (int32_t run = 0; run < layer->runs; run++)
        for (int32_t group = 0; group < layer->groups; group += 16) {
            const int32_t left = layer->groups - group, from = layer->run_at[run] + 4 * group;
            const __mmask16 mask = left >= 16 ? 0xFFFF : (__mmask16)((1u << left) - 1);
            __m512i any = _mm512_maskz_loadu_epi32(mask, in + from);
            for (int32_t p = 1; p < pixels; p++)
                any = _mm512_or_si512(any, _mm512_maskz_loadu_epi32(mask, in + from + at[p]));
            const __mmask16 taken = _mm512_test_epi32_mask(any, any);
            const __m512i base = _mm512_set1_epi32((run * layer->groups + group) * row);
            const __m512i inputs = _mm512_add_epi32(fours, _mm512_set1_epi32(from));
            _mm512_storeu_si512(input + n, _mm512_maskz_compress_epi32(taken, inputs));
            _mm512_storeu_si512(weights + n, _mm512_maskz_compress_epi32(taken, _mm512_add_epi32(rows, base)));
            n += __builtin_popcount(taken);
        }
    return n;
}

/* (x * multiplier + 2^(down - 1)) >> down, in 64 bits: the even and the odd ones of 16 lanes, and back together. */
EDGE_INLINE EDGE_TARGET_avx512 __m512i edge_multiply_avx512(__m512i x, __m512i multiplier, __m512i down) {
    const __m512i one = _mm512_set1_epi64(1), low = _mm512_set1_epi64(0xFFFFFFFF);
    const __m512i down_even = _mm512_and_si512(down, low), down_odd = _mm512_srli_epi64(down, 32);
    __m512i even = _mm512_mul_epi32(x, multiplier);
    __m512i odd = _mm512_mul_epi32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(multiplier, 32));
    even = _mm512_add_epi64(even, _mm512_sllv_epi64(one, _mm512_sub_epi64(down_even, one)));
    odd = _mm512_add_epi64(odd, _mm512_sllv_epi64(one, _mm512_sub_epi64(down_odd, one)));
    odd = _mm512_slli_epi64(_mm512_srav_epi64(odd, down_odd), 32);
    return _mm512_mask_blend_epi32(0xAAAA, _mm512_srav_epi64(even, down_even), odd);
}

/* Sums of 16 channels, rounded, between `low` and `high`. */
EDGE_INLINE EDGE_TARGET_avx512 __m512i edge_round_avx512(const edge_layer *layer, __m512i total, int32_t channel) {
    const __m512i multiplier = _mm512_loadu_si512(layer->multiplier + channel), none = _mm512_setzero_si512();
    const __m512i shift = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(layer->shift + channel)));
    if (layer->rounds == 1) {
        total = edge_multiply_avx512(total, multiplier, _mm512_sub_epi32(_mm512_set1_epi32(31), shift));
    } else {
        const __m512i up = _mm512_max_epi32(shift, none), down = _mm512_max_epi32(_mm512_sub_epi32(none, shift), none);
        total = edge_multiply_avx512(_mm512_sllv_epi32(total, up), multiplier, _mm512_set1_epi32(31));
        /* half of 2^down, none where down is 0, and 1 less for negative numbers */
        const __m512i half = _mm512_srli_epi32(_mm512_sllv_epi32(_mm512_set1_epi32(1), down), 1);
        const __m512i less = _mm512_maskz_srai_epi32(_mm512_test_epi32_mask(down, down), total, 31);
        total = _mm512_srav_epi32(_mm512_add_epi32(_mm512_add_epi32(total, half), less), down);
    }
    total = _mm512_max_epi32(_mm512_add_epi32(total, _mm512_set1_epi32(layer->zero)), _mm512_set1_epi32(layer->low));
    return _mm512_min_epi32(total, _mm512_set1_epi32(layer->high));
}

/* Sums of 16 channels without their bias, to activations. */
EDGE_INLINE EDGE_TARGET_avx512 void edge_store_avx512(const edge_layer *layer, __m512i total, int32_t channel,
                                                      uint8_t *out) {
    const int32_t left = layer->channels - channel;
    const __mmask16 mask = left >= 16 ? 0xFFFF : (__mmask16)((1u << left) - 1);
    total = _mm512_add_epi32(total, _mm512_loadu_si512(layer->bias + channel));
    _mm512_mask_cvtepi32_storeu_epi8(out + channel, mask, edge_round_avx512(layer, total, channel));
}

EDGE_INLINE EDGE_TARGET_avx512 void edge_finish_avx512(const edge_layer *layer, const int32_t *sums, int32_t pixels,
                                                       int32_t vectors, int32_t channel, uint8_t *out) {
    for (int32_t v = 0; v < vectors; v++, channel += 16) {
        __m512i total = _mm512_loadu_si512(sums + 16 * v);
        for (int32_t p = 1; p < pixels; p++) {
            const __m512i next = _mm512_loadu_si512(sums + 16 * (p * vectors + v));
            if (layer->pool == 2)
                total = _mm512_max_epi32(total, next);
            else
                edge_store_avx512(layer, next, channel, out + p * layer->channels);
        }
        edge_store_avx512(layer, total, channel, out);
    }
}
