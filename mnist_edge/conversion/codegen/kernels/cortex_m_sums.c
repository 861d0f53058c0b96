/* All sums of one pixel, or of two, lie in memory. */
#ifdef EDGE_CORTEX_M
/* The sums before the first product. */
static void edge_cortex_m_begin(const int32_t *bias, int32_t channels, int32_t pixels, int32_t *sums) {
    int32_t *to = sums;
    for (int32_t c = 0; c < channels; c++) {
        to[0] = bias[c];
        to[pixels - 1] = bias[c];
        to = &to[pixels];
    }
}
#endif
