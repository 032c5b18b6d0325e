# In: CAMs of variants that name a kind of refinement in `refine`, and weights of SAM for one of the kinds. Out, in
# refine/<variant>/seed<seed>/: refined cams.h5, in shards as those of cams; and their evaluation. crf reads them instead.


rule refine:
    """Fit CAMs to the edges of their photographs."""
    input:
        manifest=rules.data.output.manifest,
        cams=made_by("cams", "cams"),
        weights=input_of("refine", "weights"),
    output:
        cams=TREE.shard("refine", "cams", CONFIG.run.shards),
    log:
        TREE.log("refine", PART),
    benchmark:
        TREE.benchmark("refine", PART)
    priority: priority_of("refine")
    conda:
        "../../envs/torch.yaml"
    threads: threads_of("refine")
    resources:
        gpu=lambda wildcards: (
            0 if GRAPH.runs[wildcards.variant].refine.kind == "superpixels" else GPU
        ),
        mem_mb=12000,
        runtime=minutes("refine"),
    params:
        settings=settings_of("refine"),
        arguments=arguments("weights"),
        shard=["--shard", PART] if SHARDED else [],
        code=code_digest("semples.stages.refine"),
    shell:
        "exec python -m semples refine"
        " --config {params.settings:q}"
        " --threads {threads}"
        " --manifest {input.manifest:q}"
        " --cams {input.cams:q}"
        " {params.arguments:q}"
        " {params.shard:q}"
        " --out {output.cams:q}"
        " &> {log:q}"


use rule evaluate_cams as evaluate_refine with:
    """Compute the mIoU of the refined CAMs at every background threshold, and at the threshold of every policy."""
    input:
        manifest=rules.data.output.manifest,
        cams=made_by("refine", "cams"),
    output:
        evaluation=TREE.path("evaluate", "refine"),
    log:
        TREE.log("evaluate", "refine"),
    benchmark:
        TREE.benchmark("evaluate", "refine")
    priority: priority_of("evaluate_refine")


if SHARDED:

    use rule join_cams as join_refine with:
        """Write the index that makes the shards of refined CAMs readable as one file."""
        input:
            gather.shards(
                TREE.shard("refine", "cams", CONFIG.run.shards), allow_missing=True
            ),
        output:
            cams=TREE.path("refine", "cams"),
        log:
            TREE.log("refine", "join"),
