/* Depthwise convolutions with AVX2, which every vector backend of x86-64 but SSE2 has: the products of two weights of a
 * channel are summed up by one instruction. */
#ifdef EDGE_X86
#define EDGE_TAPS 50 /* largest number of weights of a channel */

/* 8 or 16 bytes. */
EDGE_INLINE EDGE_TARGET_avx2 __m128i edge_channels_avx2(const void *from, int32_t count) {
    return count == 16 ? _mm_loadu_si128((const __m128i *)from) : _mm_loadl_epi64((const __m128i *)from);
}

/* The outputs of `count` channels, 8 or 16, from `c` on. */
EDGE_INLINE EDGE_TARGET_avx2 void edge_depthwise_channels(const edge_depthwise_layer *layer, const uint8_t *in,
                                                          uint8_t *out, int32_t c, int32_t count) {
    const int32_t taps = layer->kernel[0] * layer->kernel[1], channels = layer->size[2], pairs = (taps + 1) / 2;
    __m256i weights[EDGE_TAPS / 2][2];
    int32_t at[EDGE_TAPS + 1];
    for (int32_t tap = 0; tap < taps; tap++) {
        at[tap] = tap / layer->kernel[1] * layer->dilation[0] + tap % layer->kernel[1] * layer->dilation[1] + c;
    }
    at[taps] = at[taps - 1]; /* an odd number of weights is followed by a zero */
    for (int32_t p = 0; p < pairs; p++) {
        const int8_t *const from = layer->weights + 2 * p * channels + c;
        const __m128i a = edge_channels_avx2(from, count);
        const __m128i b = 2 * p + 1 < taps ? edge_channels_avx2(from + channels, count) : _mm_setzero_si128();
        weights[p][0] = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(a, b));
        weights[p][1] = _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(a, b));
    }
    for (int32_t y = 0; y < layer->size[0]; y++) {
        for (int32_t x = 0; x < layer->size[1]; x++) {
            const uint8_t *const first = in + y * layer->step[0] + x * layer->step[1];
            __m256i total[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
            for (int32_t p = 0; p < pairs; p++) {
                const __m128i a = edge_channels_avx2(first + at[2 * p], count);
                const __m128i b = edge_channels_avx2(first + at[2 * p + 1], count);
                const __m256i low = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b));
                edge_add_avx2(total[0], _mm256_madd_epi16(low, weights[p][0]));
                if (count == 16) {
                    const __m256i high = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b));
                    edge_add_avx2(total[1], _mm256_madd_epi16(high, weights[p][1]));
                }
            }
            edge_store_avx2(&layer->output, total, c, c + count, out + (y * layer->size[1] + x) * channels);
        }
    }
}

EDGE_INLINE EDGE_TARGET_avx2 void edge_depthwise_avx2(const edge_depthwise_layer *layer, const uint8_t *in,
                                                      uint8_t *out) {
    const int32_t channels = layer->size[2];
    if (layer->repeats != 1 || channels % 8 != 0 || layer->kernel[0] * layer->kernel[1] > EDGE_TAPS) {
        edge_depthwise(layer, in, out);
        return;
    }
    for (int32_t c = 0; c + 16 <= channels; c += 16) {
        edge_depthwise_channels(layer, in, out, c, 16);
    }
    if (channels % 16 == 8) {
        edge_depthwise_channels(layer, in, out, channels - 8, 8);
    }
}

#define EDGE_DEPTHWISE(NAME)                                                   \
    EDGE_TARGET_avx2 static void NAME##_avx2(const uint8_t *in, uint8_t *out) { \
        edge_depthwise_avx2(&NAME##_layer, in, out);                           \
    }                                                                          \
    static void NAME##_compute(int backend, const uint8_t *in, uint8_t *out) { \
        if (backend == EDGE_C99 || backend == EDGE_SSE2) {                     \
            edge_depthwise(&NAME##_layer, in, out);                            \
        } else {                                                               \
            NAME##_avx2(in, out);                                              \
        }                                                                      \
    }
#else
#define EDGE_DEPTHWISE(NAME)                                                   \
    static void NAME##_compute(int backend, const uint8_t *in, uint8_t *out) { \
        (void)backend;                                                         \
        edge_depthwise(&NAME##_layer, in, out);                                \
    }
#endif
