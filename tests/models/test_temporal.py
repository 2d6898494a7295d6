"""Every head of the list: its states are its features of the clip cut short, and its flags are true."""

import pytest
import torch

from models.temporal import HEADS, build_temporal

B, T, C, D = 2, 4, 5, 3


@pytest.mark.parametrize("attends", [True, False])
@pytest.mark.parametrize("name", HEADS)
@torch.no_grad()
def test_states_are_the_features_of_the_clip_cut_after_each_frame(name, attends):
    torch.manual_seed(0)
    head = build_temporal(name, C, D, T).double().eval()
    maps = torch.randn(B, T, C, 3, 2, dtype=torch.float64)
    cam = torch.randn(B, T, 3, 2, dtype=torch.float64) if attends else None
    states = head.states(maps, cam)
    assert states.shape == (B, T, head.features)
    for end in range(1, T + 1):
        cut = head(maps[:, :end], None if cam is None else cam[:, :end])
        torch.testing.assert_close(states[:, end - 1], cut, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", HEADS)
def test_attention_counts_a_cell_that_the_cam_leaves_alone(name):
    """Where the CAM puts all weight on one cell, the feature is that of a map of this cell alone."""
    torch.manual_seed(1)
    head = build_temporal(name, C, D, T).eval()
    if head.own_attention or hasattr(head, "tracker"):
        pytest.skip("the CAM is not its attention")
    maps, cam = torch.randn(B, T, C, 2, 2), torch.full((B, T, 2, 2), -1e9)
    cam[:, :, 0, 1] = 0
    alone = torch.zeros_like(maps)
    alone[:, :, :, 0, 1] = 4 * maps[:, :, :, 0, 1]  # an even CAM gives each of four cells a quarter
    torch.testing.assert_close(head(maps, cam), head(alone, torch.zeros_like(cam)))
    assert head.attention(None) is None
    torch.testing.assert_close(head.attention(cam).sum(dim=(2, 3)), torch.ones(B, T))


@pytest.mark.parametrize("name", HEADS)
@torch.no_grad()
def test_a_head_says_itself_what_it_is(name):
    head = build_temporal(name, C, D, T).eval()
    assert head.learns == any(True for _ in head.parameters())
    cells = head.cell_features(torch.randn(1, T, C, 2, 2), torch.randn(1, T, 2, 2))
    assert head.lies_on_cells == (cells is not None)
    assert head.needs_train_mode == any(isinstance(part, torch.nn.RNNBase) for part in head.modules())
