/* What generated C takes from string.h: WebAssembly has no C library, but instructions for both functions. */
#ifndef MNIST_EDGE_STRING_H
#define MNIST_EDGE_STRING_H
#include <stddef.h>
#define memcpy __builtin_memcpy
#define memset __builtin_memset
#endif
