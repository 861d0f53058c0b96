"""The arithmetic of int8 TFLite files, written once: for the integer reference engine, the generated C, and tests."""
