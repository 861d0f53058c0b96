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
