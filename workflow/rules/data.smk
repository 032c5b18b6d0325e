# In: the data set that `data` names, the model that `guide` names, ImageNet weights.
# Out: downloads/<data set>/, if the data set is downloaded; data/manifest.csv and classes.csv; weights/ with a file for each
# backbone; guide/<variant>/ with the model and its text embeddings.


rule download:
    """Download VOC 2012 with the masks of SBD, or COCO 2014, if `data.root` is empty."""
    output:
        record="downloads/{source}/downloaded.json",
    log:
        "downloads/{source}.log",
    benchmark:
        "downloads/{source}.tsv"
    retries: 2
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=1440,
    params:
        settings=json.dumps(
            CONFIG.model_dump(include={"data": {"source"}, "download": True}),
            sort_keys=True,
        ),
        code=code_digest("semples.stages.download"),
        out=subpath(output.record, parent=True),
    shell:
        "exec python -m semples download"
        " --config {params.settings:q}"
        " --out {params.out:q}"
        " &> {log:q}"


rule data:
    """Read the data set and write its manifest."""
    input:
        f"{CONFIG.data.root}/downloaded.json"
        if DOWNLOADED
        else table_files(CONFIG.data),
    output:
        manifest=TREE.path("data", "manifest"),
        classes=TREE.path("data", "classes"),
    log:
        TREE.log("data"),
    benchmark:
        TREE.benchmark("data")
    conda:
        "../../envs/data.yaml"
    threads: CONFIG.run.threads
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        # a function: Snakemake reads braces of a plain text as wildcards
        settings=lambda wildcards: GRAPH.settings_json("data", SHOWN.variants[0]),
        code=code_digest("semples.stages.data"),
        out=subpath(output.manifest, parent=True),
    shell:
        "exec python -m semples data"
        " --config {params.settings:q}"
        " --threads {threads}"
        " --out {params.out:q}"
        " &> {log:q}"


rule weights:
    """Download weights: ImageNet's, from which a classifier or a segmentation network starts, or those of SAM."""
    output:
        TREE.file("weights", "{library}/{model}.safetensors"),
    log:
        TREE.log("weights", "{library}.{model}"),
    benchmark:
        TREE.benchmark("weights", "{library}.{model}")
    wildcard_constraints:
        library="timm|smp|transformers|sam",
        model=".+",
    priority: 1  # what is missing ends the run before a training starts
    retries: 2
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=6000,
        runtime=60,
    params:
        code=code_digest("semples.stages.weights"),
    shell:
        "exec python -m semples weights"
        " --library {wildcards.library}"
        " --model {wildcards.model:q}"
        " --out {output:q}"
        " &> {log:q}"


rule guide:
    """Copy the frozen image-text model and embed the class names and words with it."""
    input:
        classes=rules.data.output.classes,
        manifest=rules.data.output.manifest,
    output:
        model=TREE.path("guide", "model"),
        config=TREE.path("guide", "config"),
        texts=TREE.path("guide", "texts"),
        words=TREE.path("guide", "words"),
    log:
        TREE.log("guide"),
    benchmark:
        TREE.benchmark("guide")
    priority: priority_of("guide")
    retries: 2
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=6000,
        runtime=60,
    params:
        settings=settings_of("guide"),
        code=code_digest("semples.stages.guide"),
        out=subpath(output.model, parent=True),
    shell:
        "exec python -m semples guide"
        " --config {params.settings:q}"
        " --classes {input.classes:q}"
        " --manifest {input.manifest:q}"
        " --out {params.out:q}"
        " &> {log:q}"
