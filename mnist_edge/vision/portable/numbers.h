/* Rounding, scratch memory, and rectangles: what Python and NumPy bring along. */
#ifndef MNIST_EDGE_NUMBERS_H
#define MNIST_EDGE_NUMBERS_H

#include <stddef.h>
#include <stdint.h>

/* Whoever links a freestanding program provides these; it has no string.h. */
void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);

/* The value rounded to an integer, halves to even, as `round` and `numpy.rint` do; 0 if it is not within 2^52. */
static inline double nearest(double value)
{
    if (!(value > -4503599627370496.0 && value < 4503599627370496.0)) return 0.0;
    int64_t whole = (int64_t)value; /* toward zero */
    double rest = value - (double)whole;
    int away = value < 0 ? -1 : 1;
    if (rest < 0) rest = -rest;
    if (rest > 0.5 || (rest == 0.5 && whole % 2 != 0)) whole += away;
    return (double)whole;
}

static inline int32_t rounded(double value)
{
    value = nearest(value);
    if (value > INT32_MAX) return INT32_MAX;
    return value < INT32_MIN ? INT32_MIN : (int32_t)value;
}

/* The smallest integer that is not below a value, which is from 0 to 2^31. */
static inline int32_t ceiling(double value)
{
    int32_t whole = (int32_t)value;
    return whole + (whole < value);
}

static inline int32_t smaller(int32_t one, int32_t other) { return one < other ? one : other; }
static inline int32_t larger(int32_t one, int32_t other) { return one > other ? one : other; }
static inline double greater(double one, double other) { return one > other ? one : other; }
static inline double absolute(double value) { return value < 0 ? -value : value; }

/* Memory that is handed out from its beginning. Without a beginning, it only counts what would be handed out. */
typedef struct {
    uint8_t *begin;
    size_t used;
} Scratch;

#ifdef __SANITIZE_ADDRESS__ /* in tests: a gap after each part, which nothing may touch */
#define GAP 64
void __asan_poison_memory_region(const volatile void *begin, size_t size);
void __asan_unpoison_memory_region(const volatile void *begin, size_t size);
static inline void protect(uint8_t *begin, size_t size) { __asan_poison_memory_region(begin, size); }
static inline void unprotect(uint8_t *begin, size_t size) { __asan_unpoison_memory_region(begin, size); }
#else
#define GAP 0
static inline void protect(uint8_t *begin, size_t size) { (void)begin, (void)size; }
static inline void unprotect(uint8_t *begin, size_t size) { (void)begin, (void)size; }
#endif

static inline void *take(Scratch *scratch, size_t count, size_t size)
{
    uint8_t *taken = scratch->begin ? scratch->begin + scratch->used : NULL;
    size_t end = (count * size + 7) / 8 * 8 + GAP;
    scratch->used += end;
    if (taken) protect(taken + count * size, end - count * size);
    return taken;
}

/* Rectangle [left, right) x [top, bottom), in pixels. */
typedef struct {
    int32_t left, top, right, bottom;
} Box;

static inline int32_t width_of(Box box) { return box.right - box.left; }
static inline int32_t height_of(Box box) { return box.bottom - box.top; }

/* A picture or a mask of one byte a pixel, row after row without gaps. */
typedef struct {
    uint8_t *pixels;
    int32_t height, width;
} Grid;

static inline int32_t longest_of(Grid grid) { return larger(grid.height, grid.width); }
static inline int32_t pixels_of(Grid grid) { return grid.height * grid.width; }
static inline size_t bytes_of(Grid grid) { return (size_t)grid.height * (size_t)grid.width; }

static inline int32_t count_nonzero(Grid mask)
{
    int32_t count = 0;
    for (int32_t at = 0; at < pixels_of(mask); at++) count += mask.pixels[at] != 0;
    return count;
}

/* Copy of a rectangle of a grid, in a buffer that may be the grid's own. */
static inline Grid cropped(Grid grid, Box box, uint8_t *buffer)
{
    Grid crop = {buffer, height_of(box), width_of(box)};
    for (int32_t row = 0; row < crop.height; row++)
        memmove(buffer + row * crop.width, grid.pixels + (box.top + row) * grid.width + box.left, (size_t)crop.width);
    return crop;
}

/* The box of the values above a level; empty (0, 0, 0, 0) if there is none. */
static inline Box extent_above(Grid grid, double level)
{
    Box box = {grid.width, grid.height, 0, 0};
    for (int32_t row = 0; row < grid.height; row++)
        for (int32_t column = 0; column < grid.width; column++)
            if (grid.pixels[row * grid.width + column] > level) {
                box.left = smaller(box.left, column), box.right = larger(box.right, column + 1);
                box.top = smaller(box.top, row), box.bottom = row + 1;
            }
    if (box.right == 0) box.left = box.top = 0;
    return box;
}

#endif
