"""Arithmetic of int8 TFLite files, which the integer reference engine, the C generator and tests share."""
