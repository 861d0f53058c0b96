/* WebAssembly's vector instructions on this processor: SIMDe's functions. */
#define SIMDE_ENABLE_NATIVE_ALIASES
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#include <simde/wasm/simd128.h>
#pragma GCC diagnostic pop
#define __wasm__
#define __wasm_simd128__
