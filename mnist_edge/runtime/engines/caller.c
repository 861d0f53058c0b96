/* A Python function that answers one image with generated C: it checks the image and calls the code without ctypes.
 * It is compiled for the Python and the NumPy that run it. */
#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <Python.h>
#include <numpy/arrayobject.h>
#include <stdlib.h>
#include <string.h>

#define MOST_SIDES 8

/* What one function needs. `array` owns `buffer`, which has room for the values and then for scratch memory. */
typedef struct {
    void (*run)(const void *image, void *buffer);
    void *buffer;
    PyObject *array;
    npy_intp classes;
    int is_quick; /* for such a net, releasing Python's lock would take as long as the net */
    int count;
    npy_intp sides[MOST_SIDES];
} Caller;

static void free_caller(PyObject *capsule) {
    Caller *caller = PyCapsule_GetPointer(capsule, NULL);
    Py_DECREF(caller->array);
    free(caller);
}

/* Whether an array is contiguous uint8 (1, *sides), or (1, *sides, 1) if an image has two sides. */
static int fits(const Caller *caller, PyArrayObject *array) {
    const int extra = PyArray_NDIM(array) - caller->count - 1;
    const npy_intp *shape = PyArray_DIMS(array);
    if (PyArray_TYPE(array) != NPY_UINT8 || !PyArray_IS_C_CONTIGUOUS(array) || extra < 0 ||
        extra > (caller->count == 2) || shape[0] != 1) {
        return 0;
    }
    for (int side = 0; side < caller->count; side++) {
        if (shape[side + 1] != caller->sides[side]) {
            return 0;
        }
    }
    return extra == 0 || shape[caller->count + 1] == 1;
}

/* The answer to an image: a new float32 array; None if the argument is no contiguous image of this shape. */
static PyObject *answer(PyObject *self, PyObject *image) {
    Caller *caller = PyCapsule_GetPointer(self, NULL);
    if (!PyArray_Check(image) || !fits(caller, (PyArrayObject *)image)) {
        Py_RETURN_NONE;
    }
    npy_intp shape[2] = {1, caller->classes};
    PyObject *values = PyArray_SimpleNew(2, shape, NPY_FLOAT32);
    if (values == NULL) {
        return NULL;
    }
    const void *pixels = PyArray_DATA((PyArrayObject *)image);
    if (caller->is_quick) {
        caller->run(pixels, caller->buffer);
    } else {
        Py_BEGIN_ALLOW_THREADS
        caller->run(pixels, caller->buffer);
        Py_END_ALLOW_THREADS
    }
    memcpy(PyArray_DATA((PyArrayObject *)values), caller->buffer, (size_t)caller->classes * sizeof(float));
    return values;
}

static PyMethodDef method = {"answer", answer, METH_O, "The answer to one image."};

/* Make a Python function of generated C's `run_value`; NULL with an exception if there is no memory.
 * array: owns `buffer`. sides: of one image, without the channel of a grey one. */
PyObject *make_caller(void *run, void *buffer, PyObject *array, Py_ssize_t classes, int is_quick,
                      const Py_ssize_t *sides, int count) {
    import_array1(NULL);
    Caller *caller = count > MOST_SIDES ? NULL : malloc(sizeof *caller);
    if (caller == NULL) {
        return PyErr_NoMemory();
    }
    *caller = (Caller){.buffer = buffer, .array = array, .classes = classes, .is_quick = is_quick, .count = count};
    memcpy(&caller->run, &run, sizeof run);
    for (int side = 0; side < count; side++) {
        caller->sides[side] = sides[side];
    }
    PyObject *capsule = PyCapsule_New(caller, NULL, free_caller);
    if (capsule == NULL) {
        free(caller);
        return NULL;
    }
    Py_INCREF(array);
    PyObject *function = PyCFunction_New(&method, capsule);
    Py_DECREF(capsule);
    return function;
}
