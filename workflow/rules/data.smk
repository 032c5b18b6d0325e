# In: the data set that `data` names, the model that `guide` names.
# Out: downloads/<data set>/ where it is downloaded; data/manifest.csv with classes.csv; guide/<variant>/ with the model
# and its text embeddings.


rule download:
    """VOC 2012 with the masks of SBD, or COCO 2014, where `data.root` is empty."""
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
        settings=download_settings(),
        code=code_digest("semples.stages.download"),
        out=subpath(output.record, parent=True),
    shell:
        "exec python -m semples download"
        " --config {params.settings:q}"
        " --out {params.out:q}"
        " &> {log:q}"


rule data:
    """A data set becomes a manifest."""
    input:
        f"{CONFIG.data.root}/downloaded.json"
        if DOWNLOADED
        else table_files(CONFIG.data),
    output:
        manifest=MANIFEST,
        classes=f"{BASE}/data/classes.csv",
    log:
        f"{BASE}/logs/data.log",
    benchmark:
        f"{BASE}/benchmarks/data.tsv"
    conda:
        "../../envs/data.yaml"
    threads: CONFIG.run.threads
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        settings=settings_json("data"),
        code=code_digest("semples.stages.data"),
        out=subpath(output.manifest, parent=True),
    shell:
        "exec python -m semples data"
        " --config {params.settings:q}"
        " --threads {threads}"
        " --out {params.out:q}"
        " &> {log:q}"


rule weights:
    """ImageNet weights that a classifier or a segmentation network starts from."""
    output:
        f"{BASE}/weights/{{library}}/{{model}}.safetensors",
    log:
        f"{BASE}/logs/weights/{{library}}.{{model}}.log",
    benchmark:
        f"{BASE}/benchmarks/weights/{{library}}.{{model}}.tsv"
    wildcard_constraints:
        library="timm|smp|transformers",
        model=".+",
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
    """The frozen image-text model, made local, with the embeddings of class names and words."""
    input:
        classes=rules.data.output.classes,
        manifest=rules.data.output.manifest,
    output:
        model=f"{BASE}/guide/{{variant}}/open_clip_model.safetensors",
        config=f"{BASE}/guide/{{variant}}/open_clip_config.json",
        texts=f"{BASE}/guide/{{variant}}/texts.safetensors",
        words=f"{BASE}/guide/{{variant}}/words.txt",
    log:
        f"{BASE}/logs/guide/{{variant}}.log",
    benchmark:
        f"{BASE}/benchmarks/guide/{{variant}}.tsv"
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
