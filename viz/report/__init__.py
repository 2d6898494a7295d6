"""The parts of a report on finished runs, one idea a file: rows become tables, words and pictures."""
