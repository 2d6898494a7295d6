"""What each network is shown of a clip, and how checkpoints say it."""

import json

import pytest

from core.errors import UserError
from data.index import ClipIndex
from data.inputs import FlowInput, RgbInput, TwoStreamInput, read_input
from data.transforms import Preprocessing
from tests.support.trees import png_tree

RGB = RgbInput(3, Preprocessing.rgb(32))
FLOW = FlowInput(2, 4, Preprocessing.flow(32))


@pytest.mark.parametrize("inputs", [RGB, FLOW, TwoStreamInput(RGB, FLOW)])
def test_a_checkpoint_keeps_it(inputs, tmp_path):
    again = read_input(json.loads(json.dumps(inputs.to_dict())))
    assert again == inputs and type(again) is type(inputs)
    assert again.test_protocol() == inputs.test_protocol()


def test_items_hold_what_the_network_takes(tmp_path):
    index = ClipIndex.from_tree(png_tree(tmp_path))
    shapes = {
        RGB: {"frames": (3, 3, 32, 32)},
        FLOW: {"flow": (4, 4, 32, 32)},
        TwoStreamInput(RGB, FLOW): {"frames": (3, 3, 32, 32), "flow": (1, 4, 32, 32)},
    }
    for inputs, expected in shapes.items():
        keys = inputs.test_keys(index)
        item = inputs.dataset(index)[keys[1]]
        assert inputs.names == tuple(expected)
        assert {name: item[name].shape for name in inputs.names} == expected
        assert [key[0] for key in keys] == [key[0] for key in inputs.watching_keys(index)] == [0, 1, 2, 3, 4]


def test_flow_is_watched_at_the_centre_stack_and_reported_over_several(tmp_path):
    index = ClipIndex.from_tree(png_tree(tmp_path))
    assert FLOW.watching_keys(index)[0] == (0, None, (4,)), "9 images: ceil((9 - 2) / 2)"
    assert FLOW.test_keys(index)[0] == (0, None, (1, 2, 4, 6)), "floor(linspace(1, 8, 4, endpoint=False))"
    assert TwoStreamInput(RGB, FLOW).test_keys(index)[0] == (0, None, (4,))
    assert FLOW.test_protocol() == "mean logits of 4 stacks of 2 flow images, centre crop"
    assert FLOW.watching_protocol() == "the centre stack of 2 flow images, centre crop"
    both = TwoStreamInput(RGB, FLOW).test_protocol()
    assert both == "3 frames and the centre stack of 2 flow images, centre crop"


def test_streams_of_different_sizes_are_not_joined():
    with pytest.raises(UserError, match=r"32 pixels .* 64.*--image-size"):
        TwoStreamInput(RGB, FlowInput(2, 4, Preprocessing.flow(64)))


def test_a_checkpoint_of_a_later_version():
    with pytest.raises(UserError, match="'audio'"):
        read_input({"input": "audio"})
