/* Figures, groups of connected components of ink, each of which may be one digit: figures.py. */
#ifndef MNIST_EDGE_FIGURES_H
#define MNIST_EDGE_FIGURES_H

#include "components.h"
#include "ink.h"

#define MAX_COMPONENTS 200

/* Components that may be one digit: `count` of them, those whose `group` is this one. */
typedef struct {
    Box box;
    int32_t area, count, group;
} Figure;

/* Components of ink without specks, the largest first; and figures of them, the largest first. */
typedef struct {
    int32_t labels_used, count, figure_count;
    Component parts[MAX_COMPONENTS];
    int32_t group_of[MAX_COMPONENTS];
    Figure figures[MAX_COMPONENTS];
} Parts;

static void add_part(Figure *figure, const Component *part)
{
    figure->box.left = smaller(figure->box.left, part->box.left);
    figure->box.top = smaller(figure->box.top, part->box.top);
    figure->box.right = larger(figure->box.right, part->box.right);
    figure->box.bottom = larger(figure->box.bottom, part->box.bottom);
    figure->area += part->area;
    figure->count++;
}

static int is_rival_of(const Figure *figure, const Figure *other)
{
    return height_of(figure->box) >= 0.55 * height_of(other->box) && figure->area >= 0.3 * other->area;
}

/* Marks the labels of a figure's components: is_mine[label] is 1 for them. */
static void mark_labels(const Parts *parts, const Figure *figure, uint8_t *is_mine)
{
    memset(is_mine, 0, (size_t)parts->labels_used + 1);
    for (int32_t at = 0; at < parts->count; at++)
        if (parts->group_of[at] == figure->group) is_mine[parts->parts[at].label] = 1;
}

/* Left, top, width and height of a box, times a scale and rounded. */
static void scaled_box(Box box, double scale, mnist_edge_reading *reading)
{
    reading->left = rounded(box.left * scale), reading->top = rounded(box.top * scale);
    reading->width = rounded(box.right * scale) - reading->left;
    reading->height = rounded(box.bottom * scale) - reading->top;
}

/* Labels the ink and lists its components without specks; returns a reason, or MNIST_EDGE_LABELLED. */
static int32_t ink_components(const Ink *ink, Labelling labelling, uint8_t *mask, uint16_t *labels, Parts *parts)
{
    int32_t count, largest = 0;
    int64_t all = 0, specks = 0;
    count = components(above(ink, longest_side(ink) <= FLAT ? 0.35 : 0.5, mask), labelling, labels);
    parts->labels_used = count, parts->count = 0;
    if (count == 0) return MNIST_EDGE_BLANK;
    for (int32_t at = 0; at < count; at++) largest = larger(largest, labelling.components[at].area);
    for (int32_t at = 0; at < count; at++) {
        const Component *item = &labelling.components[at];
        all += item->area;
        if (!(item->area >= greater(3, 0.02 * largest))) {
            specks += item->area;
            continue;
        }
        if (parts->count < MAX_COMPONENTS) { /* sorted by area, in the order of labels if equal */
            int32_t to = parts->count;
            for (; to > 0 && parts->parts[to - 1].area < item->area; to--) parts->parts[to] = parts->parts[to - 1];
            parts->parts[to] = *item;
        }
        parts->count++;
    }
    if (count > 40 && specks > 0.3 * all) return MNIST_EDGE_NOISE;
    if (parts->count == 0) return MNIST_EDGE_SPECK;
    return parts->count > MAX_COMPONENTS ? MNIST_EDGE_SCATTERED : MNIST_EDGE_LABELLED;
}

/* Whether a component is near enough to be a stroke of a figure, such as the separate bar of a five. */
static int belongs(const Component *part, const Figure *figure)
{
    Box one = part->box, other = figure->box;
    int32_t across = larger(larger(one.left - other.right, other.left - one.right), 0);
    int32_t down = larger(larger(one.top - other.bottom, other.top - one.bottom), 0);
    int32_t size = larger(height_of(other), width_of(other)), may_be_next_digit;
    if (across == 0 && down == 0) return 1;
    may_be_next_digit = height_of(one) >= 0.6 * height_of(other) && across > 0;
    return larger(across, down) <= (may_be_next_digit ? 0.1 : 0.25) * size;
}

static int touches_edge(Box box, const Ink *ink)
{
    return box.left == 0 || box.top == 0 || box.right == ink->width || box.bottom == ink->height;
}

/* Groups near components into figures, the largest first. */
static void group_into_figures(Parts *parts, const Ink *ink)
{
    int32_t order[MAX_COMPONENTS], used = 0, largest_inner = -1, only_inner;
    for (int32_t at = parts->count - 1; at >= 0; at--)
        if (!touches_edge(parts->parts[at].box, ink)) largest_inner = at;
    only_inner = largest_inner >= 0 && parts->parts[largest_inner].area >= 0.15 * parts->parts[0].area &&
                 longest_side(ink) > FLAT;
    for (int32_t at = 0; at < parts->count; at++) { /* by the area of the box */
        Box box = parts->parts[at].box;
        int32_t to = used;
        parts->group_of[at] = -1;
        if (only_inner && touches_edge(box, ink)) continue;
        for (; to > 0; to--) {
            Box before = parts->parts[order[to - 1]].box;
            if (height_of(before) * width_of(before) >= height_of(box) * width_of(box)) break;
            order[to] = order[to - 1];
        }
        order[to] = at;
        used++;
    }
    parts->figure_count = 0;
    for (int32_t at = 0; at < used; at++) {
        const Component *part = &parts->parts[order[at]];
        int32_t group = 0;
        while (group < parts->figure_count && !belongs(part, &parts->figures[group])) group++;
        if (group == parts->figure_count) parts->figures[parts->figure_count++] = (Figure){part->box, 0, 0, group};
        add_part(&parts->figures[group], part);
        parts->group_of[order[at]] = group;
    }
    for (int32_t at = 1; at < parts->figure_count; at++) { /* by area */
        Figure moved = parts->figures[at];
        int32_t to = at;
        for (; to > 0 && parts->figures[to - 1].area < moved.area; to--) parts->figures[to] = parts->figures[to - 1];
        parts->figures[to] = moved;
    }
}

/* The figure of all components. */
static Figure figure_of_all(Parts *parts)
{
    Figure all = {parts->parts[0].box, 0, 0, 0};
    for (int32_t at = 0; at < parts->count; at++) {
        add_part(&all, &parts->parts[at]);
        parts->group_of[at] = 0;
    }
    return all;
}

/* Puts figures in reading order: line by line from the top, each line from the left. */
static void reading_order(Figure *figures, int32_t count)
{
    for (int32_t at = 1; at < count; at++) {
        Figure moved = figures[at];
        int32_t to = at;
        for (; to > 0 && figures[to - 1].box.top > moved.box.top; to--) figures[to] = figures[to - 1];
        figures[to] = moved;
    }
    for (int32_t begin = 0; begin < count;) {
        Box first = figures[begin].box;
        int32_t end = begin; /* the line is [begin, end), sorted by its left */
        for (int32_t at = begin; at < count; at++) {
            Figure moved = figures[at];
            Box box = moved.box;
            int32_t shared = smaller(box.bottom, first.bottom) - larger(box.top, first.top), to = end;
            if (!(shared > 0.5 * smaller(height_of(box), height_of(first)))) continue;
            for (int32_t back = at; back > end; back--) figures[back] = figures[back - 1];
            for (; to > begin && figures[to - 1].box.left > box.left; to--) figures[to] = figures[to - 1];
            figures[to] = moved;
            end++;
        }
        begin = end;
    }
}

#endif
