/* Normalization of one figure, its scaling, centring and stroke width as in MNIST: strokes.py. */
#ifndef MNIST_EDGE_STROKES_H
#define MNIST_EDGE_STROKES_H

#include "resample.h"

#define SHARE (20.0 / 28)
#define FULL_INK 255
#define SOFT (0.1 * FULL_INK)
#define HALF (0.5 * FULL_INK)
#define FINE 8
#define THIN 12.0
#define THICK 32.0
#define STROKE_MIDDLE 17.0

/* Each buffer holds the largest picture that occurs, see `take_strokes`. */
typedef struct {
    uint8_t *edged, *large, *padded, *dilated, *digit;
    uint16_t *distances;
} Strokes;

static int32_t longest_digit(int32_t rows, int32_t columns) { return rounded(SHARE * smaller(rows, columns)); }

/* Longest side of a picture of strokes: of a figure that is enlarged from one pixel, or that has `most` pixels. */
static int32_t longest_strokes(int32_t most, int32_t rows, int32_t columns)
{
    return larger(3 * longest_digit(rows, columns) * FINE, most + 2) + 2 * FINE;
}

static Strokes take_strokes(Scratch *scratch, int32_t side, int32_t rows, int32_t columns)
{
    size_t pixels = (size_t)side * side;
    Strokes strokes;
    strokes.edged = take(scratch, pixels, 1);
    strokes.large = take(scratch, pixels, 1);
    strokes.padded = take(scratch, pixels, 1);
    strokes.dilated = take(scratch, pixels, 1);
    strokes.distances = take(scratch, pixels, sizeof(uint16_t));
    strokes.digit = take(scratch, (size_t)rows * columns, 1);
    return strokes;
}

static void threshold(Grid grid, double level)
{
    for (int32_t at = 0; at < pixels_of(grid); at++) grid.pixels[at] = grid.pixels[at] > level;
}

/* Copy with a border of `border` pixels of 0. */
static Grid padded(Grid grid, int32_t border, uint8_t *buffer)
{
    Grid result = {buffer, grid.height + 2 * border, grid.width + 2 * border};
    memset(buffer, 0, bytes_of(result));
    for (int32_t row = 0; row < grid.height; row++)
        memcpy(buffer + (row + border) * result.width + border, grid.pixels + row * grid.width, (size_t)grid.width);
    return result;
}

/* Mask of the strokes, scaled by a factor. */
static Grid fine(Grid ink, double factor, Resampling *resampling, uint8_t *buffer)
{
    int32_t high = larger(1, rounded(ink.height * factor)), wide = larger(1, rounded(ink.width * factor));
    Grid strokes = resize(ink, high, wide, resampling, buffer);
    threshold(strokes, HALF);
    return strokes;
}

/* Mean width of strokes in pixels: twice the area divided by the perimeter. */
static double stroke_width(Grid strokes)
{
    int32_t edges = 0;
    for (int32_t row = 0; row < strokes.height; row++)
        for (int32_t column = 0; column < strokes.width; column++) {
            const uint8_t *pixel = strokes.pixels + row * strokes.width + column;
            if (row > 0) edges += pixel[0] != pixel[-strokes.width];
            if (column > 0) edges += pixel[0] != pixel[-1];
        }
    return 2 * count_nonzero(strokes) / greater(1.0, edges * PI / 4);
}

/* Distance of each pixel of a row to the nearest pixel of the row that has a value; 65535 if there is none. */
static void row_distances(const uint8_t *pixels, int32_t width, int32_t value, uint16_t *distances)
{
    int32_t distance = 65535;
    for (int32_t column = 0; column < width; column++) {
        distance = pixels[column] == value ? 0 : smaller(distance + 1, 65535);
        distances[column] = (uint16_t)distance;
    }
    distance = 65535;
    for (int32_t column = width - 1; column >= 0; column--) {
        distance = pixels[column] == value ? 0 : smaller(distance + 1, 65535);
        distances[column] = (uint16_t)smaller(distances[column], distance);
    }
}

/* Morphological dilation, by a disc of a radius in pixels, of the pixels that have a value (0 or 1): the result is
 * `value` for these, row by row within the disc. */
static void dilate(Grid strokes, int32_t value, double radius, Strokes *buffers)
{
    int32_t reach = ceiling(radius);
    for (int32_t row = 0; row < strokes.height; row++)
        row_distances(strokes.pixels + row * strokes.width, strokes.width, value,
                      buffers->distances + row * strokes.width);
    memcpy(buffers->dilated, strokes.pixels, bytes_of(strokes));
    for (int32_t dy = -reach; dy <= reach; dy++) {
        int32_t dx = 0;
        if (!(dy * dy <= radius * radius + 0.5)) continue;
        while ((dx + 1) <= reach && dy * dy + (dx + 1) * (dx + 1) <= radius * radius + 0.5) dx++;
        for (int32_t row = larger(dy, 0); row < strokes.height + smaller(dy, 0); row++) {
            const uint16_t *distances = buffers->distances + (row - dy) * strokes.width;
            uint8_t *dilated = buffers->dilated + row * strokes.width;
            for (int32_t column = 0; column < strokes.width; column++)
                if (distances[column] <= dx) dilated[column] = (uint8_t)value;
        }
    }
    memcpy(strokes.pixels, buffers->dilated, bytes_of(strokes));
}

/* Strokes thinner than THIN dilated to STROKE_MIDDLE, strokes thicker than THICK eroded to THICK, in place. */
static void correct_width(Grid strokes, double width, Strokes *buffers)
{
    if (width < THIN) dilate(strokes, 1, (STROKE_MIDDLE - width) / 2, buffers);
    else dilate(strokes, 0, (width - THICK) / 2, buffers);
}

/* Length of a side when the longest side is scaled to `side`; unchanged if that is at most one pixel shorter. */
static int32_t scaled_side(int32_t size, int32_t longest, int32_t side)
{
    if (side - 1 <= longest && longest <= side) return size;
    return larger(1, rounded((double)(size * side) / longest));
}

/* Centre of mass: row and column. */
static void centre(Grid grid, double *row, double *column)
{
    int64_t whole = 0, down = 0, across = 0;
    for (int32_t y = 0; y < grid.height; y++)
        for (int32_t x = 0; x < grid.width; x++) {
            int32_t value = grid.pixels[y * grid.width + x];
            whole += value, down += (int64_t)value * y, across += (int64_t)value * x;
        }
    if (whole == 0) whole = 1;
    *row = (double)down / whole, *column = (double)across / whole;
}

/* Picture (rows, columns) with the digit's centre of mass in the middle, or as near as the digit fits. */
static void centred(Grid digit, int32_t rows, int32_t columns, uint8_t *pixels)
{
    double down, across;
    int32_t top, left;
    centre(digit, &down, &across);
    top = smaller(larger(rounded(rows / 2.0 - down), 0), rows - digit.height);
    left = smaller(larger(rounded(columns / 2.0 - across), 0), columns - digit.width);
    memset(pixels, 0, (size_t)rows * columns);
    for (int32_t row = 0; row < digit.height; row++)
        memcpy(pixels + (top + row) * columns + left, digit.pixels + row * digit.width, (size_t)digit.width);
}

/* Scales, centres and, if need be, thickens or thins a figure, which is changed; returns 0 if no ink is left. */
static int normalize(Grid ink, int32_t rows, int32_t columns, Resampling *resampling, Strokes *buffers, uint8_t *pixels)
{
    int32_t side = longest_digit(rows, columns), longest;
    Box extent = extent_above(ink, SOFT);
    Grid crop = cropped(ink, extent, ink.pixels), edged, large;
    double factor, width;
    if (pixels_of(crop) == 0 || side < 1) return 0;
    edged = padded(crop, 1, buffers->edged);
    factor = (double)(side * FINE) / longest_of(crop);
    if (factor > 1) {
        large = fine(edged, factor, resampling, buffers->large);
    } else {
        large = cropped(edged, (Box){0, 0, edged.width, edged.height}, buffers->large);
        threshold(large, HALF);
    }
    if (count_nonzero(large) == 0) return 0;
    width = stroke_width(large) * (factor < 1.0 ? factor : 1.0);
    if (!(THIN <= width && width <= THICK)) {
        Grid strokes = padded(fine(edged, factor, resampling, buffers->large), FINE, buffers->padded);
        correct_width(strokes, width, buffers);
        if (count_nonzero(strokes) == 0) return 0;
        for (int32_t at = 0; at < pixels_of(strokes); at++) strokes.pixels[at] = strokes.pixels[at] ? FULL_INK : 0;
        crop = cropped(strokes, extent_above(strokes, HALF), strokes.pixels);
    }
    longest = longest_of(crop);
    crop = resize(crop, scaled_side(crop.height, longest, side), scaled_side(crop.width, longest, side), resampling,
                  buffers->digit);
    centred(crop, rows, columns, pixels);
    return 1;
}

#endif
