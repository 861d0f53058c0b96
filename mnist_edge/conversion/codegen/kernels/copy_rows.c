/* `rows` rows of `length` bytes, which lie `out_row` bytes apart in the output. */
static void edge_copy_rows(const uint8_t *in, uint8_t *out, int32_t rows, int32_t length, int32_t out_row) {
    for (int32_t row = 0; row < rows; row++) {
        (void)memcpy(&out[row * out_row], &in[row * length], (size_t)length);
    }
}
