"""The page of `data.check --page`: what it shows of sound and broken trees, and in a browser."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from data.check.command import CheckConfig, main
from tests.support import chromium
from tests.support.trees import png_tree, save

LENGTHS = {
    "S1/open_jam/1": 8,
    "S1/open_jam/2": 4,
    "S2/open_jam/1": 6,
    "S1/close_jam/1": 5,
    "S2/close_jam/1": 5,
}


def page_of(root, out):
    status = main(CheckConfig(root=root, page=out, jobs=1))
    return status, (out / "index.html").read_text(encoding="utf-8")


def pictures(text, alt):
    urls = re.findall(rf'<img src="data:image/jpeg;base64,([^"]+)" alt="{alt}"', text)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(url)))) for url in urls]


def test_clips_stand_under_their_class_and_user_with_flow_and_map(tmp_path):
    root = png_tree(tmp_path, LENGTHS)
    save(root / "processed_frames2/S2/close_jam/1/rgb/rgb0003.png", np.full((32, 48, 3), (200, 20, 10)))
    status, text = page_of(root, tmp_path / "look")
    assert status == 0 and "5 clips and 28 frames of 2 classes and" in text and "no faults" in text
    sections = {name: text.split(f"<h2>{name} ")[1].split("<h2>")[0] for name in ("close_jam", "open_jam")}
    assert re.findall(r"clip (\d): (\d) frames", sections["open_jam"]) == [("1", "8"), ("2", "4"), ("1", "6")]
    (red,) = pictures(text, "S2/close_jam/1")
    assert np.abs(red.astype(int) - (200, 20, 10)).max() < 12, "the middle frame"
    for part in ("flow, by colour", "flow_x", "flow_y", "motion map"):
        assert (
            len(pictures(text, f"{part} of S1/open_jam/2")) + len(pictures(text, f"{part} of S2/open_jam/1"))
            == 1
        ), part
    assert not re.search(r"(src|href)=\"(?!data:|#)", text) and "default-src 'none'" in text


def test_many_clips_of_a_user_are_counted_and_not_all_drawn(tmp_path):
    root = png_tree(tmp_path, {f"S1/open_jam/{k}": 2 for k in range(1, 10)}, maps=False, flow=False)
    _, text = page_of(root, tmp_path / "look")
    assert len(re.findall(r"clip \d: 2 frames", text)) == 6 and "and 3 more" in text


def test_faults_come_first_with_what_can_be_seen_of_them(tmp_path):
    root = png_tree(tmp_path, LENGTHS)
    broken = root / "processed_frames2/S1/open_jam/2/rgb/rgb0003.png"  # the clip's middle frame
    broken.write_bytes(b"nothing")
    odd = root / "processed_frames2/S1/close_jam/1/rgb/rgb0002.png"
    save(odd, np.full((32, 40, 3), (20, 200, 10)))
    status, text = page_of(root, tmp_path / "look")
    assert status == 1 and ">2 faults</a>" in text
    assert text.index("no readable PNG or JPEG image") < text.index("<h2>Classes")
    (green,) = pictures(text, "frames of S1/close_jam/1")
    assert green.shape == (32, 40, 3) and np.abs(green.astype(int) - (20, 200, 10)).max() < 12
    assert re.search(r'class="broken">the image can.{1,6}t be decoded', text)


@pytest.mark.parametrize("make", ["file", "folder"])
def test_nothing_of_others_is_overwritten(tmp_path, command, make):
    root, out = png_tree(tmp_path, LENGTHS, maps=False, flow=False), tmp_path / "look"
    if make == "file":
        out.write_text("mine")
    else:
        (out / "mine").mkdir(parents=True)
    status, printed, err = command(main, CheckConfig, root, "--page", out)
    assert status == 2 and f"--page {out}" in err and not printed
    (out / "mine").rmdir() if make == "folder" else out.unlink()
    assert page_of(root, out)[0] == page_of(root, out)[0] == 0, "an earlier page is replaced"


@pytest.mark.skipif(chromium.PROGRAM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [500, 1400])
def test_it_opens_in_a_browser_without_a_word(tmp_path, width):
    root = png_tree(tmp_path, LENGTHS | {"S1/<b>bold_x/1": 3})
    page_of(root, tmp_path / "look")
    with chromium.Page(tmp_path / "look" / "index.html", width=width) as page:
        assert page.run("document.querySelectorAll('section').length") == 3
        assert page.run("document.querySelectorAll('section b').length") == 5, "users, and no name as markup"
        assert page.run("document.documentElement.scrollWidth <= window.innerWidth")
        page.run("document.querySelector('tbody a').click()")
        page.until("location.hash === '#class-1'")
        assert page.errors == []
