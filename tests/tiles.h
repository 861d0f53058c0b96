/* A model of the AMX instructions that generated C takes, after Intel's manual, for processors without them: tiles of
 * rows by bytes as configured, TDPBUSD as sums of products of bytes without a sign and bytes with one. */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>
#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbusd

static struct {
    uint8_t palette, start, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_shapes;
static uint8_t tiles[8][16][64];

static inline void tile_load(int tile, const void *from, long stride) {
    memset(tiles[tile], 0, sizeof tiles[tile]);
    for (int row = 0; row < tile_shapes.rows[tile]; row++)
        memcpy(tiles[tile][row], (const char *)from + row * stride, tile_shapes.row_bytes[tile]);
}

static inline void tile_store(int tile, void *to, long stride) {
    for (int row = 0; row < tile_shapes.rows[tile]; row++)
        memcpy((char *)to + row * stride, tiles[tile][row], tile_shapes.row_bytes[tile]);
}

static inline void tile_multiply(int sums, int a, int b) {
    if (tile_shapes.rows[a] != tile_shapes.rows[sums] || tile_shapes.row_bytes[a] != 4 * tile_shapes.rows[b] ||
        tile_shapes.row_bytes[b] != tile_shapes.row_bytes[sums])
        __builtin_trap(); /* an invalid instruction, says the manual */
    for (int row = 0; row < tile_shapes.rows[sums]; row++)
        for (int column = 0; column < tile_shapes.row_bytes[sums]; column += 4) {
            int32_t sum;
            memcpy(&sum, &tiles[sums][row][column], 4);
            for (int k = 0; k < tile_shapes.row_bytes[a]; k++)
                sum += tiles[a][row][k] * (int8_t)tiles[b][k / 4][column + k % 4];
            memcpy(&tiles[sums][row][column], &sum, 4);
        }
}

#define _tile_loadconfig(from) (memcpy(&tile_shapes, from, 64), memset(tiles, 0, sizeof tiles))
#define _tile_release() memset(&tile_shapes, 0, sizeof tile_shapes)
#define _tile_zero(tile) memset(tiles[tile], 0, sizeof tiles[tile])
#define _tile_loadd(tile, from, stride) tile_load(tile, from, stride)
#define _tile_stored(tile, to, stride) tile_store(tile, to, stride)
#define _tile_dpbusd(sums, a, b) tile_multiply(sums, a, b)
