/* The preprocessor `digit`, which finds the digit in a picture and normalizes it: digit.py. Functions return a reason,
 * or MNIST_EDGE_LABELLED, where Python raises NoDigit. */
#ifndef MNIST_EDGE_DIGIT_H
#define MNIST_EDGE_DIGIT_H

#include "sheets.h"
#include "strokes.h"

#define NARROWER 0.75
#define WIDE 1.0
#define MAX_HOLES 3

/* A picture that is searched: the reduced picture, or (at depth 1) a sheet on it. */
typedef struct {
    Grid values;
    Ink ink;
    uint16_t *labels;
    Parts parts;
    int32_t left, top; /* of a sheet, in the reduced picture */
} Search;

typedef struct {
    int32_t rows, columns, most, count;
    uint8_t *pixels;
    mnist_edge_reading *readings;
} Found;

typedef struct {
    Search *searches[2];
    Resampling resampling;
    Background *background;
    Histograms *histograms;
    Labelling labelling;
    Strokes strokes;
    Hull *hull;
    int32_t *extents;
    uint8_t *is_mine, *mask, *buffer, *stretched, *input;
} Finder;

/* Buffers for a reduced picture of a height and a width, and an input of rows x columns. */
static void take_finder(Scratch *scratch, int32_t height, int32_t width, int32_t rows, int32_t columns, Finder *finder)
{
    size_t pixels = (size_t)(height + 2) * (width + 2);
    int32_t longest = larger(larger(height, width) + 2, 4 * TINY);
    for (int32_t depth = 0; depth < 2; depth++) {
        Search *search = take(scratch, 1, sizeof(Search));
        uint8_t *values = take(scratch, pixels, 1);
        uint16_t *index = take(scratch, pixels, sizeof(uint16_t)), *labels = take(scratch, pixels, sizeof(uint16_t));
        finder->searches[depth] = search;
        if (!search) continue;
        search->values.pixels = values, search->ink.index = index, search->labels = labels;
        search->left = search->top = 0;
    }
    finder->background = take_background(scratch, width);
    finder->histograms = take(scratch, 1, sizeof(Histograms));
    finder->labelling = take_labelling(scratch, height + 2, width + 2);
    finder->strokes = take_strokes(scratch, longest_strokes(longest, rows, columns), rows, columns);
    finder->hull = take(scratch, 1, sizeof(Hull));
    finder->extents = take(scratch, 2 * (size_t)height, sizeof(int32_t));
    finder->is_mine = take(scratch, pixels, 1);
    finder->mask = take(scratch, pixels, 1);
    finder->buffer = take(scratch, pixels, 1);
    finder->stretched = take(scratch, 16 * TINY * TINY, 1);
    finder->input = take(scratch, (size_t)rows * columns, 1);
}

/* Whether a picture is normalized as MNIST is. */
static int is_normalized(Grid grey, int32_t rows, int32_t columns)
{
    Box extent;
    int32_t longest, side = longest_digit(rows, columns);
    double down, across;
    if (grey.height != rows || grey.width != columns || extent_above(grey, 249).right == 0) return 0;
    extent = extent_above(grey, 0);
    longest = larger(width_of(extent), height_of(extent));
    centre(grey, &down, &across);
    return side - 1 <= longest && longest <= side && absolute(down - rows / 2.0) <= 0.53 &&
           absolute(across - columns / 2.0) <= 0.53;
}

/* Mask of a figure within a box, with a border of 0 if `border` is 1; `is_mine` is from mark_labels. */
static Grid mask_of(const Search *search, Box box, const uint8_t *is_mine, int32_t border, uint8_t *buffer)
{
    Grid mask = {buffer, height_of(box) + 2 * border, width_of(box) + 2 * border};
    memset(buffer, 0, bytes_of(mask));
    for (int32_t row = 0; row < height_of(box); row++) {
        const uint16_t *labels = search->labels + (box.top + row) * search->ink.width + box.left;
        uint8_t *pixels = buffer + (row + border) * mask.width + border;
        for (int32_t column = 0; column < width_of(box); column++) pixels[column] = is_mine[labels[column]];
    }
    return mask;
}

/* Refuses a figure with more than MAX_HOLES holes. */
static int32_t check_holes(const Finder *finder, const Search *search, const Figure *figure)
{
    Grid mine = mask_of(search, figure->box, finder->is_mine, 1, finder->mask);
    int32_t count, holes = 0;
    if (figure->count - euler_number(mine) <= MAX_HOLES) return MNIST_EDGE_LABELLED;
    for (int32_t at = 0; at < pixels_of(mine); at++) mine.pixels[at] = !mine.pixels[at];
    count = components(mine, finder->labelling, NULL);
    for (int32_t at = 0; at < count; at++) {
        const Component *item = &finder->labelling.components[at];
        holes += item->box.left > 0 && item->area >= greater(2, 0.01 * pixels_of(mine));
    }
    return holes > MAX_HOLES ? MNIST_EDGE_LOOPS : MNIST_EDGE_LABELLED;
}

/* Refuses a figure whose form or place no digit has; SHEET_FOUND if it may be a sheet of paper. */
static int32_t check_form(Finder *finder, const Search *search, const Figure *figure)
{
    const Ink *ink = &search->ink;
    Box box = figure->box;
    int32_t height = height_of(box), width = width_of(box), faint = 0, reason;
    int32_t is_placement_checked = longest_side(ink) > FLAT || ink->is_photograph;
    double filled = (double)figure->area / (width * height);
    int upright = height == ink->height && (box.left == 0) != (box.right == ink->width) && width < ink->width / 2.0;
    int across = width == ink->width && (box.top == 0) != (box.bottom == ink->height) && height < ink->height / 2.0;
    Grid amounts;
    if (larger(width, height) < 5) return MNIST_EDGE_SPECK;
    if (width > 2.2 * height) return MNIST_EDGE_WIDE;
    if (figure->count > 6) return MNIST_EDGE_SCATTERED;
    if (filled > 0.85 && width > 0.4 * height) return SHEET_FOUND;
    if (is_placement_checked && (upright || across)) return MNIST_EDGE_SHADE;
    amounts = within(ink, ink->amounts, box, finder->buffer);
    for (int32_t at = 0; at < pixels_of(amounts); at++)
        faint += amounts.pixels[at] > 0.15 * FULL && amounts.pixels[at] < 0.5 * FULL;
    if (is_placement_checked && faint > figure->area) return MNIST_EDGE_NO_STROKE;
    if (is_placement_checked) {
        Grid mine = mask_of(search, box, finder->is_mine, 0, finder->mask);
        reason = check_placement(figure, mine, ink, finder->extents, finder->buffer);
        if (reason) return reason;
    }
    return check_holes(finder, search, figure);
}

/* Writes the figure as the network takes it to finder->input. */
static int32_t normalize_figure(Finder *finder, const Search *search, const Figure *figure, const Found *found)
{
    const Ink *ink = &search->ink;
    Box box = figure->box;
    Grid alone;
    box = (Box){larger(box.left - 1, 0), larger(box.top - 1, 0), smaller(box.right + 1, ink->width),
                smaller(box.bottom + 1, ink->height)};
    alone = within(ink, ink->amounts, box, finder->buffer);
    for (int32_t row = 0; row < alone.height; row++) {
        const uint16_t *labels = search->labels + (box.top + row) * ink->width + box.left;
        for (int32_t column = 0; column < alone.width; column++)
            if (labels[column] && !finder->is_mine[labels[column]]) alone.pixels[row * alone.width + column] = 0;
    }
    if (ink->height == ink->width && ink->height <= TINY && height_of(figure->box) == ink->height &&
        width_of(figure->box) == ink->width)
        alone = resize(alone, 4 * ink->height, rounded(4 * ink->width * NARROWER), &finder->resampling,
                       finder->stretched);
    if (!normalize(alone, found->rows, found->columns, &finder->resampling, &finder->strokes, finder->input))
        return MNIST_EDGE_SPECK;
    return MNIST_EDGE_LABELLED;
}

/* Adds a figure to what was found; on a sheet, with its box in the whole picture: `_found`, and `in_picture`. */
static int32_t add_found(Finder *finder, int32_t depth, const Figure *figure, Found *found)
{
    const Search *search = finder->searches[depth];
    mnist_edge_reading reading = {0};
    size_t size = (size_t)found->rows * found->columns;
    int32_t reason = normalize_figure(finder, search, figure, found);
    if (reason) return reason;
    reading.found = 1;
    reading.may_be_turned = search->ink.is_photograph && width_of(figure->box) > WIDE * height_of(figure->box);
    scaled_box(figure->box, search->ink.scale, &reading);
    if (depth > 0) {
        double scale = finder->searches[0]->ink.scale;
        reading.left = rounded((search->left + reading.left) * scale);
        reading.top = rounded((search->top + reading.top) * scale);
        reading.width = rounded(reading.width * scale);
        reading.height = rounded(reading.height * scale);
    }
    if (found->count < found->most) {
        memcpy(found->pixels + found->count * size, finder->input, size);
        found->readings[found->count] = reading;
    }
    found->count++;
    return MNIST_EDGE_LABELLED;
}

/* Prepares the search of a sheet, at depth 1: `_Sheet.of`. */
static int32_t sheet_of(Finder *finder, const Figure *figure)
{
    Search *whole = finder->searches[0], *sheet = finder->searches[1];
    Grid values = cropped(whole->values, figure->box, finder->buffer), mask;
    int32_t corner[2], reason;
    mask = mask_of(whole, figure->box, finder->is_mine, 0, finder->mask);
    sheet->values = inside_of_sheet(values, mask, finder->hull, corner, sheet->values.pixels);
    if (longest_of(sheet->values) <= FLAT) return MNIST_EDGE_FILLED;
    sheet->left = figure->box.left + corner[0], sheet->top = figure->box.top + corner[1];
    if (smaller(sheet->values.height, sheet->values.width) < SMALLEST) return MNIST_EDGE_FEW_PIXELS;
    reason = find_ink(sheet->values, 1.0, &finder->resampling, finder->background, finder->histograms, &sheet->ink);
    sheet->ink.is_photograph = 1;
    return reason;
}

static int32_t search_parts(Finder *finder, Search *search)
{
    int32_t reason = ink_components(&search->ink, finder->labelling, finder->mask, search->labels, &search->parts);
    if (!reason) group_into_figures(&search->parts, &search->ink);
    return reason;
}

/* Finds the only digit of a picture whose ink is known: `_find_digit`. */
static int32_t find_digit_in(Finder *finder, int32_t depth, Found *found, int32_t *figures)
{
    Search *search = finder->searches[depth];
    Parts *parts = &search->parts;
    int32_t reason = search_parts(finder, search), rivals = 0, area = 0;
    Figure main;
    if (reason) return reason;
    main = parts->figures[0];
    if (longest_side(&search->ink) <= TINY) {
        main = figure_of_all(parts);
        parts->figure_count = 1;
    }
    for (int32_t at = 1; at < parts->figure_count; at++) rivals += is_rival_of(&parts->figures[at], &main);
    if (rivals) {
        *figures = 1 + rivals;
        return MNIST_EDGE_SEVERAL_FIGURES;
    }
    for (int32_t at = 0; at < parts->count; at++) area += parts->parts[at].area;
    if (main.area < 0.5 * area) return MNIST_EDGE_SCATTERED;
    mark_labels(parts, &main, finder->is_mine);
    reason = check_form(finder, search, &main);
    if (reason == SHEET_FOUND) {
        if (depth > 0 || !search->ink.is_photograph) return MNIST_EDGE_FILLED;
        reason = sheet_of(finder, &main);
        return reason ? reason : find_digit_in(finder, 1, found, figures); /* once at most */
    }
    return reason ? reason : add_found(finder, depth, &main, found);
}

/* Finds all digits of a picture whose ink is known: `_find_digits`. */
static int32_t find_digits_in(Finder *finder, int32_t depth, Found *found)
{
    Search *search = finder->searches[depth];
    Parts *parts = &search->parts;
    int32_t reason = search_parts(finder, search), tallest = 0, before = found->count, count = 0;
    if (reason) return reason;
    for (int32_t at = 0; at < parts->figure_count; at++) tallest = larger(tallest, height_of(parts->figures[at].box));
    for (int32_t at = 0; at < parts->figure_count; at++)
        if (height_of(parts->figures[at].box) >= 0.35 * tallest) parts->figures[count++] = parts->figures[at];
    reading_order(parts->figures, count);
    for (int32_t at = 0; at < count; at++) {
        const Figure *figure = &parts->figures[at];
        mark_labels(parts, figure, finder->is_mine);
        reason = check_form(finder, search, figure);
        if (reason == SHEET_FOUND && depth == 0 && search->ink.is_photograph) {
            int32_t outside = found->count;
            /* Once at most. If the sheet has no digit, what was found on it is forgotten. */
            if (sheet_of(finder, figure) || find_digits_in(finder, 1, found)) found->count = outside;
        }
        if (reason) continue;
        reason = add_found(finder, depth, figure, found);
        if (reason) return reason;
    }
    return found->count > before ? MNIST_EDGE_LABELLED : MNIST_EDGE_NO_FORM;
}

static double scale_of(Grid grey) { return greater(1.0, (double)longest_of(grey) / WORK); }

/* Finds the digit of a grey picture, or with `multi` every digit: `find_digit` and `find_digits`. */
static int32_t find_digits(Finder *finder, Grid grey, int32_t multi, Found *found, int32_t *figures)
{
    Search *search = finder->searches[0];
    int32_t reason;
    if (is_normalized(grey, found->rows, found->columns)) {
        found->readings[0] = (mnist_edge_reading){0};
        found->readings[0].found = found->readings[0].as_is = 1;
        found->readings[0].width = grey.width, found->readings[0].height = grey.height;
        memcpy(found->pixels, grey.pixels, bytes_of(grey));
        found->count = 1;
        return MNIST_EDGE_LABELLED;
    }
    if (smaller(grey.height, grey.width) < SMALLEST) return MNIST_EDGE_FEW_PIXELS;
    search->values = reduced(grey, scale_of(grey), &finder->resampling, search->values.pixels);
    reason = find_ink(search->values, scale_of(grey), &finder->resampling, finder->background, finder->histograms,
                      &search->ink);
    if (reason) return reason;
    if (multi && longest_of(grey) > TINY) return find_digits_in(finder, 0, found);
    return find_digit_in(finder, 0, found, figures);
}

#endif
