/* Digits on sheets of paper in front of a background with many details: sheet_search.py. */
#ifndef MNIST_EDGE_SHEET_SEARCH_H
#define MNIST_EDGE_SHEET_SEARCH_H

#include "digit.h"

#define LIGHTNESS_LEVELS 4
#define EVEN 12
#define SMALLEST_SHEET 0.015
#define LARGEST_SHEET 0.8
#define HULL 0.6
#define PAPER 0.65
#define SHORTEST 40
#define LOWEST 16
#define MOST 6
/* Components that may be sheets by their size: each covers more than 1 / 171 of the picture. */
#define MAX_CANDIDATES 171

static const double LIGHTNESS[LIGHTNESS_LEVELS] = {0.85, 0.7, 0.55, 0.4};

/* The reduced picture, and the sheets in it. */
typedef struct {
    Grid values;
    uint16_t *labels;
    Component candidates[MAX_CANDIDATES];
    Box searched[MOST];
    int32_t candidate_count, searched_count;
} SheetSearch;

static SheetSearch *take_sheet_search(Scratch *scratch, int32_t height, int32_t width)
{
    size_t pixels = (size_t)height * width;
    SheetSearch *search = take(scratch, 1, sizeof(SheetSearch));
    uint8_t *values = take(scratch, pixels, 1);
    uint16_t *labels = take(scratch, pixels, sizeof(uint16_t));
    if (search) search->values.pixels = values, search->labels = labels;
    return search;
}

/* Quantile 0.99 of every fourth pixel of every fourth row, interpolated as numpy.quantile does. */
static double lightness(Grid values)
{
    int32_t counts[256] = {0}, total = 0, below = 0, low = -1, high = -1, before;
    double at, rest;
    for (int32_t row = 0; row < values.height; row += 4)
        for (int32_t column = 0; column < values.width; column += 4, total++)
            counts[values.pixels[row * values.width + column]]++;
    at = 0.99 * (total - 1);
    before = (int32_t)at;
    rest = at - before;
    for (int32_t value = 0; value < 256 && high < 0; value++) {
        below += counts[value];
        if (low < 0 && below > before) low = value;
        if (below > smaller(before + 1, total - 1)) high = value;
    }
    return rest < 0.5 ? low + (high - low) * rest : high - (high - low) * (1 - rest);
}

/* Mask of the light pixels that differ little from the next ones to the right and below, without those at its edge. */
static Grid even_and_light(Grid values, int32_t least, uint8_t *buffer, uint8_t *eroded)
{
    Grid mask = {eroded, values.height, values.width};
    int32_t width = values.width;
    for (int32_t row = 0; row < values.height; row++)
        for (int32_t column = 0; column < width; column++) {
            const uint8_t *pixel = values.pixels + row * width + column;
            int even = pixel[0] >= least;
            if (column + 1 < width) even &= pixel[1] - pixel[0] < EVEN && pixel[0] - pixel[1] < EVEN;
            if (row + 1 < values.height) even &= pixel[width] - pixel[0] < EVEN && pixel[0] - pixel[width] < EVEN;
            buffer[row * width + column] = (uint8_t)even;
        }
    memset(eroded, 0, bytes_of(mask));
    for (int32_t row = 1; row + 1 < values.height; row++)
        for (int32_t column = 1; column + 1 < width; column++) {
            uint8_t all = 1;
            for (int32_t near = 0; near < 9; near++)
                all &= buffer[(row + near / 3 - 1) * width + column + near % 3 - 1];
            eroded[row * width + column] = all;
        }
    return mask;
}

/* Lists the components that may be sheets by their size, the largest first. */
static void list_candidates(SheetSearch *search, const Component *parts, int32_t count)
{
    double pixels = pixels_of(search->values);
    search->candidate_count = 0;
    for (int32_t at = 0; at < count; at++) {
        Box box = parts[at].box;
        int32_t size = width_of(box) * height_of(box), to = search->candidate_count;
        if (smaller(width_of(box), height_of(box)) < SHORTEST) continue;
        if (!(SMALLEST_SHEET * pixels <= size && size <= LARGEST_SHEET * pixels)) continue;
        if (parts[at].area < HULL * PAPER * size || to == MAX_CANDIDATES) continue;
        for (; to > 0 && search->candidates[to - 1].area < parts[at].area; to--)
            search->candidates[to] = search->candidates[to - 1];
        search->candidates[to] = parts[at];
        search->candidate_count++;
    }
}

/* Mask of a component within its box. */
static Grid mask_of_part(const SheetSearch *search, const Component *part, uint8_t *buffer)
{
    Grid mask = {buffer, height_of(part->box), width_of(part->box)};
    for (int32_t row = 0; row < mask.height; row++) {
        const uint16_t *labels = search->labels + (part->box.top + row) * search->values.width + part->box.left;
        for (int32_t column = 0; column < mask.width; column++)
            buffer[row * mask.width + column] = labels[column] == part->label;
    }
    return mask;
}

/* Whether a candidate is nearly convex, and hardly covered by ink. */
static int may_be_sheet(const Component *part, Grid mask, Hull *hull)
{
    double area = 0.0;
    extent_of_hull(mask, 0, hull, hull->left, hull->right);
    for (int32_t row = 0; row < mask.height; row++) area += hull->right[row] - hull->left[row];
    return area >= HULL * pixels_of(mask) && part->area >= PAPER * area;
}

/* Whether half of the smaller box is in the other. */
static int overlap(Box first, Box second)
{
    int32_t across = smaller(first.right, second.right) - larger(first.left, second.left);
    int32_t down = smaller(first.bottom, second.bottom) - larger(first.top, second.top);
    int32_t least = smaller(width_of(first) * height_of(first), width_of(second) * height_of(second));
    return across > 0 && down > 0 && across * down > least / 2.0;
}

/* Finds the digits on a sheet, with boxes in the reduced picture: `_on_sheet`. Returns their number. */
static int32_t find_on_sheet(Finder *finder, const SheetSearch *search, const Component *part, Grid mask, Found *found)
{
    Grid values = cropped(search->values, part->box, finder->buffer), inside;
    size_t size = (size_t)found->rows * found->columns;
    int32_t corner[2], figures, kept = 0;
    inside = inside_of_sheet(values, mask, finder->hull, corner, finder->searches[0]->values.pixels);
    if (smaller(inside.height, inside.width) < LOWEST) return 0;
    found->count = 0;
    if (find_digits(finder, inside, 1, found, &figures)) return 0;
    for (int32_t at = 0; at < smaller(found->count, found->most); at++) {
        mnist_edge_reading *reading = &found->readings[kept];
        if (found->readings[at].height < LOWEST) continue;
        *reading = found->readings[at];
        if (kept < at) memcpy(found->pixels + kept * size, found->pixels + at * size, size);
        reading->left += part->box.left + corner[0], reading->top += part->box.top + corner[1];
        kept++;
    }
    return kept;
}

/* Finds the digits on all sheets of paper in a grey picture, the lightest sheets first, until `found` is full. */
static void find_digits_on_sheets(Finder *finder, SheetSearch *search, Grid grey, Found *found)
{
    double scale = scale_of(grey), light;
    search->values = reduced(grey, scale, &finder->resampling, search->values.pixels);
    search->searched_count = 0;
    light = lightness(search->values);
    for (int32_t level = 0; level < LIGHTNESS_LEVELS; level++) {
        Grid even = even_and_light(search->values, ceiling(LIGHTNESS[level] * light), finder->buffer, finder->mask);
        list_candidates(search, finder->labelling.components, components(even, finder->labelling, search->labels));
        for (int32_t at = 0; at < search->candidate_count; at++) {
            const Component *part = &search->candidates[at];
            Grid mask = mask_of_part(search, part, finder->mask);
            Found on_sheet = *found;
            int32_t other = 0, count;
            if (search->searched_count == MOST || found->count == found->most) return;
            if (!may_be_sheet(part, mask, finder->hull)) continue;
            while (other < search->searched_count && !overlap(part->box, search->searched[other])) other++;
            if (other < search->searched_count) continue;
            on_sheet.most = found->most - found->count;
            on_sheet.pixels += (size_t)found->count * found->rows * found->columns;
            on_sheet.readings += found->count;
            count = find_on_sheet(finder, search, part, mask, &on_sheet);
            if (count > 0) search->searched[search->searched_count++] = part->box;
            for (int32_t digit = 0; digit < count; digit++) {
                mnist_edge_reading *reading = &on_sheet.readings[digit];
                reading->left = rounded(reading->left * scale), reading->top = rounded(reading->top * scale);
                reading->width = rounded(reading->width * scale), reading->height = rounded(reading->height * scale);
            }
            found->count += count;
        }
    }
}

#endif
