"""The rule `weights`: one job a backbone, and none where nothing needs the file anew."""

VIT = "deit_tiny_patch16_224"


def test_variants_share_the_file_and_more_epochs_fetch_nothing(workflow_folder, snakemake, write_program, tmp_path):
    settings = {
        "name": "tiny",
        "generator": {"name": "vit_cam", "backbone": VIT, "weights": "timm"},
        "segment": {"network": "upernet", "encoder": f"vit:{VIT}", "weights": "imagenet"},
        "experiments": {"first": {}, "second": {"classify": {"epochs": 3}}, "third": {"segment": {"epochs": 3}}},
    }
    stand_in = "#!python\nimport sys\nfrom pathlib import Path\n\nPath(sys.argv[sys.argv.index('--out') + 1]).touch()\n"
    write_program(tmp_path / "python", stand_in)
    folder = workflow_folder(**settings)
    assert snakemake(folder, "--cores", 1, "--dry-run").count("rule weights:") == 1
    snakemake(folder, "--cores", 1, f"results/tiny/weights/timm/{VIT}.safetensors", programs=tmp_path)
    changed = workflow_folder(**settings | {"classify": {"epochs": 7}})
    for path in changed.iterdir():
        path.replace(folder / path.name)
    words = snakemake(folder, "--cores", 1, "--dry-run")
    assert "rule classify:" in words
    assert "rule weights:" not in words
