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

/* Pixels that are converted at once, in a buffer on the stack. */
#define STRIP_PIXELS 512

static int is_opaque(const uint8_t *rgba, size_t pixels)
{
    for (size_t begin = 0; begin < pixels; begin += STRIP_PIXELS) {
        size_t end = begin + STRIP_PIXELS < pixels ? begin + STRIP_PIXELS : pixels;
        uint8_t alpha = 255;
        for (size_t at = begin; at < end; at++) alpha &= rgba[4 * at + 3];
        if (alpha != 255) return 0;
    }
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

/* Converts `count` pixels of a row to `channels` values each; they are opaque if `background` is negative. */
static void convert_strip(const uint8_t *rgba, int32_t count, int32_t channels, int32_t background, uint8_t *converted)
{
    uint8_t rgb[3];
    if (background < 0 && channels == 1) {
        for (int32_t at = 0; at < count; at++) converted[at] = grey_of(rgba + 4 * at);
        return;
    }
    for (int32_t at = 0; at < count; at++) {
        if (background < 0) memcpy(rgb, rgba + 4 * at, 3);
        else composite(rgba + 4 * at, background, rgb);
        if (channels == 1) converted[at] = grey_of(rgb);
        else memcpy(converted + 3 * at, rgb, 3);
    }
}

/* Adds the values of a row to the sums of its blocks of `factor` pixels. */
static void add_row(const uint8_t *rgba, int32_t width, int32_t channels, int32_t factor, int32_t background,
                    uint32_t *sums)
{
    uint8_t strip[3 * STRIP_PIXELS];
    int32_t left = factor; /* pixels of the row in this block */
    for (int32_t begin = 0; begin < width; begin += STRIP_PIXELS) {
        int32_t count = smaller(width - begin, STRIP_PIXELS);
        convert_strip(rgba + 4 * (size_t)begin, count, channels, background, strip);
        for (int32_t at = 0; at < count;) {
            int32_t end = at + smaller(left, count - at);
            left -= end - at;
            if (channels == 1)
                for (; at < end; at++) sums[0] += strip[at];
            else
                for (; at < end; at++)
                    for (int32_t channel = 0; channel < 3; channel++) sums[channel] += strip[3 * at + channel];
            if (left == 0) left = factor, sums += channels;
        }
    }
}

/* Converts RGBA to `channels` (1 or 3) values a pixel, averaging each block of factor x factor pixels to one.
 *
 * sums: as many integers as a row of the result has values. */
static void convert(const uint8_t *rgba, int32_t width, int32_t height, int32_t channels, int32_t factor,
                    int32_t *positions, uint32_t *sums, uint8_t *converted)
{
    int32_t opaque = is_opaque(rgba, (size_t)width * height), wide = (width - 1) / factor + 1;
    int32_t background = opaque ? -1 : background_of(rgba, width, height, positions);
    for (int32_t top = 0; top < height; top += factor) {
        int32_t rows = smaller(height - top, factor);
        if (factor == 1) {
            convert_strip(rgba + 4 * (size_t)top * width, width, channels, background, converted);
            converted += (size_t)width * channels;
            continue;
        }
        memset(sums, 0, (size_t)wide * channels * sizeof *sums);
        for (int32_t row = top; row < top + rows; row++)
            add_row(rgba + 4 * (size_t)row * width, width, channels, factor, background, sums);
        for (int32_t column = 0; column < wide; column++) {
            uint32_t count = (uint32_t)rows * (uint32_t)smaller(width - column * factor, factor);
            for (int32_t channel = 0; channel < channels; channel++)
                *converted++ = block_mean(sums[column * channels + channel], count);
        }
    }
}

#endif
