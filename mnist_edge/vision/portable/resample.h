/* Resizing and block averages as Pillow computes them: `Image.resize` with the filters BOX, BICUBIC and LANCZOS, and
 * `Image.reduce`. Pictures of bytes are resampled in fixed point, first along rows, then along columns, with bytes in
 * between; floating-point ones with weights in double precision and single-precision results in between. */
#ifndef MNIST_EDGE_RESAMPLE_H
#define MNIST_EDGE_RESAMPLE_H

#include "numbers.h"

/* Fractional bits of a weight in fixed point. */
#define WEIGHT_BITS 22
#define PI 3.14159265358979323846

typedef enum { BOX, BICUBIC, LANCZOS } Filter;

/* Buffers for resizing, for axes of at most `longest` values: see `take_resampling`. */
typedef struct {
    double *weights;      /* of one output value */
    int32_t *fixed;       /* of all output values of an axis, `stride` each */
    int32_t *first;       /* index of the first input value of each output value */
    int32_t *count;       /* number of input values of each output value */
    int32_t *sums;        /* of a row */
    uint8_t *between;     /* what comes between the two passes */
    float *between_floats;
    int32_t stride;
} Resampling;

static double support_of(Filter filter) { return filter == BOX ? 0.5 : filter == BICUBIC ? 2.0 : 3.0; }

static Resampling take_resampling(Scratch *scratch, int32_t longest, size_t between, size_t between_floats)
{
    Resampling buffers;
    buffers.weights = take(scratch, (size_t)longest, sizeof(double));
    buffers.fixed = take(scratch, 9 * (size_t)longest, sizeof(int32_t)); /* Lanczos: 6 an input, 3 an output value */
    buffers.first = take(scratch, (size_t)longest, sizeof(int32_t));
    buffers.count = take(scratch, (size_t)longest, sizeof(int32_t));
    buffers.sums = take(scratch, 3 * (size_t)longest, sizeof(int32_t));
    buffers.between = take(scratch, between, 1);
    buffers.between_floats = take(scratch, between_floats, sizeof(float));
    buffers.stride = 0;
    return buffers;
}

/* sin(x) for x from -10 to 10, within a few units of the 16th decimal: Taylor's series within a quarter turn. */
static double sine(double x)
{
    double halves = nearest(x / PI), term, sum, square;
    /* pi in two parts, the first of which has few bits: the product is exact. */
    x = (x - halves * 3.140625) - halves * 9.676535897932384626e-4;
    square = x * x;
    term = sum = x;
    for (int32_t n = 2; n < 26; n += 2) {
        term *= -square / (n * (n + 1));
        sum += term;
    }
    return (int32_t)halves % 2 ? -sum : sum;
}

static double sinc(double x)
{
    if (x == 0.0) return 1.0;
    x = x * PI;
    return sine(x) / x;
}

static double filter_at(Filter filter, double x)
{
    if (filter == BOX) return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
    if (filter == LANCZOS) return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
    x = absolute(x);
    if (x < 1.0) return ((-0.5 + 2.0) * x - (-0.5 + 3.0)) * x * x + 1;
    return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0.0;
}

/* Weights of output value `at` of an axis: returns their number, and the index of the first input value they are of. */
static int32_t weights_at(Filter filter, int32_t in, int32_t out, int32_t at, double *weights, int32_t *first)
{
    double scale = (double)in / out, filter_scale = greater(scale, 1.0);
    double support = support_of(filter) * filter_scale, centre = (at + 0.5) * scale, sum = 0.0;
    double inverse = 1.0 / filter_scale;
    int32_t begin = larger((int32_t)(centre - support + 0.5), 0);
    int32_t count = smaller((int32_t)(centre + support + 0.5), in) - begin;
    for (int32_t x = 0; x < count; x++) {
        weights[x] = filter_at(filter, (x + begin - centre + 0.5) * inverse);
        sum += weights[x];
    }
    for (int32_t x = 0; x < count; x++)
        if (sum != 0.0) weights[x] /= sum;
    *first = begin;
    return count;
}

/* The weights of all output values of an axis in fixed point, in `buffers`. */
static void fix_weights(Filter filter, int32_t in, int32_t out, Resampling *buffers)
{
    double support = support_of(filter) * greater((double)in / out, 1.0);
    buffers->stride = smaller(in, 2 * ceiling(support) + 1);
    for (int32_t at = 0; at < out; at++) {
        int32_t *fixed = buffers->fixed + at * buffers->stride;
        int32_t count = weights_at(filter, in, out, at, buffers->weights, &buffers->first[at]);
        buffers->count[at] = smaller(count, buffers->stride);
        for (int32_t x = 0; x < buffers->count[at]; x++) {
            double weight = buffers->weights[x] * (1 << WEIGHT_BITS);
            fixed[x] = (int32_t)(weight < 0 ? weight - 0.5 : weight + 0.5);
        }
    }
}

static uint8_t clipped(int32_t sum)
{
    if (sum < 0) return 0;
    return (uint8_t)smaller(sum >> WEIGHT_BITS, 255);
}

/* Resizes bytes along rows: (height, width) to (height, wide), with `channels` values a pixel. */
static void resample_rows(const uint8_t *values, int32_t height, int32_t width, int32_t wide, int32_t channels,
                          Filter filter, Resampling *buffers, uint8_t *resized)
{
    fix_weights(filter, width, wide, buffers);
    for (int32_t row = 0; row < height; row++, values += (size_t)width * channels)
        for (int32_t column = 0; column < wide; column++) {
            const int32_t *weights = buffers->fixed + column * buffers->stride;
            for (int32_t channel = 0; channel < channels; channel++) {
                const uint8_t *from = values + (size_t)buffers->first[column] * channels + channel;
                int32_t sum = 1 << (WEIGHT_BITS - 1);
                for (int32_t x = 0; x < buffers->count[column]; x++) sum += from[x * channels] * weights[x];
                *resized++ = clipped(sum);
            }
        }
}

/* Resizes bytes along columns: (height, length) to (high, length). */
static void resample_columns(const uint8_t *values, int32_t height, int32_t length, int32_t high, Filter filter,
                             Resampling *buffers, uint8_t *resized)
{
    int32_t *sums = buffers->sums;
    fix_weights(filter, height, high, buffers);
    for (int32_t row = 0; row < high; row++) {
        for (int32_t column = 0; column < length; column++) sums[column] = 1 << (WEIGHT_BITS - 1);
        for (int32_t y = 0; y < buffers->count[row]; y++) {
            const uint8_t *from = values + (size_t)(buffers->first[row] + y) * length;
            int32_t weight = buffers->fixed[row * buffers->stride + y];
            for (int32_t column = 0; column < length; column++) sums[column] += from[column] * weight;
        }
        for (int32_t column = 0; column < length; column++) *resized++ = clipped(sums[column]);
    }
}

/* Resizes bytes (height, width, channels) to (high, wide, channels), in a buffer other than that of the values. */
static void resample(const uint8_t *values, int32_t height, int32_t width, int32_t high, int32_t wide,
                     int32_t channels, Filter filter, Resampling *buffers, uint8_t *resized)
{
    if (width != wide) {
        uint8_t *rows = height == high ? resized : buffers->between;
        resample_rows(values, height, width, wide, channels, filter, buffers, rows);
        values = rows;
    }
    if (height != high)
        resample_columns(values, height, wide * channels, high, filter, buffers, resized);
    else if (values != resized)
        memcpy(resized, values, (size_t)height * wide * channels);
}

/* Resizes bytes (height, width) to floating-point values (high, wide) without rounding to bytes. */
static void resample_to_floats(Grid grid, int32_t high, int32_t wide, Filter filter, Resampling *buffers,
                               float *resized)
{
    float *between = buffers->between_floats;
    for (int32_t column = 0; column < wide; column++) {
        int32_t first = column, count = 1;
        buffers->weights[0] = 1.0;
        if (grid.width != wide) count = weights_at(filter, grid.width, wide, column, buffers->weights, &first);
        for (int32_t row = 0; row < grid.height; row++) {
            const uint8_t *from = grid.pixels + row * grid.width + first;
            double sum = 0.0;
            for (int32_t x = 0; x < count; x++) sum += from[x] * buffers->weights[x];
            between[row * wide + column] = (float)sum;
        }
    }
    for (int32_t row = 0; row < high; row++) {
        int32_t first = row, count = 1;
        buffers->weights[0] = 1.0;
        if (grid.height != high) count = weights_at(filter, grid.height, high, row, buffers->weights, &first);
        for (int32_t column = 0; column < wide; column++) {
            double sum = 0.0;
            for (int32_t y = 0; y < count; y++) sum += between[(first + y) * wide + column] * buffers->weights[y];
            resized[row * wide + column] = (float)sum;
        }
    }
}

/* `resize` of strokes.py: averaged over areas if the result has fewer pixels, else bicubic. */
static Grid resize(Grid grid, int32_t high, int32_t wide, Resampling *buffers, uint8_t *resized)
{
    Filter filter = high * wide < pixels_of(grid) ? BOX : BICUBIC;
    resample(grid.pixels, grid.height, grid.width, high, wide, 1, filter, buffers, resized);
    return (Grid){resized, high, wide};
}

/* Mean of a block of `count` bytes with this sum, as `Image.reduce` rounds it. */
static uint8_t block_mean(uint32_t sum, uint32_t count)
{
    uint32_t multiplier = (uint32_t)(4294967296.0f / (float)(256 * count));
    return (uint8_t)(((sum + count / 2) * multiplier) >> 24);
}

#endif
