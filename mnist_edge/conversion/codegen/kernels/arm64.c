/* Signed numbers are multiplied with signed ones: the inputs' 128 is in the bias. Two sums a channel. */
#define EDGE_TARGET_neon
typedef int32x4_t edge_vector_neon;
typedef int8x8_t edge_bytes_neon;
#define edge_zero_neon() vdupq_n_s32(0)
#define edge_load_neon(from) vld1_s8(from)
#define edge_wide_neon(four) vreinterpret_s8_u32(vdup_n_u32((uint32_t)(four) ^ UINT32_C(0x80808080)))
#define edge_dot_neon(sum, x, weights) ((sum) = vpadalq_s16(sum, vmull_s8(x, weights)))
#define edge_steps_neon edge_steps
#define edge_finish_neon(layer, sums, pixels, vectors, channel, out) \
    edge_finish(layer, sums, pixels, 2 * (vectors), 2, channel, out)

#ifdef __clang__
#define EDGE_TARGET_neon_dot __attribute__((target("dotprod")))
#else
#define EDGE_TARGET_neon_dot __attribute__((target("arch=armv8.2-a+dotprod")))
#endif
typedef int32x4_t edge_vector_neon_dot;
typedef int8x16_t edge_bytes_neon_dot;
#define edge_zero_neon_dot() vdupq_n_s32(0)
#define edge_max_neon_dot(a, b) vmaxq_s32(a, b)
#define edge_load_neon_dot(from) vld1q_s8(from)
#define edge_wide_neon_dot(four) vreinterpretq_s8_u32(vdupq_n_u32((uint32_t)(four) ^ UINT32_C(0x80808080)))
#define edge_dot_neon_dot(sum, x, weights) ((sum) = vdotq_s32(sum, x, weights))
#define edge_steps_neon_dot edge_steps
#define edge_finish_neon_dot(layer, sums, pixels, vectors, channel, out) \
    edge_finish(layer, sums, pixels, 4 * (vectors), 1, channel, out)
