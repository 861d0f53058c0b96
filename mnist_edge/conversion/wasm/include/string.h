/* What generated C and the front end take from string.h: WebAssembly has no C library, but instructions for these. */
#ifndef MNIST_EDGE_STRING_H
#define MNIST_EDGE_STRING_H
#include <stddef.h>
#define memcpy __builtin_memcpy
#define memmove __builtin_memmove
#define memset __builtin_memset
#endif
