/* What both backends for 64-bit Arm share. Weights become unsigned bytes, w + 128, so that inputs can be: the sum of
 * x * w is that of x * (w + 128) minus 128 times the sum of x, one number a pixel. Inputs of zero are left out. */
#ifdef EDGE_ARM64
/* List the steps of a sum with an input that is not zero in one of `pixels` pixels (4 or 1): the inputs of the pixels,
 * side by side, and the offset of their weights. Returns their number; `sums` are those of each pixel's inputs. */
EDGE_INLINE int32_t edge_listed_inputs(const edge_conv_dense_layer *layer, const uint8_t *in, const int32_t *at,
                                       int32_t pixels, uint32_t *inputs, int32_t *weights, uint32_t *sums) {
    uint32_t *next = inputs;
    int32_t n = 0, row = 0;
    for (int32_t run = 0; run < layer->runs; run++) {
        const uint8_t *x = in + layer->run_at[run];
        for (int32_t group = 0; group < layer->groups; group++, x += EDGE_GROUP) {
            uint32_t one[4], any = 0;
            for (int32_t p = 0; p < pixels; p++) {
                memcpy(&one[p], x + at[p], EDGE_GROUP);
                any |= one[p];
            }
            memcpy(next, one, (size_t)(EDGE_GROUP * pixels));
            weights[n] = row;
            next += any != 0 ? pixels : 0;
            n += any != 0;
            row += layer->blocks * EDGE_BLOCK * EDGE_GROUP_BYTES;
        }
    }
    memset(next, 0, 16); /* one pixel: the inputs of four steps are summed at once */
    uint32x4_t total = vdupq_n_u32(0);
    for (int32_t i = 0; i < n * pixels; i += 4) {
        total = vpadalq_u16(total, vpaddlq_u8(vreinterpretq_u8_u32(vld1q_u32(inputs + i))));
    }
    if (pixels == 4) {
        vst1q_u32(sums, total);
    } else {
        sums[0] = vaddvq_u32(total);
    }
    return n;
}

/* 16 weights, plus 128; `at` of them are behind the first of a row. */
EDGE_INLINE uint8x16_t edge_unsigned_weights(const edge_conv_dense_layer *layer, const int8_t *row, int32_t at) {
#ifdef EDGE_FOUR_BITS
    if (layer->group_bytes != EDGE_GROUP) {
        const uint64x2_t pairs = vmovl_u32(vreinterpret_u32_s8(vld1_s8(row + at / 2))); /* of channels */
        const uint8x16_t both = vreinterpretq_u8_u64(vorrq_u64(pairs, vshlq_n_u64(pairs, 28)));
        return vaddq_u8(vandq_u8(both, vdupq_n_u8(15)), vdupq_n_u8(120));
    }
#else
    (void)layer;
#endif /* EDGE_FOUR_BITS */
    return veorq_u8(vreinterpretq_u8_s8(vld1q_s8(row + at)), vdupq_n_u8(128));
}

/* As edge_requantize, for the sums of four channels. */
EDGE_INLINE uint16x4_t edge_requantize_four(const edge_requantization *output, int32x4_t total, int32_t channel) {
    const int32x4_t multiplier = vld1q_s32(output->multiplier + channel);
    int32_t shifts;
    memcpy(&shifts, output->shift + channel, sizeof shifts);
    const int32x4_t shift = vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(shifts)))));
    int32x4_t value = vaddq_s32(total, vld1q_s32(output->bias + channel));
    if (output->rounds == 1) {
        const int32x4_t places = vsubq_s32(shift, vdupq_n_s32(31));
        const int64x2_t low = vmull_s32(vget_low_s32(value), vget_low_s32(multiplier));
        const int64x2_t high = vmull_high_s32(value, multiplier);
        value = vmovn_high_s64(vmovn_s64(vrshlq_s64(low, vmovl_s32(vget_low_s32(places)))),
                               vrshlq_s64(high, vmovl_high_s32(places)));
    } else {
        const int32x4_t right = vminq_s32(shift, vdupq_n_s32(0));
        value = vqrdmulhq_s32(vshlq_s32(value, vmaxq_s32(shift, vdupq_n_s32(0))), multiplier);
        /* The instruction rounds ties upwards; minus one, if the value is negative, rounds them away from zero. */
        value = vrshlq_s32(vqaddq_s32(value, vshrq_n_s32(vandq_s32(value, right), 31)), right);
    }
    value = vaddq_s32(value, vdupq_n_s32(output->zero));
    value = vminq_s32(vmaxq_s32(value, vdupq_n_s32(output->low)), vdupq_n_s32(output->high));
    return vmovn_u32(vreinterpretq_u32_s32(value));
}

/* Store the outputs of eight channels of a pixel from their sums, or of those that the layer has. */
EDGE_INLINE void edge_store_eight(
    const edge_conv_dense_layer *layer, int32x4_t low, int32x4_t high, int32_t channel, uint8_t *out) {
    const int32_t left = layer->channels - channel;
    if (left >= 8) {
        const uint16x4_t first = edge_requantize_four(&layer->output, low, channel);
        const uint16x4_t second = edge_requantize_four(&layer->output, high, channel + 4);
        vst1_u8(out + channel, vmovn_u16(vcombine_u16(first, second)));
    } else {
        int32_t sums[8];
        vst1q_s32(sums, low);
        vst1q_s32(sums + 4, high);
        for (int32_t c = 0; c < 8 && c < left; c++) {
            const int32_t total = sums[c] + layer->output.bias[channel + c];
            out[channel + c] = edge_requantize(&layer->output, total, channel + c);
        }
    }
}
#endif
