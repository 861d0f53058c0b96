/* The front end of `mnist-edge predict` in freestanding C99: what happens between a decoded picture and the network's
 * input, and between the network's output and the label. Compile front_end.c alone, with -ffp-contract=off and without
 * -ffast-math: the results are then those of the Python code, bit for bit. It needs memcpy, memmove and memset, and
 * 8 KB of stack. The other headers of this folder are its parts, named like the Python modules that they repeat.
 *
 * What a caller does to answer as `mnist-edge predict` does:
 *
 * 1. Decode the picture to RGBA, 4 bytes a pixel, alpha not premultiplied, upright by its EXIF orientation. (Python
 *    lets the JPEG decoder reduce files whose longest side has 1280 pixels or more; the result is close to, but not
 *    equal to, that of the decoded pixels.)
 * 2. Call mnist_edge_read_picture, or mnist_edge_read_digits for every digit. If `found` is 0 there is no label;
 *    mnist_edge_reason_text returns why.
 * 3. Run the network on the input. If mnist_edge_grids returns 3 instead of 1, also run it on the input turned by
 *    mnist_edge_turn with 1 and with 3 quarters.
 * 4. Apply the temperature to the first output. The confidence is the largest probability.
 * 5. Call mnist_edge_judge: the label, or -1 if the answer is null.
 */
#ifndef MNIST_EDGE_FRONT_END_H
#define MNIST_EDGE_FRONT_END_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A picture with more pixels is refused. */
#define MNIST_EDGE_MAX_PIXELS 50000000
/* Largest number of rows and of columns of a network's input. */
#define MNIST_EDGE_MAX_INPUT 1024
/* The same for the preprocessor `digit`. */
#define MNIST_EDGE_MAX_DIGIT_INPUT 128
/* Bytes that mnist_edge_reason_text writes at most, with the final zero. */
#define MNIST_EDGE_REASON_BYTES 80

/* Preprocessors. */
enum { MNIST_EDGE_DIGIT = 0, MNIST_EDGE_RESIZE = 1 };

/* Reasons for which a picture has no label. */
enum {
    MNIST_EDGE_LABELLED = 0,
    MNIST_EDGE_FEW_PIXELS,
    MNIST_EDGE_BLANK,
    MNIST_EDGE_NOISE,
    MNIST_EDGE_SPECK,
    MNIST_EDGE_SCATTERED,
    MNIST_EDGE_SEVERAL_FIGURES, /* their number is in `figures` */
    MNIST_EDGE_WIDE,
    MNIST_EDGE_FILLED,
    MNIST_EDGE_SHADE,
    MNIST_EDGE_NO_STROKE,
    MNIST_EDGE_LOOPS,
    MNIST_EDGE_SURFACE_EDGE,
    MNIST_EDGE_CUT_OFF,
    MNIST_EDGE_NO_FORM,
    /* The following are set by mnist_edge_judge alone. */
    MNIST_EDGE_UNLIKELY,
    MNIST_EDGE_TURNED
};

/* Errors, returned in place of a number. */
enum {
    MNIST_EDGE_BAD_SIZE = -1,     /* the picture has no pixels, or more than MNIST_EDGE_MAX_PIXELS */
    MNIST_EDGE_BAD_INPUT = -2,    /* the network's input is too large, or no preprocessor can make it */
    MNIST_EDGE_SMALL_SCRATCH = -3 /* fewer bytes than mnist_edge_front_end_bytes returns */
};

/* The network's input: rows x columns x channels bytes (channels: 1, grey, or 3: red, green, blue). */
typedef struct {
    int32_t rows, columns, channels, preprocessor;
} mnist_edge_input;

/* What was found in a picture. The box is in pixels of the picture. */
typedef struct {
    int32_t found;                    /* 1: the input was written; 0: there is none, see `reason` */
    int32_t reason;                   /* MNIST_EDGE_LABELLED, or why there is no label */
    int32_t figures;                  /* with MNIST_EDGE_SEVERAL_FIGURES: how many */
    int32_t left, top, width, height; /* the digit's box; the whole picture for MNIST_EDGE_RESIZE */
    int32_t as_is;                    /* the picture itself is the network's input */
    int32_t may_be_turned;            /* a wide figure in a photograph: a digit turned by a quarter? */
    int32_t certain;                  /* the preprocessor looks for no digit: the most probable label is returned */
} mnist_edge_reading;

/* Bytes of scratch memory for a picture of this size; 0 if mnist_edge_read_picture would refuse it. */
size_t mnist_edge_front_end_bytes(int32_t width, int32_t height, const mnist_edge_input *input);

/* Prepares a picture for the network, as `read_picture` and `prepare` do.
 *
 * rgba: width x height x 4 bytes. scratch: aligned to 8 bytes. pixels: receives rows x columns x channels bytes if
 * reading->found. Returns 0, or an error (negative); then nothing was written. */
int32_t mnist_edge_read_picture(const uint8_t *rgba, int32_t width, int32_t height, const mnist_edge_input *input,
                                void *scratch, size_t scratch_bytes, uint8_t *pixels, mnist_edge_reading *reading);

/* The same for every digit, in reading order, as `prepare` does with `multi`; with MNIST_EDGE_DIGIT only (otherwise
 * the picture is one reading).
 *
 * pixels and readings have room for `most` (at least 1) digits. Returns how many digits there are, of which the first
 * `most` were written; 0 if there is none: then readings[0] has the reason. Negative: an error. */
int32_t mnist_edge_read_digits(const uint8_t *rgba, int32_t width, int32_t height, const mnist_edge_input *input,
                               void *scratch, size_t scratch_bytes, int32_t most, uint8_t *pixels,
                               mnist_edge_reading *readings);

/* The digits on sheets of paper in a picture, as `prepare_sheets` finds them; with MNIST_EDGE_DIGIT only. Returns how
 * many were written, at most `most`; 0 if there is none. Negative: an error.
 *
 * In frames of a video, `mnist-edge watch` shows these, and those of mnist_edge_read_digits whose boxes have no pixel
 * in common with one of these; labels of a model with MNIST_EDGE_RESIZE are shown from a confidence of 0.5. */
int32_t mnist_edge_read_sheets(const uint8_t *rgba, int32_t width, int32_t height, const mnist_edge_input *input,
                               void *scratch, size_t scratch_bytes, int32_t most, uint8_t *pixels,
                               mnist_edge_reading *readings);

/* How many inputs the network must answer: 3 if the turned ones count (a square input that may be turned), else 1. */
int32_t mnist_edge_grids(const mnist_edge_reading *reading, const mnist_edge_input *input);

/* Turns a square input by quarters counterclockwise. `turned` is another buffer than `pixels`. */
void mnist_edge_turn(const uint8_t *pixels, const mnist_edge_input *input, int32_t quarters, uint8_t *turned);

/* Decides on the label, as `judge_found` does: the most probable class, or -1 (null), with the reason in the reading.
 *
 * answers: mnist_edge_grids rows of `classes` values of the network, without temperature. confidence: the largest
 * probability of the first row, with temperature. */
int32_t mnist_edge_judge(mnist_edge_reading *reading, const mnist_edge_input *input, const float *answers,
                         int32_t classes, double confidence);

/* The words of `reason` as `mnist-edge predict` prints them, ended by a zero; empty if there is a label.
 *
 * text: MNIST_EDGE_REASON_BYTES. confidence: as for mnist_edge_judge; it matters for MNIST_EDGE_UNLIKELY alone. */
void mnist_edge_reason_text(const mnist_edge_reading *reading, double confidence, char *text);

#ifdef __cplusplus
}
#endif

#endif
