import csv
from collections import Counter
from pathlib import Path

from data import synthetic
from data.actions import noun_ids, nouns, reversed_actions, verb, verb_ids


def test_verb_and_nouns_part_at_the_first_underscore():
    names = ["pour_honey,bread", "take_cup", "wave", "put_hot_dog"]
    assert [verb(name) for name in names] == ["pour", "take", "wave", "put"]
    assert [nouns(name) for name in names] == ["honey,bread", "cup", "", "hot_dog"]


def test_classes_are_grouped_by_verb_and_by_nouns():
    names = ["close_jam", "open_jam", "open_tea", "take_jam", "pour_tea,cup"]
    assert verb_ids(names).tolist() == [0, 1, 1, 3, 2]
    assert noun_ids(names).tolist() == [0, 0, 1, 0, 2]


def test_reversed_pairs():
    names = ["close_jam", "open_jam", "open_tea", "put_cheese,bread", "stir_cup", "take_bread", "take_cheese"]
    assert reversed_actions(names).tolist() == [1, 0, -1, 6, -1, -1, 3]


def test_where_two_classes_are_the_same_move_there_is_no_pair():
    names = ["put_bread,bread", "put_bread,cheese,bread", "put_jam", "take_bread", "take_jam"]
    assert reversed_actions(names).tolist() == [-1, -1, 4, -1, 2]


def test_gtea61_has_as_many_test_clips_of_each_direction():
    """So a model that is blind to order wins half of them."""
    counts = csv.DictReader((Path(synthetic.__file__).parent / "gtea61_counts.csv").open())
    clips = Counter(line["action"] for line in counts if line["user"] == "S2")
    names = sorted(clips)
    pairs = [(names[a], names[b]) for a, b in enumerate(reversed_actions(names)) if b >= 0]
    assert sum(clips[name] for name, _ in pairs) == 38
    assert all(clips[one] == clips[other] for one, other in pairs)
