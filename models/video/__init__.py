"""Networks over whole clips, trained end to end, a file each family; `NETWORKS` is the only list of them."""

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from core.names import ByName

if TYPE_CHECKING:
    from models.video.base import VideoNetwork

# Name: its class, by file, and what it is in one line.
_LINES = {
    "resnet18": ("tsn.SegmentNetwork", "TSN: a ResNet a frame, mean of the scores; or joined by --temporal"),
    "resnet34": ("tsn.SegmentNetwork", "the same, deeper"),
    "resnet50": ("tsn.SegmentNetwork", "the same, deeper, with bottlenecks"),
    "early": ("fusion.EarlyFusion", "a ResNet-18 over all frames at once, as 3T channels"),
    "early-resnet34": ("fusion.EarlyFusion", "the same on a ResNet-34"),
    "early-resnet50": ("fusion.EarlyFusion", "the same on a ResNet-50"),
    "slowfusion": ("fusion.SlowFusion", "a ResNet-18 that joins neighbouring frames in three steps"),
    "i3d-resnet18": ("i3d.InflatedResNet", "a 2D ResNet-18 inflated to 3D"),
    "i3d-resnet34": ("i3d.InflatedResNet", "the same, deeper"),
    "i3d-resnet50": ("i3d.InflatedResNet", "the same with bottlenecks, as in the non-local paper"),
    "c3d": ("c3d.C3D", "eight 3D convolutions"),
    "p3d50": ("p3d.P3D", "a ResNet-50 with convolutions in space and in time apart"),
    "csn26": ("csn.CSN", "channel-separated convolutions, 26 layers"),
    "csn50": ("csn.CSN", "the same, 50 layers"),
    "slowfast18": ("slowfast.SlowFast", "a slow and a fast pathway of ResNet-18"),
    "slowfast50": ("slowfast.SlowFast", "the same of ResNet-50"),
    "r3d_18": ("library.LibraryNetwork", "torchvision's 3D ResNet-18"),
    "mc3_18": ("library.LibraryNetwork", "torchvision's ResNet-18, 3D in its first layers only"),
    "r2plus1d_18": ("library.LibraryNetwork", "torchvision's R(2+1)D"),
    "s3d": ("library.S3D", "torchvision's separable Inception"),
    "swin3d_t": ("library.VideoSwin", "torchvision's Video Swin, tiny"),
    "mvit_v2_s": ("library.MViT", "torchvision's MViT v2, small: 16 frames of 224 pixels only"),
}


NETWORKS: "ByName[type[VideoNetwork]]" = ByName(__name__, _LINES, "network")
NetworkName = Annotated[str, AfterValidator(NETWORKS.known)]
