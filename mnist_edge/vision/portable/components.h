/* Connected components and Euler number of a mask: components.py. Runs are joined one after the other. */
#ifndef MNIST_EDGE_COMPONENTS_H
#define MNIST_EDGE_COMPONENTS_H

#include "numbers.h"

typedef struct {
    Box box;
    int32_t label, area;
} Component;

/* A run of pixels [begin, end) of a row, and a run of the same component: an earlier one, or itself. */
typedef struct {
    int32_t row, begin, end, parent;
} Run;

typedef struct {
    Run *runs;
    Component *components;
} Labelling;

static Labelling take_labelling(Scratch *scratch, int32_t height, int32_t width)
{
    size_t across = ((size_t)width + 1) / 2, down = ((size_t)height + 1) / 2;
    Labelling labelling;
    labelling.runs = take(scratch, (size_t)height * across, sizeof(Run));
    labelling.components = take(scratch, down * across, sizeof(Component));
    return labelling;
}

static int32_t root_of(Run *runs, int32_t run)
{
    while (runs[run].parent != run) run = runs[run].parent = runs[runs[run].parent].parent;
    return run;
}

/* Finds the runs of a mask and joins those that touch, corners included; returns their number. */
static int32_t joined_runs(Grid mask, Run *runs)
{
    int32_t count = 0, above = 0, above_end = 0; /* runs of the row above: [above, above_end) */
    for (int32_t row = 0; row < mask.height; row++) {
        const uint8_t *pixels = mask.pixels + row * mask.width;
        int32_t first = count, column = 0;
        for (;;) {
            Run run = {row, 0, 0, count};
            while (column < mask.width && !pixels[column]) column++;
            if (column == mask.width) break;
            run.begin = column;
            while (column < mask.width && pixels[column]) column++;
            run.end = column;
            runs[count] = run;
            while (above < above_end && runs[above].end < run.begin) above++;
            for (int32_t other = above; other < above_end && runs[other].begin <= run.end; other++) {
                int32_t one = root_of(runs, count), two = root_of(runs, other);
                runs[larger(one, two)].parent = smaller(one, two);
            }
            count++;
        }
        above = first, above_end = count;
    }
    return count;
}

/* Labels the 8-connected components of a mask; returns their number. They are in the order of their first pixels, not
 * sorted by area. `labels` may be NULL. */
static int32_t components(Grid mask, Labelling labelling, uint16_t *labels)
{
    Run *runs = labelling.runs;
    int32_t count = joined_runs(mask, runs), found = 0;
    if (labels) memset(labels, 0, bytes_of(mask) * sizeof *labels);
    for (int32_t at = 0; at < count; at++) {
        Run *run = &runs[at];
        int32_t root = root_of(runs, at);
        Component *component;
        if (root == at) {
            component = &labelling.components[found++];
            *component = (Component){{run->begin, run->row, run->end, run->row + 1}, found, 0};
        } else {
            component = &labelling.components[runs[root].row];
        }
        component->box.left = smaller(component->box.left, run->begin);
        component->box.right = larger(component->box.right, run->end);
        component->box.bottom = run->row + 1;
        component->area += run->end - run->begin;
        if (labels)
            for (int32_t column = run->begin; column < run->end; column++)
                labels[run->row * mask.width + column] = (uint16_t)component->label;
        if (root == at) run->row = component->label - 1; /* from here on: the component's index */
    }
    return found;
}

/* Number of 8-connected components of a mask minus the number of their holes; its border must be 0. */
static int32_t euler_number(Grid mask)
{
    int32_t one = 0, three = 0, diagonal = 0;
    for (int32_t row = 0; row + 1 < mask.height; row++)
        for (int32_t column = 0; column + 1 < mask.width; column++) {
            const uint8_t *pixel = mask.pixels + row * mask.width + column;
            int32_t in_square = pixel[0] + pixel[1] + pixel[mask.width] + pixel[mask.width + 1];
            one += in_square == 1;
            three += in_square == 3;
            diagonal += in_square == 2 && pixel[0] == pixel[mask.width + 1];
        }
    return (one - three - 2 * diagonal) / 4;
}

#endif
