"""The list of heads: what it says of unknown names, and what of heads that can't be built as asked."""

from typing import ClassVar

import pytest

from core.errors import UserError
from models import EgoRNN
from models.temporal import HEADS, build_temporal
from models.temporal.base import TemporalHead
from train_rgb import Config


def test_an_unknown_head_is_answered_with_a_line_for_each():
    with pytest.raises(UserError) as error:
        build_temporal("convlstn", 4, 2)
    head, *lines = str(error.value).split("\n")
    assert "'convlstn'" in head and [line.split()[0] for line in lines] == list(HEADS)
    assert all(len(line.split()) > 2 and len(line) < 110 for line in lines)
    with pytest.raises(UserError, match="no head is called"):
        EgoRNN(4, backbone="resnet18", temporal="convlstn", hidden=2)
    with pytest.raises(UserError, match="--temporal: no head is called 'convlstn'; there are\n  convlstm "):
        Config(stage=1, data="DATA", out="RUN", temporal="convlstn")


def test_every_entry_is_a_head():
    assert all(issubclass(head, TemporalHead) and head.__doc__ for head in HEADS.values())


class Demanding(TemporalHead):
    needs_attention: ClassVar[bool] = True
    needs_frames: ClassVar[bool] = True
    largest_hidden: ClassVar[int | None] = 64
    hidden_step: ClassVar[int] = 8


@pytest.mark.parametrize(
    "change, said",
    [
        ({"attention": False}, "needs --attention cam"),
        ({"frames": None}, "number of frames"),
        ({"hidden": 72}, "at most 64, got 72"),
        ({"hidden": 12}, "multiple of 8, got 12"),
        ({}, None),
    ],
)
def test_a_head_says_why_it_cannot_be_built(change, said):
    asked = {"attention": True, "hidden": 64, "frames": 1} | change
    found = Demanding.refusal(**asked)
    assert found is None if said is None else said in found
    assert TemporalHead.refusal(attention=False, hidden=72, frames=None) is None
