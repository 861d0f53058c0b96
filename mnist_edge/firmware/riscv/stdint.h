/* SPDX-License-Identifier: Apache-2.0 */
/* GCC's own, which it does not take by itself if there is a C library to expect. */
#include <stdint-gcc.h>
