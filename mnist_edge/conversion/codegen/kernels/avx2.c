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
