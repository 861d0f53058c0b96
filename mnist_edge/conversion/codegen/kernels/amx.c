/* Convolutions by tiles: up to sixteen pixels side by side, by 64 bytes of input, by 16 channels. What does not fill half
 * a tile, and a dense layer, whose input is one pixel, is left to AVX512. */
#define EDGE_TARGET_amx __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,popcnt,amx-tile,amx-int8")))

/* The operating system gives a process its tiles when it asks for them. */
static inline int edge_may_use_amx(void) {
    static int known; /* 1: no, 2: yes */
    int answer = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (answer == 0) {
        answer = 1;
#ifdef __linux__
        if (__builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-int8")) {
            long said = 158; /* arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) */
            __asm__ volatile("syscall" : "+a"(said) : "D"(0x1023L), "S"(18L) : "rcx", "r11", "memory");
            answer = said == 0 ? 2 : 1;
        }
#endif
        __atomic_store_n(&known, answer, __ATOMIC_RELAXED);
    }
    return answer == 2;
}

/* The largest number up to `most` by which `size` can be divided. */
EDGE_INLINE int32_t edge_part(int32_t size, int32_t most) {
    while (size % most)
        most--;
    return most;
}

EDGE_INLINE EDGE_TARGET_amx void edge_layer_amx(const edge_layer *layer, const uint8_t *in, uint8_t *out) {
    const int32_t pool = layer->pool, blocks = layer->blocks;
    const int32_t wide = pool * edge_part(layer->width, 16 / pool), deep = edge_part(layer->groups, 16);
    if (wide < 8 || deep < 8) {
        edge_layer_avx512(layer, in, out);
        return;
    }
    /* Tiles 0 to 3 are sums [pixel][channel] of two rows by two blocks, 4 and 5 two rows' pixels, 6 and 7 weights. */
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } shapes = {1, 0, {0}, {0}, {0}};
    for (int tile = 0; tile < 8; tile++) {
        shapes.rows[tile] = (uint8_t)(tile < 6 ? wide : deep);
        shapes.row_bytes[tile] = (uint16_t)(tile == 4 || tile == 5 ? 4 * deep : 64);
    }
    __asm__ volatile("" : : "r"(&shapes) : "memory"); /* what tiles are loaded from is written by now */
    _tile_loadconfig(&shapes);
    int32_t sums[4][16][16];
    for (int32_t y = 0; y < layer->height; y++)
        for (int32_t x = 0; x < pool * layer->width; x += wide)
            for (int32_t block = 0; block < blocks; block += 2) {
                const uint8_t *const first = in + y * pool * layer->step_y + x * layer->step_x;
                const int32_t two = blocks - block >= 2;
                _tile_zero(0);
                _tile_zero(1);
                _tile_zero(2);
                _tile_zero(3);
                for (int32_t run = 0; run < layer->runs; run++)
                    for (int32_t group = 0; group < layer->groups; group += deep) {
                        const uint8_t *const from = first + layer->run_at[run] + 4 * group;
                        const int8_t *const w = layer->weights + ((run * layer->groups + group) * blocks + block) * 64;
                        _tile_loadd(4, from, layer->step_x);
                        _tile_loadd(6, w, blocks * 64);
                        _tile_dpbusd(0, 4, 6);
                        if (two) {
                            _tile_loadd(7, w + 64, blocks * 64);
                            _tile_dpbusd(2, 4, 7);
                        }
                        if (pool == 2) {
                            _tile_loadd(5, from + layer->step_y, layer->step_x);
                            _tile_dpbusd(1, 5, 6);
                            if (two)
                                _tile_dpbusd(3, 5, 7);
                        }
                    }
                _tile_stored(0, sums[0], 64);
                _tile_stored(1, sums[1], 64);
                _tile_stored(2, sums[2], 64);
                _tile_stored(3, sums[3], 64);
                for (int32_t b = 0; b < 1 + two; b++)
                    for (int32_t at = 0; at < wide / pool; at++) {
                        uint8_t *const to = out + y * layer->out_row + (x / pool + at) * layer->channels;
                        __m512i most = _mm512_loadu_si512(sums[2 * b][pool * at]);
                        if (pool == 2) {
                            most = _mm512_max_epi32(most, _mm512_loadu_si512(sums[2 * b][2 * at + 1]));
                            most = _mm512_max_epi32(most, _mm512_loadu_si512(sums[2 * b + 1][2 * at]));
                            most = _mm512_max_epi32(most, _mm512_loadu_si512(sums[2 * b + 1][2 * at + 1]));
                        }
                        edge_store_avx512(layer, most, 16 * (block + b), to);
                    }
            }
    _tile_release();
}
