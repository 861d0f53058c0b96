/* A Python function that answers one image with generated C: it checks the image and calls the code without ctypes.
 * It uses the limited API of Python 3.11 and no header of NumPy: images arrive by the buffer protocol. */
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdlib.h>
#include <string.h>

#define MOST_SIDES 8

/* What one function needs. `buffer` belongs to the NumPy array whose method `copy` is. */
typedef struct {
    void (*run)(const void *image, void *buffer);
    void *buffer;
    PyObject *copy;
    int count;
    Py_ssize_t sides[MOST_SIDES];
} Caller;

static void free_caller(PyObject *capsule) {
    Caller *caller = PyCapsule_GetPointer(capsule, NULL);
    Py_DECREF(caller->copy);
    free(caller);
}

/* Whether an array is uint8 (1, *sides), or (1, *sides, 1) if an image has two sides. */
static int fits(const Caller *caller, const Py_buffer *array) {
    int extra = array->ndim - caller->count - 1;
    if (strcmp(array->format, "B") != 0 || extra < 0 || extra > (caller->count == 2) || array->shape[0] != 1) {
        return 0;
    }
    for (int side = 0; side < caller->count; side++) {
        if (array->shape[side + 1] != caller->sides[side]) {
            return 0;
        }
    }
    return extra == 0 || array->shape[array->ndim - 1] == 1;
}

/* The answer to an image: a new float32 array; None if the argument is no contiguous image of this shape. */
static PyObject *answer(PyObject *self, PyObject *image) {
    const Caller *caller = PyCapsule_GetPointer(self, NULL);
    Py_buffer array;
    if (PyObject_GetBuffer(image, &array, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) != 0) {
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    int good = fits(caller, &array);
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        caller->run(array.buf, caller->buffer);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&array);
    if (!good) {
        Py_RETURN_NONE;
    }
    return PyObject_CallNoArgs(caller->copy);
}

static PyMethodDef method = {"answer", answer, METH_O, "The answer to one image."};

/* Make a Python function of generated C's `run_value`; NULL with an exception if there is no memory.
 * sides: of one image, without the channel of a grey one. buffer: room for the values, then scratch memory. copy: copies the values. */
PyObject *make_caller(void *run, void *buffer, PyObject *copy, const Py_ssize_t *sides, int count) {
    Caller *caller = count > MOST_SIDES ? NULL : malloc(sizeof *caller);
    if (caller == NULL) {
        return PyErr_NoMemory();
    }
    *caller = (Caller){.buffer = buffer, .copy = copy, .count = count};
    memcpy(&caller->run, &run, sizeof run);
    memcpy(caller->sides, sides, (size_t)count * sizeof *sides);
    PyObject *capsule = PyCapsule_New(caller, NULL, free_caller);
    if (capsule == NULL) {
        free(caller);
        return NULL;
    }
    Py_INCREF(copy);
    PyObject *function = PyCFunction_New(&method, capsule);
    Py_DECREF(capsule);
    return function;
}
