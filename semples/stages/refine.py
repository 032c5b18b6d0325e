"""refine: fit CAMs to the edges of their photographs, and write them into an HDF5 file like that of cams."""

from pathlib import Path

from semples.config.settings import Settings
from semples.data.cam_file import CamFile, images_of
from semples.errors import SemplesError
from semples.files import sha256
from semples.inference.cams import write_scores
from semples.inference.refine import refined_scores
from semples.provenance import machine, provenance
from semples.runtime.gpu_lease import lease_gpus
from semples.weights.sam import open_sam

CARRIED = ("weights", "manifest", "split")  # keys of the provenance that a file of CAMs hands on


def run(
    settings: Settings, manifest: Path, cams: Path, out: Path, weights: Path | None = None, shard: str | None = None
) -> None:
    """Write the refined maps of every image of the file `cams` to the HDF5 file `out`.

    Args:
        weights: SAM, for `refine.kind: sam`: the file of `semples weights`, or a folder.
        shard: Share of the images, such as "2-of-4"; None for all.
    """
    kind, network = settings.refine.kind, None
    if kind == "none":
        expected, remedy = "superpixels, pamr or sam", "name one, or leave this stage out"
        raise SemplesError("refine.kind", "none", expected, remedy)
    images = images_of(cams, manifest, shard)
    with CamFile(cams) as file:
        inputs = {key: file.provenance[key] for key in CARRIED if key in file.provenance}
    inputs |= {"cams": sha256(cams), "stride": str(settings.refine.stride())}
    if kind == "sam":
        if weights is None:
            raise SemplesError("--weights", "nothing", "what `refine.kind: sam` needs", "give --weights")
        network, inputs["sam"] = open_sam(weights)
    if kind != "superpixels":
        lease_gpus(settings.run.device, 1)
    section = settings.refine.model_dump(include={"kind", kind}, mode="json")
    if settings.refine.own_weights():  # whose digest is that of the model; the path is one of this machine
        del section["sam"]["weights"]
    made_from = provenance("refine", {"refine": section}, **inputs) | machine(1, settings.run.device)
    write_scores(refined_scores(settings, cams, images, network), images, settings.cams.dtype, made_from, out)
