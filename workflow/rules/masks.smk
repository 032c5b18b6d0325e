# In: a generator's model.safetensors, data/manifest.csv. Out, in <stage>/<variant>/seed<seed>/: cams.h5, the palette PNGs of
# crf/masks, the network of segment with its predictions, the evaluations of all three, and the tar of submission. With several
# shards the jobs of cams and crf write shards/<n>-of-<m>, and cams.h5 is their index, masks a folder of links.


rule cams:
    """Maps of the training images into one HDF5 file."""
    input:
        manifest=rules.data.output.manifest,
        generator=generator_before("cams"),
        code=own_generator,
    output:
        cams=f"{BASE}/cams/{{variant}}/seed{{seed}}/{PART_OF_CAMS}",
    log:
        f"{BASE}/logs/cams/{{variant}}.seed{{seed}}{OF_SHARD}.log",
    benchmark:
        f"{BASE}/benchmarks/cams/{{variant}}.seed{{seed}}{OF_SHARD}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.run.threads
    resources:
        gpu=GPU,
        mem_mb=12000,
        runtime=720,
    params:
        settings=settings_of("cams"),
        split=CONFIG.data.train,
        shard=shard_flag,
        code=code_digest("semples.stages.cams"),
    shell:
        "exec python -m semples cams"
        " --config {params.settings:q}"
        " --threads {threads}"
        " --manifest {input.manifest:q}"
        " --split {params.split:q}"
        " --generator {input.generator:q}"
        " {params.shard:q}"
        " --out {output.cams:q}"
        " &> {log:q}"


rule evaluate_cams:
    """The threshold curve of the CAMs, and their mIoU at the threshold of every policy."""
    input:
        manifest=rules.data.output.manifest,
        cams=made_by("cams", "cams.h5"),
    output:
        evaluation=f"{BASE}/evaluate/{{variant}}/seed{{seed}}/cams.json",
    log:
        f"{BASE}/logs/evaluate/{{variant}}.seed{{seed}}.cams.log",
    benchmark:
        f"{BASE}/benchmarks/evaluate/{{variant}}.seed{{seed}}.cams.tsv"
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
    """Dense CRF: CAMs become palette PNG pseudo masks."""
    input:
        manifest=rules.data.output.manifest,
        cams=made_by("cams", "cams.h5"),
        evaluation=judged_cams,
    output:
        masks=directory(f"{BASE}/crf/{{variant}}/seed{{seed}}/{PART_OF_CRF}"),
    log:
        f"{BASE}/logs/crf/{{variant}}.seed{{seed}}{OF_SHARD}.log",
    benchmark:
        f"{BASE}/benchmarks/crf/{{variant}}.seed{{seed}}{OF_SHARD}.tsv"
    conda:
        "../../envs/crf.yaml"
    threads: CONFIG.run.threads
    resources:
        mem_mb=8000,
        runtime=720,
    params:
        settings=settings_of("crf"),
        shard=shard_flag,
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
        """The index by which the shards read as one file."""
        input:
            gather.shards(
                f"{BASE}/cams/{{variant}}/seed{{seed}}/{PART_OF_CAMS}",
                allow_missing=True,
            ),
        output:
            cams=f"{BASE}/cams/{{variant}}/seed{{seed}}/cams.h5",
        log:
            f"{BASE}/logs/cams/{{variant}}.seed{{seed}}.join.log",
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
        """The pseudo masks of all shards in one folder."""
        input:
            gather.shards(
                f"{BASE}/crf/{{variant}}/seed{{seed}}/{PART_OF_CRF}",
                allow_missing=True,
            ),
        output:
            masks=directory(f"{BASE}/crf/{{variant}}/seed{{seed}}/masks"),
        log:
            f"{BASE}/logs/crf/{{variant}}.seed{{seed}}.join.log",
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
    """A segmentation network learns from the pseudo masks."""
    input:
        manifest=rules.data.output.manifest,
        masks=pseudo_masks,
        weights=downloaded_weights("segment"),
    output:
        model=f"{BASE}/segment/{{variant}}/seed{{seed}}/model.safetensors",
        metrics=f"{BASE}/segment/{{variant}}/seed{{seed}}/metrics.jsonl",
    log:
        f"{BASE}/logs/segment/{{variant}}.seed{{seed}}.log",
    benchmark:
        f"{BASE}/benchmarks/segment/{{variant}}.seed{{seed}}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.run.threads
    resources:
        gpu=GPUS,
        mem_mb=12000,
        runtime=720,
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
    """Masks of the validation images by the trained network."""
    input:
        manifest=rules.data.output.manifest,
        model=made_by("segment", "model.safetensors"),
    output:
        masks=directory(f"{BASE}/segment/{{variant}}/seed{{seed}}/predictions"),
    log:
        f"{BASE}/logs/segment_masks/{{variant}}.seed{{seed}}.log",
    benchmark:
        f"{BASE}/benchmarks/segment_masks/{{variant}}.seed{{seed}}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.run.threads
    resources:
        gpu=GPU,
        mem_mb=12000,
        runtime=720,
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
    """Masks of VOC's test split as the tar that its server takes; made when asked for by name."""
    input:
        manifest=rules.data.output.manifest,
        model=made_by("segment", "model.safetensors"),
    output:
        tar=f"{BASE}/submission/{{variant}}/seed{{seed}}/comp6_test_cls.tar",
    log:
        f"{BASE}/logs/submission/{{variant}}.seed{{seed}}.log",
    benchmark:
        f"{BASE}/benchmarks/submission/{{variant}}.seed{{seed}}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.run.threads
    resources:
        gpu=GPU,
        mem_mb=12000,
        runtime=720,
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
    """Pseudo masks or predictions against true masks."""
    input:
        manifest=rules.data.output.manifest,
        masks=judged_masks,
    output:
        evaluation=f"{BASE}/evaluate/{{variant}}/seed{{seed}}/{{kind}}.json",
    log:
        f"{BASE}/logs/evaluate/{{variant}}.seed{{seed}}.{{kind}}.log",
    benchmark:
        f"{BASE}/benchmarks/evaluate/{{variant}}.seed{{seed}}.{{kind}}.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        settings=settings_of("evaluate"),
        code=code_digest("semples.stages.evaluate"),
        split=judged_split,
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
