"""Tests of the adapters that read a source, and of the generated one."""
