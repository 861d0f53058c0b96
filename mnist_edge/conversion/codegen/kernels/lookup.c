static void edge_lookup(const uint8_t *in, uint8_t *out, int32_t size, const uint8_t *table) {
    for (int32_t i = 0; i < size; i++) {
        out[i] = table[in[i]];
    }
}
