/* Reads images from a file of the host and writes the answers to another, and then the bytes of stack that it used. */
#include "board.h"
#include "net.h"

static uint8_t image[INPUT_BYTES], scratch[SCRATCH_BYTES];
static int8_t answer[OUTPUT_BYTES];

int main(void) {
    const int32_t images = host_open("images.raw", HOST_READ_BINARY), answers = host_open("answers.raw", HOST_WRITE_BINARY);
    while (host_read(images, image, sizeof image) == 0) {
        RUN(image, answer, scratch);
        host_write(answers, answer, sizeof answer);
    }
    const uint32_t used = stack_used();
    host_write(answers, &used, sizeof used);
    host_close(answers);
    return 0;
}
