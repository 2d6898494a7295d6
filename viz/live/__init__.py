"""A live page on this machine, on which clips are picked and videos uploaded."""
