/* Separation of ink from background: ink.py. Differences from the background are integers here, in units of 1 / `steps`
 * grey level. */
#ifndef MNIST_EDGE_INK_H
#define MNIST_EDGE_INK_H

#include "background.h"
#include "front_end.h"

#define WORK 320
#define UNEVEN (GRID / 2)
#define TINY 32
#define FLAT 64
#define SMALLEST 3
#define STEPS 8
#define LEVELS (512 * STEPS + 1)
#define DRAWN 0.5
#define MIN_CONTRAST 18.0
#define MIN_SIGNAL 6.0
#define MAD_TO_DEVIATION 1.4826
#define FULL 255

/* Amount of ink of each pixel of a reduced picture, as a look-up table: see `Ink` in ink.py. */
typedef struct {
    uint16_t *index;
    int32_t height, width;
    uint8_t amounts[LEVELS], opposite[LEVELS];
    double scale;
    int32_t is_photograph;
} Ink;

typedef struct {
    int32_t counts[LEVELS], distances[LEVELS];
    int32_t border[256];
} Histograms;

static int32_t longest_side(const Ink *ink) { return larger(ink->height, ink->width); }

/* Mask of the pixels with more ink than a share (0 to 1) of full ink. */
static Grid above(const Ink *ink, double level, uint8_t *buffer)
{
    Grid mask = {buffer, ink->height, ink->width};
    for (int32_t at = 0; at < pixels_of(mask); at++) buffer[at] = ink->amounts[ink->index[at]] > level * FULL;
    return mask;
}

/* Ink of a rectangle, 0 to FULL: `within`; with `ink->opposite` as the table, the opposite of ink. */
static Grid within(const Ink *ink, const uint8_t *table, Box box, uint8_t *buffer)
{
    Grid amounts = {buffer, height_of(box), width_of(box)};
    for (int32_t row = 0; row < amounts.height; row++)
        for (int32_t column = 0; column < amounts.width; column++)
            buffer[row * amounts.width + column] = table[ink->index[(box.top + row) * ink->width + box.left + column]];
    return amounts;
}

/* Quantile of the values 0, 1, ..., of which value `at` occurs counts[at] times; `share` is from 0 to 1. */
static int32_t quantile(const int32_t *counts, int32_t values, double share)
{
    int32_t total = 0, below = 0, at;
    for (at = 0; at < values; at++) total += counts[at];
    for (at = 0; at < values - 1; at++) {
        below += counts[at];
        if (below > share * (total - 1)) break;
    }
    return at;
}

/* The picture reduced by a factor of at least 1 to its longest side WORK, in `buffer`. */
static Grid reduced(Grid grey, double scale, Resampling *resampling, uint8_t *buffer)
{
    Grid small = {buffer, larger(1, rounded(grey.height / scale)), larger(1, rounded(grey.width / scale))};
    resample(grey.pixels, grey.height, grey.width, small.height, small.width, 1, BOX, resampling, buffer);
    return small;
}

/* Whether the background is one value. `size`: pixels of the border. */
static int is_flat(Grid values, const Histograms *of, int32_t size)
{
    int32_t lowest = 0, highest = 255, low = 0, high = 0, below = 0;
    if (longest_of(values) <= FLAT) return 1;
    while (!of->counts[lowest]) lowest++;
    while (!of->counts[highest]) highest--;
    for (int32_t value = 0; value < 256; value++) {
        if (below <= rounded(0.1 * (size - 1))) low = value;
        if (below <= rounded(0.9 * (size - 1))) high = value;
        below += of->border[value];
    }
    return high - low < 0.12 * (highest - lowest);
}

/* Background of one value: the median of the darker or of the lighter half of the grey values. */
static int32_t flat_background(Grid values, const Histograms *of, int32_t size)
{
    int32_t lowest = 0, highest = 255, middle, light_border = 0, light = 0;
    while (!of->counts[lowest]) lowest++;
    while (!of->counts[highest]) highest--;
    middle = (lowest + highest) / 2;
    for (int32_t value = middle + 1; value < 256; value++)
        light_border += of->border[value], light += of->counts[value];
    if ((double)light_border / size + (double)light / pixels_of(values) > 1)
        return middle + 1 + quantile(of->counts + middle + 1, 255 - middle, 0.5);
    return quantile(of->counts, middle + 1, 0.5);
}

/* Index of each pixel: its difference from the local background in units of 1 / STEPS grey level, plus 256 * STEPS. */
static void differences(Grid values, Resampling *resampling, Background *background, uint16_t *index)
{
    int32_t rows = local_background(values, resampling, background);
    for (int32_t row = 0; row < values.height; row++) {
        background_row(values, row, rows, resampling, background);
        for (int32_t column = 0; column < values.width; column++) {
            int32_t at = row * values.width + column;
            double difference = (values.pixels[at] - background->light[column]) * STEPS + 256 * STEPS;
            index[at] = (uint16_t)smaller(larger(rounded(difference), 0), LEVELS - 1);
        }
    }
}

/* Median absolute deviation of the background, whose pixels differ by at most half of the largest difference, times
 * MAD_TO_DEVIATION. */
static double spread_of(Histograms *of, int32_t levels, int32_t zero, int32_t steps)
{
    int32_t largest = 0, middle;
    memset(of->distances, 0, sizeof of->distances);
    for (int32_t at = 0; at < levels; at++) {
        int32_t distance = larger(at - zero, zero - at);
        of->distances[distance] += of->counts[at];
        if (of->counts[at]) largest = larger(largest, distance);
    }
    middle = quantile(of->distances, largest / 2 + 1, 0.5);
    for (int32_t distance = 0; distance <= largest / 2; distance++)
        if (of->distances[distance]) return MAD_TO_DEVIATION * ((double)middle / steps);
    return 0.0;
}

/* Mean of the `count` largest amounts of ink; `sign` is 1 for ink above `zero` and -1 for ink below. */
static double mean_of_largest(const Histograms *of, int32_t levels, int32_t zero, int32_t sign, int32_t count,
                              int32_t steps)
{
    int64_t sum = 0;
    int32_t left = count;
    for (int32_t at = sign > 0 ? levels - 1 : 0; left > 0 && sign * (at - zero) > 0; at -= sign) {
        int32_t taken = smaller(of->counts[at], left);
        sum += (int64_t)taken * sign * (at - zero);
        left -= taken;
    }
    return (double)sum / steps / count;
}

/* Quantile 0.6 of the amounts of ink above 0.35 * peak. */
static double strong_quantile(Histograms *of, int32_t levels, int32_t zero, int32_t sign, double peak, int32_t steps)
{
    memset(of->distances, 0, sizeof of->distances);
    for (int32_t at = 0; at < levels; at++) {
        int32_t amount = sign * (at - zero);
        if (amount > 0 && (double)amount / steps > 0.35 * peak) of->distances[amount] = of->counts[at];
    }
    return (double)quantile(of->distances, LEVELS, 0.6) / steps;
}

/* Fills the tables of `ink` for each difference from the background `zero`: `_amounts`. Returns a reason, or
 * MNIST_EDGE_LABELLED. */
static int32_t find_amounts(Grid values, int32_t flat, int32_t zero, Histograms *of, Ink *ink)
{
    int32_t levels = flat ? 256 : LEVELS, steps = flat ? 1 : STEPS, sign;
    int64_t moment = 0;
    double spread = spread_of(of, levels, zero, steps), peak, full;
    for (int32_t at = 0; at < levels; at++) {
        int64_t difference = at - zero;
        moment += of->counts[at] * difference * difference * difference;
    }
    sign = moment > 0 ? 1 : -1;
    peak = mean_of_largest(of, levels, zero, sign, larger(3, rounded(0.001 * pixels_of(values))), steps);
    if (peak < MIN_CONTRAST) return MNIST_EDGE_BLANK;
    if (peak < MIN_SIGNAL * spread) return MNIST_EDGE_NOISE;
    full = flat ? peak : strong_quantile(of, levels, zero, sign, peak, steps);
    for (int32_t at = 0; at < levels; at++) {
        double level = (double)(at - zero) / steps, share = absolute(level) / full;
        uint8_t amount = (uint8_t)nearest((share < 1.0 ? share : 1.0) * FULL);
        ink->amounts[at] = sign * level > 0 ? amount : 0;
        ink->opposite[at] = sign * level > 0 ? 0 : amount;
    }
    return MNIST_EDGE_LABELLED;
}

/* Finds the ink of a picture that is reduced already; returns a reason, or MNIST_EDGE_LABELLED. */
static int32_t find_ink(Grid values, double scale, Resampling *resampling, Background *background, Histograms *of,
                        Ink *ink)
{
    int32_t size = 2 * (values.height + values.width), flat, most = 0, reason = MNIST_EDGE_NOISE;
    memset(of, 0, sizeof *of);
    for (int32_t at = 0; at < pixels_of(values); at++) of->counts[values.pixels[at]]++;
    for (int32_t value = 0; value < 256; value++) most = larger(most, of->counts[value]);
    for (int32_t column = 0; column < values.width; column++) {
        of->border[values.pixels[column]]++;
        of->border[values.pixels[(values.height - 1) * values.width + column]]++;
    }
    for (int32_t row = 0; row < values.height; row++) {
        of->border[values.pixels[row * values.width]]++;
        of->border[values.pixels[row * values.width + values.width - 1]]++;
    }
    flat = is_flat(values, of, size);
    ink->height = values.height, ink->width = values.width, ink->scale = scale;
    ink->is_photograph = longest_of(values) > FLAT && most < DRAWN * pixels_of(values);
    if (flat) {
        for (int32_t at = 0; at < pixels_of(values); at++) ink->index[at] = values.pixels[at];
        reason = find_amounts(values, 1, flat_background(values, of, size), of, ink);
    }
    if (!flat || (reason == MNIST_EDGE_NOISE && longest_of(values) >= UNEVEN && longest_of(values) <= FLAT)) {
        differences(values, resampling, background, ink->index);
        memset(of->counts, 0, sizeof of->counts);
        for (int32_t at = 0; at < pixels_of(values); at++) of->counts[ink->index[at]]++;
        reason = find_amounts(values, 0, 256 * STEPS, of, ink);
        ink->is_photograph = 1;
    }
    return reason;
}

#endif
