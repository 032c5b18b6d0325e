# In: a generator's model.safetensors, data/manifest.csv. Out, in <stage>/<variant>/seed<seed>/: cams.h5, palette PNGs in
# crf/masks, the segmentation network and its predictions, evaluations of all three, and the tar of `submission`. With several
# shards, the jobs of cams and crf write shards/<n>-of-<m>; then cams.h5 is an index of the shards, and masks is a folder of
# links.


rule cams:
    """Write the CAMs of the training images to one HDF5 file."""
    input:
        manifest=rules.data.output.manifest,
        generator=input_of("cams", "generator"),
        foreign=input_of("cams", "foreign"),
        guide=input_of("cams", "guide"),
        maps=input_of("cams", "maps"),
        code=input_of("cams", "code"),
    output:
        cams=TREE.shard("cams", "cams", CONFIG.run.shards),
    log:
        TREE.log("cams", PART),
    benchmark:
        TREE.benchmark("cams", PART)
    priority: priority_of("cams")
    conda:
        "../../envs/torch.yaml"
    threads: threads_of("cams")
    resources:
        gpu=GPU,
        mem_mb=12000,
        runtime=minutes("cams"),
    params:
        settings=settings_of("cams"),
        arguments=arguments(
            "generator", "foreign", "guide", "maps", split=CONFIG.data.train
        ),
        shard=["--shard", PART] if SHARDED else [],
        code=code_digest("semples.stages.cams"),
    shell:
        "exec python -m semples cams"
        " --config {params.settings:q}"
        " --threads {threads}"
        " --manifest {input.manifest:q}"
        " {params.arguments:q}"
        " {params.shard:q}"
        " --out {output.cams:q}"
        " &> {log:q}"


rule evaluate_cams:
    """Compute the mIoU of the CAMs at every background threshold, and at the threshold of every policy."""
    input:
        manifest=rules.data.output.manifest,
        cams=made_by("cams", "cams"),
    output:
        evaluation=TREE.path("evaluate", "cams"),
    log:
        TREE.log("evaluate", "cams"),
    benchmark:
        TREE.benchmark("evaluate", "cams")
    priority: priority_of("evaluate_cams")
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        settings=settings_of("evaluate"),
        split=CONFIG.data.train,
        code=code_digest("semples.stages.evaluate"),
    shell:
        "exec python -m semples evaluate"
        " --config {params.settings:q}"
        " --threads {threads}"
        " --manifest {input.manifest:q}"
        " --split {params.split:q}"
        " --cams {input.cams:q}"
        " --out {output.evaluation:q}"
        " &> {log:q}"


rule crf:
    """Refine CAMs with the dense CRF, and write pseudo masks as palette PNGs."""
    input:
        manifest=rules.data.output.manifest,
        cams=input_of("crf", "maps"),
        evaluation=(
            input_of("crf", "evaluation")
            if CONFIG.data.train in SHOWN.masked_splits
            else []
        ),
    output:
        masks=directory(TREE.shard("crf", "masks", CONFIG.run.shards)),
    log:
        TREE.log("crf", PART),
    benchmark:
        TREE.benchmark("crf", PART)
    priority: priority_of("crf")
    conda:
        "../../envs/crf.yaml"
    threads: threads_of("crf")
    resources:
        mem_mb=8000,
        runtime=minutes("crf"),
    params:
        settings=settings_of("crf"),
        shard=["--shard", PART] if SHARDED else [],
        code=code_digest("semples.stages.crf"),
    shell:
        "exec python -m semples crf"
        " --config {params.settings:q}"
        " --threads {threads}"
        " --manifest {input.manifest:q}"
        " --cams {input.cams:q}"
        " --evaluation {input.evaluation:q}"
        " {params.shard:q}"
        " --out {output.masks:q}"
        " &> {log:q}"


if SHARDED:

    rule join_cams:
        """Write the index that makes the shards readable as one file."""
        input:
            gather.shards(
                TREE.shard("cams", "cams", CONFIG.run.shards), allow_missing=True
            ),
        output:
            cams=TREE.path("cams", "cams"),
        log:
            TREE.log("cams", "join"),
        conda:
            "../../envs/plot.yaml"
        threads: 1
        resources:
            mem_mb=2000,
            runtime=60,
        params:
            code=code_digest("semples.stages.join"),
        shell:
            "exec python -m semples join"
            " --shards {input:q}"
            " --out {output.cams:q}"
            " &> {log:q}"

    rule join_masks:
        """Link the pseudo masks of all shards into one folder."""
        input:
            gather.shards(
                TREE.shard("crf", "masks", CONFIG.run.shards), allow_missing=True
            ),
        output:
            masks=directory(TREE.path("crf", "masks")),
        log:
            TREE.log("crf", "join"),
        conda:
            "../../envs/plot.yaml"
        threads: 1
        resources:
            mem_mb=2000,
            runtime=60,
        params:
            code=code_digest("semples.stages.join"),
        shell:
            "exec python -m semples join"
            " --shards {input:q}"
            " --out {output.masks:q}"
            " &> {log:q}"


rule segment:
    """Train a segmentation network on the pseudo masks."""
    input:
        manifest=rules.data.output.manifest,
        masks=input_of("segment", "masks"),
        weights=input_of("segment", "weights"),
    output:
        model=TREE.path("segment", "model"),
        metrics=TREE.path("segment", "metrics"),
    log:
        TREE.log("segment"),
    benchmark:
        TREE.benchmark("segment")
    priority: priority_of("segment")
    conda:
        "../../envs/torch.yaml"
    threads: threads_of("segment")
    resources:
        **learner("segment"),
    params:
        settings=settings_of("segment"),
        code=code_digest("semples.stages.segment"),
        out=subpath(output.model, parent=True),
    shell:
        "exec python -m semples segment"
        " --config {params.settings:q}"
        " --threads {threads}"
        " --manifest {input.manifest:q}"
        " --masks {input.masks:q}"
        " --weights {input.weights:q}"
        " --seed {wildcards.seed}"
        " --out {params.out:q}"
        " &> {log:q}"


rule segment_masks:
    """Predict the masks of the validation images with the trained network."""
    input:
        manifest=rules.data.output.manifest,
        model=made_by("segment", "model"),
    output:
        masks=directory(TREE.path("segment_masks", "masks")),
    log:
        TREE.log("segment_masks"),
    benchmark:
        TREE.benchmark("segment_masks")
    priority: priority_of("segment_masks")
    conda:
        "../../envs/torch.yaml"
    threads: threads_of("segment_masks")
    resources:
        gpu=GPU,
        mem_mb=12000,
        runtime=minutes("segment_masks"),
    params:
        settings=settings_of("segment_masks"),
        code=code_digest("semples.stages.segment_masks"),
    shell:
        "exec python -m semples segment_masks"
        " --config {params.settings:q}"
        " --threads {threads}"
        " --manifest {input.manifest:q}"
        " --checkpoint {input.model:q}"
        " --out {output.masks:q}"
        " &> {log:q}"


rule submission:
    """Predict the VOC test split, and write the tar that the VOC server accepts. Runs only if requested by name."""
    input:
        manifest=rules.data.output.manifest,
        model=made_by("segment", "model"),
    output:
        tar=TREE.path("submission", "tar"),
    log:
        TREE.log("submission"),
    benchmark:
        TREE.benchmark("submission")
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.run.threads
    resources:
        gpu=GPU,
        mem_mb=12000,
        runtime=minutes("segment_masks"),
    params:
        split=CONFIG.data.test,
        code=code_digest("semples.stages.submission"),
    shell:
        "exec python -m semples submission"
        " --threads {threads}"
        " --manifest {input.manifest:q}"
        " --split {params.split:q}"
        " --checkpoint {input.model:q}"
        " --out {output.tar:q}"
        " &> {log:q}"


rule evaluate_masks:
    """Evaluate pseudo masks or predictions against ground truth."""
    input:
        manifest=rules.data.output.manifest,
        masks=lambda wildcards: TREE.path(
            STAGE_OF_COLUMN[wildcards.kind],
            "masks",
            wildcards.variant,
            wildcards.seed,
        ),
    output:
        evaluation=f"{TREE.folder('evaluate')}/{{kind}}.json",
    log:
        TREE.log("evaluate", "{kind}"),
    benchmark:
        TREE.benchmark("evaluate", "{kind}")
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        settings=settings_of("evaluate"),
        code=code_digest("semples.stages.evaluate"),
        split=lambda wildcards: {"crf": CONFIG.data.train, "segment": CONFIG.data.val}[
            wildcards.kind
        ],
    shell:
        "exec python -m semples evaluate"
        " --config {params.settings:q}"
        " --threads {threads}"
        " --manifest {input.manifest:q}"
        " --split {params.split:q}"
        " --masks {input.masks:q}"
        " --kind {wildcards.kind}"
        " --out {output.evaluation:q}"
        " &> {log:q}"
