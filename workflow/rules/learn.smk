# In: data/manifest.csv, guide/<variant>/. Out, in <stage>/<variant>/seed<seed>/: model.safetensors, metrics.jsonl, and
# from cpl and joint prompts.safetensors and words.csv. The folder `checkpoints` beside them is no declared output: Snakemake
# deletes the outputs of a job that fails, and a rerun is to resume.


rule classify:
    """Classifier whose maps everything starts from."""
    input:
        manifest=rules.data.output.manifest,
        code=own_generator,
        weights=downloaded_weights("classify"),
    output:
        model=f"{BASE}/classify/{{variant}}/seed{{seed}}/model.safetensors",
        metrics=f"{BASE}/classify/{{variant}}/seed{{seed}}/metrics.jsonl",
    log:
        f"{BASE}/logs/classify/{{variant}}.seed{{seed}}.log",
    benchmark:
        f"{BASE}/benchmarks/classify/{{variant}}.seed{{seed}}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.run.threads
    resources:
        gpu=GPUS,
        mem_mb=12000,
        runtime=720,
    params:
        settings=settings_of("classify"),
        code=code_digest("semples.stages.classify"),
        out=subpath(output.model, parent=True),
    shell:
        "exec python -m semples classify"
        " --config {params.settings:q}"
        " --threads {threads}"
        " --manifest {input.manifest:q}"
        " --weights {input.weights:q}"
        " --seed {wildcards.seed}"
        " --out {params.out:q}"
        " &> {log:q}"


rule slm:
    """Segment-label matching: the guide teaches the generator."""
    input:
        manifest=rules.data.output.manifest,
        guide=made_by("guide", "texts.safetensors", seeded=False),
        start=generator_before("slm"),
        code=own_generator,
    output:
        model=f"{BASE}/slm/{{variant}}/seed{{seed}}/model.safetensors",
        metrics=f"{BASE}/slm/{{variant}}/seed{{seed}}/metrics.jsonl",
    log:
        f"{BASE}/logs/slm/{{variant}}.seed{{seed}}.log",
    benchmark:
        f"{BASE}/benchmarks/slm/{{variant}}.seed{{seed}}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.run.threads
    resources:
        gpu=GPUS,
        mem_mb=12000,
        runtime=720,
    params:
        guide=subpath(input.guide, parent=True),
        settings=settings_of("slm"),
        code=code_digest("semples.stages.slm"),
        out=subpath(output.model, parent=True),
    shell:
        "exec python -m semples slm"
        " --config {params.settings:q}"
        " --threads {threads}"
        " --manifest {input.manifest:q}"
        " --guide {params.guide:q}"
        " --start {input.start:q}"
        " --seed {wildcards.seed}"
        " --out {params.out:q}"
        " &> {log:q}"


rule cpl:
    """Contrastive prompt learning: one prompt a class learns its background."""
    input:
        manifest=rules.data.output.manifest,
        guide=made_by("guide", "texts.safetensors", seeded=False),
        generator=generator_before("cpl"),
        cams=foreign_cams,
        code=own_generator,
    output:
        prompts=f"{BASE}/cpl/{{variant}}/seed{{seed}}/prompts.safetensors",
        words=f"{BASE}/cpl/{{variant}}/seed{{seed}}/words.csv",
        metrics=f"{BASE}/cpl/{{variant}}/seed{{seed}}/metrics.jsonl",
    log:
        f"{BASE}/logs/cpl/{{variant}}.seed{{seed}}.log",
    benchmark:
        f"{BASE}/benchmarks/cpl/{{variant}}.seed{{seed}}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.run.threads
    resources:
        gpu=GPUS,
        mem_mb=12000,
        runtime=720,
    params:
        guide=subpath(input.guide, parent=True),
        generator=lambda wildcards, input: (
            ["--generator", input.generator] if input.generator else []
        ),
        settings=settings_of("cpl"),
        code=code_digest("semples.stages.cpl"),
        out=subpath(output.prompts, parent=True),
    shell:
        "exec python -m semples cpl"
        " --config {params.settings:q}"
        " --threads {threads}"
        " --manifest {input.manifest:q}"
        " --guide {params.guide:q}"
        " {params.generator:q}"
        " --seed {wildcards.seed}"
        " --out {params.out:q}"
        " &> {log:q}"


rule csr:
    """Class-associated semantic refinement: away from what the prompts have learned."""
    input:
        manifest=rules.data.output.manifest,
        guide=made_by("guide", "texts.safetensors", seeded=False),
        start=generator_before("csr"),
        code=own_generator,
        prompts=made_by("cpl", "prompts.safetensors"),
    output:
        model=f"{BASE}/csr/{{variant}}/seed{{seed}}/model.safetensors",
        metrics=f"{BASE}/csr/{{variant}}/seed{{seed}}/metrics.jsonl",
    log:
        f"{BASE}/logs/csr/{{variant}}.seed{{seed}}.log",
    benchmark:
        f"{BASE}/benchmarks/csr/{{variant}}.seed{{seed}}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.run.threads
    resources:
        gpu=GPUS,
        mem_mb=12000,
        runtime=720,
    params:
        guide=subpath(input.guide, parent=True),
        settings=settings_of("csr"),
        code=code_digest("semples.stages.csr"),
        out=subpath(output.model, parent=True),
    shell:
        "exec python -m semples csr"
        " --config {params.settings:q}"
        " --threads {threads}"
        " --manifest {input.manifest:q}"
        " --guide {params.guide:q}"
        " --start {input.start:q}"
        " --prompts {input.prompts:q}"
        " --seed {wildcards.seed}"
        " --out {params.out:q}"
        " &> {log:q}"


rule joint:
    """Prompts and generator together, in place of cpl and csr."""
    input:
        manifest=rules.data.output.manifest,
        guide=made_by("guide", "texts.safetensors", seeded=False),
        start=generator_before("joint"),
        code=own_generator,
    output:
        prompts=f"{BASE}/joint/{{variant}}/seed{{seed}}/prompts.safetensors",
        words=f"{BASE}/joint/{{variant}}/seed{{seed}}/words.csv",
        model=f"{BASE}/joint/{{variant}}/seed{{seed}}/model.safetensors",
        metrics=f"{BASE}/joint/{{variant}}/seed{{seed}}/metrics.jsonl",
    log:
        f"{BASE}/logs/joint/{{variant}}.seed{{seed}}.log",
    benchmark:
        f"{BASE}/benchmarks/joint/{{variant}}.seed{{seed}}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.run.threads
    resources:
        gpu=GPUS,
        mem_mb=12000,
        runtime=720,
    params:
        guide=subpath(input.guide, parent=True),
        settings=settings_of("joint"),
        code=code_digest("semples.stages.joint"),
        out=subpath(output.model, parent=True),
    shell:
        "exec python -m semples joint"
        " --config {params.settings:q}"
        " --threads {threads}"
        " --manifest {input.manifest:q}"
        " --guide {params.guide:q}"
        " --start {input.start:q}"
        " --seed {wildcards.seed}"
        " --out {params.out:q}"
        " &> {log:q}"
