"""A live page on this machine, to pick clips and videos on."""
