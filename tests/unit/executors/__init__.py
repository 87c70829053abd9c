"""Unit tests of the executors: with real processes, files and servers, and a real engine where one answers."""
