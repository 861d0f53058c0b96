/* Cropping of a sheet of paper out of a photograph, without its surroundings: sheets.py. */
#ifndef MNIST_EDGE_SHEETS_H
#define MNIST_EDGE_SHEETS_H

#include "placement.h"

#define RIM 0.025
#define SIDE WORK /* longest side of a mask */

typedef struct {
    int32_t first[SIDE], end[SIDE], at[SIDE], values[SIDE], chain[SIDE];
    double left[SIDE], right[SIDE], top[SIDE], bottom[SIDE];
} Hull;

/* Lower convex hull of the points (at, values), of which there are `count`, evaluated at 0, ..., size - 1. */
static void lower_hull(Hull *hull, int32_t count, int32_t size, double *evaluated)
{
    const int32_t *at = hull->at, *values = hull->values;
    int32_t *chain = hull->chain, used = 0, corner = 0;
    for (int32_t point = 0; point < count; point++) {
        while (used > 1) {
            int32_t one = chain[used - 2], two = chain[used - 1];
            int64_t x0 = at[one], y0 = values[one], x1 = at[two], y1 = values[two];
            if ((x1 - x0) * (values[point] - y0) > (y1 - y0) * (at[point] - x0)) break;
            used--;
        }
        chain[used++] = point;
    }
    for (int32_t x = 0; x < size; x++) { /* numpy.interp */
        while (corner + 1 < used && at[chain[corner + 1]] <= x) corner++;
        if (x <= at[chain[corner]] || corner + 1 == used) {
            evaluated[x] = values[chain[corner]];
        } else {
            int32_t one = chain[corner], two = chain[corner + 1];
            double slope = (double)(values[two] - values[one]) / (at[two] - at[one]);
            evaluated[x] = slope * (x - at[one]) + values[one];
        }
    }
}

/* First column of the convex hull of a mask in each row, and the column after its last one. The mask is transposed, to
 * take columns for rows, if `sideways`. At least one pixel is set. */
static void extent_of_hull(Grid mask, int sideways, Hull *hull, double *left, double *right)
{
    int32_t size = sideways ? mask.width : mask.height, across = sideways ? mask.height : mask.width, count = 0;
    int32_t down_step = sideways ? 1 : mask.width, across_step = sideways ? mask.width : 1;
    for (int32_t row = 0; row < size; row++) {
        const uint8_t *pixels = mask.pixels + row * down_step;
        int32_t begin = 0, end = across;
        while (begin < across && !pixels[begin * across_step]) begin++;
        if (begin == across) continue;
        while (!pixels[(end - 1) * across_step]) end--;
        hull->at[count] = row, hull->first[count] = begin, hull->end[count] = -end;
        count++;
    }
    memcpy(hull->values, hull->first, sizeof hull->values);
    lower_hull(hull, count, size, left);
    memcpy(hull->values, hull->end, sizeof hull->values);
    lower_hull(hull, count, size, right);
    for (int32_t row = 0; row < size; row++) right[row] = -right[row];
}

/* The surface of a sheet as a picture; pixels between the sheet and the edges of this picture get the nearest value of
 * the sheet in the same row.
 *
 * values: the photograph within the sheet's box. sheet: the mask of its pixels, which is overwritten. corner: receives
 * the column and the row of `values` at which the picture begins. The result is empty if the sheet is too small. */
static Grid inside_of_sheet(Grid values, Grid sheet, Hull *hull, int32_t corner[2], uint8_t *buffer)
{
    int32_t rim = larger(3, rounded(RIM * longest_of(sheet)));
    Box box;
    Grid inside = {buffer, 0, 0};
    extent_of_hull(sheet, 0, hull, hull->left, hull->right);
    extent_of_hull(sheet, 1, hull, hull->top, hull->bottom);
    for (int32_t row = 0; row < sheet.height; row++)
        for (int32_t column = 0; column < sheet.width; column++)
            sheet.pixels[row * sheet.width + column] =
                column >= hull->left[row] + rim && column < hull->right[row] - rim &&
                row >= hull->top[column] + rim && row < hull->bottom[column] - rim;
    box = extent_above(sheet, 0.5);
    corner[0] = box.left, corner[1] = box.top;
    if (box.right == 0) return inside;
    inside.height = height_of(box), inside.width = width_of(box);
    for (int32_t row = 0; row < inside.height; row++) {
        const uint8_t *mine = sheet.pixels + (box.top + row) * sheet.width + box.left;
        const uint8_t *from = values.pixels + (box.top + row) * values.width + box.left;
        int32_t first = 0, last = inside.width - 1;
        while (first < inside.width && !mine[first]) first++;
        if (first == inside.width) first = 0;
        else
            while (!mine[last]) last--;
        for (int32_t column = 0; column < inside.width; column++)
            buffer[row * inside.width + column] = from[smaller(larger(column, first), last)];
    }
    return inside;
}

#endif
