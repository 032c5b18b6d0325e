# In: data/manifest.csv, guide/<variant>/. Out, in <stage>/<variant>/seed<seed>/: model.safetensors, metrics.jsonl, and
# from cpl and joint prompts.safetensors and words.csv. The folder `checkpoints` beside them is not declared as an output:
# Snakemake deletes the outputs of a failed job, but its rerun must be able to resume.
# The rules after `classify` inherit its environment, threads and command, and state their own inputs and outputs.


rule classify:
    """Train the classifier whose CAMs the method starts from."""
    input:
        manifest=rules.data.output.manifest,
        weights=input_of("classify", "weights"),
        code=input_of("classify", "code"),
    output:
        model=TREE.path("classify", "model"),
        metrics=TREE.path("classify", "metrics"),
    log:
        TREE.log("classify"),
    benchmark:
        TREE.benchmark("classify")
    priority: priority_of("classify")
    conda:
        "../../envs/torch.yaml"
    threads: threads_of("classify")
    resources:
        **learner("classify"),
    params:
        stage="classify",
        settings=settings_of("classify"),
        arguments=arguments("weights"),
        code=code_digest("semples.stages.classify"),
        out=subpath(output.metrics, parent=True),
    shell:
        "exec python -m semples {params.stage}"
        " --config {params.settings:q}"
        " --threads {threads}"
        " --manifest {input.manifest:q}"
        " {params.arguments:q}"
        " --seed {wildcards.seed}"
        " --out {params.out:q}"
        " &> {log:q}"


use rule classify as slm with:
    """Segment-label matching: train the generator so that the guide recognises the object and not the background."""
    input:
        manifest=rules.data.output.manifest,
        guide=made_by("guide", "texts"),
        start=input_of("slm", "generator"),
        code=input_of("slm", "code"),
    output:
        model=TREE.path("slm", "model"),
        metrics=TREE.path("slm", "metrics"),
    log:
        TREE.log("slm"),
    benchmark:
        TREE.benchmark("slm")
    priority: priority_of("slm")
    threads: threads_of("slm")
    resources:
        **learner("slm"),
    params:
        stage="slm",
        settings=settings_of("slm"),
        arguments=arguments("guide", "start"),
        code=code_digest("semples.stages.slm"),


use rule classify as cpl with:
    """Contrastive prompt learning: train one prompt for each class to describe its background."""
    input:
        manifest=rules.data.output.manifest,
        guide=made_by("guide", "texts"),
        generator=input_of("cpl", "generator"),
        cams=input_of("cpl", "cams"),
        maps=input_of("cpl", "maps"),
        code=input_of("cpl", "code"),
    output:
        prompts=TREE.path("cpl", "prompts"),
        words=TREE.path("cpl", "words"),
        metrics=TREE.path("cpl", "metrics"),
    log:
        TREE.log("cpl"),
    benchmark:
        TREE.benchmark("cpl")
    priority: priority_of("cpl")
    threads: threads_of("cpl")
    resources:
        **learner("cpl"),
    params:
        stage="cpl",
        settings=settings_of("cpl"),
        arguments=arguments("guide", "generator", "maps"),
        code=code_digest("semples.stages.cpl"),


use rule classify as csr with:
    """Class-associated semantic refinement: train the generator away from the backgrounds that the prompts learned."""
    input:
        manifest=rules.data.output.manifest,
        guide=made_by("guide", "texts"),
        start=input_of("csr", "generator"),
        code=input_of("csr", "code"),
        prompts=made_by("cpl", "prompts"),
    output:
        model=TREE.path("csr", "model"),
        metrics=TREE.path("csr", "metrics"),
    log:
        TREE.log("csr"),
    benchmark:
        TREE.benchmark("csr")
    priority: priority_of("csr")
    threads: threads_of("csr")
    resources:
        **learner("csr"),
    params:
        stage="csr",
        settings=settings_of("csr"),
        arguments=arguments("guide", "start", "prompts"),
        code=code_digest("semples.stages.csr"),


use rule classify as joint with:
    """Train prompts and generator together, instead of cpl and csr."""
    input:
        manifest=rules.data.output.manifest,
        guide=made_by("guide", "texts"),
        start=input_of("joint", "generator"),
        code=input_of("joint", "code"),
    output:
        prompts=TREE.path("joint", "prompts"),
        words=TREE.path("joint", "words"),
        model=TREE.path("joint", "model"),
        metrics=TREE.path("joint", "metrics"),
    log:
        TREE.log("joint"),
    benchmark:
        TREE.benchmark("joint")
    priority: priority_of("joint")
    threads: threads_of("joint")
    resources:
        **learner("joint"),
    params:
        stage="joint",
        settings=settings_of("joint"),
        arguments=arguments("guide", "start"),
        code=code_digest("semples.stages.joint"),
