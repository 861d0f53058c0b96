/* Conversion of RGBA to grey or to red, green and blue: transparent pixels are put on a background with which the
 * opaque ones contrast. Browsers decode the other modes of modes.py themselves. */
#ifndef MNIST_EDGE_MODES_H
#define MNIST_EDGE_MODES_H

#include "resample.h"

#define SAMPLE 512
#define MIN_SHARE 0.02
#define MIN_PAPER_CONTRAST 64

/* Grey value of a colour: Pillow's mode L. */
static uint8_t grey_of(const uint8_t *rgb)
{
    return (uint8_t)((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
}

static int is_opaque(const uint8_t *rgba, int32_t width, int32_t height)
{
    for (size_t at = 0; at < (size_t)width * height; at++)
        if (rgba[4 * at + 3] != 255) return 0;
    return 1;
}

/* Positions of `out` samples of an axis of `in` pixels: those of Pillow's filter NEAREST. */
static void sample_positions(int32_t in, int32_t out, int32_t *positions)
{
    double step = (double)in / out, at = step * 0.5;
    for (int32_t x = 0; x < out; x++, at += step) positions[x] = smaller((int32_t)at, in - 1);
}

/* Grey value to put under a transparent picture. `positions`: 2 x SAMPLE integers. */
static int32_t background_of(const uint8_t *rgba, int32_t width, int32_t height, int32_t *positions)
{
    int32_t longest = larger(width, height), wide = width, high = height, is_sampled = longest > SAMPLE;
    int32_t *across = positions, *down = positions + SAMPLE;
    double paper = 0.0, grey_sum = 0.0, alpha_sum = 0.0, hidden_sum = 0.0, hidden_count = 0.0, contrasting = 0.0;
    if (is_sampled) {
        wide = larger(1, (int32_t)((int64_t)width * SAMPLE / longest));
        high = larger(1, (int32_t)((int64_t)height * SAMPLE / longest));
        sample_positions(width, wide, across);
        sample_positions(height, high, down);
    }
    for (int32_t pass = 0; pass < 2; pass++) {
        for (int32_t row = 0; row < high; row++)
            for (int32_t column = 0; column < wide; column++) {
                int32_t y = is_sampled ? down[row] : row, x = is_sampled ? across[column] : column;
                const uint8_t *pixel = rgba + ((size_t)y * width + x) * 4;
                double grey = grey_of(pixel), alpha = pixel[3];
                if (pass == 1) {
                    if (absolute(grey - paper) > MIN_PAPER_CONTRAST) contrasting += alpha;
                    continue;
                }
                grey_sum += grey * alpha;
                alpha_sum += alpha;
                if (pixel[3] == 0) hidden_sum += grey, hidden_count += 1;
            }
        if (pass == 0 && hidden_count > 0) paper = hidden_sum / hidden_count;
    }
    alpha_sum = greater(alpha_sum, 1.0);
    if (paper > 0 && contrasting >= MIN_SHARE * alpha_sum) return rounded(paper);
    return grey_sum / alpha_sum < 127.5 ? 255 : 0;
}

/* A colour on a background of one grey value: Pillow's `alpha_composite`. */
static void composite(const uint8_t *pixel, int32_t background, uint8_t *rgb)
{
    uint32_t mine = pixel[3] * 128u, below = 255u * 128u - mine;
    for (int32_t channel = 0; channel < 3; channel++) {
        uint32_t sum = pixel[channel] * mine + (uint32_t)background * below + (0x80u << 7);
        rgb[channel] = pixel[3] == 0 ? (uint8_t)background : (uint8_t)((((sum >> 8) + sum) >> 8) >> 7);
    }
}

/* Converts RGBA to `channels` (1 or 3) values a pixel, averaging each block of factor x factor pixels to one. */
static void convert(const uint8_t *rgba, int32_t width, int32_t height, int32_t channels, int32_t factor,
                    int32_t *positions, uint8_t *converted)
{
    int32_t is_composed = !is_opaque(rgba, width, height);
    int32_t background = is_composed ? background_of(rgba, width, height, positions) : 0;
    for (int32_t top = 0; top < height; top += factor)
        for (int32_t left = 0; left < width; left += factor) {
            int32_t bottom = smaller(height - top, factor) + top, right = smaller(width - left, factor) + left;
            uint32_t sums[3] = {0, 0, 0}, count = (uint32_t)(bottom - top) * (uint32_t)(right - left);
            for (int32_t row = top; row < bottom; row++)
                for (int32_t column = left; column < right; column++) {
                    const uint8_t *pixel = rgba + ((size_t)row * width + column) * 4;
                    uint8_t rgb[3];
                    if (is_composed) composite(pixel, background, rgb), pixel = rgb;
                    if (channels == 1) sums[0] += grey_of(pixel);
                    else
                        for (int32_t channel = 0; channel < 3; channel++) sums[channel] += pixel[channel];
                }
            for (int32_t channel = 0; channel < channels; channel++)
                *converted++ = factor == 1 ? (uint8_t)sums[channel] : block_mean(sums[channel], count);
        }
}

#endif
