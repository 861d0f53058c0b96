/* `rows` rows of `length` values, stored plus 128, `out_row` bytes apart in the output. */
static void edge_store(const int8_t *in, uint8_t *out, int32_t rows, int32_t length, int32_t out_row) {
    for (int32_t row = 0; row < rows; row++) {
        for (int32_t i = 0; i < length; i++) {
            const int32_t value = (int32_t)in[(row * length) + i] + 128;
            out[(row * out_row) + i] = (uint8_t)value;
        }
    }
}
