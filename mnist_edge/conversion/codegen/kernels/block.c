EDGE_INLINE EDGE_TARGET_$ISA void edge_$ISA_$P_$V(const edge_layer *layer, const uint8_t *in, const int32_t *at, const int32_t *input,
                                 const int32_t *weights, int32_t n, int32_t channel, uint8_t *out) {
    edge_vector_$ISA total[$P][$V];
    int32_t sums[$P * $V * (int)(sizeof(edge_vector_$ISA) / 4)];
    const int8_t *const packed = layer->weights + 4 * channel;
    EDGE_UNROLL for (int p = 0; p < $P; p++)
        EDGE_UNROLL for (int v = 0; v < $V; v++)
            total[p][v] = edge_zero_$ISA();
    for (int32_t i = 0; i < n; i++) {
        const uint8_t *const x = in + input[i];
        const int8_t *const w = packed + weights[i];
        edge_bytes_$ISA loaded[$V];
        EDGE_UNROLL for (int v = 0; v < $V; v++)
            loaded[v] = edge_load_$ISA(w + v * $BYTES);
        EDGE_UNROLL for (int p = 0; p < $P; p++) {
            int32_t four;
            memcpy(&four, x + at[p], 4);
            const edge_bytes_$ISA wide = edge_wide_$ISA(four);
            EDGE_UNROLL for (int v = 0; v < $V; v++)
                edge_dot_$ISA(total[p][v], wide, loaded[v]);
        }
    }
    int32_t pixels = $P;
#ifdef edge_max_$ISA
    if ($P == 4 && layer->pool == 2) {
        EDGE_UNROLL for (int v = 0; v < $V; v++)
            EDGE_UNROLL for (int p = 1; p < $P; p++)
                total[0][v] = edge_max_$ISA(total[0][v], total[p][v]);
        pixels = 1;
    }
#endif
    EDGE_UNROLL for (int p = 0; p < $P; p++)
        EDGE_UNROLL for (int v = 0; v < $V; v++)
            if (p < pixels)
                memcpy(sums + (p * $V + v) * (int)(sizeof(edge_vector_$ISA) / 4), &total[p][v], sizeof total[p][v]);
    edge_finish_$ISA(layer, sums, pixels, $V, channel, out);
}
