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
