/* The front end of `mnist-edge predict`: see front_end.h. This file holds what pictures.py does around `digit`, and
 * what runtime/predict.py does after the network. */
#include "front_end.h"

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

#include "modes.h"
#include "sheet_search.h"

#define KEPT 1280
#define SURE 0.5

/* Scratch memory of one picture: its reduced form, and what the preprocessor needs. */
typedef struct {
    Grid picture; /* of `channels` bytes a pixel */
    int32_t factor;
    int32_t *positions;
    uint32_t *sums;
    Resampling resampling;
    Finder finder;
    SheetSearch *sheet_search;
} Memory;

/* Divides the scratch memory; returns 0, or an error. Without memory it only counts. */
static int32_t divide(Scratch *scratch, int32_t width, int32_t height, const mnist_edge_input *input, Memory *memory)
{
    int32_t rows = input->rows, columns = input->columns, channels = input->channels, longest;
    size_t between, between_floats = 0;
    if (width < 1 || height < 1 || width > MNIST_EDGE_MAX_PIXELS / height) return MNIST_EDGE_BAD_SIZE;
    if (rows < 1 || columns < 1 || larger(rows, columns) > MNIST_EDGE_MAX_INPUT) return MNIST_EDGE_BAD_INPUT;
    if (input->preprocessor == MNIST_EDGE_DIGIT) {
        if (channels != 1 || larger(rows, columns) > MNIST_EDGE_MAX_DIGIT_INPUT) return MNIST_EDGE_BAD_INPUT;
    } else if (input->preprocessor != MNIST_EDGE_RESIZE || (channels != 1 && channels != 3)) {
        return MNIST_EDGE_BAD_INPUT;
    }
    memory->factor = larger(1, larger(width, height) / KEPT);
    memory->picture.width = (width - 1) / memory->factor + 1;
    memory->picture.height = (height - 1) / memory->factor + 1;
    memory->picture.pixels = take(scratch, (size_t)pixels_of(memory->picture) * channels, 1);
    memory->positions = take(scratch, 2 * SAMPLE, sizeof(int32_t));
    memory->sums = take(scratch, (size_t)memory->picture.width * channels, sizeof(uint32_t));
    longest = larger(longest_of(memory->picture), larger(rows, columns));
    between = (size_t)memory->picture.height * columns * channels;
    if (input->preprocessor == MNIST_EDGE_DIGIT) {
        double scale = scale_of(memory->picture);
        int32_t high = larger(1, rounded(memory->picture.height / scale));
        int32_t wide = larger(1, rounded(memory->picture.width / scale));
        int32_t side = longest_strokes(larger(larger(high, wide) + 2, 4 * TINY), rows, columns);
        take_finder(scratch, high, wide, rows, columns, &memory->finder);
        memory->sheet_search = take_sheet_search(scratch, high, wide);
        between = (size_t)memory->picture.height * wide;
        if (between < (size_t)side * side) between = (size_t)side * side;
        between_floats = (size_t)high * GRID;
        longest = larger(longest, side);
    }
    memory->resampling = take_resampling(scratch, longest, between, between_floats);
    memory->finder.resampling = memory->resampling;
    return 0;
}

size_t mnist_edge_front_end_bytes(int32_t width, int32_t height, const mnist_edge_input *input)
{
    Scratch scratch = {NULL, 0};
    Memory memory;
    return divide(&scratch, width, height, input, &memory) ? 0 : scratch.used;
}

/* Converts a digit's box in a reduced picture to pixels of the original. */
static void in_original(mnist_edge_reading *reading, Grid picture, int32_t width, int32_t height)
{
    double across = (double)width / picture.width, down = (double)height / picture.height;
    Box box = {reading->left, reading->top, reading->left + reading->width, reading->top + reading->height};
    if (picture.width == width && picture.height == height) return;
    reading->left = rounded(box.left * across), reading->top = rounded(box.top * down);
    reading->width = rounded(box.right * across) - reading->left;
    reading->height = rounded(box.bottom * down) - reading->top;
}

/* What is searched. */
typedef enum { ONE_DIGIT, EVERY_DIGIT, ON_SHEETS } Searched;

/* Reads a picture; returns how many digits were found, or an error. */
static int32_t read_found(const uint8_t *rgba, int32_t width, int32_t height, const mnist_edge_input *input,
                          void *scratch, size_t scratch_bytes, Searched search, Found *found)
{
    Scratch whole = {scratch, 0};
    Memory memory;
    size_t needed = mnist_edge_front_end_bytes(width, height, input);
    int32_t error, figures = 0, reason = MNIST_EDGE_LABELLED;
    if (needed && (scratch_bytes < needed || !scratch)) return MNIST_EDGE_SMALL_SCRATCH;
    unprotect(scratch, scratch_bytes);
    error = divide(&whole, width, height, input, &memory);
    if (error) return error;
    convert(rgba, width, height, input->channels, memory.factor, memory.positions, memory.sums,
            memory.picture.pixels);
    if (input->preprocessor == MNIST_EDGE_RESIZE) {
        resample(memory.picture.pixels, memory.picture.height, memory.picture.width, input->rows, input->columns,
                 input->channels, LANCZOS, &memory.resampling, found->pixels);
        found->readings[0] = (mnist_edge_reading){0};
        found->readings[0].found = found->readings[0].certain = 1;
        found->readings[0].width = width, found->readings[0].height = height;
        return 1;
    }
    if (search == ON_SHEETS) find_digits_on_sheets(&memory.finder, memory.sheet_search, memory.picture, found);
    else reason = find_digits(&memory.finder, memory.picture, search == EVERY_DIGIT, found, &figures);
    if (reason) {
        found->readings[0] = (mnist_edge_reading){0};
        found->readings[0].reason = reason, found->readings[0].figures = figures;
        return 0;
    }
    for (int32_t at = 0; at < smaller(found->count, found->most); at++)
        in_original(&found->readings[at], memory.picture, width, height);
    return found->count;
}

int32_t mnist_edge_read_picture(const uint8_t *rgba, int32_t width, int32_t height, const mnist_edge_input *input,
                                void *scratch, size_t scratch_bytes, uint8_t *pixels, mnist_edge_reading *reading)
{
    Found found = {input->rows, input->columns, 1, 0, pixels, reading};
    return smaller(read_found(rgba, width, height, input, scratch, scratch_bytes, ONE_DIGIT, &found), 0);
}

int32_t mnist_edge_read_digits(const uint8_t *rgba, int32_t width, int32_t height, const mnist_edge_input *input,
                               void *scratch, size_t scratch_bytes, int32_t most, uint8_t *pixels,
                               mnist_edge_reading *readings)
{
    Found found = {input->rows, input->columns, most, 0, pixels, readings};
    if (most < 1) return MNIST_EDGE_BAD_INPUT;
    return read_found(rgba, width, height, input, scratch, scratch_bytes, EVERY_DIGIT, &found);
}

int32_t mnist_edge_read_sheets(const uint8_t *rgba, int32_t width, int32_t height, const mnist_edge_input *input,
                               void *scratch, size_t scratch_bytes, int32_t most, uint8_t *pixels,
                               mnist_edge_reading *readings)
{
    Found found = {input->rows, input->columns, most, 0, pixels, readings};
    if (most < 1 || input->preprocessor != MNIST_EDGE_DIGIT) return MNIST_EDGE_BAD_INPUT;
    return read_found(rgba, width, height, input, scratch, scratch_bytes, ON_SHEETS, &found);
}

int32_t mnist_edge_grids(const mnist_edge_reading *reading, const mnist_edge_input *input)
{
    return reading->may_be_turned && input->rows == input->columns ? 3 : 1;
}

void mnist_edge_turn(const uint8_t *pixels, const mnist_edge_input *input, int32_t quarters, uint8_t *turned)
{
    int32_t side = smaller(input->rows, input->columns), channels = input->channels, last = side - 1;
    for (int32_t row = 0; row < side; row++)
        for (int32_t column = 0; column < side; column++) {
            int32_t y = row, x = column;
            if (quarters % 4 == 1) y = column, x = last - row;
            if (quarters % 4 == 2) y = last - row, x = last - column;
            if (quarters % 4 == 3) y = last - column, x = row;
            memcpy(turned + (row * side + column) * channels, pixels + (y * side + x) * channels, (size_t)channels);
        }
}

static int32_t most_probable(const float *answers, int32_t classes)
{
    int32_t best = 0;
    for (int32_t at = 1; at < classes; at++)
        if (answers[at] > answers[best]) best = at;
    return best;
}

int32_t mnist_edge_judge(mnist_edge_reading *reading, const mnist_edge_input *input, const float *answers,
                         int32_t classes, double confidence)
{
    int32_t label = most_probable(answers, classes), grids = mnist_edge_grids(reading, input);
    reading->reason = MNIST_EDGE_LABELLED;
    if (confidence < SURE) {
        reading->reason = MNIST_EDGE_UNLIKELY;
    } else {
        for (int32_t grid = 1; grid < grids; grid++) {
            const float *other = answers + (size_t)grid * classes;
            int32_t best = most_probable(other, classes);
            if (best != label && other[best] > answers[label]) reading->reason = MNIST_EDGE_TURNED;
        }
    }
    if (reading->certain || reading->as_is) reading->reason = MNIST_EDGE_LABELLED;
    return reading->reason ? -1 : label;
}

static const char *const REASONS[] = {
    "",
    "a picture of too few pixels",
    "blank",
    "noise",
    "a speck",
    "scattered marks",
    "more than one figure (#)",
    "wider than a digit",
    "a filled area",
    "a shade along the edge",
    "no clear stroke",
    "more loops than a digit has",
    "the edge of a sheet or of a shadow is next to the figure",
    "the figure touches the edge of the picture",
    "nothing of a digit's form",
    "no digit is likely (#% at most)",
    "the digit may be turned by a quarter",
};

void mnist_edge_reason_text(const mnist_edge_reading *reading, double confidence, char *text)
{
    int32_t known = reading->reason >= 0 && reading->reason < (int32_t)(sizeof REASONS / sizeof REASONS[0]);
    int32_t number = reading->reason == MNIST_EDGE_UNLIKELY ? rounded(confidence * 100) : reading->figures;
    for (const char *from = REASONS[known ? reading->reason : 0]; *from; from++) {
        char digits[10];
        int32_t count = 0;
        if (*from != '#') {
            *text++ = *from;
            continue;
        }
        number = smaller(larger(number, 0), 999999999);
        do digits[count++] = (char)('0' + number % 10);
        while ((number /= 10) > 0);
        while (count > 0) *text++ = digits[--count];
    }
    *text = 0;
}
