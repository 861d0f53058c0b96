/* Refusal of figures that cannot be a whole digit: placement.py. */
#ifndef MNIST_EDGE_PLACEMENT_H
#define MNIST_EDGE_PLACEMENT_H

#include "figures.h"

#define MIN_RECTANGULARITY 0.88
#define MIN_ASPECT 0.4
#define MIN_FREE_OF_INK 0.75
#define ANGLES 60
#define DIRECTION_UNIT 16384
#define NEIGHBOURHOOD 0.05
#define OPPOSITE 0.3
#define EDGE_SHARE 0.03
#define PARTIAL_LOW 0.2
#define PARTIAL_HIGH 0.5
#define SQUARE 5
#define PARTIAL_SHARE 0.2

/* In place of a reason: the figure is a sheet of paper, which may have a digit on it. */
#define SHEET_FOUND 1000

/* Unit vectors at 0, 3, ..., 177 degrees, times DIRECTION_UNIT. */
static const int16_t DIRECTIONS[ANGLES][2] = {
    {16384, 0}, {16362, 857}, {16294, 1713}, {16182, 2563}, {16026, 3406}, {15826, 4240}, {15582, 5063},
    {15296, 5872}, {14968, 6664}, {14598, 7438}, {14189, 8192}, {13741, 8923}, {13255, 9630}, {12733, 10311},
    {12176, 10963}, {11585, 11585}, {10963, 12176}, {10311, 12733}, {9630, 13255}, {8923, 13741}, {8192, 14189},
    {7438, 14598}, {6664, 14968}, {5872, 15296}, {5063, 15582}, {4240, 15826}, {3406, 16026}, {2563, 16182},
    {1713, 16294}, {857, 16362}, {0, 16384}, {-857, 16362}, {-1713, 16294}, {-2563, 16182}, {-3406, 16026},
    {-4240, 15826}, {-5063, 15582}, {-5872, 15296}, {-6664, 14968}, {-7438, 14598}, {-8192, 14189}, {-8923, 13741},
    {-9630, 13255}, {-10311, 12733}, {-10963, 12176}, {-11585, 11585}, {-12176, 10963}, {-12733, 10311},
    {-13255, 9630}, {-13741, 8923}, {-14189, 8192}, {-14598, 7438}, {-14968, 6664}, {-15296, 5872}, {-15582, 5063},
    {-15826, 4240}, {-16026, 3406}, {-16182, 2563}, {-16294, 1713}, {-16362, 857},
};

/* First pixel of each row of a mask and the pixel after its last one; 0 and 0 if the row is empty. */
static void row_extents(Grid mask, int32_t *first, int32_t *end)
{
    for (int32_t row = 0; row < mask.height; row++) {
        const uint8_t *pixels = mask.pixels + row * mask.width;
        first[row] = end[row] = 0;
        for (int32_t column = mask.width - 1; column >= 0; column--)
            if (pixels[column]) {
                if (end[row] == 0) end[row] = column + 1;
                first[row] = column;
            }
    }
}

/* Length of the projection of rows of a mask, their corners included, on a direction, times DIRECTION_UNIT. */
static int32_t side_along(const int16_t *direction, int32_t height, const int32_t *left, const int32_t *right)
{
    int32_t low = INT32_MAX, high = INT32_MIN;
    for (int32_t row = 0; row < height; row++) {
        if (right[row] == 0) continue;
        for (int32_t corner = 0; corner < 4; corner++) {
            int32_t x = corner % 2 ? right[row] : left[row], y = row + corner / 2;
            int32_t along = direction[0] * x + direction[1] * y;
            low = smaller(low, along), high = larger(high, along);
        }
    }
    return high - low;
}

/* Whether a figure is a rectangle at any angle; at least the share `free_share` of which is free of ink. `extents`: 2 x
 * mask.height integers. */
static int is_sheet(Grid mask, double free_share, int32_t *extents)
{
    int32_t area = count_nonzero(mask), extent = 0, *left = extents, *right = extents + mask.height;
    float least = 0.0f;
    double sides[2] = {0.0, 0.0}, shorter, longer;
    if (area < 0.5 * free_share * pixels_of(mask)) return 0;
    if (smaller(mask.height, mask.width) < MIN_ASPECT * longest_of(mask)) return 0;
    row_extents(mask, left, right);
    for (int32_t row = 0; row < mask.height; row++) extent += right[row] - left[row];
    if (area < free_share * extent) return 0;
    for (int32_t angle = 0; angle < ANGLES / 2; angle++) {
        int32_t one = side_along(DIRECTIONS[angle], mask.height, left, right);
        int32_t other = side_along(DIRECTIONS[angle + ANGLES / 2], mask.height, left, right);
        float rectangle = (float)one * (float)other; /* in single precision, as in Python */
        if (angle > 0 && !(rectangle < least)) continue;
        least = rectangle;
        sides[0] = (double)one / DIRECTION_UNIT, sides[1] = (double)other / DIRECTION_UNIT;
    }
    shorter = sides[0] < sides[1] ? sides[0] : sides[1], longer = greater(sides[0], sides[1]);
    return extent > MIN_RECTANGULARITY * shorter * longer && shorter > MIN_ASPECT * longer;
}

/* Mask of the rows r for which rows r to r + SQUARE - 1 of the same column are all set, in place. */
static Grid eroded_down(Grid mask)
{
    Grid result = {mask.pixels, larger(0, mask.height - SQUARE + 1), mask.width};
    for (int32_t at = 0; at < pixels_of(result); at++)
        for (int32_t down = 1; down < SQUARE; down++) result.pixels[at] &= mask.pixels[at + down * mask.width];
    return result;
}

/* The same along rows. */
static Grid eroded_across(Grid mask)
{
    Grid result = {mask.pixels, mask.height, larger(0, mask.width - SQUARE + 1)};
    for (int32_t row = 0; row < result.height; row++)
        for (int32_t column = 0; column < result.width; column++) {
            uint8_t all = 1;
            for (int32_t across = 0; across < SQUARE; across++) all &= mask.pixels[row * mask.width + column + across];
            result.pixels[row * result.width + column] = all;
        }
    return result;
}

/* Refuses a figure that touches the edge of the picture, or that has partly inked areas in its neighbourhood. */
static int32_t check_photograph(const Figure *figure, int32_t area, const Ink *ink, Box around, uint8_t *buffer)
{
    double most = PARTIAL_SHARE * area;
    Grid partial;
    if (touches_edge(figure->box, ink)) return MNIST_EDGE_CUT_OFF;
    partial = within(ink, ink->amounts, around, buffer);
    for (int32_t at = 0; at < pixels_of(partial); at++)
        buffer[at] = buffer[at] > PARTIAL_LOW * FULL && buffer[at] < PARTIAL_HIGH * FULL;
    if (count_nonzero(partial) > most && count_nonzero(eroded_across(eroded_down(partial))) > most)
        return MNIST_EDGE_SURFACE_EDGE;
    return MNIST_EDGE_LABELLED;
}

/* Refuses a figure that cannot be a whole digit, by its place in the picture; `mask`: its pixels within its box. */
static int32_t check_placement(const Figure *figure, Grid mask, const Ink *ink, int32_t *extents, uint8_t *buffer)
{
    int32_t reach = rounded(NEIGHBOURHOOD * longest_of(mask)), area = count_nonzero(mask), opposite = 0;
    Box around = {larger(0, figure->box.left - reach), larger(0, figure->box.top - reach),
                  smaller(ink->width, figure->box.right + reach), smaller(ink->height, figure->box.bottom + reach)};
    Grid amounts;
    if (is_sheet(mask, ink->is_photograph ? 0.0 : MIN_FREE_OF_INK, extents)) return SHEET_FOUND;
    amounts = within(ink, ink->opposite, around, buffer);
    for (int32_t at = 0; at < pixels_of(amounts); at++) opposite += buffer[at] > OPPOSITE * FULL;
    if (opposite > EDGE_SHARE * area) return MNIST_EDGE_SURFACE_EDGE;
    return ink->is_photograph ? check_photograph(figure, area, ink, around, buffer) : MNIST_EDGE_LABELLED;
}

#endif
