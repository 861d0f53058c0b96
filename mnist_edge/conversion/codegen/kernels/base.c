/* Kernels. Activations are stored unsigned: u = q + 128, so that 0 is the least value, and a ReLU's zero.
 * Weights of convolutions and dense layers are packed as [input / 4][output channels padded to 16][4]: so one order
 * serves every backend. The backend is chosen when a net runs, or here: -DEDGE_BACKEND=EDGE_AVX2 */
#define EDGE_C99 0
#define EDGE_AVX2 1
#define EDGE_AVX_VNNI 2
#define EDGE_AVX512_VNNI 3
#define EDGE_AMX 4
#define EDGE_NEON 5
#define EDGE_NEON_DOT 6

#if defined(__GNUC__) && defined(__x86_64__) && !(defined(EDGE_BACKEND) && EDGE_BACKEND == EDGE_C99)
#define EDGE_X86 1
#include <immintrin.h>
#if !defined(__clang__) && __GNUC__ >= 11
#define EDGE_NEWER 1 /* AVX-VNNI and AMX, and how to ask a processor for them */
#elif defined(EDGE_BACKEND) && (EDGE_BACKEND == EDGE_AVX_VNNI || EDGE_BACKEND == EDGE_AMX)
#error "AVX-VNNI and AMX need GCC 11 or later"
#endif
#else
#define EDGE_X86 0
#endif
#if defined(__GNUC__) && defined(__aarch64__) && !(defined(EDGE_BACKEND) && EDGE_BACKEND == EDGE_C99)
#define EDGE_ARM64 1
#include <arm_neon.h>
#ifdef __linux__
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#else
#define EDGE_ARM64 0
#endif
#define EDGE_SIGNED EDGE_ARM64     /* inputs are multiplied as signed numbers */
#ifdef __GNUC__
#define EDGE_ALIGNED __attribute__((aligned(64))) /* no vector of weights lies in two lines of the cache */
#else
#define EDGE_ALIGNED
#endif
#if EDGE_X86 || EDGE_ARM64
#define EDGE_INLINE static inline __attribute__((always_inline))
#define EDGE_UNROLL _Pragma("GCC unroll 16")
#endif

/* A convolution or dense layer. The input is read in `runs` contiguous stretches of `groups` times four bytes for each
 * output pixel, `run_at[r]` bytes from its first; weights beyond a stretch are zero. */
typedef struct {
    int32_t height, width;         /* of the output, after pooling */
    int32_t out_row;               /* bytes from an output row to the next one */
    int32_t step_y, step_x;        /* bytes from an output pixel's input to the next one's, before pooling */
    int32_t pool;                  /* 2: the largest of 2 x 2 pixels is kept; 1: all are */
    int32_t runs, groups;
    const int32_t *run_at;
    int32_t channels, blocks;      /* blocks of 16 channels */
    const int8_t *weights;
    const int32_t *bias;           /* with the input's zero point in it */
    const int32_t *multiplier;     /* of 31 bits, one a channel */
    const int8_t *shift;           /* the product is multiplied with 2^(shift - 31) */
    int32_t rounds;                /* 2: to 32 bits, and then again, as LiteRT does in convolutions; 1: once */
    int32_t zero, low, high;       /* of the output, unsigned */
} edge_layer;

