/* GCC's own, which it does not take by itself if there is a C library to expect. */
#include <stdint-gcc.h>
