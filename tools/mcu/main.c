/* Reads inputs from a file of the host and writes the answers to another, and then the bytes of stack that it used, and
 * how long the last call took in ticks of the board's clock. */
#include "board.h"
#include "net.h"

static uint8_t image[INPUT_BYTES], scratch[SCRATCH_BYTES];
static int8_t answer[OUTPUT_BYTES];

int main(void) {
    const int32_t images = host_open("images.raw", HOST_READ_BINARY), answers = host_open("answers.raw", HOST_WRITE_BINARY);
    uint32_t figures[2] = {0, 0};
    while (host_read(images, image, sizeof image) == 0) {
        ticks_begin();
        RUN((const void *)image, (void *)answer, scratch);
        figures[1] = ticks_end();
        host_write(answers, answer, sizeof answer);
    }
    figures[0] = stack_used();
    host_write(answers, figures, sizeof figures);
    host_close(answers);
    return 0;
}
