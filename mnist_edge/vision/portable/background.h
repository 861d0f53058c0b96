/* Local background of a photograph under uneven light: background.py.
 *
 * Medians are counted window by window. The interpolation has the few weights that are not 0; its sums are exact. */
#ifndef MNIST_EDGE_BACKGROUND_H
#define MNIST_EDGE_BACKGROUND_H

#include "resample.h"

#define GRID 40
#define WINDOW 22
#define MIDDLE (WINDOW * WINDOW / 2)
#define BUCKET 32
#define POINTS (GRID * GRID)
/* Fractional bits of medians and of weights. */
#define MEDIAN_UNIT 65536.0
#define WEIGHT_UNIT 134217728.0
/* Values that bicubic interpolation takes into account at most, when it enlarges. */
#define TAPS 5

typedef struct {
    int32_t first, count;
    double weights[TAPS];
} Interpolation;

typedef struct {
    float points[POINTS], medians[POINTS / 4];
    uint16_t order[POINTS], rank[POINTS];
    uint8_t occurs[POINTS];
    uint16_t bucket_counts[POINTS / BUCKET + 1];
    int32_t mirrored_rows[GRID + WINDOW], mirrored_columns[GRID + WINDOW];
    double scaled_medians[POINTS / 4], narrow[GRID / 2];
    Interpolation *across;
    double *light; /* of one row */
} Background;

static Background *take_background(Scratch *scratch, int32_t width)
{
    Background *background = take(scratch, 1, sizeof(Background));
    Interpolation *across = take(scratch, (size_t)width, sizeof(Interpolation));
    double *light = take(scratch, (size_t)width, sizeof(double));
    if (background) background->across = across, background->light = light;
    return background;
}

/* Index of a point in an axis of `size` points that is mirrored at both ends, again and again. */
static int32_t mirrored(int32_t at, int32_t size)
{
    at = (at % (2 * size) + 2 * size) % (2 * size);
    return at < size ? at : 2 * size - 1 - at;
}

/* Sorts the points in ascending order: Shell's method. */
static void sort_points(Background *buffers, int32_t count)
{
    const float *points = buffers->points;
    uint16_t *order = buffers->order;
    int32_t gap = 1;
    for (int32_t at = 0; at < count; at++) order[at] = (uint16_t)at;
    while (gap < count / 3) gap = 3 * gap + 1;
    for (; gap > 0; gap /= 3)
        for (int32_t at = gap; at < count; at++) {
            uint16_t moved = order[at];
            int32_t to = at;
            for (; to >= gap && points[order[to - gap]] > points[moved]; to -= gap) order[to] = order[to - gap];
            order[to] = moved;
        }
    for (int32_t at = 0; at < count; at++) buffers->rank[order[at]] = (uint16_t)at;
}

static void window_medians(Background *buffers, int32_t rows, int32_t columns)
{
    const int32_t before = WINDOW / 2 - 1; /* points of a window before its first 2 x 2 */
    sort_points(buffers, rows * columns);
    for (int32_t at = 0; at < rows + WINDOW; at++) buffers->mirrored_rows[at] = mirrored(at - before, rows);
    for (int32_t at = 0; at < columns + WINDOW; at++) buffers->mirrored_columns[at] = mirrored(at - before, columns);
    for (int32_t top = 0; top < rows; top += 2)
        for (int32_t left = 0; left < columns; left += 2) {
            int32_t bucket = 0, at, counted = 0;
            memset(buffers->occurs, 0, sizeof buffers->occurs);
            memset(buffers->bucket_counts, 0, sizeof buffers->bucket_counts);
            for (int32_t down = 0; down < WINDOW; down++) {
                const uint16_t *ranks = buffers->rank + buffers->mirrored_rows[top + down] * columns;
                for (int32_t across = 0; across < WINDOW; across++) {
                    uint16_t rank = ranks[buffers->mirrored_columns[left + across]];
                    buffers->occurs[rank]++;
                    buffers->bucket_counts[rank / BUCKET]++;
                }
            }
            while (counted + buffers->bucket_counts[bucket] <= MIDDLE) counted += buffers->bucket_counts[bucket++];
            for (at = bucket * BUCKET; counted + buffers->occurs[at] <= MIDDLE; at++) counted += buffers->occurs[at];
            buffers->medians[top / 2 * (columns / 2) + left / 2] = buffers->points[buffers->order[at]];
        }
}

static Interpolation interpolation(int32_t size, int32_t enlarged, int32_t at, double *weights)
{
    Interpolation result;
    result.count = smaller(weights_at(BICUBIC, size, enlarged, at, weights, &result.first), TAPS);
    for (int32_t tap = 0; tap < result.count; tap++)
        result.weights[tap] = nearest((float)weights[tap] * WEIGHT_UNIT) / WEIGHT_UNIT;
    return result;
}

static int32_t points_on(int32_t size, double factor) { return larger(4, 2 * rounded(size / factor / 2)); }

/* Prepares `background_row` for the rows of a picture; returns the number of rows of medians. */
static int32_t local_background(Grid values, Resampling *resampling, Background *buffers)
{
    double factor = (double)longest_of(values) / GRID;
    int32_t rows = points_on(values.height, factor), columns = points_on(values.width, factor);
    Filter filter = rows * columns < pixels_of(values) ? BOX : BICUBIC;
    resample_to_floats(values, rows, columns, filter, resampling, buffers->points);
    window_medians(buffers, rows, columns);
    for (int32_t at = 0; at < rows * columns / 4; at++)
        buffers->scaled_medians[at] = nearest(buffers->medians[at] * MEDIAN_UNIT);
    for (int32_t column = 0; column < values.width; column++)
        buffers->across[column] = interpolation(columns / 2, values.width, column, resampling->weights);
    return rows / 2;
}

/* Background of each pixel of a row, in `light`. */
static void background_row(Grid values, int32_t row, int32_t rows, Resampling *resampling, Background *buffers)
{
    int32_t columns = points_on(values.width, (double)longest_of(values) / GRID) / 2;
    Interpolation down = interpolation(rows, values.height, row, resampling->weights);
    for (int32_t column = 0; column < columns; column++) {
        double sum = 0.0;
        for (int32_t tap = 0; tap < down.count; tap++)
            sum += down.weights[tap] * buffers->scaled_medians[(down.first + tap) * columns + column];
        buffers->narrow[column] = nearest(sum);
    }
    for (int32_t column = 0; column < values.width; column++) {
        const Interpolation *across = &buffers->across[column];
        double sum = 0.0;
        for (int32_t tap = 0; tap < across->count; tap++)
            sum += across->weights[tap] * buffers->narrow[across->first + tap];
        sum /= MEDIAN_UNIT;
        buffers->light[column] = sum < 0.0 ? 0.0 : sum > 255.0 ? 255.0 : sum;
    }
}

#endif
