/* The functions of CMSIS-NN that benchmarks/cmsis_nn.py calls, written here for a test of its programs: plain loops,
 * and a softmax in floating point. The declarations agree with CMSIS-NN's, which the test need not have. */
#ifndef NAIVE_CMSIS_NN_H
#define NAIVE_CMSIS_NN_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { ARM_CMSIS_NN_SUCCESS = 0, ARM_CMSIS_NN_ARG_ERROR = -1 } arm_cmsis_nn_status;
typedef struct { void *buf; int32_t size; } cmsis_nn_context;
typedef struct { int32_t n, h, w, c; } cmsis_nn_dims;
typedef struct { int32_t w, h; } cmsis_nn_tile;
typedef struct { int32_t min, max; } cmsis_nn_activation;
typedef struct { int32_t *multiplier, *shift; } cmsis_nn_per_channel_quant_params;
typedef struct { int32_t *multiplier, *shift, is_per_channel; } cmsis_nn_quant_params;
typedef struct {
    int32_t input_offset, output_offset;
    cmsis_nn_tile stride, padding, dilation;
    cmsis_nn_activation activation;
} cmsis_nn_conv_params;
typedef struct { cmsis_nn_tile stride, padding; cmsis_nn_activation activation; } cmsis_nn_pool_params;
typedef struct {
    int32_t input_offset, filter_offset, output_offset;
    cmsis_nn_activation activation;
} cmsis_nn_fc_params;

static int8_t clamped(int64_t value, cmsis_nn_activation range) {
    return (int8_t)(value < range.min ? range.min : value > range.max ? range.max : value);
}

/* x * multiplier * 2**(shift - 31), rounded once, ties upwards; or to 32 bits and again after the shift, ties away. */
static int64_t once(int64_t x, int32_t multiplier, int32_t shift) {
    return (x * multiplier + (INT64_C(1) << (30 - shift))) >> (31 - shift);
}

static int64_t twice(int64_t x, int32_t multiplier, int32_t shift) {
    const int64_t product = x * (shift > 0 ? INT64_C(1) << shift : 1) * multiplier;
    const int64_t high = (product + (product >= 0 ? INT64_C(1) << 30 : 1 - (INT64_C(1) << 30))) / (INT64_C(1) << 31);
    const int64_t power = INT64_C(1) << (shift < 0 ? -shift : 0);
    return (2 * (high < 0 ? -high : high) + power) / (2 * power) * (high < 0 ? -1 : 1);
}

static int32_t arm_convolve_wrapper_s8_get_buffer_size(const cmsis_nn_conv_params *params, const cmsis_nn_dims *in,
                                                       const cmsis_nn_dims *kernel, const cmsis_nn_dims *out) {
    (void)params, (void)in, (void)out;
    return 4 * kernel->h * kernel->w * kernel->c;
}

static arm_cmsis_nn_status arm_convolve_wrapper_s8(
    const cmsis_nn_context *context, const cmsis_nn_conv_params *params,
    const cmsis_nn_per_channel_quant_params *scale, const cmsis_nn_dims *in, const int8_t *input,
    const cmsis_nn_dims *kernel, const int8_t *weights, const cmsis_nn_dims *depth, const int32_t *bias,
    const cmsis_nn_dims *out, int8_t *output) {
    if (context->buf == NULL || depth->c != out->c || kernel->n != out->c || kernel->c != in->c)
        return ARM_CMSIS_NN_ARG_ERROR;
    for (int y = 0; y < out->h; y++)
        for (int x = 0; x < out->w; x++)
            for (int channel = 0; channel < out->c; channel++) {
                int64_t sum = bias[channel];
                for (int i = 0; i < kernel->h * kernel->w * kernel->c; i++) {
                    const int row =
                        y * params->stride.h - params->padding.h + i / kernel->c / kernel->w * params->dilation.h;
                    const int column =
                        x * params->stride.w - params->padding.w + i / kernel->c % kernel->w * params->dilation.w;
                    if (row >= 0 && row < in->h && column >= 0 && column < in->w)
                        sum += (input[(row * in->w + column) * in->c + i % kernel->c] + params->input_offset) *
                               weights[channel * kernel->h * kernel->w * kernel->c + i];
                }
                const int64_t scaled = twice(sum, scale->multiplier[channel], scale->shift[channel]);
                *output++ = clamped(scaled + params->output_offset, params->activation);
            }
    return ARM_CMSIS_NN_SUCCESS;
}

static arm_cmsis_nn_status arm_max_pool_s8(const cmsis_nn_context *context, const cmsis_nn_pool_params *params,
                                           const cmsis_nn_dims *in, const int8_t *input, const cmsis_nn_dims *kernel,
                                           const cmsis_nn_dims *out, int8_t *output) {
    (void)context;
    for (int y = 0; y < out->h; y++)
        for (int x = 0; x < out->w; x++)
            for (int channel = 0; channel < out->c; channel++) {
                int8_t most = INT8_MIN;
                for (int i = 0; i < kernel->h * kernel->w; i++) {
                    const int row = y * params->stride.h - params->padding.h + i / kernel->w;
                    const int column = x * params->stride.w - params->padding.w + i % kernel->w;
                    if (row >= 0 && row < in->h && column >= 0 && column < in->w &&
                        input[(row * in->w + column) * in->c + channel] > most)
                        most = input[(row * in->w + column) * in->c + channel];
                }
                *output++ = clamped(most, params->activation);
            }
    return ARM_CMSIS_NN_SUCCESS;
}

/* As with Helium: the sums of the weights, times the input's offset, and the biases are in the context's buffer. */
static int32_t arm_fully_connected_s8_get_buffer_size(const cmsis_nn_dims *kernel) { return 4 * kernel->c; }

static arm_cmsis_nn_status arm_vector_sum_s8(int32_t *sums, int32_t columns, int32_t rows, const int8_t *weights,
                                             int32_t input_offset, int32_t offset, const int32_t *bias) {
    for (int row = 0; row < rows; row++) {
        sums[row] = bias[row];
        for (int column = 0; column < columns; column++)
            sums[row] += input_offset * (*weights++ + offset);
    }
    return ARM_CMSIS_NN_SUCCESS;
}

static arm_cmsis_nn_status arm_fully_connected_wrapper_s8(
    const cmsis_nn_context *context, const cmsis_nn_fc_params *params, const cmsis_nn_quant_params *scale,
    const cmsis_nn_dims *in, const int8_t *input, const cmsis_nn_dims *kernel, const int8_t *weights,
    const cmsis_nn_dims *depth, const int32_t *bias, const cmsis_nn_dims *out, int8_t *output) {
    (void)bias;
    if (!scale->is_per_channel || depth->c != out->c || kernel->n != in->n * in->h * in->w * in->c)
        return ARM_CMSIS_NN_ARG_ERROR;
    for (int row = 0; row < out->c; row++) {
        int64_t sum = ((const int32_t *)context->buf)[row];
        for (int column = 0; column < kernel->n; column++)
            sum += input[column] * weights[row * kernel->n + column];
        const int64_t scaled = once(sum, scale->multiplier[row], scale->shift[row]);
        output[row] = clamped(scaled + params->output_offset, params->activation);
    }
    return ARM_CMSIS_NN_SUCCESS;
}

static void arm_softmax_s8(const int8_t *input, int32_t rows, int32_t size, int32_t multiplier, int32_t shift,
                           int32_t least, int8_t *output) {
    double sum = 0;
    int8_t most = INT8_MIN;
    (void)rows;
    for (int i = 0; i < size; i++)
        most = input[i] > most ? input[i] : most;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < size; i++) {
            const int32_t distance = input[i] - most;
            const double power = distance < least ? 0 : exp(distance * ldexp(multiplier, shift - 31 - 26));
            if (pass == 0)
                sum += power;
            else
                output[i] = (int8_t)fmin(127, round(256 * power / sum) - 128);
        }
}

#endif
