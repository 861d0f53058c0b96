/* The AVX512 instructions of the generated code on processors without them: SIMDe's, and the few that it lacks.
 * Loads and stores under a mask touch the bytes of the mask alone, as the instructions do. */
#define SIMDE_ENABLE_NATIVE_ALIASES
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#include <simde/x86/avx512.h>
#pragma GCC diagnostic pop
#include <stdint.h>
#include <string.h>

static inline __m512i model_maskz_loadu_epi32(__mmask16 mask, const void *from) {
    int32_t lanes[16] = {0};
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            memcpy(&lanes[i], (const char *)from + 4 * i, 4);
    return simde_mm512_loadu_si512(lanes);
}

static inline void model_mask_cvtepi32_storeu_epi8(void *to, __mmask16 mask, __m512i value) {
    int32_t lanes[16];
    simde_mm512_storeu_si512(lanes, value);
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            ((uint8_t *)to)[i] = (uint8_t)lanes[i];
}

static inline __m512i model_cvtepi8_epi32(__m128i value) {
    int8_t bytes[16];
    int32_t lanes[16];
    memcpy(bytes, &value, sizeof bytes);
    for (int i = 0; i < 16; i++)
        lanes[i] = bytes[i];
    return simde_mm512_loadu_si512(lanes);
}

static inline __m512i model_cvtepu32_epi64(__m256i value) {
    uint32_t words[8];
    uint64_t lanes[8];
    memcpy(words, &value, sizeof words);
    for (int i = 0; i < 8; i++)
        lanes[i] = words[i];
    return simde_mm512_loadu_si512(lanes);
}

static inline __m512i model_srav_epi64(__m512i value, __m512i count) {
    int64_t lanes[8], by[8];
    simde_mm512_storeu_si512(lanes, value);
    simde_mm512_storeu_si512(by, count);
    for (int i = 0; i < 8; i++)
        lanes[i] >>= (uint64_t)by[i] > 63 ? 63 : by[i];
    return simde_mm512_loadu_si512(lanes);
}

#undef _mm512_maskz_loadu_epi32
#define _mm512_maskz_loadu_epi32 model_maskz_loadu_epi32
#undef _mm512_mask_cvtepi32_storeu_epi8
#define _mm512_mask_cvtepi32_storeu_epi8 model_mask_cvtepi32_storeu_epi8
#undef _mm512_cvtepi8_epi32
#define _mm512_cvtepi8_epi32 model_cvtepi8_epi32
#undef _mm512_cvtepu32_epi64
#define _mm512_cvtepu32_epi64 model_cvtepu32_epi64
#undef _mm512_srav_epi64
#define _mm512_srav_epi64 model_srav_epi64
